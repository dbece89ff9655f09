from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.app.tuning.database import SCHEMA, Database
from headway.app.tuning.folder import FILE, JOB, FolderInUse, StateFolder, default_folder, new_id
from headway.app.tuning.records import (
    CheckpointRecord,
    EventRecord,
    FileRecord,
    JobRecord,
    ModelRecord,
    StepRecord,
    Trouble,
    Wish,
)
from headway.app.tuning.store import Books, Store
from headway.app.tuning.tables import Page
from headway.app.tuning.troubles import DiskFull, NameTaken, UnknownCursor
from headway.core.errors import ConfigError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "books.sqlite")
    yield store
    store.close()


def a_file(number: int, owner: str = "me", **more: object) -> FileRecord:
    fields = {"id": f"file-{number}", "filename": "x.jsonl", "purpose": "fine-tune", "bytes": 9, "created_at": 5}
    return msgspec.convert({**fields, "owner": owner, **more}, FileRecord)


def a_job(number: int, owner: str = "me", **more: object) -> JobRecord:
    fields = {"id": f"ftjob-{number}", "owner": owner, "name": f"ft:m:{number}", "base": "m", "training_file": "file-1"}
    return msgspec.convert({**fields, "created_at": 5, "seed": 1, **more}, JobRecord)


def test_records_come_back_as_they_went_in(store: Store) -> None:
    job = a_job(
        1,
        wish=Wish(n_epochs=2, fields={"rank": 4}),
        metadata={"a": "b"},
        spec={"job": "ftjob-1"},
        trouble=Trouble("x", "It broke.", "training_file"),
    )
    store.now(lambda books: books.jobs.add(job))
    store.now(lambda books: books.files.add(a_file(1)))
    assert store.now(lambda books: books.jobs.get("ftjob-1", "me")) == job
    assert store.now(lambda books: books.files.get("file-1")) == a_file(1)
    model = ModelRecord(
        name="ft:m:1", owner="me", job=job.id, base="m", fits="x", adapter="a", folder="f", created_at=1
    )
    store.now(lambda books: books.models.add(model))
    assert store.now(lambda books: books.models.every()) == [model]
    store.now(lambda books: books.models.drop("ft:m:1"))
    assert store.now(lambda books: books.models.every()) == []


def test_what_belongs_to_others_is_not_there(store: Store) -> None:
    store.now(lambda books: (books.files.add(a_file(1, "you")), books.jobs.add(a_job(1, "you"))))
    assert store.now(lambda books: books.files.get("file-1", "me")) is None
    assert store.now(lambda books: books.jobs.get("ftjob-1", "me")) is None
    assert store.now(lambda books: books.files.listing("me", Page(limit=5))).records == []
    with pytest.raises(UnknownCursor):
        store.now(lambda books: books.files.listing("me", Page(limit=5, after="file-1")))


@given(num=st.integers(0, 25), limit=st.integers(1, 9), ascending=st.booleans(), foreign=st.sets(st.integers(0, 24)))
def test_pages_put_together_are_the_list(num: int, limit: int, ascending: bool, foreign: set[int]) -> None:
    store = Store(Path(":memory:"))
    for number in range(num):
        store.now(lambda books, n=number: books.files.add(a_file(n, "you" if n in foreign else "me")))  # type: ignore[misc]
    seen: list[str] = []
    more = True
    while more:
        page = Page(limit=limit, after=seen[-1] if seen else "", ascending=ascending)
        part = store.now(lambda books, page=page: books.files.listing("me", page))  # type: ignore[misc]
        assert len(part.records) <= limit
        seen += [file.id for file in part.records]
        more = part.has_more
    mine = [f"file-{number}" for number in range(num) if number not in foreign]
    assert seen == (mine if ascending else mine[::-1])
    store.close()


def test_jobs_are_found_by_their_notes(store: Store) -> None:
    notes: list[dict[str, str] | None] = [None, {"a": "1"}, {"a": "1", "b'\".$": "2"}, {"a": "2"}]
    for number, note in enumerate(notes):
        store.now(lambda books, n=number, m=note: books.jobs.add(a_job(n, metadata=m)))  # type: ignore[misc]

    def found(metadata: dict[str, str] | None) -> list[str]:
        page = Page(limit=9)
        return [job.id for job in store.now(lambda books: books.jobs.page("me", page, metadata)).records]

    assert found(None) == ["ftjob-3", "ftjob-2", "ftjob-1", "ftjob-0"]
    assert found({"a": "1"}) == ["ftjob-2", "ftjob-1"]
    assert found({"a": "1", "b'\".$": "2"}) == ["ftjob-2"]
    without = store.now(lambda books: books.jobs.without_metadata("me", Page(limit=9)))
    assert [job.id for job in without.records] == ["ftjob-0"]


