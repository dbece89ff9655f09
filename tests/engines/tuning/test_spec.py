"""What a fine-tuning run is told: defaults, ranges, and what travels."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec

GIVEN: dict[str, Any] = {"job": "j", "model": "m", "name": "n", "tokens": "t.npz", "folder": "out"}


def test_what_is_not_said_has_a_default() -> None:
    spec = TuneSpec(**GIVEN)
    assert (spec.rank, spec.alpha, spec.num_epochs, spec.schedule) == (8, 16.0, 3, "linear")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0), ("rank", 1025), ("alpha", 0.0), ("alpha", float("nan")), ("dropout", 1.0), ("dropout", -0.1),
        ("num_epochs", 0), ("batch_size", 0), ("microbatch_tokens", 0), ("learning_rate", 0.0),
        ("learning_rate", float("inf")), ("schedule", "wavy"), ("warmup_frac", 1.0), ("weight_decay", -1.0),
        ("max_grad_norm", -1.0), ("seed", -1), ("checkpoint_steps", -1), ("dtype", "int8"), ("device", "tpu"),
        ("targets", ("",)), ("name", ""), ("model", ""), ("tokens", ""), ("folder", ""), ("job", ""),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_told_by_name(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"tune: {field} must be"):
        TuneSpec(**{**GIVEN, field: value})


def test_unknown_fields_are_errors() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**GIVEN, "ranc": 4}, TuneSpec)


def test_spec_and_news_travel() -> None:
    spec = TuneSpec(**GIVEN, targets=("q_proj",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=TuneSpec) == spec
    news = TuneNews(what="step", step=1, num_steps=9, tokens=70, loss=1.5, learning_rate=1e-4)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(news), type=TuneNews) == news


def test_the_room_is_entered_without_torch() -> None:
    code = "import sys, headway.engines.tuning, headway.engines.tuning.spec, headway.engines.tuning.memory;"
    code += "print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "False"
