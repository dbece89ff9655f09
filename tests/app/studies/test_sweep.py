from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from headway.app.studies import sweep as module
from headway.app.studies.cache import FILE, Cache
from headway.app.studies.choice import Choice
from headway.app.studies.job import NUM_POINTS, Job, finish, play
from headway.app.studies.sweep import sweep
from headway.core.errors import ConfigError, EngineError, PolicyFailed


def job(seed: int = 0, id: str = "counter/even", **setting: Any) -> Job:
    return Job(family="counter", setting=setting, policy=Choice(id=id), seed=seed)


def told(jobs: list[Job], **options: Any) -> list[tuple[int, dict[str, float]]]:
    found = sweep(jobs, **options)
    return [(r.report.seed, {k: v for k, v in r.report.numbers.items() if k != "pid"}) for r in found]


def test_a_result_keeps_the_quantiles_of_the_works() -> None:
    outcome, result = play(job()), finish(job())
    curve = result.quantiles["e2e_s"]
    assert len(curve) == NUM_POINTS
    assert curve[NUM_POINTS // 2] == pytest.approx(np.quantile(outcome.works["e2e_s"], 0.5))
    assert set(result.quantiles) == {"queue_s", "e2e_s"}
    assert result.wall_s > 0


def test_processes_give_what_one_alone_gives_in_the_order_of_the_jobs() -> None:
    jobs = [job(seed, slow_s=0.2 if seed == 0 else 0.0) for seed in range(5)]
    seen: list[int] = []
    results = sweep(jobs, num_workers=2, on_result=lambda job, _: seen.append(job.seed))
    pids = {result.report.numbers["pid"] for result in results}
    assert os.getpid() not in pids
    assert len(pids) == 2
    assert sorted(seen) == [0, 1, 2, 3, 4]
    assert seen != sorted(seen)  # the slow one came last, and is first in the results
    assert told(jobs, num_workers=1) == told(jobs, num_workers=2)
    assert not multiprocessing.active_children()


def test_short_work_stays_here_and_long_work_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "num_cores", lambda: 2)
    here = {result.report.numbers["pid"] for result in sweep([job(seed) for seed in range(4)])}
    assert here == {os.getpid()}
    monkeypatch.setattr(module, "WORTH_S", 0.05)
    moved = [result.report.numbers["pid"] for result in sweep([job(seed, slow_s=0.1) for seed in range(4)])]
    assert moved[0] == os.getpid()
    assert os.getpid() not in moved[1:]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_names_the_job(num_workers: int) -> None:
    with pytest.raises(PolicyFailed, match="counter/bad at load 1, seed 1: counter/bad: failed on purpose"):
        sweep([job(0), job(1, "counter/bad")], num_workers=num_workers)
    assert not multiprocessing.active_children()


def test_a_mistake_in_code_comes_through_with_a_note() -> None:
    with pytest.raises(TypeError) as caught:
        finish(job(seed="no number"))  # type: ignore[arg-type]
    assert "while playing" in caught.value.__notes__[0]


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_told_of() -> None:
    with pytest.raises(EngineError, match="a worker process died"):
        list(module.spread(die, [1, 2], 2))


def test_who_stops_listening_stops_the_work() -> None:
    results = module.spread(finish, [job(0), *(job(seed, slow_s=60.0) for seed in range(1, 6))], 2)
    next(results)
    results.close()
    assert not multiprocessing.active_children()


def test_finished_jobs_are_not_played_again(tmp_path: Path) -> None:
    jobs = [job(seed) for seed in range(3)]
    first = Cache(tmp_path / "new")
    before = sweep(jobs[:2], cache=first)
    first.close()
    again = Cache(tmp_path / "new")
    assert len(again) == 2
    after = sweep(jobs, cache=again)
    assert after[:2] == before
    assert len((tmp_path / "new" / FILE).read_text().splitlines()) == 3
    again.close()


def test_a_line_cut_short_is_played_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    sweep([job(0), job(1)], cache=cache)
    cache.close()
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-40])
    again = Cache(tmp_path)
    assert (again.get(job(0)) is not None, again.get(job(1))) == (True, None)
    sweep([job(0), job(1)], cache=again)
    again.close()
    with closing(Cache(tmp_path)) as third:
        assert len(third) == 2


def test_what_an_error_interrupts_is_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(PolicyFailed):
        sweep([job(0), job(1, "counter/bad")], cache=cache)
    cache.close()
    with closing(Cache(tmp_path)) as again:
        assert len(again) == 1


def test_a_key_changes_with_all_that_matters(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("a")
    one = job(trace={"source": str(file)})
    keys = {one.key, job(1).key, job().key, msgspec.structs.replace(one, load=2.0).key}
    keys.add(msgspec.structs.replace(one, policy=Choice(id="counter/even", params={"run_s": 1.0})).key)
    assert len(keys) == 5
    assert msgspec.structs.replace(one, policy=Choice(id="counter/even", name="x"), where="y").key == one.key
    file.write_text("ab")
    assert one.key not in keys


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--resume"):
        Cache(tmp_path / "file")


INTERRUPTED = """
import sys
from headway.app.studies.choice import Choice
from headway.app.studies.job import Job
from headway.app.studies.sweep import sweep

def main():
    jobs = [Job(family="counter", setting={"slow_s": slow_s}, policy=Choice(id="counter/even"), seed=seed)
            for seed, slow_s in enumerate([0.0, 60.0, 60.0])]
    sweep(jobs, num_workers=2, on_result=lambda job, result: print(int(result.report.numbers["pid"]), flush=True))

if __name__ == "__main__":
    main()
"""


def test_ctrl_c_ends_all_workers(tmp_path: Path, shop_folder: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(shop_folder), *sys.path])}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())  # the first result is here, the others are under way
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1  # that of the parent, none of a worker
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.slow
def test_ray_gives_what_one_alone_gives(shop_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(shop_folder), *filter(None, sys.path)]))
    jobs = [job(seed) for seed in range(4)]
    over_ray = sweep(jobs, ray_address="local")
    with pytest.raises(PolicyFailed, match="counter/bad at load 1, seed 0"):
        sweep([job(0, "counter/bad"), job(1)], ray_address="local")
    alone = sweep(jobs, num_workers=1)
    assert [r.quantiles for r in over_ray] == [r.quantiles for r in alone]
    assert os.getpid() not in {r.report.numbers["pid"] for r in over_ray}
