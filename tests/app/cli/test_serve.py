from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headway.app import server
from headway.app.cli.greeting import Greeting
from headway.app.cli.root import app
from headway.app.cli.settings import as_settings, config_of, given_settings
from headway.app.server import ServerConfig
from headway.app.vllm import launch
from headway.app.vllm.command import command
from headway.app.vllm.facts import VllmFacts
from headway.app.vllm.launch import Launched
from headway.core.errors import ConfigError
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.messages import Ready

READY = Ready(
    model="headway-mini", context_tokens=512, vocab_size=100, eos_ids=(0,), block_size=16, num_blocks=64, num_layers=2,
    dtype="float32", device="cpu", kernels="torch", quantize="none", policy="serving/orca", adapters=("style",),
    slo_classes=("default",), pid=42,
)  # fmt: skip


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[ServerConfig]:
    """Stand in for the server: notes what it was told, says that it is ready, and ends with status 3."""
    configs: list[ServerConfig] = []

    def run(
        config: ServerConfig,
        on_loading: Callable[[str], None],
        on_ready: Callable[[Ready, str], None],
        extend: Callable[[Any], Any] | None,
    ) -> int:
        configs.append(config)
        assert (extend is not None) is config.tuning
        on_loading("reading weights")
        on_ready(READY, "http://127.0.0.1:1234")
        return 3

    monkeypatch.setattr(server, "run", run)
    return configs


def test_every_flag_reaches_the_configuration(told: list[ServerConfig]) -> None:
    flags: dict[str, Any] = {
        "--name": "n", "--adapter": "style=./a", "--dtype": "float32", "--device": "cpu", "--quantize": "int8",
        "--context": "1k", "--policy": "serving/orca", "--policy-param": "max_batch_size=3", "--kv-memory": "2GiB",
        "--block-size": "32", "--max-seqs": "7", "--seed": "5", "--trace": "t.bin", "--host": "0.0.0.0", "--port": "0",
        "--api-key": "k", "--access-log": "log", "--max-queue": "9", "--max-body": "1MiB", "--max-prompt-tokens": "11",
        "--max-choices": "2", "--request-timeout": "2min", "--drain-timeout": "1.5", "--default-slo-class": "batch",
        "--tuning-api-key": "t", "--state-dir": "s", "--max-file-bytes": "2MiB",
        "--tuner": "tuning/when-idle", "--tuner-param": "idle_unit_s=0.01",
    }  # fmt: skip
    words = [word for pair in flags.items() for word in pair]
    off = ["--no-native", "--no-prefix-caching", "--no-metric-aliases", "--no-tuning"]
    done = CliRunner().invoke(app, ["serve", "some/model", *words, *off])
    assert done.exit_code == 3, done.output
    (config,) = told
    engine = config.engine
    assert (engine.model, engine.name, engine.adapters) == ("some/model", "n", {"style": "./a"})
    assert (engine.dtype, engine.device, engine.quantize, engine.context_tokens) == ("float32", "cpu", "int8", 1000)
    assert (engine.policy, engine.policy_params) == ("serving/orca", {"max_batch_size": 3})
    assert (engine.kv_bytes, engine.block_size, engine.max_seqs) == (2**31, 32, 7)
    assert (engine.seed, engine.trace, engine.native, engine.prefix_caching) == (5, "t.bin", False, False)
    assert (config.host, config.port, config.api_keys, config.access_log) == ("0.0.0.0", 0, ("k",), "log")
    assert (config.max_queue, config.max_body_bytes, config.max_prompt_tokens, config.max_choices) == (9, 2**20, 11, 2)
    assert (config.request_timeout_s, config.drain_timeout_s) == (120.0, 1.5)
    assert (config.default_slo_class, config.metric_aliases) == ("batch", False)
    assert (config.tuning, config.tuning_api_keys) == (False, ("t",))
    assert (engine.tuner, engine.tuner_params) == ("tuning/when-idle", {"idle_unit_s": 0.01})
    assert (config.state_dir, config.max_file_bytes) == ("s", 2 << 20)


def test_the_greeting_says_what_is_served_and_how_to_try_it(told: list[ServerConfig]) -> None:
    done = CliRunner().invoke(app, ["serve"])
    assert "reading weights" in done.stderr
    for fact in ("http://127.0.0.1:1234", "headway-mini", "serving/orca", "1024 tokens", "style", "torch"):
        assert fact in done.stdout
    assert "headway chat --url http://127.0.0.1:1234 --message hello" in done.stdout
    (body,) = [line.split("-d ")[1] for line in done.stdout.splitlines() if "curl" in line]
    assert json.loads(body.strip("'"))["model"] == "headway-mini"


def test_programs_get_the_greeting_as_json(told: list[ServerConfig]) -> None:
    done = CliRunner().invoke(app, ["serve", "--json"])
    facts = json.loads(done.stdout)
    assert (facts["url"], facts["model"], facts["engine_pid"]) == ("http://127.0.0.1:1234", "headway-mini", 42)
    assert facts["tuning"] == "off"


