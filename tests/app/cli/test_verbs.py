from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headway import __version__
from headway.app.cli.root import app
from headway.app.cli.settings import as_settings, resolve
from headway.core import catalogue
from headway.core.checks import CHECKS
from headway.core.errors import UnknownName


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def result(*words: str) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(*words: str) -> str:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("headway: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"headway {__version__}\n"


def test_no_verb_shows_the_verbs() -> None:
    assert "doctor" in run().output


def test_debug_lets_the_error_through() -> None:
    assert isinstance(run("--debug", "show", "serving/none").exception, UnknownName)


def test_list_prints_every_row() -> None:
    rows = result("list")
    assert [row["id"] for row in rows] == [row.id for row in catalogue.rows()]
    assert all(row["id"] in run("list").stdout for row in rows)


def test_list_can_be_narrowed() -> None:
    batching = result("list", "--seat", "batch")
    assert batching == [row for row in result("list") if "batch" in row["seat"].split("+")]
    assert {"serving/sarathi", "serving/slos-serve"} <= {row["id"] for row in batching}
    assert result("list", "serving") == result("list", "--family", "serving")
    assert result("list", "--seat", "no-such-seat") == []
    assert result("list", "--tag", "chunked-prefill", "--family", "serving") == [
        row for row in result("list") if "chunked-prefill" in row["tags"]
    ]


def test_list_knows_families_and_checks() -> None:
    (serving,) = [f for f in result("list", "families") if f["name"] == "serving"]
    assert serving["mechanisms"] == len(catalogue.rows("serving"))
    assert len(result("list", "checks")) == len(CHECKS)


def test_wrong_names_list_the_nearest() -> None:
    assert "families" in refusal("list", "famlies")
    assert "serving" in refusal("list", "--family", "servin")
    assert "serving/sarathi" in refusal("show", "serving/sarati")
    assert "serving/orca" in refusal("check", "serving/orcas")


def test_show_tells_parameters_with_their_meaning() -> None:
    shown = result("show", "serving/sarathi")
    budget = shown["parameters"][0]
    assert (budget["name"], budget["type"], budget["default"]) == ("token_budget", "int", 512)
    assert ">= 1" in budget["about"]
    assert "--policy serving/sarathi --policy-param token_budget=512" in shown["usage"]["command line"]
    assert shown["arxiv"] == "2403.02310"


def test_what_show_says_about_use_is_true() -> None:
    usage = result("show", "serving/orca")["usage"]
    space: dict[str, Any] = {}
    exec(usage["python"], space)
    assert hasattr(space["policy"], "decide")
    settings = tomllib.loads(usage["toml"])
    assert resolve(settings).engine.policy == "serving/orca"


def test_show_prints_a_page() -> None:
    page = run("show", "serving/orca").stdout
    assert "max_batch_size" in page
    assert "headway serve --policy serving/orca" in page


def test_show_config_prints_a_file_that_resolves_to_the_same(tmp_path: Path) -> None:
    first = run("show", "config").stdout
    (tmp_path / "serve.toml").write_text(first)
    assert run("show", "config", "--config", str(tmp_path / "serve.toml")).stdout == first
    assert result("show", "config")["port"] == 8000


def test_check_passes_a_sound_mechanism() -> None:
    outcomes = result("check", "serving/orca")
    assert len(outcomes) == len(CHECKS)
    assert {o["status"] for o in outcomes} <= {"passed", "skipped"}
    assert "0 failed" in run("check", "serving/orca").stdout


def test_check_fails_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, positional: int) -> None:
            self.positional = positional

    monkeypatch.setattr(catalogue, "load", lambda id: Broken)
    done = run("check", "serving/orca", "--json")
    assert done.exit_code == 1
    failed = [o for o in json.loads(done.stdout) if o["status"] == "failed"]
    assert any("keyword-only" in o["why"] for o in failed)


