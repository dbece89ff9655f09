"""What lies between the flags of `headway bench serve` and the load generator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from headway.app.bench.answer import Answer
from headway.app.bench.load import Load
from headway.app.bench.objectives import SloMix, parse_bounds, parse_mix
from headway.app.bench.result import details, file_name
from headway.app.bench.result import save as save_file
from headway.app.bench.serve import Plan, Watch, bench
from headway.app.bench.target import CHAT, COMPLETIONS, Target
from headway.app.cli.needs import need
from headway.app.cli.output import err
from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import number
from headway.policies.serving.promises import SLO_CLASSES

BACKENDS = {"openai": COMPLETIONS, "vllm": COMPLETIONS, "openai-chat": CHAT}
"""Names of ways to ask, and their paths."""

METRICS = {"ttft_s": "ttft", "tpot_s": "tpot", "e2e_s": "e2el"}
"""What the load generator calls the metrics of SLO classes."""


def plan_of(flags: Mapping[str, Any]) -> Plan:
    """Read the flags.

    Raises
    ------
    ConfigError
        When one of them is out of range or cannot be read.
    """
    return Plan(
        target=_target(flags),
        load=_load(flags),
        mix=_mix(flags["slo_class"] or ()),
        prompt_kind=flags["prompt_kind"],
        prefix_tokens=flags["random_prefix_len"],
        max_model_len=flags["max_model_len"],
        max_concurrency=flags["max_concurrency"],
        num_warmups=flags["num_warmups"],
        percentiles=tuple(map(number, _words(flags["metric_percentiles"]))),
        percentile_metrics=tuple(_words(flags["percentile_metrics"])),
        goodput_ms=parse_bounds("--goodput", _goodput(flags)),
        wait_s=flags["ready_check_timeout_sec"],
    )


def measure(plan: Plan, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Carry a plan out; returns the result with the run's label and metadata."""
    need("httpx2", "client", "to talk to a server")
    _open_more_files()
    with _Bar(hidden=flags["disable_tqdm"]) as bar:
        result, run = asyncio.run(bench(plan, bar))
    result |= {"label": flags["label"] or None, "backend": flags["backend"], **_pairs("--metadata", flags["metadata"])}
    return result | details(run.answers) if flags["save_detailed"] else result


def save(result: Mapping[str, Any], plan: Plan, flags: Mapping[str, Any]) -> Path:
    """Write the result where the flags want it; returns the file."""
    label = flags["label"] or flags["backend"]
    name = flags["result_filename"] or file_name(
        label, plan.load.request_rate_per_s, plan.max_concurrency, result["model_id"], datetime.now()
    )
    path: Path = flags["result_dir"] / name
    try:
        save_file(path, result)
    except OSError as error:
        raise ConfigError(f"bench: the result must be writable to {path}, got: {error.strerror}.") from error
    return path


class _Bar(Watch):
    """A progress bar on standard error."""

    def __init__(self, hidden: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=err(), disable=hidden or not err().is_terminal)
        self._task = self._bar.add_task("requests", total=None)
        self._num_failed = 0

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        err().print(f"bench: {text}", markup=False)

    def started(self, num_requests: int) -> None:
        self._bar.reset(self._task, total=num_requests)

    def ended(self, answer: Answer) -> None:
        self._num_failed += bool(answer.error)
        failed = f" ({self._num_failed} failed)" if self._num_failed else ""
        self._bar.update(self._task, advance=1, description=f"requests{failed}")


def _target(flags: Mapping[str, Any]) -> Target:
    if flags["backend"] not in BACKENDS:
        raise unknown_name("bench: --backend", flags["backend"], BACKENDS)
    sampling = {name: flags[name] for name in ("temperature", "top_p", "top_k", "min_p") if flags[name] is not None}
    return Target(
        base_url=flags["base_url"] or f"http://{flags['host']}:{flags['port']}",
        endpoint=flags["endpoint"] or BACKENDS[flags["backend"]],
        model=flags["model"],
        api_key=flags["api_key"].split(",")[0],
        headers=_pairs("--header", flags["header"]),
        sampling=sampling,
        extra_body=_object(flags["extra_body"]),
        ignore_eos=flags["ignore_eos"],
        timeout_s=flags["request_timeout"],
    )


def _load(flags: Mapping[str, Any]) -> Load:
    implied = "trace" if flags["trace"] else "random"
    if flags["dataset_name"] not in ("", implied):
        raise ConfigError(
            f"bench: --dataset-name must be random, or trace together with --trace FILE, got {flags['dataset_name']!r} "
            f"and {flags['trace'] or 'no trace'!r}."
        )
    return Load(
        trace=flags["trace"],
        rate_scale=flags["rate_scale"],
        request_rate_per_s=flags["request_rate"],
        burstiness=flags["burstiness"],
        num_prompts=flags["num_prompts"],
        random_input_len=flags["random_input_len"],
        random_output_len=flags["random_output_len"],
        random_range_ratio=flags["random_range_ratio"],
        id_prefix=flags["request_id_prefix"],
        seed=flags["seed"],
    )


def _mix(words: Iterable[str]) -> SloMix:
    """Read the SLO classes; one without bounds gets those that `headway serve` gives to its name."""
    mix = parse_mix(words)
    known = {c.name: {METRICS[slo.metric]: slo.bound * 1000 for slo in c.slos} for c in SLO_CLASSES}
    return SloMix(shares=mix.shares, bounds_ms={n: own or known.get(n, {}) for n, own in mix.bounds_ms.items()})


def _goodput(flags: Mapping[str, Any]) -> list[str]:
    more = flags["more_goodput"] or []
    if more and not flags["goodput"]:
        raise ConfigError(f"bench: what follows must belong to --goodput, got {' '.join(more)!r}. See --help.")
    return [*(flags["goodput"] or []), *more]


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _pairs(flag: str, words: Iterable[str] | None) -> dict[str, str]:
    pairs = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise ConfigError(f"bench: {flag} must be KEY=VALUE, got {word!r}.")
        pairs[key] = value
    return pairs


def _object(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ConfigError(f"bench: --extra-body must be a JSON object, got {text!r} ({error}).") from error


def _open_more_files() -> None:
    """Allow as many connections as the system lets this user have."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
