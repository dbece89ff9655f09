"""The power of a row: its meter, clocks that change after a delay, and the brake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from headway.core.actions import Action, Set
from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Refused
from headway.core.parameters import decode
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Request, RequestFinished
from headway.policies.serving.power_news import FrequencySet, PowerRead
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.seats import ServingView
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState
from headway.sim.serving.clocked import ClockedPrice
from headway.sim.serving.power_spec import PowerSpec
from headway.sim.serving.price import BatchShape, Chunk, LinearPrice
from headway.sim.serving.row_power import RowPower
from headway.sim.serving.scenario import ServingScenario
from headway.sim.serving.truth import TrueRequest
from headway.sim.serving.world import ABILITIES, ServingWorld

TOKEN_S = 0.01
PRICE = LinearPrice(fixed_s=TOKEN_S, prefill_token_s=0.0, decode_s=0.0, context_token_s=0.0)
IDLE_WATTS, BUSY_WATTS = 100.0, 300.0


class Flat:
    """Draws the same whatever runs."""

    idle_watts = IDLE_WATTS

    def watts(self, shape: BatchShape) -> float:
        return BUSY_WATTS

    def utilisation(self, shape: BatchShape) -> tuple[float, float]:
        return 0.0, 0.0


class Clocks(Stack):
    """Asks for a clock with the first event, and keeps what it hears of power."""

    def __init__(self, *asked: Set) -> None:
        super().__init__(batch=SarathiServe())
        self.asked = asked
        self.heard: list[Event] = []
        self.all_ended_s: list[float] = []

    def decide(self, event: Event, view: ServingView) -> Iterable[Action]:
        asked, self.asked = self.asked, ()
        yield from asked
        if isinstance(event, PowerRead | FrequencySet | Refused):
            self.heard.append(event)
        if isinstance(event, RequestFinished):
            self.all_ended_s.append(event.at_s)
        yield from super().decide(event, view)

    @property
    def reads(self) -> list[PowerRead]:
        return [event for event in self.heard if isinstance(event, PowerRead)]


def play(*asked: Set, tokens: int = 2000, **spec: float) -> tuple[Clocks, RowPower, float]:
    """Let one request decode on one of two instances; returns when it ended."""
    policy = Clocks(*asked)
    row = RowPower(PowerSpec(**{"budget_watts": 1000.0, **spec}), {"a": Flat(), "b": Flat()})
    request = TrueRequest(
        request=Request(id="r", arrival_s=0.0, prompt_tokens=16, max_tokens=4000), output_tokens=tokens
    )
    world = ServingWorld([request], [InstanceState(n, BlockPool(400), num_layers=2) for n in "ab"], PRICE, power=row)
    simulate(world, policy)
    return policy, row, policy.all_ended_s[-1]


def test_the_meter_tells_of_the_interval_before_the_last() -> None:
    policy, row, ended_s = play(tokens=1000)
    assert ended_s == pytest.approx(10.0)
    assert policy.reads[0].at_s == 4.0
    assert [read.watts for read in policy.reads] == pytest.approx([400.0] * len(policy.reads), rel=0.02)
    assert policy.reads[0].frac == pytest.approx(0.4, rel=0.02)
    assert row.watts().max() == pytest.approx(400.0, rel=0.02)
    assert row.saved_joules == 0.0


def test_a_clock_changes_after_the_delay_and_slows_decodes_a_little() -> None:
    policy, row, ended_s = play(Set("frequency_frac", 0.5, of="a"), command_delay_s=10.0)
    (change,) = [event for event in policy.heard if isinstance(event, FrequencySet)]
    assert change.at_s == pytest.approx(10.0)
    slower = 0.5**-0.25
    assert ended_s == pytest.approx(10.0 + 10.0 * slower, abs=2 * TOKEN_S)
    saved_watts = (BUSY_WATTS - IDLE_WATTS) * (1 - 0.5**2.2)
    assert row.saved_joules == pytest.approx(saved_watts * 10.0 * slower, rel=0.01)
    assert policy.reads[-1].watts == pytest.approx(400.0 - saved_watts, rel=0.01)


def test_the_brake_holds_everybody_down_until_the_power_is_below_the_budget() -> None:
    policy, row, ended_s = play(budget_watts=390.0, brake_hold_s=6.0, brake_frac=0.2)
    braked = [read.at_s for read in policy.reads if read.braked]
    assert row.num_brakes == 2  # it comes back when nobody else lowers the power
    assert braked[0] == 10.0  # read over the budget at 4 s, pulled 5 s later
    assert braked == [10.0, 12.0, 14.0, 16.0]  # let go at the first reading below the budget after 6 s
    assert ended_s > 20.0
    assert row.numbers()["peak_power_frac"] > 1


@pytest.mark.parametrize("delay_s", [1.0, 1.005, 3.3])
def test_what_is_repeated_sees_the_same_clocks_as_one_step_at_a_time(delay_s: float) -> None:
    def times(can: frozenset[str]) -> list[float]:
        policy = Clocks(Set("frequency_frac", 0.5, of="a"), Set("frequency_frac", 0.7, of="b"))
        row = RowPower(PowerSpec(budget_watts=320.0, command_delay_s=delay_s), {"a": Flat(), "b": Flat()})
        requests = [
            TrueRequest(
                request=Request(id=f"r{n}", arrival_s=0.3 * n, prompt_tokens=40 + n, max_tokens=800),
                output_tokens=300 + 7 * n,
            )
            for n in range(12)
        ]
        instances = [InstanceState(n, BlockPool(400), num_layers=2) for n in "ab"]
        world = ServingWorld(requests, instances, LinearPrice(), power=row, can=can)
        simulate(world, policy)
        assert row.num_brakes > 0
        return [*policy.all_ended_s, row.saved_joules]

    assert times(ABILITIES) == pytest.approx(times(ABILITIES - {"repeat"}), rel=1e-9)


def test_what_cannot_be_asked_is_refused() -> None:
    policy, _, _ = play(Set("frequency_frac", 0.5, of="nobody"), Set("frequency_frac", 1.5, of="a"), tokens=10)
    assert [event.why.split(",")[0] for event in policy.heard if isinstance(event, Refused)] == [
        "there is no instance 'nobody'",
        "frequency_frac must be in (0",
    ]


def test_without_a_budget_there_is_no_such_knob() -> None:
    policy = Clocks(Set("frequency_frac", 0.5, of="a"))
    request = TrueRequest(request=Request(id="r", arrival_s=0.0, prompt_tokens=16, max_tokens=40), output_tokens=20)
    world = ServingWorld([request], [InstanceState("a", BlockPool(40), num_layers=2)], PRICE)
    assert "power" not in world.view.can
    simulate(world, policy)
    assert [type(event) for event in policy.heard] == [Refused]


def test_prompts_take_as_much_longer_as_the_clock_is_lower() -> None:
    plain = LinearPrice()
    price = ClockedPrice(plain)
    decodes, both = BatchShape(8, 4000), BatchShape(8, 4000, (Chunk(512, 0),))
    assert price.step_s(both) == plain.step_s(both)
    price.frac = 0.5
    assert price.step_s(decodes) == pytest.approx(plain.step_s(decodes) / 0.5**0.25)
    prompt_s = plain.step_s(both) - plain.step_s(decodes)
    assert price.step_s(both) == pytest.approx(price.step_s(decodes) + 2 * prompt_s)
    base_s, per_token_s = price.decode_line(8)
    assert price.step_s(decodes) == pytest.approx(base_s + 4000 * per_token_s)


def scenario(**power: Any) -> ServingScenario:
    table: dict[str, Any] = {
        "trace": {"lengths": {"kind": "fixed", "prompt_tokens": 500, "output_tokens": 100}, "num_requests": 60},
        "fleet": [{"instances": 2}],
    }
    return decode(ServingScenario, {**table, **({"power": power} if power else {})}, where="recipe")


def test_a_budget_that_is_never_reached_changes_nothing_but_the_report() -> None:
    plain = scenario().play(Stack(batch=SarathiServe())).report.numbers
    metered = scenario(budget_watts=5000.0).play(Stack(batch=SarathiServe())).report.numbers
    assert {name: metered[name] for name in plain} == pytest.approx(plain, rel=1e-4, nan_ok=True)
    assert metered["num_brakes"] == 0
    assert 0 < metered["mean_power_frac"] <= metered["peak_power_frac"] < 1
    with pytest.raises(ConfigError, match="budget_watts must be > 0"):
        scenario(budget_watts=0.0)
