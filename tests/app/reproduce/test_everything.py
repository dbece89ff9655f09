"""All reproductions of a family in one go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headway.app.reproduce.everything import headline_table, markdown, reproduce_all, rows_of
from headway.core import catalogue
from headway.core.errors import ConfigError, UnknownName


def row() -> list[catalogue.Row]:
    return [catalogue.find("toy/coin")]


@pytest.mark.usefixtures("toy")
def test_every_mechanism_with_claims_is_told_and_progress_runs_to_the_end() -> None:
    heard: list[tuple[int, int]] = []
    found = list(reproduce_all(row(), seeds=(0, 1), quick=True, num_workers=1, on_progress=lambda *x: heard.append(x)))
    assert [one["id"] for one in found] == ["toy/coin"]
    assert heard[-1][0] == heard[-1][1]
    text = markdown(headline_table(found))
    assert text.splitlines()[0].startswith("| mechanism | headline |")
    assert "toy/coin" in text


@pytest.mark.usefixtures("toy")
def test_what_is_finished_is_taken_from_the_folder_unless_it_was_asked_otherwise(tmp_path: Path) -> None:
    def play(seeds: tuple[int, ...]) -> Any:
        return next(iter(reproduce_all(row(), seeds=seeds, quick=True, num_workers=1, folder=tmp_path)))

    first = play((0, 1))
    (file,) = tmp_path.glob("*.json")
    file.write_text(json.dumps({**first, "title": "read back"}))
    assert play((0, 1))["title"] == "read back"
    assert play((0, 2))["title"] != "read back"
    file.write_text("{")
    assert play((0, 2))["seeds"] == [0, 2]


def test_families_without_claims_or_existence_are_refused() -> None:
    with pytest.raises(UnknownName):
        rows_of("serfing")


@pytest.mark.usefixtures("toy")
def test_rows_with_claims_that_are_wrong_or_missing_are_told_apart() -> None:
    assert [one.id for one in rows_of("toy")] == ["toy/coin", "toy/wrong"]
    with pytest.raises(ConfigError, match="must name a sequence of claims"):
        list(reproduce_all(rows_of("toy"), seeds=(0,), quick=True, num_workers=1))
