"""A serving scenario: a trace, a model on a fleet, and promises, in which any serving policy can be played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Event, Failed
from headway.core.nouns import Id, Seconds
from headway.core.policy import Policy
from headway.core.report import Report
from headway.core.scenario import OnProgress, Outcome
from headway.core.session import Instrument, Session, truth_stream
from headway.core.slo import SloClass
from headway.core.trace import TraceSink
from headway.policies.serving.nouns import RequestFinished
from headway.policies.serving.seats import ServingView
from headway.sim.serving import log
from headway.sim.serving.cost.configs import model_facts
from headway.sim.serving.cost.efficiency import EngineFit, engine
from headway.sim.serving.cost.fitted import fitted_replica
from headway.sim.serving.cost.overlap import overlapped
from headway.sim.serving.cost.replica import Replica, replica
from headway.sim.serving.energy import JOULES_PER_KWH, EnergyMeter
from headway.sim.serving.gaps import TokenGaps
from headway.sim.serving.log import RequestLog
from headway.sim.serving.outages import Outage, draw_outages
from headway.sim.serving.place import Place, links_of, pool_of
from headway.sim.serving.power_spec import PowerSpec
from headway.sim.serving.recipe import FleetSpec, KvPoolSpec, ModelSpec, OutageSpec, SloSpec
from headway.sim.serving.row_power import RowPower
from headway.sim.serving.sampler import Sampler
from headway.sim.serving.speculation import Speculation
from headway.sim.serving.table_requests import TableRequests
from headway.sim.serving.tune_spec import TuneJobSpec, TuningSpec, tuning_of
from headway.sim.serving.world import ServingWorld
from headway.traces.spec import TraceSpec
from headway.traces.table import RequestTable

PROGRESS_EVERY = 64


class ServingScenario:
    """What a recipe of the serving family says.

    Parameters
    ----------
    trace : TraceSpec
        What arrives.
    model : ModelSpec
        What is served; Llama 3 8B by default.
    fleet : sequence of FleetSpec
        On what; one A100 by default.
    slo : sequence of SloSpec
        What requests are promised; nothing by default.
    outages : OutageSpec or None
        How often instances fail; never by default.
    kv_pool : KvPoolSpec or None
        Where instances find keys and values that others have computed; nowhere by default.
    power : PowerSpec or None
        How much power all instances share; as much as they want by default.
    tune : sequence of TuneJobSpec
        Fine-tuning jobs that arrive; none by default.
    tuning : TuningSpec or None
        How they and serving get on with each other.

    Raises
    ------
    ConfigError
        When the model does not fit, or anything is out of its range.
    """

    def __init__(
        self,
        *,
        trace: TraceSpec,
        model: ModelSpec | None = None,
        fleet: tuple[FleetSpec, ...] | None = None,
        slo: tuple[SloSpec, ...] = (),
        outages: OutageSpec | None = None,
        kv_pool: KvPoolSpec | None = None,
        power: PowerSpec | None = None,
        tune: tuple[TuneJobSpec, ...] = (),
        tuning: TuningSpec | None = None,
    ) -> None:
        self.trace = trace
        self.model = model or ModelSpec()
        self.fleet = (FleetSpec(),) if fleet is None else fleet
        self._assumed = []
        if fleet is None:
            self._assumed.append(f"There is no [[fleet]]: one {self.fleet[0].accelerator} is assumed.")
        if model is None and not any(spec.calibration or spec.model for spec in self.fleet):
            self._assumed.append(f"There is no [model]: {self.model.name} is assumed.")
        self.slo = slo
        self.outages = outages
        self.kv_pool = kv_pool
        self.power = power
        self.tune = tune
        self.tuning = tuning
        names = [spec.name for spec in slo]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(
                f"slo: classes must differ in name, got {twice[0]!r} twice. Put all bounds into one table."
            )

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The instances, those that are not up at the start included, with what each costs."""
        if not self.fleet:
            raise ConfigError("fleet: must have at least one pool, got none. Add a [[fleet]] table.")
        found = []
        for spec in self.fleet:
            made = self._replica(spec)
            name = spec.pool if spec.most == 1 and len(self.fleet) == 1 else ""
            ids = [name] if name else [f"{spec.pool}-{number}" for number in range(spec.most)]
            found += [Place(id_, spec, made, number >= spec.instances) for number, id_ in enumerate(ids)]
        if len({place.id for place in found}) != len(found):
            raise ConfigError("fleet: pools must have different names. Give each [[fleet]] its own `pool`.")
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know before quoting the numbers."""
        return tuple(dict.fromkeys([*self._assumed, *(note for place in self.places for note in place.notes)]))

    @property
    def classes(self) -> list[SloClass]:
        """The promises."""
        return [spec.slo_class for spec in self.slo]

    def play(
        self,
        policy: Policy[ServingView],
        *,
        seed: int = 0,
        load: float = 1.0,
        trace: TraceSink | None = None,
        instruments: Sequence[Instrument] = (),
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Play one run from its start to its end; see `headway.core.scenario.Scenario`."""
        table = self.trace.draw(seed, load)
        self._check(table)
        run = _Playing(self, table, seed)
        listeners: list[Instrument] = [run.log, run.sampler, *instruments]
        session = Session(policy, run.world.view, seed=seed, instruments=listeners, trace=trace)
        world = _Telling(run.world, on_progress, len(table)) if on_progress else run.world
        return run.outcome(simulate(world, policy, session=session))

    def _replica(self, spec: FleetSpec) -> Replica:
        if spec.calibration:
            return fitted_replica(spec.calibration)
        made = replica(
            spec.model or self.model.name,
            spec.accelerator,
            tensor_parallel=spec.tensor_parallel,
            pipeline_parallel=spec.pipeline_parallel,
            weights=spec.weights or self.model.weights,
            kv=self.model.kv,
            memory_frac=spec.memory_frac,
            max_batched_tokens=spec.max_batched_tokens,
            engine_fit=_engine(spec),
            routing_skew=self.model.routing_skew,
        )
        return overlapped(made, spec.overlap) if spec.overlap else made

    def _check(self, table: RequestTable) -> None:
        if not len(table):
            raise ConfigError(f"trace {table.source}: must have at least one request, got none. Widen its span.")
        self._check_promised(table)
        if self.power is not None and any(place.replica.power is None for place in self.places):
            raise ConfigError(
                "power: the power of every instance must be known, got a calibrated one. Leave out [power]."
            )
        sizes = sorted({spec.block_size for spec in self.fleet})
        if table.prefixes is not None and len(sizes) > 1:
            raise ConfigError(
                f"fleet: block_size must be the same in all pools where the trace says which prompts begin alike, got "
                f"{' and '.join(map(str, sizes))}. Mend [[fleet]]."
            )
        if any(spec.calibration for spec in self.fleet):
            return
        names = [spec.model or self.model.name for spec in self.fleet] or [self.model.name]
        longest, name = min((self.model.context_tokens or model_facts(n).max_context_tokens, n) for n in names)
        tokens = table.prompt_tokens + table.output_tokens
        row = int(np.argmax(tokens))
        if tokens[row] > longest:
            raise ConfigError(
                f"trace {table.source}: prompt and output must fit into the {longest} tokens of context of "
                f"{name}, got {tokens[row]} in request {row}. trace.max_tokens = {longest} cuts them off."
            )

    def _check_promised(self, table: RequestTable) -> None:
        """Refuse promises that nobody is given: all of them would be kept, whatever happens."""
        labels = table.labels.get("slo_class")
        arriving = set(labels.names) if labels is not None else {"default"}
        promised = [spec.name for spec in self.slo]
        if promised and not arriving & set(promised):
            raise ConfigError(
                f"slo: a class must be one of the trace's ({', '.join(sorted(arriving))}), got {', '.join(promised)}. "
                f"Rename it, or give requests their classes with trace.slo_classes."
            )


