"""What arrives, as a recipe says it: a recorded trace or a made one, cut, scaled and drawn by a seed."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from msgspec import NODEFAULT, Struct, structs

from headway.core.errors import ConfigError, TraceError, UnknownName, unknown_name
from headway.core.session import arrival_stream, truth_stream
from headway.traces import reshape, shipped
from headway.traces.generate.arrivals import AnyArrivals, Poisson
from headway.traces.generate.extend import extend
from headway.traces.generate.lengths import AnyLengths, LengthModel, Like
from headway.traces.generate.named import NAMED
from headway.traces.generate.named_sessions import NAMED_SESSIONS, AnySessions
from headway.traces.generate.prefixes import PrefixGroups
from headway.traces.mix import mixed
from headway.traces.readers.door import find, read_requests, recognise
from headway.traces.readers.options import Options
from headway.traces.readers.rows import Reading
from headway.traces.table import Labels, RequestTable

KEPT_READINGS = 4
MADE_REQUESTS = 1000
MAX_REQUESTS = 10**9
OF_SOURCES = ("start_s", "end_s", "max_requests", "window", "extend_to", "format", "columns")
"""What only a source can be told."""


class TraceSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests arrive, and when.

    Either `source` names recorded requests, or `lengths` or `sessions` says how to make them, or `mix` lists traces
    that arrive side by side.

    Parameters
    ----------
    source : str
        The name of a shipped trace, or a file of any format that can be read.
    arrivals : table or None
        The process by which requests (or chains of them) arrive, ``{kind = "gamma", rate_per_s = 2, cv = 3}``. None
        keeps the recorded times; where there are none it takes a Poisson process of `rate_per_s`, and without that
        all arrive at 0.
    lengths : table, str or None
        How long requests are: ``{kind = "lognormal", ...}``, the name of a length model or of a shipped trace.
    sessions : table, str or None
        Chains of calls to make, ``{kind = "agents", mean_turns = 8}`` or ``{kind = "workflows", stages = [...]}``, or
        the name of a published kind, such as ``"swe-bench"``. They begin by `arrivals`, or `rate_per_s` of them.
    num_sessions : int or None
        How many to make of them, >= 1; as many as they say themselves by default.
    due_s : float or None
        Within which time of its beginning every chain is promised to be over, in seconds, > 0.
    prefixes : table or None
        Which prompts begin alike, ``{num_groups = 10, prefix_tokens = 512}``; it replaces what the source says.
    num_requests : int or None
        How many to make of `lengths`, >= 1; 1,000 by default.
    start_s, end_s : float
        The span of the source that is used, in its own seconds, 0 <= start_s < end_s; all by default.
    max_requests : int or None
        How many requests of the source are used, >= 1; all by default.
    window : str
        Whether these are its ``"head"`` or a ``"random"`` run of neighbours, another one for each seed.
    extend_to : int or None
        Carry the source on with its own statistics until it has so many requests, >= 1.
    shuffle_lengths : bool
        Whether lengths are dealt out anew among the requests, prompt and output together.
    rate_per_s : float or None
        Mean arrivals per second, > 0, to which the times are stretched or squeezed.
    slo_classes : dict of str to float
        Shares of the requests by SLO class, each > 0; empty keeps those of the source.
    tenants : dict of str to float
        Shares of the requests by tenant, each > 0; empty keeps those of the source.
    max_prompt_tokens, max_output_tokens, max_tokens : int or None
        Lengths beyond these are cut off; `max_tokens` bounds prompt and output together.
    format : str
        The format of the source; empty finds out.
    columns : dict of str to str
        Which column of the source is which, ``{prompt_tokens = "in"}``, where its usual names do not tell.
    sort : bool
        Whether rows out of order are sorted instead of refused.
    drop_bad : bool
        Whether rows without sense are left out instead of refused.
    mix : list of tables
        Traces whose requests arrive side by side, each said like a trace of its own. Beside it may stand `max_requests`
        alone: how many of all are used.
    """

    source: str = ""
    arrivals: AnyArrivals | None = None
    lengths: AnyLengths | str | None = None
    sessions: AnySessions | str | None = None
    num_sessions: int | None = None
    due_s: float | None = None
    prefixes: PrefixGroups | None = None
    num_requests: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    max_requests: int | None = None
    window: Literal["head", "random"] = "head"
    extend_to: int | None = None
    shuffle_lengths: bool = False
    rate_per_s: float | None = None
    slo_classes: dict[str, float] = {}
    tenants: dict[str, float] = {}
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    max_tokens: int | None = None
    format: str = ""
    columns: dict[str, str] = {}
    sort: bool = False
    drop_bad: bool = False
    mix: tuple[TraceSpec, ...] = ()

    def __post_init__(self) -> None:
        if self.mix:
            self._check_alone()
            return
        given = {
            "source": bool(self.source),
            "lengths": self.lengths is not None,
            "sessions": self.sessions is not None,
        }
        came = [name for name, is_there in given.items() if is_there]
        if len(came) != 1:
            says = "none of them" if not came else "both" if len(came) == 2 else "all"
            raise ConfigError(
                f"trace: must have a source or lengths or sessions, got {says}. Try source = 'azure-code'."
            )
        self._check_company()
        for name in ("num_requests", "num_sessions", "max_requests", "extend_to"):
            value = getattr(self, name)
            _require(name, value, value is None or 1 <= value <= MAX_REQUESTS, f">= 1 and <= {MAX_REQUESTS:,}")
        for name in ("rate_per_s", "due_s"):
            value = getattr(self, name)
            _require(name, value, value is None or 0 < value < np.inf, "> 0")
        for name in ("slo_classes", "tenants"):
            shares = getattr(self, name)
            _require(name, shares, all(0 < share < np.inf for share in shares.values()), "shares > 0")

    def _check_company(self) -> None:
        if self.lengths is None and self.num_requests is not None:
            beside = "a source" if self.source else "sessions"
            raise ConfigError(
                f"trace: num_requests must stand beside lengths, got it beside {beside}. Try max_requests or extend_to."
            )
        if self.sessions is None and self.num_sessions is not None:
            raise ConfigError("trace: num_sessions must stand beside sessions, got it without. Leave it out.")
        alone = [
            name for name in OF_SOURCES if not self.source and getattr(self, name) not in (None, 0.0, "head", {}, "")
        ]
        if alone:
            raise ConfigError(f"trace: {alone[0]} must stand beside a source, got it without. Leave it out.")

    def _check_alone(self) -> None:
        own = ("mix", "max_requests")
        beside = [name for name in self.__struct_fields__ if name not in own and getattr(self, name) != _default(name)]
        if beside:
            raise ConfigError(
                f"trace: {beside[0]} must stand in a table of mix, got it beside mix. Move it into [[trace.mix]]."
            )

    def draw(self, seed: int = 0, load: float = 1.0) -> RequestTable:
        """Draw the requests of one run.

        Parameters
        ----------
        seed : int
            Equal seeds give equal requests.
        load : float
            Factor on the rate of arrivals, > 0; nothing else depends on it.

        Raises
        ------
        TraceError
            When the source cannot be read.
        ConfigError
            When something asked for cannot be.
        """
        if self.mix:
            parts = [part.draw(seed * len(self.mix) + place) for place, part in enumerate(self.mix)]
            table = mixed(parts, "a mix")
            table = table if self.max_requests is None else reshape.head(table, self.max_requests)
            return reshape.faster(table, load)
        times_rng, window_rng, classes_rng, tenants_rng = arrival_stream(seed).spawn(4)
        lengths_rng, prefixes_rng = truth_stream(seed).spawn(2)
        if self.source:
            table, is_timed = self._recorded(seed, window_rng)
        elif self.sessions is not None:
            table, is_timed = self._chained(lengths_rng), False
        else:
            table, is_timed = self._made(lengths_rng), False
        if self.due_s is not None:
            table = replace(table, due_s=np.full(len(table), self.due_s))
        if self.shuffle_lengths:
            rows = lengths_rng.permutation(len(table))
            table = reshape.with_lengths(table, table.prompt_tokens[rows], table.output_tokens[rows])
        table = reshape.shortened(table, self.max_prompt_tokens, self.max_output_tokens, self.max_tokens)
        if self.prefixes is not None:
            table = replace(table, prefixes=self.prefixes.draw(table.prompt_tokens, prefixes_rng))
        table = self._timed(table, is_timed, times_rng)
        table = _labelled(table, "slo_class", self.slo_classes, classes_rng)
        return reshape.faster(_labelled(table, "tenant", self.tenants, tenants_rng), load)

    def read(self, seed: int = 0) -> Reading:
        """Read the source as it is, before anything is cut or scaled.

        Raises
        ------
        TraceError
            When it cannot be read.
        """
        path = locate(self.source)
        state = path.stat()
        columns = tuple(sorted(self.columns.items()))
        key = (path, state.st_mtime_ns, state.st_size, self.format, columns, self.sort, self.drop_bad)
        chosen = find(self.format) if self.format else recognise(path)
        drawn = (self.start_s, self.end_s, self.max_requests, seed) if chosen.is_model else None
        return _read(*key, drawn)

    def _recorded(self, seed: int, rng: np.random.Generator) -> tuple[RequestTable, bool]:
        reading = self.read(seed)
        table = replace(reading.table, source=self.source)
        if reading.is_timed and (self.start_s or self.end_s is not None):
            table = reshape.between(table, self.start_s, self.end_s)
        if self.max_requests is not None:
            is_random = self.window == "random"
            table = (
                reshape.window(table, self.max_requests, rng) if is_random else reshape.head(table, self.max_requests)
            )
        return (table if self.extend_to is None else extend(table, self.extend_to, rng)), reading.is_timed

    def _made(self, rng: np.random.Generator) -> RequestTable:
        model = length_model(self.lengths) if isinstance(self.lengths, str) else self.lengths
        assert model is not None
        num = self.num_requests or MADE_REQUESTS
        prompt, output = model.draw(num, rng)
        return RequestTable(np.zeros(num), prompt, output, source="made by a recipe")

    def _chained(self, rng: np.random.Generator) -> RequestTable:
        made = session_model(self.sessions) if isinstance(self.sessions, str) else self.sessions
        assert made is not None
        if self.num_sessions is not None:
            made = msgspec.structs.replace(made, num_sessions=self.num_sessions)
        return made.draw(rng)

    def _timed(self, table: RequestTable, is_timed: bool, rng: np.random.Generator) -> RequestTable:
        if self.arrivals is not None:
            table = reshape.arriving(table, self.arrivals, rng)
        elif not is_timed and self.rate_per_s is not None:
            return reshape.arriving(table, Poisson(rate_per_s=self.rate_per_s), rng)
        return table if self.rate_per_s is None else reshape.at_rate(table, self.rate_per_s)


