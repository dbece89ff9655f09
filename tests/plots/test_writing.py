from __future__ import annotations

from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.plots.writing import replacing


def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
        assert beside.suffix == ".html"
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "new")]


def test_a_file_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as beside:
            beside.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "old")]


def test_a_missing_folder_and_a_folder_in_place_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its folder must exist"), replacing(tmp_path / "no" / "x.html"):
        pass
    with pytest.raises(ConfigError, match="must be a file, but it is a folder"), replacing(tmp_path):
        pass
