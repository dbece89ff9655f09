from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headway.app.server import ServerConfig, keys_of
from headway.app.server.record import AccessLog
from headway.core.errors import ConfigError
from headway.core.slo import SloClass
from headway.engines.llm.config import EngineConfig
from headway.policies.serving.promises import SLO_CLASSES

ENGINE = EngineConfig(model="somewhere")


@pytest.mark.parametrize("bad", [
    {"port": 70000}, {"max_body_bytes": 10}, {"max_prompt_tokens": -1}, {"max_choices": 0}, {"max_queue": 0},
    {"request_timeout_s": 0}, {"drain_timeout_s": -1}, {"default_slo_class": "gold"},
])  # fmt: skip
def test_values_out_of_range_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"server: {next(iter(bad))} must be"):
        ServerConfig(engine=ENGINE, **bad)


def test_slo_classes_come_from_the_engine_or_are_ours() -> None:
    assert ServerConfig(engine=ENGINE).full_engine.slo_classes == SLO_CLASSES
    own = (SloClass(name="gold"),)
    config = ServerConfig(engine=EngineConfig(model="somewhere", slo_classes=own), default_slo_class="gold")
    assert config.full_engine.slo_classes == own


def test_keys_come_from_three_places_and_once_each(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# comment\n one \ntwo\n")
    config = ServerConfig(engine=ENGINE, api_keys=("zero", "one"), api_key_file=str(path))
    assert keys_of(config, {"HEADWAY_API_KEY": "two, three,"}) == ("zero", "one", "two", "three")
    assert keys_of(ServerConfig(engine=ENGINE), {}) == ()


def test_a_key_file_that_guards_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    config = ServerConfig(engine=ENGINE, api_key_file=str(path))
    with pytest.raises(ConfigError, match="readable"):
        keys_of(config, {})
    path.write_text("# nothing\n")
    with pytest.raises(ConfigError, match="a key per line"):
        keys_of(config, {})


def test_an_access_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="access_log must be writable"):
        AccessLog(str(tmp_path / "nowhere" / "log"))


def test_the_configuration_loads_no_libraries() -> None:
    code = (
        "import sys, headway.app.server; print([m for m in ('torch', 'starlette', 'transformers') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
