"""What vLLM says when it does not start, told in one sentence."""

from __future__ import annotations

from headway.app.vllm.trouble import LAST_LINES, Trouble

WORKER = "(VllmWorker-0 pid=7) ERROR 11-21 17:26:15 [multiproc_executor.py:953] "
LOG = f"""(APIServer pid=1) INFO 11-21 17:24:33 [api_server.py:9] Starting. Error: none yet
{WORKER}WorkerProc failed to start.
{WORKER}Traceback (most recent call last):
{WORKER}  File "cpu_worker.py", line 83, in __init__
{WORKER}    raise ValueError(
{WORKER}ValueError: Too little memory.
(EngineCore pid=5) ERROR 11-21 17:26:24 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=5) ERROR 11-21 17:26:24 [core.py:1510] Exception: See root cause above.
RuntimeError: Engine core initialization failed.
"""


def read(log: str) -> Trouble:
    trouble = Trouble()
    for line in log.splitlines():
        trouble.read(line)
    return trouble


def test_the_first_error_is_the_cause_and_what_follows_from_it_is_left_out() -> None:
    trouble = read(LOG)
    assert trouble.cause == "ValueError: Too little memory."
    assert trouble.lines[0] == "Traceback (most recent call last):"
    assert trouble.lines[-1] == trouble.cause
    assert len(trouble.lines) == 4


def test_a_flag_that_vllm_does_not_know_is_the_cause() -> None:
    trouble = read("usage: entry.py [-h]\nentry.py: error: unrecognized arguments: --foo\n")
    assert trouble.cause == "error: unrecognized arguments: --foo"


def test_without_an_error_the_last_lines_stand_for_it() -> None:
    trouble = read("\n".join(f"line {number}" for number in range(100)))
    assert trouble.cause == ""
    assert trouble.lines == [f"line {number}" for number in range(100 - LAST_LINES, 100)]
