"""What survives: the end of the engine, the end of the server, a full disk, a folder that is in use."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest

from app.server.running import Running, running
from app.tuning.serving import client_of, create, tuning, until, until_step, upload
from headway.app.tuning import dispatch
from headway.app.tuning.extension import NoTuning, TuningExtension, extend
from headway.app.tuning.folder import StateFolder
from headway.app.tuning.store import Books, Store
from headway.app.tuning.troubles import DiskFull
from headway.core.errors import ConfigError


def texts(ai: openai.OpenAI, job: str) -> list[str]:
    return [event.message for event in ai.fine_tuning.jobs.list_events(job, limit=500)][::-1]


def until_failed(ai: openai.OpenAI, job: str) -> openai.types.fine_tuning.FineTuningJob:
    end_s = time.monotonic() + 30
    while (found := ai.fine_tuning.jobs.retrieve(job)).status != "failed":
        assert time.monotonic() < end_s, found
        time.sleep(0.05)
    return found


def until_ready(server: Running) -> None:
    end_s = time.monotonic() + 20
    with httpx.Client(base_url=server.url) as client:
        while client.get("/ready").status_code != 200:
            assert time.monotonic() < end_s
            time.sleep(0.02)


def test_a_job_goes_on_when_the_engine_died(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path, {"tune_die": 15}) as server, client_of(server) as ai:
        job = create(ai, suffix="x")
        done = until(ai, job.id, "succeeded")
        assert done.trained_tokens == 2000
        said = texts(ai, job.id)
        assert sum("The engine ended: its process ended (killed by SIGKILL)" in text for text in said) == 1
        assert "Training goes on after step 10 of 20." in said
        steps = [text.split(":")[0] for text in said if text.startswith("Step ")]
        assert steps == [f"Step {number}/20" for number in range(1, 21)]  # each told once
        assert ai.completions.create(model="ft:parrot:x", prompt="the dog").choices[0].text == "the dog"


def test_a_job_that_kills_the_engine_again_and_again_fails(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path, {"tune_die": 15, "tune_deaths": 99}) as server, client_of(server) as ai:
        job = create(ai)
        failed = until_failed(ai, job.id)
        assert failed.error is not None
        assert failed.error.code == "engine_lost"
        until_ready(server)
        assert ai.completions.create(model="parrot", prompt="the dog").choices[0].text == "the dog"
        restarts = server.life.service.engine.num_restarts
        time.sleep(0.3)
        assert server.life.service.engine.num_restarts == restarts  # it is left in peace


def test_models_outlive_the_engine(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        until(ai, create(ai, suffix="x").id, "succeeded")
        pid = server.life.service.engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        end_s = time.monotonic() + 10
        while server.life.service.engine.pid == pid:
            assert time.monotonic() < end_s
        until_ready(server)
        ready = server.life.service.engine.ready
        assert ready is not None
        assert [name.partition("@")[0] for name in ready.adapters] == ["ft:parrot:x"]
        assert [model.id for model in ai.models.list()] == ["parrot", "ft:parrot:x"]


def test_jobs_files_and_models_outlive_the_server(model: Path, tmp_path: Path) -> None:
    manners = {"tune_hold": 15}
    with tuning(model, tmp_path, {}) as server, client_of(server) as ai:
        done = until(ai, create(ai, suffix="done").id, "succeeded")
    with tuning(model, tmp_path, manners) as server, client_of(server) as ai:
        running_job, waiting = create(ai, suffix="on"), create(ai, suffix="next")
        until_step(ai, running_job.id, 15)
        until(ai, waiting.id, "queued")
        paused = create(ai, suffix="later")
        ai.fine_tuning.jobs.pause(paused.id)
    with tuning(model, tmp_path, {}) as server, client_of(server) as ai:
        assert ai.fine_tuning.jobs.retrieve(done.id) == done
        assert until(ai, running_job.id, "succeeded").trained_tokens == 2000
        assert "Training goes on after step 10 of 20." in texts(ai, running_job.id)
        until(ai, waiting.id, "succeeded")
        assert ai.fine_tuning.jobs.retrieve(paused.id).status == "paused"
        names = ["parrot", "ft:parrot:done", "ft:parrot:on", "ft:parrot:next"]
        assert [model.id for model in ai.models.list()] == names
        assert ai.completions.create(model="ft:parrot:done", prompt="the dog").choices[0].text == "the dog"
        assert len(list(ai.files.list())) == 7


def test_models_of_another_base_or_in_pieces_are_not_offered(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        jobs = [until(ai, create(ai, suffix=name).id, "succeeded").id for name in ("whole", "cut", "other")]
    weights = tmp_path / "jobs" / jobs[1] / "run" / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with sqlite3.connect(tmp_path / "tuning.sqlite") as books:
        books.execute(
            'UPDATE models SET record = replace(record, \'"fits":\', \'"fits":"x","was":\') WHERE name LIKE \'%other\''
        )
    books.close()
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        assert [model.id for model in ai.models.list()] == ["parrot", "ft:parrot:whole"]
    assert "ft:parrot:cut is not offered" in caplog.text


def test_a_file_that_is_gone_is_no_file(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        file, other = upload(ai), upload(ai)
    (tmp_path / "files" / file).unlink()
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        assert [file.id for file in ai.files.list()] == [other]


def test_a_full_disk_stops_nothing_that_can_wait(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RETRY_S", 0.05)
    with tuning(model, tmp_path, {"tune_hold": 5, "tune_step_s": 0.01}) as server, client_of(server) as ai:
        held = create(ai)
        until_step(ai, held.id, 5)
        full, do = True, Store.now

        def now(store: Store, work: Callable[[Books], Any]) -> Any:
            def with_a_full_disk(books: Books) -> Any:
                result = work(books)
                if full and books.jobs._database._connection.total_changes != changes:
                    raise DiskFull("The disk is full.")
                return result

            changes = store._database._connection.total_changes
            return do(store, with_a_full_disk)

        monkeypatch.setattr(Store, "now", now)
        for attempt in (
            lambda: upload(ai),
            lambda: create(ai, training_file=held.training_file),
            lambda: ai.fine_tuning.jobs.cancel(held.id),
            lambda: ai.files.delete(held.training_file),
        ):
            with pytest.raises(openai.InternalServerError) as told:
                attempt()
            assert (told.value.status_code, told.value.code) == (507, "disk_full")
        assert ai.completions.create(model="parrot", prompt="the dog").choices[0].text == "the dog"
        assert ai.fine_tuning.jobs.retrieve(held.id).status == "running"
        pid = server.life.service.engine.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)  # that is to be written down, too
        until_ready(server)
        full = False
        ai.fine_tuning.jobs.cancel(held.id)
        assert len(list(ai.files.list())) == 1


def test_results_that_find_no_room_come_later(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "RETRY_S", 0.05)
    tries = []

    def full(path: Path, data: bytes) -> int:
        tries.append(path)
        if len(tries) < 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, data)

    write_bytes = Path.write_bytes
    with tuning(model, tmp_path) as server, client_of(server) as ai:
        monkeypatch.setattr(Path, "write_bytes", full)
        done = until(ai, create(ai).id, "succeeded")
        assert len(tries) == 4
        assert len(ai.files.content(done.result_files[0]).text.splitlines()) == 21
        assert len(list((tmp_path / "files").iterdir())) == 2


def test_steps_that_nobody_told_are_found_in_the_curve(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path, {"tune_mute": [3, 4, 5, 20]}) as server, client_of(server) as ai:
        done = until(ai, create(ai).id, "succeeded")
        rows = ai.files.content(done.result_files[0]).text.splitlines()
        assert [row.split(",")[0] for row in rows[1:]] == [str(step) for step in range(1, 21)]
        assert done.trained_tokens == 2000
        assert "Step 4/20: training loss=0.5000" in texts(ai, done.id)


def test_whoever_follows_a_job_is_told_when_the_server_ends(model: Path, tmp_path: Path) -> None:
    lines: list[str] = []

    def follow(url: str, job: str) -> None:
        path = f"/v1/fine_tuning/jobs/{job}/events?stream=true"
        with httpx.Client(base_url=url, timeout=20) as client, client.stream("GET", path) as answer:
            lines.extend(line for line in answer.iter_lines() if line)

    with tuning(model, tmp_path, {"tune_hold": 5}) as server, client_of(server) as ai:
        job = create(ai)
        until_step(ai, job.id, 5)
        follower = threading.Thread(target=follow, args=(server.url, job.id))
        follower.start()
        end_s = time.monotonic() + 10
        while len(lines) < 9:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        assert follower.is_alive()
    follower.join(10)
    assert (len(lines), lines[-1]) == (10, "data: [DONE]")


def test_two_servers_do_not_share_a_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with running(model, extend=extend, tuning=True) as first:
        assert isinstance(first.life.service.extension, TuningExtension)
        assert (tmp_path / "headway" / "tuning.sqlite").is_file()
        with running(model, extend=extend, tuning=True) as second, httpx.Client(base_url=second.url) as client:
            assert isinstance(second.life.service.extension, NoTuning)
            for answer in (client.get("/v1/files"), client.post("/v1/fine_tuning/jobs", json={})):
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "tuning_off")
                assert "--state-dir" in answer.json()["error"]["message"]
            assert client.get("/ready").status_code == 200
        named: dict[str, Any] = {"tuning": True, "state_dir": str(tmp_path / "headway")}
        with pytest.raises(ConfigError, match="one server's own"), running(model, extend=extend, **named):
            pass
    StateFolder(tmp_path / "headway").release()  # it was given back


def test_without_fine_tuning_there_are_no_routes(model: Path) -> None:
    with running(model) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v1/files").status_code == 404
