"""Weeks of the Deep Space Network as link problems."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.policies.shop.ffeea_decoder import Decoder
from headway.policies.shop.ffeea_greedy import best_order
from headway.policies.shop.ffeea_nouns import Taken, Window
from headway.sim.shop.ffeea_faults import faults
from headway.sim.shop.instances.satnet import read_satnet

SHARED = Path(__file__).parents[4] / "shared" / "data" / "sched"


def row(**change: object) -> dict[str, object]:
    period = {"RISE": 1000, "SET": 9000, "TRX ON": 2000, "TRX OFF": 8000}
    short = {"RISE": 1000, "SET": 2500, "TRX ON": 1000, "TRX OFF": 2400}
    kept = {
        "problem": "W1_2018", "subject": 7, "week": 1, "year": 2018, "duration": 1.5, "duration_min": 1.0,
        "track_id": "a", "setup_time": 30, "teardown_time": 15, "time_window_start": 1000, "time_window_end": 7000,
        "resource_vp_dict": {"X_Y": [period], "X": [short, period]},
    }  # fmt: skip
    return kept | change


def written(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "weeks.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps(one) for one in rows).encode()))
    return path


def test_a_request_becomes_a_task(tmp_path: Path) -> None:
    table = tmp_path / "maintenance.csv"
    table.write_text(
        "week,year,starttime,endtime,antenna\n1.0,2018,1500,1600,X\n1.0,2018,1500,1900,Q\n2.0,2018,1,2,X\n"
    )
    (problem,) = read_satnet(written(tmp_path, row()), table).values()
    (task,) = problem.tasks
    assert (task.min_s, task.max_s, task.setup_s, task.teardown_s) == (3600, 5400, 1800, 900)
    assert task.windows == (Window(("X",), 1000, 6000), Window(("X", "Y"), 1000, 6000))  # from when the week begins
    assert problem.antennas == ("X", "Y")
    assert problem.taken == (Taken("X", 500, 600),)
    (link,) = Decoder(problem).links(best_order(Decoder(problem)))
    assert link.end_s - link.start_s == task.max_s - 1800  # setup waits for the end of maintenance: 600 + 1800
    assert faults(problem, [link]) == []


@pytest.mark.parametrize("change", [{"duration": "long"}, {"resource_vp_dict": 3}, {"setup_time": None}])
def test_a_broken_line_is_one_clear_error(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must be as in the Deep Space Network's weeks"):
        read_satnet(written(tmp_path, row(**change)))


def test_no_json_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "weeks.jsonl").write_text("{")
    with pytest.raises(ConfigError, match=r"weeks.jsonl: 1 must be as"):
        read_satnet(tmp_path / "weeks.jsonl")


@pytest.mark.skipif(not (SHARED / "satnet_dsn.jsonl.gz").is_file(), reason="the public weeks are not here")
def test_the_public_weeks_can_be_planned() -> None:
    weeks = read_satnet(SHARED / "satnet_dsn.jsonl.gz", SHARED / "satnet_maintenance.csv")
    assert {week: len(problem.tasks) for week, problem in weeks.items()} == {
        "W10_2018": 257, "W20_2018": 294, "W40_2018": 333,
    }  # fmt: skip
    for problem in weeks.values():
        decoder = Decoder(problem)
        links = decoder.links(best_order(decoder))
        assert faults(problem, links) == []
        assert len(links) > len(problem.tasks) / 2