class _Playing:
    """One run of a scenario."""

    def __init__(self, scenario: ServingScenario, table: RequestTable, seed: int) -> None:
        self.scenario = scenario
        self.table = table
        places = scenario.places
        self._states = states = [place.state() for place in places]
        first = places[0]
        self.gaps = TokenGaps()
        powers = {p.id: p.replica.power for p in places if p.replica.power is not None}
        self.meter = EnergyMeter(powers)
        self.row = RowPower(scenario.power, powers, self.meter) if scenario.power is not None else None
        self.log = RequestLog()
        self.tuning = tuning_of(scenario.tune, scenario.tuning, places, seed)
        self._requests = TableRequests(table, first.spec.block_size, scenario.model.max_tokens)
        self.world = ServingWorld(
            self._requests,
            [state for state, place in zip(states, places, strict=True) if not place.is_spare],
            {place.id: place.replica.price for place in places},
            gaps=self.gaps,
            meter=self.meter,
            links=links_of(places, scenario.kv_pool),
            outages=_outages(scenario, table, seed),
            spares=[state for state, place in zip(states, places, strict=True) if place.is_spare],
            startup_s={place.spec.pool: place.startup_s for place in places},
            adapter_load_s={place.spec.pool: place.spec.adapter_load_s for place in places},
            kv_pool=pool_of(first, scenario.kv_pool) if scenario.kv_pool is not None else None,
            speculation=_speculation(scenario.model, seed),
            promises=scenario.classes,
            power=self.row,
            tuning=self.tuning,
        )
        self.sampler = Sampler({state.id: state for state in states})

    def outcome(self, report: Report) -> Outcome:
        """Sum up."""
        classes = self.scenario.classes
        works = self.log.works(self.table, classes)
        missed = log.class_of(self.table, np.concatenate([self.log.rejected(), self._left(works)]))
        numbers = {**self._counts(works), **log.percentiles(works), **self._gap_numbers()}
        num_sessions = len(log.session_rows(self.table))
        numbers |= log.session_numbers(self.log.sessions(self.table), num_sessions, report.duration_s)
        numbers |= self._speeds(works, report.duration_s) | self._costs(works, report.duration_s)
        numbers |= self.row.numbers() if self.row is not None else {}
        if self.tuning is not None:
            states = list(self.world.view.jobs.values())
            numbers |= self.tuning.numbers(states, self.world.view.now_s, report.duration_s)
        report = msgspec.structs.replace(report, numbers=numbers, slos=log.slo_rows(works, missed, classes))
        return Outcome(report=report, works=works, samples=self.sampler.samples(), spans=self.sampler.spans())

    def _left(self, works: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the rows of requests that a policy left lying to the end: they have missed what they were promised."""
        is_left = np.ones(len(self.table), bool)
        is_left[works["row"]] = is_left[self.log.rejected()] = False
        is_left[self._requests.unsent()] = False
        return np.flatnonzero(is_left)

    def _counts(self, works: Mapping[str, np.ndarray]) -> dict[str, float]:
        num_rejected, num_left = len(self.log.rejected()), len(self._left(works))
        num_good, num_ended = int(works["good"].sum()), len(works["row"]) + num_rejected + num_left
        return {
            "num_requests": float(len(self.table)),
            "num_finished": float(len(works["row"])),
            "num_rejected": float(num_rejected),
            "num_unfinished": float(num_left),
            "num_unsent": float(self.world.num_unsent),
            "num_preemptions": float(works["num_preempted"].sum()),
            "goodput_frac": num_good / num_ended if num_ended else np.nan,
            "promised_good_frac": self._promised_good_frac(works),
        }

    def _promised_good_frac(self, works: Mapping[str, np.ndarray]) -> float:
        """Return the share of the requests that were promised something and were given all of it."""
        promised = [spec.name for spec in self.scenario.slo if not spec.is_empty]
        ended = np.isin(works["slo_class"], promised)
        lost = np.isin(log.class_of(self.table, np.concatenate([self.log.rejected(), self._left(works)])), promised)
        return _per(int((works["good"] & ended).sum()), int(ended.sum() + lost.sum()))

    def _gap_numbers(self) -> dict[str, float]:
        gaps = self.gaps.itl_s
        found = {f"p{percent}_itl_s": gaps.at(percent / 100) for percent in log.PERCENTS}
        return {"mean_itl_s": gaps.mean, **found, "max_itl_s": gaps.max if gaps.count else np.nan}

    def _speeds(self, works: Mapping[str, np.ndarray], duration_s: float) -> dict[str, float]:
        on_s = self._on_s(duration_s)
        pools = [state.kv for state in self._states]  # those that are away at the end, too
        queried = sum(pool.num_queried_tokens for pool in pools)
        samples = self.sampler.samples()["kv_used_frac"]
        return {
            "requests_per_s": _per(len(works["row"]), duration_s),
            "goodput_per_s": _per(int(works["good"].sum()), duration_s),
            "prompt_tokens_per_s": _per(int(works["prompt_tokens"].sum()), duration_s),
            "output_tokens_per_s": _per(int(works["output_tokens"].sum()), duration_s),
            "busy_frac": _per(sum(self.world.busy_s.values()), sum(on_s.values())),
            "kv_used_frac": float(samples.mean()) if len(samples) else 0.0,
            "prefix_hit_frac": _per(sum(pool.num_hit_tokens for pool in pools), queried),
            **self._fetched(queried),
        }

    def _fetched(self, queried_tokens: int) -> dict[str, float]:
        pool = self.world.kv_pool
        if pool is None:
            return {}
        tokens = pool.num_fetched_blocks * self.scenario.places[0].spec.block_size
        return {"kv_pool_hit_frac": _per(tokens, queried_tokens)}

    def _costs(self, works: Mapping[str, np.ndarray], duration_s: float) -> dict[str, float]:
        places, on_s = self.scenario.places, self._on_s(duration_s)
        # Of those in use all the time it is exactly 1; in a run that takes no time it is the start that counts.
        on_frac = {p.id: on_s[p.id] / duration_s if duration_s else float(not p.is_spare) for p in places}
        usd_per_h = sum(place.usd_per_h * on_frac[place.id] for place in places if on_frac[place.id])
        usd, tokens = usd_per_h * duration_s / 3600, int(works["output_tokens"].sum())
        has_power = all(place.replica.power is not None for place in places)
        joules = self.meter.joules(on_s) if has_power else np.nan
        joules -= self.row.saved_joules if self.row is not None else 0.0
        arithmetic, bandwidth = self.meter.used(on_s) if has_power else (np.nan, np.nan)
        return {
            "num_accelerators": sum(place.replica.num_accelerators * on_frac[place.id] for place in places),
            "instance_h": sum(on_s.values()) / 3600,
            "arithmetic_used_frac": arithmetic,
            "bandwidth_used_frac": bandwidth,
            "energy_j": joules,
            "energy_kwh": joules / JOULES_PER_KWH,
            "energy_j_per_output_token": _per(joules, tokens),
            "mean_watts": _per(joules, duration_s),
            "cost_usd": usd,
            "cost_usd_per_h": usd_per_h,
            "cost_usd_per_mtok": _per(usd * 1e6, tokens),
        }

    def _on_s(self, duration_s: Seconds) -> dict[Id, Seconds]:
        """Return for how long each instance was in use."""
        fleet = self.world.fleet
        return {place.id: fleet.on_s(place.id, duration_s) for place in self.scenario.places}


def _engine(spec: FleetSpec) -> EngineFit:
    made = engine(spec.engine)
    return msgspec.structs.replace(made, step_s=made.step_s + spec.extra_step_s)


class _Telling:
    """A world that says now and then how far it has come."""

    def __init__(self, world: ServingWorld, on_progress: OnProgress, num_all: int) -> None:
        self._world, self._on_progress, self._num_all = world, on_progress, num_all
        self._told = 0
        self.view, self.apply, self.foretell = world.view, world.apply, world.foretell

    def next(self) -> Event | None:
        """Advance to the next event and return it, or None at the end."""
        event = self._world.next()
        over = event is None or isinstance(event, RequestFinished | Failed)
        if over and (event is None or self._world.num_ended >= self._told + PROGRESS_EVERY):
            self._told = self._world.num_ended
            self._on_progress(self._told, self._num_all)
        return event


def _per(amount: float, of: float) -> float:
    return float(amount / of) if of > 0 else np.nan


def _speculation(model: ModelSpec, seed: int) -> Speculation | None:
    if not model.acceptance_frac:
        return None
    return Speculation(acceptance_frac=model.acceptance_frac, draft_s=model.draft_s, seed=seed)


def _outages(scenario: ServingScenario, table: RequestTable, seed: int) -> Sequence[Outage]:
    spec = scenario.outages
    if spec is None:
        return ()
    rng = truth_stream(seed).spawn(4)[3]  # apart from lengths and prefixes, which are drawn from the same stream
    found: list[Outage] = []
    for place in scenario.places:
        startup_s = place.replica.load_s if spec.startup_s is None else spec.startup_s
        found += draw_outages([place.id], float(table.arrival_s[-1]), spec.mtbf_s, spec.repair_s, startup_s, rng)
    return found
