"""Constructors from plain mappings, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.parameters import clone, decode, number, params, read_toml, settings


class Knobs:
    def __init__(self, *, budget: int = 512, share: float = 0.5, name: str = "", limit: int | None = None) -> None:
        self.budget = budget
        self.share = share
        self.name = name
        self.limit = limit


@pytest.mark.parametrize(
    ("text", "value"),
    [("16k", 16_000), ("2GiB", 2**31), ("5min", 300), ("250 ms", 0.25), ("-3", -3), ("1e3", 1000), ("50%", 0.5)],
)
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "k", "12 parsecs", "1..2", "1_"])
def test_a_number_that_is_none_is_a_clear_error(text: str) -> None:
    with pytest.raises(ConfigError, match="must be digits"):
        number(text)


def test_strings_become_numbers_where_numbers_are_wanted() -> None:
    made = decode(Knobs, {"budget": "2k", "share": "25%", "name": "7", "limit": "1KiB"}, where="knobs")
    assert (made.budget, made.share, made.name, made.limit) == (2000, 0.25, "7", 1024)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"budgett": 1}, "Nearest: budget"),
        ({"budget": "many"}, "must be digits"),
        ({"budget": 1.5}, "knobs: budget"),
        ({"name": 3}, "knobs: name"),
    ],
)
def test_bad_arguments_are_named(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        decode(Knobs, given, where="knobs")


def test_missing_arguments_are_named() -> None:
    def needs(*, width: int) -> int:
        return width

    with pytest.raises(ConfigError, match="here: width must be given"):
        decode(needs, {}, where="here")
    assert decode(needs, {"width": 3}, where="here") == 3


@given(st.integers(), st.floats(allow_nan=False), st.text())
def test_params_and_clone_return_what_was_given(budget: int, share: float, name: str) -> None:
    made = Knobs(budget=budget, share=share, name=name)
    assert params(made) == {"budget": budget, "share": share, "name": name, "limit": None}
    assert params(clone(made)) == params(made)


def test_an_argument_that_is_not_stored_is_an_error() -> None:
    class Forgetful:
        def __init__(self, *, lost: int = 1) -> None:
            pass

    with pytest.raises(ConfigError, match="must store the argument 'lost'"):
        params(Forgetful())


def test_settings_are_toml_where_they_can_be() -> None:
    found = settings(["a=1", "b=2.5", "c=true", 'd="x"', "e=words as they are", "f=[1, 2]", "g=16k"])
    assert found == {"a": 1, "b": 2.5, "c": True, "d": "x", "e": "words as they are", "f": [1, 2], "g": "16k"}
    with pytest.raises(ConfigError, match="key=value"):
        settings(["novalue"])


def test_a_file_that_is_not_toml_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("a = 1\nb = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml.*line 2"):
        read_toml(path)
    with pytest.raises(ConfigError, match="must be a file"):
        read_toml(tmp_path / "none.toml")


class Pool(Struct, forbid_unknown_fields=True):
    instances: int = 1

    def __post_init__(self) -> None:
        if self.instances < 1:
            raise ConfigError("fleet: instances must be >= 1, got less. Mend it.")


def place(
    *, fleet: tuple[Pool, ...], share: float | None = None, rank: Literal["price", "speed"] = "price"
) -> tuple[Pool, ...]:
    return fleet


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fleet": [{}, {"instances": "two"}]}, "x: fleet[1].instances: must be a whole number, got 'two'."),
        ({"fleet": {"instances": 2}}, "x: fleet: must be a list, got {'instances': 2}."),
        ({"fleet": [], "share": [1]}, "x: share: must be a number, got [1]."),
        ({"fleet": [], "rank": "usd"}, "x: rank: must be one of price, speed, got 'usd'."),
        ({"fleet": [{"instnces": 2}]}, "x: fleet[0]: key 'instnces' is not known, got {'instnces': 2}."),
        ({"fleet": [{"instances": 0}]}, "x: fleet[0]: fleet: instances must be >= 1, got less. Mend it."),
    ],
)
def test_a_refusal_names_the_place_within_and_what_stands_there(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        decode(place, given, where="x")
    assert str(refused.value) == said


def test_a_mark_of_byte_order_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbfload = 2\r\n")
    assert read_toml(tmp_path / "windows.toml") == {"load": 2}