def test_doctor_finds_this_python_and_the_port() -> None:
    found = {f["what"]: f for f in json.loads(run("doctor", "--port", "0", "--json").stdout)}
    assert sys.executable in found["python"]["value"]
    assert found["headway"]["value"] == __version__
    assert found["port"]["status"] == "ok"
    assert {"cores", "memory", "processor", "compiler", "kernels", "model", "extra serve"} <= set(found)


def test_doctor_notices_a_taken_port() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("doctor", "--port", str(port), "--json")
    (finding,) = [f for f in json.loads(done.stdout) if f["what"] == "port"]
    assert finding["status"] == "note"


def test_settings_of_flags_win_over_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        'port = 9000\nkv_memory = "1GiB"\nrequest_timeout = "2min"\npolicy = "serving/sarathi"\n'
        '[policy_params]\ntoken_budget = 256\n[adapters]\na = "x"\n'
        '[[slo_classes]]\nname = "default"\nslos = [{metric = "ttft_s", bound = 2.0, quantile = 0.9}]\n'
    )
    config = resolve({"port": 9001, "adapters": {"b": "y"}, "policy_params": {"max_seqs": 4}}, file)
    assert (config.port, config.engine.kv_bytes, config.request_timeout_s) == (9001, 2**30, 120.0)
    assert config.engine.adapters == {"a": "x", "b": "y"}
    assert config.engine.policy_params == {"token_budget": 256, "max_seqs": 4}
    assert config.slo_classes[0].slos[0].bound == 2.0
    assert resolve({"policy": "serving/orca"}, file).engine.policy_params == {}


def test_the_shipped_model_is_the_default() -> None:
    engine = resolve({}).engine
    assert engine.name == "headway-mini"
    assert (Path(engine.model) / "config.json").is_file()
    assert resolve({"model": "some/model"}).engine.model == "some/model"


def test_keys_are_never_shown() -> None:
    assert "sekret" not in str(as_settings(resolve({"api_keys": ["sekret"]})))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serve", "--policy", "serving/sarati"), "serving/sarathi"),
        (("serve", "--policy-param", "token_budget=0"), "token_budget must be >= 1"),
        (("serve", "--policy-param", "tokens=1"), "token_budget"),
        (("serve", "--policy-param", "token_budget"), "key=value"),
        (("serve", "--adapter", "x"), "NAME=PATH"),
        (("serve", "--kv-memory", "lots"), "kv_memory"),
        (("serve", "--context", "1.5"), "context_tokens"),
        (("serve", "--block-size", "9"), "multiple of 8"),
        (("serve", "--port", "70000"), "port"),
        (("serve", "--dtype", "int3"), "dtype"),
        (("serve", "--config", "/no/such/file.toml"), "can be read"),
        (("chat", "--json"), "--message"),
        (("bench", "serve", "--backend", "opena"), "openai"),
        (("bench", "serve", "ttft:500"), "--goodput"),
        (("bench", "serve", "--goodput", "ttfb:5"), "ttft, tpot, e2el"),
        (("bench", "serve", "--extra-body", "[1]"), "JSON object"),
        (("bench", "serve", "--header", "x"), "KEY=VALUE"),
        (("bench", "serve", "--dataset-name", "sharegpt"), "random, or trace"),
        (("bench", "serve", "--dataset-name", "random", "--trace", "x.csv"), "x.csv"),
        (("bench", "serve", "--trace", "/no/such/trace.csv"), "readable"),
        (("bench", "serve", "--metric-percentiles", "101"), "[0, 100]"),
    ],
)
def test_wrong_flags_are_one_clear_sentence(words: tuple[str, ...], says: str) -> None:
    assert says in refusal(*words)


def test_unknown_settings_of_a_file_name_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text("prot = 1\n")
    assert "port" in refusal("serve", "--config", str(tmp_path / "serve.toml"))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "system: must be readable or writable, got: No space left"),
        (PermissionError(13, "Permission denied", "a.csv"), "a.csv: must be readable or writable, got: Permission"),
        (MemoryError(), "memory: must hold all that was asked for"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(catalogue, "rows", fail)
    assert says in refusal("list")
    assert run("--debug", "list").exception is error
