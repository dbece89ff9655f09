from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from headway.core.errors import ConfigError, UnknownName
from headway.policies.shop.problem import Problem
from headway.sim.shop.instances.door import read, read_one
from headway.sim.shop.instances.shipped import shipped

SHARED = Path(__file__).parents[5] / "shared" / "data" / "sched"

ROWS = "# two jobs\n2 2\n0 3 1 2\n1 4 0 1  # the second\n"
TABLES = "2 2\n3 2\n4 1\n1 2\n2 1\n"
WORDY = """Nb of jobs, Nb of Machines, Time seed, Machine seed, Upper bound, Lower bound
 2 2 11 12 7 6
Times
 3 2
 4 1
Machines
 1 2
 2 1
"""
FLOW = """number of jobs, number of machines, initial seed, upper bound and lower bound :
 3 2 5 9 8
processing times :
 1 2 3
 4 5 6
"""
COLLECTION = """ some prose about where this comes from
 instance one
 ++++++++
 two by two
 2 2
 0 3 1 2
 1 4 0 1
 ++++++++
 instance other
 one by one
 1 1
 0 5
"""
FLEXIBLE = "2 2 1.5\n2 2 1 3 2 4 1 2 2\n1 1 2 4\n"
PSPLIB = """****
jobs (incl. supersource/sink ):  4
RESOURCES
  - renewable                 :  2   R
  - nonrenewable              :  0   N
PRECEDENCE RELATIONS:
jobnr.    #modes  #successors   successors
   1        1          2           2   3
   2        1          1           4
   3        1          1           4
   4        1          0
****
REQUESTS/DURATIONS:
jobnr. mode duration  R 1  R 2
------------------------------
  1      1     0       0    0
  2      1     3       2    0
  3      1     4       1    1
  4      1     0       0    0
RESOURCEAVAILABILITIES:
  R 1  R 2
    2    1
"""
PATTERSON = "4 2\n2 1\n0 0 0 2 2 3\n3 2 0 1 4\n4 1 1 1 4\n0 0 0 0\n"
WT3 = "3 4 5  1 2 3  9 8 7\n1 1 1  1 1 1  1 2 3\n"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


def one(folder: Path, name: str, text: str) -> Problem:
    return read_one(written(folder, name, text))


def pairs(problem: Problem) -> list[list[tuple[int, int]]]:
    modes = [[problem.tasks[task].modes[0] for task in chain] for chain in problem.chains or ()]
    return [[(mode.needs[0][0], mode.duration) for mode in row] for row in modes]


@pytest.mark.parametrize(("name", "text"), [("a.txt", ROWS), ("a.txt", TABLES), ("a.jss", WORDY), ("noending", ROWS)])
def test_a_job_shop_is_read_in_each_form(tmp_path: Path, name: str, text: str) -> None:
    problem = one(tmp_path, name, text)
    assert pairs(problem) == [[(0, 3), (1, 2)], [(1, 4), (0, 1)]]
    assert (problem.kind, problem.name) == ("job shop", name.removesuffix(".txt").removesuffix(".jss"))


def test_published_bounds_come_along(tmp_path: Path) -> None:
    problem = one(tmp_path, "a.txt", WORDY)
    assert (problem.best_known, problem.bound) == (7, 6)


def test_taillards_flow_shops_keep_one_order_and_may_be_several(tmp_path: Path) -> None:
    problem = one(tmp_path, "tai.txt", FLOW)
    assert (problem.kind, problem.permutation, problem.best_known) == ("flow shop", True, 9)
    assert pairs(problem) == [[(0, 1), (1, 4)], [(0, 2), (1, 5)], [(0, 3), (1, 6)]]
    assert one(tmp_path, "tai.txt", FLOW.replace("9 8", "0 0")).best_known is None
    several = read(written(tmp_path, "tais.txt", FLOW * 2))
    assert isinstance(several, list)
    assert [problem.name for problem in several] == ["tais_01", "tais_02"]


def test_an_instance_of_a_collection_is_taken_by_name(tmp_path: Path) -> None:
    file = written(tmp_path, "jobshop1.txt", COLLECTION)
    assert [problem.name for problem in read(file)] == ["one", "other"]  # type: ignore[union-attr]
    assert pairs(read_one(f"{file}:other")) == [[(0, 5)]]
    assert read_one(file, "one").num_tasks == 4
    with pytest.raises(UnknownName, match="other"):
        read(file, "othr")
    with pytest.raises(ConfigError, match="one instance must be meant, got a file of 2"):
        read_one(file)


