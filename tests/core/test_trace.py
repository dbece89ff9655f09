"""The trace: what was said is what is read, and it can be played to another policy."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from headway.core import catalogue
from headway.core.actions import Action, Move, Preempt, Reject, Set, Start, Wake
from headway.core.drivers import simulate
from headway.core.errors import TraceError
from headway.core.events import Arrived, Changed, Event, Failed, Finished, Progressed, Refused, Started, Woke
from headway.core.nouns import Resource, Work
from headway.core.session import Session
from headway.core.trace import FLUSH_BYTES, FileTrace, MemoryTrace, Record, TraceHeader, read_header, read_trace
from headway.core.view import Board
from headway.policies.serving.nouns import Piece, Request, RequestArrived, RequestFinished, Step, StepDone, TuneUnit
from headway.sim.serving.small import small_world
from twin.machines import MachineWorld, ShortestFirst, draw, machines

WORK = Work(id="w", kind="job", arrival_s=0.5, needs={"slot": 1.0}, size=3.0, after=("v",))
REQUEST = Request(id="r", arrival_s=0.0, prompt_tokens=3, max_tokens=4, hashes=(1, -(1 << 62)), ttft_s=0.5)
RECORDS: list[Record] = [
    Arrived(at_s=0.5, work=WORK),
    Started(at_s=1.0, id="w"),
    Progressed(at_s=1.5, id="w", done=0.25),
    Finished(at_s=2.0, id="w"),
    Failed(at_s=2.0, id="w", why="broke"),
    Changed(at_s=2.0, resource=Resource(id="m", kind="node", capacity={"slot": 2.0}), up=False),
    Woke(at_s=3.0, tag="t"),
    Refused(at_s=3.0, action="Start", id="w", why="no"),
    Start("w", {"m": {"slot": 1.0}}),
    Preempt("w", "swap"),
    Reject("w", "full"),
    Move("w", "m"),
    Set("lr", 0.1, "job"),
    Wake(4.0, "t"),
    RequestArrived(at_s=4.0, work=REQUEST),
    StepDone(at_s=5.0, instance="gpu", step_s=1.0, num_tokens=3, num_runs=2),
    RequestFinished(at_s=5.0, id="r", reason="stop", output_tokens=2, queue_s=0.1, ttft_s=0.2, tpot_s=0.3, e2e_s=0.4),
    Step(
        instance="gpu",
        pieces=(Piece("r", 3, (0, 2)),),
        speculate={"r": 2},
        share=0.5,
        tune=(TuneUnit("j", 1, (0, 1), "backward"),),
        repeat=3,
    ),
]


def record(path: Path, records: list[Record]) -> Path:
    with FileTrace(path, TraceHeader(family="test", policy="p", seed=7)) as trace:
        for item in records:
            trace.write(item)
    return path


def test_every_kind_of_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = record(tmp_path / "t.jsonl", RECORDS)
    assert list(read_trace(path)) == RECORDS
    assert read_header(path) == TraceHeader(family="test", policy="p", seed=7)


def test_floats_survive_exactly(tmp_path: Path) -> None:
    times: list[Record] = [Woke(at_s=value) for value in (0.1 + 0.2, 1e-300, 123456789.123456789)]
    assert list(read_trace(record(tmp_path / "t.jsonl", times))) == times


def test_a_last_line_cut_short_ends_the_trace(tmp_path: Path) -> None:
    path = record(tmp_path / "t.jsonl", RECORDS)
    path.write_bytes(path.read_bytes()[:-20])
    assert list(read_trace(path)) == RECORDS[:-1]


@pytest.mark.parametrize("line", ['{"type":"NoSuchThing","at_s":1.0}', '{"type":"Woke"}', "not json", ""])
def test_a_bad_line_is_an_error_with_its_number(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    lines = record(path, RECORDS[:2]).read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    read = read_trace(path)
    assert next(read) == RECORDS[0]
    with pytest.raises(TraceError, match=r"t\.jsonl:3: every line must be a known event or action"):
        next(read)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the first line must be a trace header"),
        ('{"type":"Woke","at_s":1.0}\nx', "the version must be 1|must be a trace header"),
        ("\x7fELF", "the first line must be a trace header"),
        ('{"headway_trace":99}\n', "the version must be 1, got 99. Record it again"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    with pytest.raises(TraceError, match=said):
        list(read_trace(path))


def test_the_file_is_written_in_large_pieces_and_whole_at_the_end(tmp_path: Path) -> None:
    trace = FileTrace(tmp_path / "t.jsonl")
    count = 0
    while trace.path.stat().st_size == 0:
        trace.write(Woke(at_s=float(count)))
        count += 1
        assert len(trace._buffer) < 2 * FLUSH_BYTES
    trace.close()
    trace.close()
    assert sum(1 for _ in read_trace(trace.path)) == count


def test_memory_keeps_the_latest() -> None:
    trace = MemoryTrace(limit=3)
    for n in range(5):
        trace.write(Woke(at_s=float(n)))
    trace.write(Wake(9.0))
    assert list(trace.records) == [Woke(at_s=3.0), Woke(at_s=4.0), Wake(9.0)]
    assert trace.num_dropped == 3
    assert trace.actions == [Wake(9.0)]


def replay(path: Path, policy: ShortestFirst) -> list[tuple[list[Action], list[Action]]]:
    """Play a file's events to a policy on a board of its own; returns what was decided then and what is now."""
    board = Board(machines(2, 2.0))
    session = Session(policy, board)
    decided: list[tuple[list[Action], list[Action]]] = []
    records = list(read_trace(path))
    for index, item in enumerate(records):
        if not isinstance(item, Event):
            continue
        board.now_s = item.at_s
        if isinstance(item, Arrived):
            board.add(item.work)
        elif isinstance(item, Finished | Failed):
            board.finish(item.id)
        then = [a for a in itertools.takewhile(lambda r: isinstance(r, Action), records[index + 1 :])]
        decided.append((then, list(session.feed(item))))  # type: ignore[arg-type]
        for action in decided[-1][0]:
            if not isinstance(action, Wake):
                assert board.apply(action) is None
    return decided


def test_a_replayed_trace_gives_the_same_decisions(tmp_path: Path) -> None:
    world, policy = MachineWorld(draw(3, 30), machines(2, 2.0)), ShortestFirst()
    with FileTrace(tmp_path / "run.jsonl") as trace:
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
    decided = replay(trace.path, ShortestFirst())
    assert sum(len(then) for then, _ in decided) > 30
    assert all(then == now for then, now in decided)


def test_another_policy_can_be_asked_what_it_would_have_done(tmp_path: Path) -> None:
    class Idle(ShortestFirst):
        def decide(self, event: Event, view: Board) -> list[Action]:  # type: ignore[override]
            return []

    world, policy = MachineWorld(draw(3, 30), machines(2, 2.0)), ShortestFirst()
    with FileTrace(tmp_path / "run.jsonl") as trace:
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
    assert not any(now for _, now in replay(trace.path, Idle()))


def test_a_serving_run_is_on_disk_what_it_is_in_memory(tmp_path: Path) -> None:
    both = []
    for trace in (MemoryTrace(), FileTrace(tmp_path / "run.jsonl")):
        world, _ = small_world(1)
        policy = catalogue.build("serving/vllm")
        simulate(world, policy, session=Session(policy, world.view, trace=trace))
        both.append(trace)
    memory, file = both
    assert isinstance(memory, MemoryTrace)
    assert isinstance(file, FileTrace)
    assert list(read_trace(file.path)) == list(memory.records)
