from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.tuning.serving import GOOD, LINE
from headway.app.server.lifecycle import _loop_factory
from headway.app.tuning.child import COMMAND, MOST_AT_ONCE, ChildPreparer
from headway.app.tuning.errand import Errand, in_words
from headway.app.tuning.reading import bring
from headway.app.tuning.records import JobRecord
from headway.core.errors import EngineError
from headway.engines.tuning.tokens import Examples

JOB = JobRecord(id="j", owner="", name="n", base="b", training_file="t", validation_file="v", created_at=0, seed=0)


def preparer(folder: Path, model: Path, context_tokens: int = 100) -> ChildPreparer:
    return ChildPreparer(lambda id: folder / id, str(model), lambda: context_tokens)


def test_files_become_tokens(model: Path, tmp_path: Path) -> None:
    for name in ("t", "v"):
        (tmp_path / name).write_bytes(GOOD[1])
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:  # the loop that a server runs in
        made = runner.run(preparer(tmp_path, model).prepare(JOB, tmp_path / "data"))
    assert made.trouble is None
    assert (made.counts["examples"], made.counts["validation_examples"]) == (20, 20)
    assert len(Examples(made.tokens)) == len(Examples(made.valid_tokens)) == 20
    assert asyncio.run(preparer(tmp_path, model).faults(tmp_path / "t")) == []


@pytest.mark.parametrize(("file", "text", "context_tokens", "code", "says"), [
    ("t", LINE * 3, 2, "invalid_training_file", "line 1: must have at most 2 tokens"),
    ("v", LINE + "{", 99, "invalid_validation_file", "line 2: must be one JSON object"),
    ("v", None, 99, "file_not_found", "The validation file was deleted."),
])  # fmt: skip
def test_what_cannot_be_trained_on_is_told(
    model: Path, tmp_path: Path, file: str, text: str | None, context_tokens: int, code: str, says: str
) -> None:
    for name in ("t", "v"):
        if name != file or text is not None:
            (tmp_path / name).write_text(text if name == file and text is not None else LINE)
    paths = {"training": str(tmp_path / "t"), "validation": str(tmp_path / "v"), "folder": str(tmp_path / "data")}
    made = bring(Errand(model=str(model), context_tokens=context_tokens, **paths))
    assert made.trouble is not None
    assert (made.trouble.code, made.trouble.param) == (code, "training_file" if file == "t" else "validation_file")
    assert says in made.trouble.message


def test_a_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(LINE)
    made = bring(Errand(training=str(tmp_path / "t"), folder=str(tmp_path / "data"), model=str(tmp_path)))
    assert made.trouble is not None
    assert (made.trouble.code, made.trouble.param) == ("invalid_model", "model")


def test_a_full_disk_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").write_text(LINE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    made = bring(Errand(training=str(tmp_path / "t"), folder=str(tmp_path / "d"), model=str(model), context_tokens=99))
    assert made.trouble is not None
    assert made.trouble.code == "disk_full"


def test_few_processes_read_at_the_same_time(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys, time; here = pathlib.Path(sys.argv[1]); mine = here / str(os.getpid()); mine.touch();"
        'num = len(list(here.iterdir())); time.sleep(0.1); mine.unlink(); print(\'{"faults": ["%d"]}\' % num)'
    )
    reader = ChildPreparer(lambda _: tmp_path, "m", lambda: 9, [sys.executable, "-c", script, str(tmp_path)])

    async def all_at_once() -> list[list[str]]:
        return await asyncio.gather(*[reader.faults(tmp_path) for _ in range(6)])

    assert max(int(faults[0]) for faults in asyncio.run(all_at_once())) <= MOST_AT_ONCE


def test_few_faults_are_put_into_words() -> None:
    assert in_words(["one.", "two"]) == "one. two."
    assert in_words(["x."] * 12).endswith("x. That is not all: at least 12 faults were found.")


def test_the_process_ends_with_who_sent_it(tmp_path: Path) -> None:
    fifo = tmp_path / "t"
    os.mkfifo(fifo)  # opening it takes until somebody writes
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"training": str(fifo)}).encode() + b"\n")
    process.stdin.close()
    assert process.wait(20) == 1
    assert process.stdout is not None
    process.stdout.close()


def test_a_process_that_dies_or_is_not_wanted_any_more(tmp_path: Path, model: Path) -> None:
    async def main() -> None:
        dying = ChildPreparer(lambda _: tmp_path, "", lambda: 1, (sys.executable, "-c", "import os; os.abort()"))
        with pytest.raises(EngineError, match="status -6"):
            await dying.faults(tmp_path)
        code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        slow = ChildPreparer(lambda _: tmp_path, "", lambda: 1, (sys.executable, "-c", code))
        task = asyncio.create_task(slow.prepare(JOB, tmp_path))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    asyncio.run(main())


def test_its_end_is_quiet(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(LINE)
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps({"training": str(tmp_path / "t")}).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.read() == b"{}"
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_a_look_at_lines_loads_no_model(tmp_path: Path) -> None:
    code = "import sys, headway.app.tuning.reading; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    start_s = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]", time.monotonic() - start_s