def test_a_server_that_trains_nothing_needs_no_tuner(tmp_path: Path) -> None:
    for off in ({"tuning": False}, {"tuner": "none"}, {"engine": "vllm"}):
        config = config_of(given_settings(off))
        assert (config.tuning, config.engine.tuner) == (False, "")
    file = tmp_path / "serve.toml"
    file.write_text('tuning_api_keys = ["k"]\nmax_file_bytes = "1MiB"\n[tuner_params]\nmargin_frac = 0.2\n')
    config = config_of(given_settings({"tuner_params": {"room_frac": 0.5}}, file))
    assert (config.tuning, config.tuning_api_keys, config.max_file_bytes) == (True, ("k",), 1 << 20)
    assert config.engine.tuner_params == {"margin_frac": 0.2, "room_frac": 0.5}
    with pytest.raises(ConfigError, match="'margin' is not known"):
        config_of(given_settings({"tuner_params": {"margin": 1}}))
    shown = as_settings(config)
    assert (shown["tuning"], shown["tuner"], shown["tuning_api_keys"]) == (True, "tuning/harli", ["(hidden)"])


def test_the_greeting_says_where_models_are_tuned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headway.app.server.service import Service

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    greeting = Greeting(json=False)
    extension = greeting.extend(Service(ServerConfig(engine=EngineConfig(model="x"), access_log="")))
    greeting.ready(READY, "http://127.0.0.1:1234")
    extension.release()
    told = "".join(capsys.readouterr().out.split())
    assert f"tuning/v1/fine_tuning/jobs,filesandjobsin{tmp_path}/headway" in told


def test_vllm_is_launched_with_what_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[Any] = []

    def run(config: ServerConfig, given: dict[str, Any], further: list[str], **callbacks: Any) -> int:
        told.append((config, set(given), further))
        callbacks["on_loading"]("opening the door")
        facts = VllmFacts(model="mini", adapters=("style",), context_tokens=512, num_blocks=4, block_size=16)
        launched = Launched(
            url="http://127.0.0.1:9", version="0.32.0", pid=7, policy="serving/orca", slo_classes=("a",), facts=facts
        )
        callbacks["on_ready"](launched)
        return 3

    monkeypatch.setattr(launch, "run", run)
    done = CliRunner().invoke(app, ["serve", "--engine", "vllm", "--seed", "5", "--", "--enforce-eager", "-O0"])
    assert done.exit_code == 3, done.output
    for fact in ("http://127.0.0.1:9", "mini", "vLLM 0.32.0", "serving/orca", "64 tokens", "style", "Try it"):
        assert fact in done.stdout
    assert "opening the door" in done.stderr
    file = tmp_path / "serve.toml"
    file.write_text('engine = "vllm"\nmodel = "some/model"\n')
    done = CliRunner().invoke(app, ["serve", "--config", str(file), "--json"])
    facts = json.loads(done.stdout)
    assert (facts["engine"], facts["engine_pid"], facts["model"], facts["num_blocks"]) == ("vllm", 7, "mini", 4)
    (first, second) = told
    assert (first[0].engine.seed, first[0].engine.policy, first[0].engine.name) == (
        5,
        "serving/headway",
        "headway-mini",
    )
    assert first[1:] == ({"engine", "seed"}, ["--enforce-eager", "-O0"])
    assert (second[0].engine.model, second[2]) == ("some/model", [])


def test_words_for_vllm_need_vllm(told: list[ServerConfig]) -> None:
    done = CliRunner().invoke(app, ["serve", "--", "--enforce-eager"])
    assert done.exit_code == 2
    assert "what stands after -- is for vLLM, got --enforce-eager. Add --engine vllm" in done.stderr
    assert (
        "engine must be one of headway, vllm, got 'other'"
        in CliRunner().invoke(app, ["serve", "--engine", "other"]).stderr
    )
    assert told == []


def test_the_configuration_of_vllm_can_be_used_again(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('engine = "vllm"\nmodel = "some/model"\nmax_seqs = 9\n')
    once = CliRunner().invoke(app, ["show", "config", "--config", str(file)]).stdout
    shown = tomllib.loads(once)
    assert (shown["engine"], shown["policy"], shown["max_seqs"]) == ("vllm", "serving/headway", 9)
    assert not {"quantize", "context", "dtype"} & set(shown)
    file.write_text(once)
    assert CliRunner().invoke(app, ["show", "config", "--config", str(file)]).stdout == once
    given = given_settings({}, file)
    argv = command(config_of(given), given, (), {}).argv
    assert "--max-num-seqs" in argv
    assert "--block-size" not in argv


def test_the_configuration_says_who_computes() -> None:
    shown = tomllib.loads(CliRunner().invoke(app, ["show", "config"]).stdout)
    assert (shown["engine"], shown["policy"], shown["context"]) == ("headway", "serving/sarathi", 0)