def test_flexible_job_shops_have_alternatives(tmp_path: Path) -> None:
    problem = one(tmp_path, "a.fjs", FLEXIBLE)
    assert problem.kind == "flexible job shop"
    assert [[(mode.needs[0][0], mode.duration) for mode in task.modes] for task in problem.tasks] == [
        [(0, 3), (1, 4)],
        [(1, 2)],
        [(1, 4)],
    ]


@pytest.mark.parametrize(("name", "text"), [("a.sm", PSPLIB), ("a.rcp", PATTERSON)])
def test_projects_have_precedence_needs_and_capacity(tmp_path: Path, name: str, text: str) -> None:
    problem = one(tmp_path, name, text)
    assert (problem.kind, problem.capacity) == ("project", (2, 1))
    assert [task.after for task in problem.tasks] == [(), (0,), (0,), (1, 2)]
    assert [task.modes[0].needs for task in problem.tasks] == [(), ((0, 2),), ((0, 1), (1, 1)), ()]


def test_activities_may_have_several_modes(tmp_path: Path) -> None:
    text = PSPLIB.replace("  2      1     3       2    0", "  2   1  3   2   0\n      2  5   1   0")
    assert [mode.duration for mode in one(tmp_path, "a.mm", text).tasks[1].modes] == [3, 5]


def test_weighted_tardiness_is_read_by_the_number_in_its_name(tmp_path: Path) -> None:
    several = read(written(tmp_path, "wt3.txt", WT3))
    assert isinstance(several, list)
    assert [job.weight for job in several[0].jobs] == [1, 2, 3]
    assert [job.due for job in several[1].jobs] == [1, 2, 3]
    assert several[0].objective == "weighted_tardiness"
    assert several[0].name == "wt3_001"


def test_json_has_rules_by_job(tmp_path: Path) -> None:
    text = '{"name": "x", "data": [[[0, 3], [1, 2]], [[1, 4]]], "release": [1, 0], "deadline": [9, null]}'
    problem = one(tmp_path, "x.json", text)
    assert [task.release for task in problem.tasks] == [1, 0, 0]
    assert [job.deadline for job in problem.jobs] == [9, None]
    single = one(tmp_path, "s.json", '{"p": [3, 4], "d": [5, 6]}')
    assert (single.objective, single.name) == ("total_tardiness", "s")


def test_packed_files_are_read_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.txt.gz"
    file.write_bytes(gzip.compress(ROWS.encode()))
    assert read_one(file).name == "a"


