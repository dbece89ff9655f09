from __future__ import annotations

from dataclasses import replace

import pytest

from headway.app.reproduce.serving import Setting, capacity_per_s, play
from headway.core.errors import ConfigError
from headway.policies.serving.sarathi import SarathiServe
from headway.traces.generate.lengths import Fixed

SETTING = Setting(
    model="mistral-7b",
    accelerator="a100-80gb-sxm",
    lengths=Fixed(prompt_tokens=1000, output_tokens=20),
    num_requests=200,
)


def test_capacity_is_where_the_bounds_end() -> None:
    bounds = {"p99_itl_s": 0.06, "p50_queue_s": 1.0}
    found = capacity_per_s(SETTING, SarathiServe(), 0, tolerance_frac=0.02, **bounds)

    def holds(rate_per_s: float) -> bool:
        numbers = play(SETTING, SarathiServe(), 0, rate_per_s / SETTING.rate_per_s)
        return all(numbers[metric] <= bound for metric, bound in bounds.items())

    assert holds(found)
    assert not holds(1.03 * found)


def test_capacity_does_not_hang_on_the_rate_that_is_tried_first() -> None:
    bounds = {"p99_itl_s": 0.06, "p50_queue_s": 1.0}
    slow, quick = (
        capacity_per_s(replace(SETTING, rate_per_s=rate_per_s), SarathiServe(), 0, **bounds) for rate_per_s in (0.7, 40)
    )
    assert slow == pytest.approx(quick, rel=0.05)


def test_bounds_that_nothing_can_meet_leave_no_capacity() -> None:
    assert capacity_per_s(SETTING, SarathiServe(), 0, p99_itl_s=1e-6, p50_queue_s=1.0) == 0


def test_a_stretched_model_takes_longer_requests() -> None:
    long = replace(SETTING, model="yi-34b", tensor_parallel=2, lengths=Fixed(prompt_tokens=6000, output_tokens=2))
    with pytest.raises(ConfigError, match="must fit into the 4096 tokens of context"):
        play(long, SarathiServe(), 0)
    assert play(replace(long, context_tokens=8192), SarathiServe(), 0)["num_finished"] == SETTING.num_requests
