"""The catalogue: rows, files and tests belong together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import headway
from headway.core import catalogue
from headway.core.errors import ConfigError, UnknownName
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.stack import Stack

SOURCE = Path(headway.__file__).parent
TESTS = Path(__file__).parents[1]


def test_every_row_has_a_file_and_a_test() -> None:
    for row in catalogue.rows():
        name = row.id.partition("/")[2].replace("-", "_")
        assert (SOURCE / "policies" / row.family / f"{name}.py").is_file(), f"{row.id} has no file"
        assert (TESTS / "policies" / row.family / f"test_{name}.py").is_file(), f"{row.id} has no test"


def test_every_file_has_a_row_or_is_part_of_another() -> None:
    known = {row.id.replace("-", "_") for row in catalogue.rows()}
    imported = imported_modules()
    for family in catalogue.families():
        for file in (SOURCE / "policies" / family).glob("*.py"):
            name = f"headway.policies.{family}.{file.stem}"
            is_known = file.stem == "__init__" or f"{family}/{file.stem}" in known or name in imported
            assert is_known, f"{file.name} has no row, and nothing imports it"


def imported_modules() -> set[str]:
    """Every module that another names, in an import or as ``"module:name"``."""
    texts = [file.read_text() for suffix in ("py", "toml") for file in SOURCE.rglob(f"*.{suffix}")]
    named = re.compile(r"(?:from |import |\")(headway[\w.]+)")
    return {name for text in texts for name in named.findall(text)}


def test_rows_are_found_by_id_and_family() -> None:
    assert {"serving/orca", "serving/vllm", "serving/sarathi"} <= {row.id for row in catalogue.rows("serving")}
    assert catalogue.find("serving/sarathi").arxiv == "2403.02310"
    assert catalogue.load("serving/sarathi") is SarathiServe


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Nearest: serving/sarathi"):
        catalogue.find("serving/sarathy")
    with pytest.raises(UnknownName, match="headway list families"):
        catalogue.rows("serfing")


def test_a_seat_is_built_as_a_whole_policy() -> None:
    policy = catalogue.build("serving/sarathi", {"token_budget": "1k"})
    assert isinstance(policy, Stack)
    assert policy.name == "serving/sarathi"
    assert isinstance(policy.batch, SarathiServe)
    assert policy.batch.token_budget == 1000


def test_bad_parameters_are_named_with_the_policy() -> None:
    with pytest.raises(ConfigError, match=r"serving/sarathi: parameter: 'token_buget'.*token_budget"):
        catalogue.build("serving/sarathi", {"token_buget": 1})


def test_listing_imports_no_mechanism_and_no_torch() -> None:
    code = (
        "import sys; from headway.core import catalogue; assert catalogue.rows(); "
        "heavy = ('torch', 'transformers'); "
        "bad = [m for m in sys.modules if m.startswith('headway.policies.serving.') or m in heavy]; "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "catalogue.toml").write_text('[family]\nname = "x"\nabout = "y"\ncolour = "blue"\n')
    with pytest.raises(ConfigError, match="colour"):
        catalogue._read(tmp_path / "catalogue.toml")


def test_what_mechanisms_need_is_known_through_their_parts() -> None:
    assert catalogue.needs("serving/sarathi") == set()
    assert catalogue.needs("serving/layered-prefill") == {"layer_ranges"}
    parts = {"batch": {"id": "serving/layered-prefill"}, "route": "serving/prefix-route"}
    assert catalogue.needs("serving/stack", parts) == {"layer_ranges"}