def test_two_live_jobs_cannot_make_one_name(store: Store) -> None:
    store.now(lambda books: books.jobs.add(a_job(1)))
    with pytest.raises(NameTaken, match="ftjob-1"):
        store.now(lambda books: books.jobs.add(a_job(2, name="ft:m:1")))
    store.now(lambda books: books.jobs.put(a_job(1, status="failed")))
    store.now(lambda books: books.jobs.add(a_job(2, name="ft:m:1")))
    assert [job.id for job in store.now(lambda books: books.jobs.live())] == ["ftjob-2"]
    assert store.now(lambda books: books.jobs.counts()) == {"failed": 1, "validating_files": 1}


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def work(books: Books) -> None:
        books.files.add(a_file(1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.now(work)
    assert store.now(lambda books: books.files.every_id()) == set()


def test_steps_are_told_once_and_put_together(store: Store) -> None:
    told = [StepRecord(step=1, train_loss=2.0), StepRecord(step=1, valid_loss=3.0), StepRecord(step=1, train_loss=2.0)]
    assert [store.now(lambda books, s=step: books.steps.note("j", s)) for step in told] == [True, True, False]  # type: ignore[misc]
    assert store.now(lambda books: books.steps.of("j")) == [StepRecord(step=1, train_loss=2.0, valid_loss=3.0)]
    checkpoint = CheckpointRecord(id="c", job="j", created_at=1, step=1)
    again = CheckpointRecord(id="d", job="j", created_at=1, step=1)
    assert store.now(lambda books: books.checkpoints.add(checkpoint))
    assert not store.now(lambda books: books.checkpoints.add(again))


def test_events_are_those_of_one_job(store: Store) -> None:
    for job in ("a", "b"):
        store.now(lambda books, j=job: books.events.add(j, EventRecord(id=f"e-{j}", created_at=1, message="m")))  # type: ignore[misc]
    assert [event.id for event in store.now(lambda books: books.events.listing("a", Page(limit=5))).records] == ["e-a"]


def test_a_full_disk_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "books.sqlite")
    store.now(lambda books: books.files.add(a_file(1)))
    store._database.execute("PRAGMA max_page_count = 1")  # SQLite takes the least it can, and is full from here on

    def fill() -> None:
        for number in range(2, 2000):
            store.now(lambda books, n=number: books.files.add(a_file(n, filename="x" * 500)))  # type: ignore[misc]

    with pytest.raises(DiskFull, match="full"):
        fill()
    (last,) = store.now(lambda books: books.files.listing("me", Page(limit=1))).records
    store._database.execute("PRAGMA max_page_count = 100000")
    number = int(last.id.partition("-")[2]) + 1
    store.now(lambda books: books.files.add(a_file(number)))
    assert len(store.now(lambda books: books.files.every_id())) == number
    store.close()


def test_what_is_written_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from headway.app.tuning.records import FileRecord\n"
        "from headway.app.tuning.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for n in range(10):\n"
        "    file = FileRecord(id=str(n), owner='me', filename='', purpose='', bytes=0, created_at=0)\n"
        "    store.now(lambda books: books.files.add(file))\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = tmp_path / "books.sqlite"
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        os.kill(process.pid, signal.SIGKILL)
    store = Store(path)
    assert len(store.now(lambda books: books.files.every_id())) == 10
    store.close()


def test_a_file_that_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    path.write_bytes(b"what is this?" * 100)
    with pytest.raises(ConfigError, match="readable database"):
        Database(path)
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    connection.close()
    with pytest.raises(ConfigError, match="version"):
        Database(path)


def test_a_folder_belongs_to_one_server_at_a_time(tmp_path: Path) -> None:
    first = StateFolder(tmp_path / "state")
    with pytest.raises(FolderInUse, match=str(os.getpid())):
        StateFolder(tmp_path / "state")
    first.release()
    StateFolder(tmp_path / "state").release()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state_dir must be a folder"):
        StateFolder(tmp_path / "file" / "state")


def test_what_a_cut_off_server_left_behind_is_removed(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    kept, lost, job, lost_job = new_id(FILE), new_id(FILE), new_id(JOB), new_id(JOB)
    for path in (folder.uploads / lost, folder.files / kept, folder.files / lost, folder.files / "somebody's"):
        path.write_text("x")
    for name in (job, lost_job, "somebody's"):
        (folder.jobs / name / "data").mkdir(parents=True)
    folder.tidy({kept}, {job})
    assert {path.name for path in folder.files.iterdir()} == {kept, "somebody's"}
    assert {path.name for path in folder.jobs.iterdir()} == {job, "somebody's"}
    assert list(folder.uploads.iterdir()) == []
    folder.release()


def test_the_folder_nobody_named() -> None:
    assert default_folder({"XDG_STATE_HOME": "/var/state"}) == Path("/var/state/headway")
    assert default_folder({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/headway"
    assert default_folder({}) == Path.home() / ".local/state/headway"
