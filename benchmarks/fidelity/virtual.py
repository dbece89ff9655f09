"""The live part's other half: the same requests in virtual time, at the prices of a calibration."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fidelity.known_times import KnownPrice, KnownScenario, OneByOne
from fidelity.stand_in import OUTPUTS, PROMPTS
from headway.app.calibrate.fit import fit_price
from headway.app.calibrate.steps import MeasuredStep
from headway.app.cli.calibrate import save
from headway.core import catalogue
from headway.core.scenario import Outcome
from headway.core.session import Instrument
from headway.sim.serving.cost.fitted import Calibration
from headway.sim.serving.price import BatchShape
from headway.sim.serving.recipe import FleetSpec
from headway.sim.serving.scenario import ServingScenario
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable
from headway.traces.writers import write_requests

SATURATED = 400
"""Requests by which a policy's capacity is found."""


@dataclass(frozen=True)
class Twin:
    """A calibrated engine in virtual time.

    Parameters
    ----------
    calibration : Calibration
        Its prices.
    policy : str
        Who decides.
    params : mapping
        Of the policy; its defaults where there are none.
    known : KnownPrice or None
        How long the steps of a live run took, instead of prices.
    """

    calibration: Calibration
    policy: str
    params: Mapping[str, Any] = field(default_factory=dict)
    known: KnownPrice | None = None

    def capacity_per_s(self, seed: int) -> float:
        """Return how many requests a second it serves when all are there at once."""
        rng = np.random.default_rng(seed)
        table = RequestTable(np.zeros(SATURATED), PROMPTS.draw(SATURATED, rng), OUTPUTS.draw(SATURATED, rng))
        return float(self.play(table).report.numbers["requests_per_s"])

    def felt(self, table: RequestTable) -> dict[str, Any]:
        """Return what clients would have felt, in the order of the table."""
        return self.seen(self.play(table), table)

    def seen(self, outcome: Outcome, table: RequestTable) -> dict[str, Any]:
        """Return what clients would have felt of what was played."""
        beside = self.calibration.overheads
        back = np.argsort(outcome.works["row"])
        ttft_s = outcome.works["ttft_s"][back] + beside["first_token_s"]
        e2e_s = outcome.works["e2e_s"][back] + beside["last_token_s"]
        return {"ttft_s": ttft_s, "e2e_s": e2e_s, "tpot_s": (e2e_s - ttft_s) / np.maximum(table.output_tokens - 1, 1)}

    def play(self, table: RequestTable, instruments: Sequence[Instrument] = ()) -> Outcome:
        """Play requests by the same door as `headway run`."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_requests(table, folder / "requests.csv")
            save(self.calibration, folder / "calibration.toml")
            fleet = FleetSpec(
                calibration=str(folder / "calibration.toml"),
                block_size=self.calibration.block_size,
                max_running=self.calibration.max_seqs,
            )
            trace, policy = (
                TraceSpec(source=str(folder / "requests.csv")),
                catalogue.build(self.policy, {**self.params}),
            )
            if self.known is None:
                return ServingScenario(trace=trace, fleet=(fleet,)).play(policy, instruments=instruments)
            scenario = KnownScenario(trace=trace, fleet=(fleet,))
            scenario.known = self.known
            return scenario.play(OneByOne(policy, self.known), instruments=instruments)

    def with_prices_of(self, steps: Sequence[MeasuredStep]) -> Twin:
        """Return it with prices fitted to the steps of a run itself: what is off then is not the prices' fault."""
        return replace(self, calibration=msgspec.structs.replace(self.calibration, price=fit_price(steps)))

    def with_times_of(self, steps: Sequence[tuple[float, float, BatchShape]], start_s: float) -> Twin:
        """Return it with steps that take as long as those of a run did at that time, which began at `start_s`."""
        return replace(self, known=KnownPrice(self.calibration.price, steps, start_s))