def locate(source: str) -> Path:
    """Return the file of a source: that of a shipped trace, or the path that it is.

    Raises
    ------
    UnknownName
        When it is neither.
    TraceError
        When it is a folder.
    """
    if source in shipped.names():
        return shipped.path(source)
    if Path(source).is_file():
        return Path(source)
    if Path(source).is_dir():
        raise TraceError(f"{source}: must be a trace file, but it is a folder. Name a file in it.")
    near = unknown_name("trace", source, shipped.names())
    raise UnknownName(f"{near} It must be a shipped trace or a file, and there is no such file.")


def session_model(name: str) -> AnySessions:
    """Return the sessions of a name.

    Raises
    ------
    UnknownName
        When there are none.
    """
    if name in NAMED_SESSIONS:
        return NAMED_SESSIONS[name]
    raise unknown_name("sessions", name, NAMED_SESSIONS)


def length_model(name: str) -> LengthModel:
    """Return the length model of a name: a published one, or that of a shipped trace.

    Raises
    ------
    UnknownName
        When there is none.
    """
    if name in NAMED:
        return NAMED[name]
    if name in shipped.names():
        return Like(TraceSpec(source=name).read().table)
    raise unknown_name("lengths", name, [*NAMED, *shipped.names()])


@lru_cache(maxsize=KEPT_READINGS)
def _read(
    path: Path,
    _changed_ns: int,
    _bytes: int,
    format: str,
    columns: tuple[tuple[str, str], ...],
    sort: bool,
    drop_bad: bool,
    drawn: tuple[float, float | None, int | None, int] | None,
) -> Reading:
    options = Options(columns=dict(columns))
    if drawn is not None:
        start_s, end_s, max_requests, seed = drawn
        options = replace(options, start_s=start_s, end_s=end_s, max_requests=max_requests, seed=seed)
    reading = read_requests(path, format=format, sort=sort, drop_bad=drop_bad, options=options)
    for column in (reading.table.arrival_s, reading.table.prompt_tokens, reading.table.output_tokens):
        column.flags.writeable = False  # it is handed out again and again
    return reading


def _labelled(table: RequestTable, label: str, shares_of: dict[str, float], rng: np.random.Generator) -> RequestTable:
    """Deal names out among the requests by their shares; without any, those that they have stay."""
    if not shares_of:
        return table
    shares = np.array(list(shares_of.values()))
    codes = rng.choice(len(shares), size=len(table), p=shares / shares.sum())
    return replace(table, labels={**table.labels, label: Labels(codes, tuple(shares_of))})


def _default(name: str) -> object:
    """Return what a field of a `TraceSpec` is unless somebody says otherwise."""
    (found,) = (field for field in structs.fields(TraceSpec) if field.name == name)
    return found.default if found.default is not NODEFAULT else found.default_factory()


def _require(name: str, value: object, fine: bool, must: str) -> None:
    if not fine:
        raise ConfigError(f"trace: {name} must be {must}, got {value}.")
