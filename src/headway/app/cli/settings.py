"""What `headway serve` is told: defaults, then a file, then flags, resolved into one configuration.

A file has the shape of the flags: ``--kv-memory 2GiB`` is ``kv_memory = "2GiB"``. What a flag says twice is a table or
a list there: ``[policy_params]``, ``[adapters]``, ``api_keys``. SLO classes stand in ``[[slo_classes]]`` or
``[slo_classes.NAME]``. The setting `engine` says who computes: Headway itself, or vLLM.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from headway.app.cli.shipped import SHIPPED, shipped_folder
from headway.app.server import ServerConfig
from headway.app.vllm.command import LEFT_TO_VLLM, MEANINGLESS
from headway.core import catalogue
from headway.core.errors import ConfigError, unknown_name
from headway.core.parameters import decode, number, read_toml
from headway.engines.llm.config import EngineConfig
from headway.engines.vllm.settings import Settings
from headway.policies.serving.promises import listed
from headway.policies.tuning.wrap import share_of

ENGINE = {
    "model": "model", "name": "name", "adapters": "adapters", "device": "device", "dtype": "dtype",
    "quantize": "quantize",
    "kv_memory": "kv_bytes", "block_size": "block_size", "context": "context_tokens", "max_seqs": "max_seqs",
    "policy": "policy", "policy_params": "policy_params", "slo_classes": "slo_classes",
    "tuner": "tuner", "tuner_params": "tuner_params",
    "prefix_caching": "prefix_caching", "native": "native", "seed": "seed", "trace": "trace",
}  # fmt: skip
"""Settings of the engine, and the fields they fill."""

SERVER = {
    "host": "host", "port": "port", "api_keys": "api_keys", "tuning_api_keys": "tuning_api_keys",
    "api_key_file": "api_key_file", "tuning": "tuning", "state_dir": "state_dir", "max_file_bytes": "max_file_bytes",
    "max_body": "max_body_bytes",
    "max_prompt_tokens": "max_prompt_tokens", "max_choices": "max_choices", "max_queue": "max_queue",
    "request_timeout": "request_timeout_s", "drain_timeout": "drain_timeout_s",
    "default_slo_class": "default_slo_class", "access_log": "access_log", "metric_aliases": "metric_aliases",
}  # fmt: skip
"""Settings of the server, and the fields they fill."""

ENGINES = ("headway", "vllm")
"""Who may compute."""

VLLM_POLICY = Settings().policy
"""The policy inside vLLM that nobody names, for whoever goes there wants promises kept."""

NO_TUNER = "none"
"""The tuner of a server that trains nothing."""

NUMBERS = {
    "kv_memory", "context", "max_body", "max_file_bytes", "max_prompt_tokens", "request_timeout", "drain_timeout",
}  # fmt: skip
"""Settings that people write with units."""


def resolve(flags: Mapping[str, Any], file: Path | None = None) -> ServerConfig:
    """Resolve flags over a file over the defaults.

    Parameters
    ----------
    flags : mapping of str to object
        Settings by name; those not given are absent.
    file : Path or None
        A TOML file of settings.

    Raises
    ------
    ConfigError
        When a setting is unknown, of the wrong type, out of range, or does not go with another.
    """
    return config_of(given_settings(flags, file))


def given_settings(flags: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
    """Return what was given as flags or in a file, by name; what was left to defaults is absent.

    Raises
    ------
    ConfigError
        When a setting is unknown, or there is no such engine.
    """
    settings = _merge(read_toml(file) if file else {}, flags)
    if "slo_classes" in settings:
        settings["slo_classes"] = listed(settings["slo_classes"])
    for name in settings:
        if name not in ENGINE and name not in SERVER and name != "engine":
            known = [*ENGINE, *SERVER, "engine"]
            raise ConfigError(str(unknown_name(f"{file}: setting", name, known, "headway show config")))
    if settings.get("engine", ENGINES[0]) not in ENGINES:
        raise ConfigError(f"config: engine must be one of {', '.join(ENGINES)}, got {settings['engine']!r}.")
    return {name: _number(name, value) if name in NUMBERS else value for name, value in settings.items()}


def config_of(settings: Mapping[str, Any]) -> ServerConfig:
    """Fill given settings up with defaults.

    Raises
    ------
    ConfigError
        When one is of the wrong type, out of range, or does not go with another.
    """
    if settings.get("engine") == "vllm":
        settings = {"policy": VLLM_POLICY, "tuning": False, **settings}
    given = {"tuner": NO_TUNER} | dict(settings) if settings.get("tuning") is False else settings
    engine = decode(EngineConfig, _engine({ENGINE[k]: v for k, v in given.items() if k in ENGINE}), where="config")
    server = {"tuning": bool(engine.tuner)} | {SERVER[key]: value for key, value in settings.items() if key in SERVER}
    catalogue.build(engine.policy, engine.policy_params)  # a wrong parameter is better told now than by the engine
    if engine.tuner:
        share_of(engine.tuner, engine.tuner_params)
    return decode(ServerConfig, {"engine": engine, **server}, where="config")


def as_settings(config: ServerConfig, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Return a resolved configuration in the shape of a file, with all that was left to defaults, and without keys.

    Parameters
    ----------
    config : ServerConfig
        The configuration.
    given : mapping of str to object
        The settings that it was resolved from, which say which engine it is for. What means nothing to vLLM, or is left
        to its defaults, is left out for it.
    """
    engine, server = msgspec.to_builtins(config.full_engine), msgspec.to_builtins(config)
    found = {"engine": given.get("engine", ENGINES[0])} | {name: server[field] for name, field in SERVER.items()}
    found |= {name: engine[field] for name, field in ENGINE.items()}
    found["api_keys"] = ["(hidden)"] * len(config.api_keys)
    found["tuning_api_keys"] = ["(hidden)"] * len(config.tuning_api_keys)
    if found["engine"] == "vllm":
        found = {
            name: value for name, value in found.items() if name in given or name not in {*MEANINGLESS, *LEFT_TO_VLLM}
        }
    return found


def _number(name: str, value: Any) -> Any:
    try:
        return number(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ConfigError(f"config: {name}: {error}") from error


def _merge(file: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**file, **flags}
    for name in ("policy_params", "tuner_params", "adapters"):
        if isinstance(file.get(name), dict) and name in flags:
            merged[name] = {**file[name], **flags[name]}
    if "policy" in flags and flags["policy"] != file.get("policy", flags["policy"]):
        merged["policy_params"] = flags.get("policy_params", {})  # the file's are those of another policy
    if "tuner" in flags and flags["tuner"] != file.get("tuner", flags["tuner"]):
        merged["tuner_params"] = flags.get("tuner_params", {})
    return merged


def _engine(engine: dict[str, Any]) -> dict[str, Any]:
    if engine.get("tuner") == NO_TUNER:
        engine = {**engine, "tuner": ""}
    if engine.get("model", SHIPPED) != SHIPPED or Path(SHIPPED).is_dir():
        return engine
    folder = shipped_folder()
    if not (folder / "config.json").is_file():
        raise ConfigError(f"serve: the shipped model {SHIPPED} must be in {folder}, found nothing. Name a MODEL.")
    return {**engine, "model": str(folder), "name": engine.get("name") or SHIPPED}