WRONG = {
    "not a number": (
        "a.txt",
        "2 2\n0 3 1 x\n1 4 0 1\n",
        "line 2: a duration of job 0 must be a whole number",
    ),
    "a fraction": ("a.txt", "2 2\n0 3 1 2.5\n1 4 0 1\n", "line 2: .* must be a whole number, got '2.5'"),
    "negative": ("a.txt", "2 2\n0 3 1 -2\n1 4 0 1\n", "line 2: a duration of job 0 must be >= 0, got -2"),
    "machine out of range": (
        "a.txt",
        "2 2\n0 3 1 2\n2 4 0 1\n",
        "line 3: a machine of job 1 must be in 0..1, got 2",
    ),
    "truncated": ("a.txt", "2 2\n0 3 1 2\n1 4\n", "line 3: a machine of job 1 must follow, got the end of the file"),
    "too much": ("a.txt", ROWS + "7 7\n", "line 5: the file must end after 2 jobs of 2 tasks, got '7'"),
    "no jobs": ("a.txt", "0 2\n", "line 1: the number of jobs must be >= 1, got 0"),
    "prose": ("a.txt", "Dear reader,\n", "line 1: the number of jobs must be a whole number, got 'Dear'"),
    "table machine": (
        "a.txt",
        TABLES.replace("1 2\n2 1\n", "1 3\n2 1\n"),
        "line 4: a machine of row 1 must",
    ),
    "table junk": ("a.txt", WORDY.replace(" 4 1", " 4 z"), "line 5: a row must hold whole numbers alone"),
    "fjs machine": (
        "a.fjs",
        FLEXIBLE.replace("2 4 1", "3 4 1"),
        "line 2: .* must be in 1..2, got 3",
    ),
    "fjs truncated": ("a.fjs", "2 2\n1 1 1 4\n", "2 rows of jobs must follow, got 1. It seems to be cut off"),
    "fjs short row": ("a.fjs", "1 2\n1 2 1 4\n", "line 2: a machine of job 0 must follow, got the end of the row"),
    "sm successor": (
        "a.sm",
        PSPLIB.replace("4\n   4  ", "9\n   4  "),
        "successor of activity 3 must",
    ),
    "sm circle": (
        "a.sm",
        PSPLIB.replace("4        1          0", "4        1          1   2"),
        "run in a circle",
    ),
    "sm section": ("a.sm", PSPLIB.split("RESOURCEAVAIL")[0], "a section RESOURCEAVAILABILITIES must follow"),
    "sm need": (
        "a.sm",
        PSPLIB.replace("3       2 ", "3       3 "),
        "line 17: a need of resource 1 must be <= 2",
    ),
    "sm missing row": (
        "a.sm",
        PSPLIB.replace("  4      1     0       0    0\n", ""),
        "4 activities must",
    ),
    "endless number": (
        "a.txt",
        ROWS.replace("3", "9" * 5000, 1),
        r"must be a whole number, got '9{100,160}\.\.\.",
    ),
    "endless table": ("a.txt", TABLES.replace("3", "9" * 5000, 1), r"must .*, got '9{100,160}\.\.\."),
    "endless size": ("a.txt", f"2 {'9' * 5000}.0\n3 4\n", r"must .*, got '9{100,160}\.\.\."),
    "endless json": ("a.json", f'{{"p": [{"9" * 5000}], "d": [1]}}', "it must be an instance, got Exceeds the limit"),
    "rcp truncated": ("a.rcp", PATTERSON[:20], "must follow, got the end of the file"),
    "rcp need": (
        "a.rcp",
        PATTERSON.replace("3 2 0", "3 9 0"),
        "line 4: a need of activity 2 must",
    ),
    "wt truncated": ("wt3.txt", WT3[:-4], "line 2: a due time must follow"),
    "json": ("a.json", "{", "line 1: it must be JSON"),
    "json lines": ("a.jsonl", '{"p": [1], "d": [1]}\n{"p": [1}\n', "line 2: it must be JSON"),
    "json shape": ("a.json", '{"data": 3}', "an instance must have one of the known shapes"),
    "json nothing": ("a.json", '{"name": "x"}', "must have one of the known shapes, got no 'data'"),
    "json type": ("a.json", '{"data": [[[0, "x"]]]}', "must have one of the known shapes"),
    "json field": ("a.json", '{"data": [[[0, 1]]], "dedline": [1]}', "fields must be among .*, got 'dedline'"),
    "json length": ("a.json", '{"data": [[[0, 1]]], "deadline": []}', "deadline must have a number for each of 1 jobs"),
    "json machine": ("a.json", '{"data": [[[4, 1]]], "machines": 2}', r"machines must be in 0\.\.1, got 4"),
    "json circle": (
        "a.json",
        '{"tasks": [{"modes": [{"duration": 1}], "after": [1]}, {"modes": [{"duration": 1}], "after": [0]}],'
        ' "jobs": [{}], "capacity": [], "name": "x"}',
        "must not run in a circle",
    ),
    "empty": ("a.txt", " \n", "must hold an instance, got an empty file"),
    "only comments": ("a.txt", "# nothing\n", "the number of jobs must follow"),
}


@pytest.mark.parametrize(("name", "text", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_one_clear_sentence(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = written(tmp_path, name, text)
    with pytest.raises(ConfigError, match=said) as caught:
        read(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    for data in (b"\x89PNG\x00\x01", b"\xff\xfe\xfd", gzip.compress(b"\x00\x01"), gzip.compress(ROWS.encode())[:-9]):
        (tmp_path / "a.txt").write_bytes(data)
        with pytest.raises(ConfigError, match=r"binary data|can be read"):
            read(tmp_path / "a.txt")
    for missing in (tmp_path, tmp_path / "none.txt", f"{tmp_path}/none.txt:ft06"):
        with pytest.raises(ConfigError, match="it must be a file that can be read"):
            read(missing)


@pytest.mark.parametrize(
    ("file", "name", "kind", "tasks", "best"),
    [
        ("jssp.jsonl.gz", "ft06", "job shop", 36, 55),
        ("jssp_large.jsonl.gz", "tai_1000_10_1", "job shop", 10_000, 515_334),
        ("fjsp.jsonl.gz", "mk01", "flexible job shop", 55, 40),
        ("rcpsp.jsonl.gz", "j30_1_1", "project", 32, 43),
        ("wt40.jsonl.gz", "wt40_003", "single machine", 40, 1225),
    ],
)
def test_public_collections_are_read(file: str, name: str, kind: str, tasks: int, best: int) -> None:
    if not SHARED.is_dir():
        pytest.skip("the public instances are not here")
    problem = read_one(f"{SHARED / file}:{name}")
    assert (problem.kind, problem.num_tasks, problem.best_known) == (kind, tasks, best)


@pytest.mark.parametrize(
    ("name", "kind"), [("ft10", "job shop"), ("flexible", "flexible job shop"), ("project", "project")]
)
def test_what_is_shipped_is_read(name: str, kind: str) -> None:
    assert read_one(shipped()[name]).kind == kind
