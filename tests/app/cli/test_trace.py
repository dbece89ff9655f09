from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headway.app.cli.root import app
from headway.traces.readers.door import read_requests
from headway.traces.shipped import names, path

CSV = "when,in,out\n" + "".join(f"{n},{100 + n},{10 + n}\n" for n in range(50))


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["trace", *map(str, words)])


def result(*words: object) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(*words: object) -> str:
    done = run(*words)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("headway: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "in.csv"
    written.write_text(CSV)
    return written


COLUMNS = ("--columns", "arrival_s=when,prompt_tokens=in", "--columns", "output_tokens=out")


def test_list_names_the_shipped_traces() -> None:
    assert [row["name"] for row in result("list")] == list(names())
    assert all(name in run("list").stdout for name in names())


def test_describe_says_what_a_trace_is_like() -> None:
    found = result("describe", "mooncake-conv")
    assert (found["num_requests"], found["format"], found["is_timed"]) == (1000, "jsonl", True)
    assert found["sharing"]["seen_frac"] == pytest.approx(0.33, abs=0.05)
    page = run("describe", "mooncake-conv").stdout
    assert "prompt tokens seen before" in page
    assert "33" in page
    assert "none: all arrive at once" in run("describe", "sharegpt").stdout
    assert "chains of calls" in run("describe", "agent-sessions").stdout


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_describe_draws(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = tmp_path / f"figure{suffix}"
    done = run("describe", "azure-code", "--plot", figure)
    assert done.exit_code == 0, done.output
    assert figure.stat().st_size > 10_000
    if suffix == ".html":
        assert "Arrivals" in figure.read_text()
    else:
        assert figure.read_bytes().startswith(b"\x89PNG")


def test_convert_reads_columns_of_any_name(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl.gz"
    assert result("convert", file, out, *COLUMNS) == {"file": str(out), "num_requests": 50, "num_left_out": 0}
    first = json.loads(gzip.decompress(out.read_bytes()).splitlines()[0])
    assert first == {"arrival_s": 0.0, "prompt_tokens": 100, "output_tokens": 10}


def test_convert_says_what_csv_cannot_hold(tmp_path: Path) -> None:
    done = run("convert", "mooncake-conv", tmp_path / "out.csv")
    assert done.exit_code == 0
    assert "no place for hashes" in done.stderr
    assert read_requests(tmp_path / "out.csv").table.prefixes is None


def test_bad_rows_are_counted_when_they_are_left_out(file: Path, tmp_path: Path) -> None:
    file.write_text(CSV + "60,0,5\n40,1,1\n")
    out = tmp_path / "out.csv"
    assert "line 52: prompt_tokens" in refusal("convert", file, out, *COLUMNS)
    assert "--sort" in refusal("convert", file, out, *COLUMNS, "--drop-bad")
    assert not out.exists()
    done = run("convert", file, out, *COLUMNS, "--drop-bad", "--sort")
    assert "1 requests without sense" in done.stderr
    assert len(read_requests(out).table) == 51


def test_slice_keeps_a_span_and_a_label(tmp_path: Path) -> None:
    out = tmp_path / "part.csv"
    assert result("slice", "azure-conv", out, "--start-s", 100, "--end-s", 200)["num_requests"] > 300
    assert read_requests(out).table.arrival_s[-1] < 100
    assert result("slice", "azure-conv", out, "--max-requests", 7)["num_requests"] == 7
    assert result("slice", "agent-sessions", tmp_path / "one.jsonl", "--label", "session=3")["num_requests"] > 5
    assert "session" in refusal("slice", "agent-sessions", out, "--label", "session=none")
    assert "NAME=VALUE" in refusal("slice", "agent-sessions", out, "--label", "session")
    assert "must leave a request" in refusal("slice", "azure-conv", out, "--start-s", "1e6")


def test_scale_changes_speed_and_lengths(tmp_path: Path) -> None:
    out = tmp_path / "fast.csv"
    run("scale", "azure-conv", out, "--rate", 20, "--lengths-factor", 2)
    fast, recorded = read_requests(out).table, read_requests(path("azure-conv")).table
    assert fast.rate_per_s == pytest.approx(20)
    assert (fast.prompt_tokens == 2 * recorded.prompt_tokens).all()
    assert "got both" in refusal("scale", "azure-conv", out, "--rate", 1, "--factor", 2)
    assert "must be > 0" in refusal("scale", "azure-conv", out, "--factor", 0)
    assert "countable" in refusal("scale", "azure-conv", out, "--lengths-factor", "1e30")
    assert "span some time" in refusal("scale", "sharegpt", out, "--rate", 1)


def test_synthesise_from_flags(tmp_path: Path) -> None:
    out = tmp_path / "made.jsonl"
    lengths = ("--prompt-median", 500, "--prompt-p90", 2000, "--output-median", 50, "--output-p90", 100)
    words = ("--num", 3000, "--rate", 4, "--cv", 3, "--prefix-groups", 3, "--prefix-tokens", 128, "--seed", 5)
    run("synthesise", out, *lengths, *words)
    found = result("describe", out)
    assert found["num_requests"] == 3000
    assert found["gap_cv"] == pytest.approx(3.0, rel=0.2)
    assert found["prompt_tokens"]["p90"] == pytest.approx(2000, rel=0.15)
    assert found["sharing"]["requests_frac"] > 0.9
    before = out.read_bytes()
    run("synthesise", out, *lengths, *words)
    assert out.read_bytes() == before


def test_synthesise_like_a_trace(tmp_path: Path) -> None:
    out = tmp_path / "made.csv"
    run("synthesise", out, "--like", "azure-code", "--num", 10_000)
    found = result("describe", out)
    assert found["num_requests"] == 10_000
    assert found["gap_cv"] > 5
    assert found["output_tokens"]["p50"] == pytest.approx(13, abs=1)
    run("synthesise", out, "--like", "azure-code", "--num", 5000, "--arrivals", "poisson", "--rate", 2)
    found = result("describe", out)
    assert (found["rate_per_s"], found["gap_cv"]) == (pytest.approx(2, rel=0.1), pytest.approx(1, abs=0.1))


def test_synthesise_from_a_recipe_beside_its_trace(file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    columns = 'columns = {arrival_s = "when", prompt_tokens = "in", output_tokens = "out"}'
    recipe.write_text(f'policy = "serving/sarathi"\n[trace]\nsource = "in.csv"\nmax_requests = 5\n{columns}\n')
    out = tmp_path / "made.csv"
    assert result("synthesise", out, "--spec", recipe)["num_requests"] == 5
    recipe.write_text('source = "azure-conv"\nmax_requestz = 5\n')
    assert "max_requestz" in refusal("synthesise", out, "--spec", recipe)
    assert "must not stand beside --spec" in refusal("synthesise", out, "--spec", recipe, "--num", 5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("describe", "azure-cod"), "azure-code"),
        (("describe", "azure-code", "--plot", "x.gif"), ".png"),
        (("describe", "azure-code", "--format", "cvs"), "csv"),
        (("describe", "azure-code", "--columns", "in"), "NAME=VALUE"),
        (("convert", "azure-code", "out.txt"), "must end in .csv"),
        (("convert", "azure-code", "no/such/folder/out.csv"), "folder must exist"),
        (("synthesise", "out.csv"), "--lengths"),
        (("synthesise", "out.csv", "--lengths", "openchat"), "openchat-sharegpt4"),
        (("synthesise", "out.csv", "--lengths", "sharegpt", "--prompt-median", 5), "got both"),
        (("synthesise", "out.csv", "--prompt-median", 5), "--prompt-p90 must be given too"),
        (("synthesise", "out.csv", "--lengths", "sharegpt", "--rate", 0), "rate_per_s must be > 0"),
        (("synthesise", "out.csv", "--lengths", "sharegpt", "--arrivals", "poison"), "poison"),
        (("synthesise", "out.csv", "--like", "azure-code", "--lengths", "sharegpt"), "beside --like"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    words: tuple[object, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refusal(*words)
    assert list(tmp_path.iterdir()) == []


PAGE = Path(__file__).parents[3] / "docs" / "traces.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="needs a source checkout")
def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-log.csv").write_text("in,out\n1,2\n")
    span = {"trace_id": "1", "start_time": "2024-03-01T10:00:00Z", "end_time": "2024-03-01T10:00:01Z"}
    usage = {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 5}
    (tmp_path / "spans.jsonl").write_text(json.dumps({**span, "attributes": usage}))
    lines = re.findall(r"^    headway trace (.*?)(?:  +#.*)?$", PAGE.read_text(), re.MULTILINE)
    assert len(lines) >= 8
    for line in lines:
        done = run(*line.split())
        assert done.exit_code == 0, f"{line}: {done.output}"


@pytest.mark.skipif(not PAGE.is_file(), reason="needs a source checkout")
def test_the_recipes_of_the_page_can_be_drawn(tmp_path: Path) -> None:
    recipes = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(recipes) == 4
    for number, recipe in enumerate(recipes):
        path = tmp_path / f"{number}.toml"
        path.write_text(recipe)
        done = run("synthesise", tmp_path / "out.jsonl", "--spec", path)
        assert done.exit_code == 0, done.output


def test_help_of_the_verbs_needs_no_numbers() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from headway.app.cli.root import app\n"
        "for verb in ('describe', 'synthesise'):\n"
        "    assert CliRunner().invoke(app, ['trace', verb, '--help']).exit_code == 0\n"
        "print([m for m in ('numpy', 'matplotlib', 'msgspec') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() in ("[]", "['msgspec']")
