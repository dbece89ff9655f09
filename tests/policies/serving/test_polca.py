"""POLCA: levels by hand, commands that are under way, and a row that it keeps from braking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from headway.core import catalogue
from headway.core.actions import Action, Set
from headway.core.errors import ConfigError
from headway.core.events import Refused
from headway.core.parameters import decode
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.polca import Polca
from headway.policies.serving.power_news import FrequencySet, PowerRead
from headway.policies.serving.state import InstanceState
from headway.sim.serving.scenario import ServingScenario

BASE, LOWER, HIGH = 1275, 1110, 1305


class Row:
    """Two instances and a policy whose commands come through when they are told to."""

    def __init__(self, **parameters: Any) -> None:
        pools = {"a": "low", "b": "high"}
        self.view = ServingBoard([InstanceState(n, BlockPool(8), num_layers=2, pool=pool) for n, pool in pools.items()])
        self.polca = Polca(**parameters)
        self.now_s = 100.0
        self.asked: list[Set] = []

    def read(self, frac: float) -> dict[str, int]:
        """Let the meter be read; returns what is asked for, in MHz."""
        self.now_s += 2.0
        asked = self._sets(self.polca.steer(PowerRead(at_s=self.now_s, watts=frac * 1000, frac=frac), self.view))
        self.asked += asked
        return {action.of: round(1410 * action.value) for action in asked}

    def come_through(self) -> None:
        """Let all commands come through, and time pass until the meter shows it."""
        for action in self.asked:
            self.polca.steer(FrequencySet(at_s=self.now_s, instance=action.of, frac=action.value), self.view)
        self.asked = []
        self.now_s += 10.0

    def after(self, *fracs: float) -> list[dict[str, int]]:
        """Read one after the other, each when everything has come through."""
        found = []
        for frac in fracs:
            found.append(self.read(frac))
            self.come_through()
        return found

    def _sets(self, actions: Iterable[Action]) -> list[Set]:
        return [action for action in actions if isinstance(action, Set)]


def test_low_priority_is_lowered_first_and_high_priority_last() -> None:
    assert Row().after(0.79, 0.81, 0.85, 0.9, 0.9, 0.95) == [{}, {"a": BASE}, {}, {"a": LOWER}, {"b": HIGH}, {}]


def test_beyond_the_second_threshold_low_priority_goes_to_its_lowest_at_once() -> None:
    assert Row().after(0.92) == [{"a": LOWER}]


def test_levels_are_given_back_one_at_a_time_and_with_a_margin() -> None:
    row = Row()
    row.after(0.9, 0.9)
    assert row.after(0.86, 0.83, 0.83, 0.76, 0.74, 0.5) == [{}, {"b": 1410}, {"a": BASE}, {}, {"a": 1410}, {}]


def test_nothing_is_asked_while_a_command_is_under_way_or_the_meter_cannot_show_it() -> None:
    row = Row()
    assert row.read(0.81) == {"a": BASE}
    assert row.read(0.95) == {}
    row.come_through()
    row.now_s -= 10.0
    assert row.read(0.95) == {}
    row.now_s += 4.0
    assert row.read(0.95) == {"a": LOWER}


def test_a_command_that_was_refused_is_given_again() -> None:
    row = Row()
    row.read(0.81)
    row.polca.steer(Refused(at_s=row.now_s, action="Set", id="a", why="it is away"), row.view)
    assert row.read(0.81) == {"a": BASE}


@pytest.mark.parametrize(("rule", "first"), [("one-for-all", {"a": LOWER, "b": LOWER}), ("one-for-low", {"a": LOWER})])
def test_what_it_was_compared_with_has_one_threshold(rule: str, first: dict[str, int]) -> None:
    assert Row(rule=rule).after(0.85, 0.9, 0.95, 0.83)[:3] == [{}, first, {}]


def test_a_row_with_too_many_servers_comes_without_a_brake() -> None:
    table: dict[str, Any] = {
        "trace": {
            "lengths": {"kind": "fixed", "prompt_tokens": 2000, "output_tokens": 300},
            "num_requests": 800,
            "arrivals": {"kind": "diurnal", "rate_per_s": 4.0, "period_s": 200.0, "swing_frac": 0.9},
        },
        "model": {"name": "llama-3.1-8b"},
        "fleet": [{"pool": "low", "instances": 2}, {"pool": "high", "instances": 2}],
    }  # fmt: skip
    peak_watts = 1e5 * _play({**table, "power": {"budget_watts": 1e5}}, "")["peak_power_frac"]
    tight = {**table, "power": {"budget_watts": 0.99 * peak_watts, "command_delay_s": 10.0}}
    free, held = (_play(tight, id) for id in ("", "serving/polca"))
    assert free["num_brakes"] > 0
    assert held["num_brakes"] == 0
    assert held["peak_power_frac"] < 1 < free["peak_power_frac"]


def _play(table: dict[str, Any], power: str) -> dict[str, float]:
    policy = catalogue.build("serving/stack", {"power": power})
    return decode(ServingScenario, table, where="recipe").play(policy).report.numbers


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="first_frac"):
        Polca(first_frac=0.95)
    with pytest.raises(ConfigError, match="high_frac"):
        Polca(high_frac=0.0)
