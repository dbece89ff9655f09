"""Recorded runs of real servers, and the same runs in virtual time."""

from __future__ import annotations

import csv
import json
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from headway.core import catalogue
from headway.core.errors import ConfigError
from headway.core.scenario import Outcome
from headway.sim.serving.cost import Efficiency, EngineFit, Replica, accelerator_facts, replica
from headway.sim.serving.cost.efficiency import efficiency, engine
from headway.sim.serving.recipe import FleetSpec, ModelSpec
from headway.sim.serving.scenario import Place, ServingScenario
from headway.traces.spec import TraceSpec

Floats = npt.NDArray[np.float64]
METRICS = ("ttft_s", "tpot_s", "e2e_s")
LENDER = "a100-80gb-sxm"
"""Whose kernels stand in for those that nobody measured."""


class Knobs(NamedTuple):
    """What is fitted: shares of the peaks that kernels reach, and what the engine adds, in seconds."""

    compute_frac: float
    weights_frac: float
    kv_frac: float
    step_s: float
    sequence_s: float


def borrowed() -> Knobs:
    """Return what is known without a look at the run: borrowed kernels, and the engine as shipped."""
    fits, added = efficiency(LENDER), engine("vllm")
    factor = added.kernel_factor
    gemm, decode = fits.gemm["bf16"], fits.decode["bf16"]
    shares = (gemm.compute_frac / factor, gemm.memory_frac / factor, decode.memory_frac / factor)
    return Knobs(*shares, added.step_s, added.sequence_s)


class Run:
    """A recorded run: its settings, and what each request felt.

    Parameters
    ----------
    path : Path
        The log, a JSON object per request.
    meta : Path or None
        Its settings; the file of the same name by default.
    accelerator : str
        Of the hardware table; what the settings say by default.

    Raises
    ------
    ConfigError
        When there are no settings.
    """

    def __init__(self, path: Path, meta: Path | None = None, accelerator: str = "") -> None:
        meta = meta or Path(str(path).partition(".jsonl")[0] + ".meta.json")
        if not meta.is_file():
            raise ConfigError(
                f"{path}: must come with the settings of the run, found no {meta.name}. Give --meta FILE."
            )
        self.path = path
        self.meta: dict[str, Any] = json.loads(meta.read_text())
        self.accelerator = accelerator_facts(accelerator or self._say("gpu").lower())
        self.table = TraceSpec(source=str(path)).draw()
        if not set(METRICS) <= set(self.table.measured):
            raise ConfigError(f"{path}: must say when each request was answered, it does not. Give a server's own log.")

    @property
    def measured(self) -> dict[str, Floats]:
        """What each request felt, by arrival."""
        return self.table.measured

    def replica(self, fits: Efficiency, added: EngineFit) -> Replica:
        """Return the server under given efficiencies."""
        return replica(
            self._say("model"),
            self.accelerator,
            tensor_parallel=self._asked.get("tensor_parallel_size", 1),
            memory_frac=self._cache.get("gpu_memory_utilization", 0.9),
            max_batched_tokens=self._asked["max_num_batched_tokens"],
            engine_fit=added,
            efficiency_fit=fits,
        )

    def fitted(self, knobs: Knobs) -> Replica:
        """Return the server with what is fitted; the rest is borrowed."""
        fits, added = efficiency(LENDER), EngineFit(step_s=knobs.step_s, sequence_s=knobs.sequence_s, token_s=0.0)
        gemm = replace(fits.gemm["bf16"], compute_frac=knobs.compute_frac, memory_frac=knobs.weights_frac)
        decode = replace(fits.decode["bf16"], memory_frac=knobs.kv_frac)
        return self.replica(replace(fits, gemm={"bf16": gemm}, decode={"bf16": decode}), added)

    def play(self, server: Replica, *, ahead: bool = True) -> dict[str, Floats]:
        """Play the run; returns what each request feels, by arrival."""
        works = self.outcome(server, ahead).works
        if len(works["row"]) != len(self.table):
            raise ConfigError(f"{self.path}: every request must be served, {len(works['row'])} were. See the memory.")
        order = np.argsort(works["row"])
        return {name: works[name][order].astype(np.float64) for name in METRICS}

    def counters(self) -> dict[str, Floats]:
        """Return what the server counted second by second, where a ``.timeseries.csv`` lies beside the log."""
        path = Path(str(self.path).partition(".jsonl")[0] + ".timeseries.csv")
        if not path.is_file():
            return {}
        with path.open() as lines:
            rows = list(csv.DictReader(lines))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        found = {"at_s": columns["t"], "running": columns["running"], "waiting": columns["waiting"]}
        if columns["kv_cache_pct"].any():
            found["kv_used_frac"] = columns["kv_cache_pct"] / 100
        return found

    def outcome(self, server: Replica, ahead: bool = True) -> Outcome:
        """Play the run."""
        cache = self._cache
        fleet = FleetSpec(
            accelerator=self.accelerator.name,
            instances=self._asked.get("data_parallel_size", 1),
            kv_blocks=cache.get("num_gpu_blocks"),
            block_size=cache.get("block_size", 16),
            caching=cache.get("enable_prefix_caching", True),
        )
        asked = self._asked
        settings = {"max_batched_tokens": asked["max_num_batched_tokens"], "max_seqs": asked["max_num_seqs"]}
        policy = catalogue.build("serving/vllm-v1", {**settings, "ahead": ahead})
        return _Rig(self, fleet, server).play(policy)

    @property
    def _asked(self) -> dict[str, Any]:
        found: dict[str, Any] = self._say("engine_kwargs")
        return {"max_num_batched_tokens": 8192, "max_num_seqs": 256, **found}

    @property
    def _cache(self) -> dict[str, Any]:
        found: dict[str, Any] = self.meta.get("kv_cache", {})
        return found

    def _say(self, name: str) -> Any:
        if name not in self.meta:
            raise ConfigError(f"settings of {self.path.name}: must say {name!r}, they say {', '.join(self.meta)}.")
        return self.meta[name]


class _Rig(ServingScenario):
    """A scenario of equal instances, whose costs are given."""

    def __init__(self, run: Run, fleet: FleetSpec, server: Replica) -> None:
        model = ModelSpec(name=run.meta["model"])
        super().__init__(trace=TraceSpec(source=str(run.path)), model=model, fleet=(fleet,))
        self.server = server

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The instances."""
        fleet = self.fleet[0]
        return tuple(Place(f"server-{number}", fleet, self.server) for number in range(fleet.instances))
