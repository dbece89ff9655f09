from __future__ import annotations

import os
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.core.writing import replacing


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


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(ConfigError, match="it is a device or a pipe"), replacing(tmp_path / "pipe.html"):
        pass
    assert (tmp_path / "pipe.html").is_fifo()


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    link = tmp_path / "latest.html"
    link.symlink_to(tmp_path / "today.html")
    with replacing(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "today.html").read_text() == "new"
