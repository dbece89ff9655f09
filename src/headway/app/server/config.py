"""What the server is told before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.slo import SloClass
from headway.engines.llm.config import EngineConfig
from headway.policies.serving.promises import SLO_CLASSES, check_default, check_slo_classes

KEY_VARIABLE = "HEADWAY_API_KEY"
"""Environment variable with further API keys, separated by commas."""

TUNING_KEY_VARIABLE = "HEADWAY_TUNING_API_KEY"
"""Environment variable with further API keys that may fine-tune, separated by commas."""

TUNING_WORD = "tuning"
"""What follows a key in a key file, after a space, if it may fine-tune."""


class ServerConfig(Struct, frozen=True, kw_only=True):
    """One server: an engine, where it listens, who may use it, and how much of it.

    Parameters
    ----------
    engine : EngineConfig
        What is served. When it names no SLO classes, `SLO_CLASSES` are used.
    host : str
        Address to listen on.
    port : int
        Port to listen on, 0 to 65535; 0 takes a free one.
    api_keys : tuple of str
        Keys of which every request must bring one, except to ``/health``, ``/ready`` and ``/metrics``; with none
        anybody may ask.
    tuning_api_keys : tuple of str
        Keys that open all that the others do, and fine-tuning besides. Where there are keys of either kind, only these
        may upload files and make jobs.
    api_key_file : str
        A file with further keys, one per line, with the word ``tuning`` after those that may fine-tune; empty for none.
        The variables `HEADWAY_API_KEY` and `HEADWAY_TUNING_API_KEY` may hold more.
    max_body_bytes : int
        Longest request body in bytes, >= 1024; 8 MiB by default.
    max_prompt_tokens : int
        Longest prompt in tokens; 0 leaves it to the model's context.
    max_choices : int
        The most outputs (prompts times `n`) one request may ask for, >= 1; 16 by default.
    max_queue : int
        The most outputs that wait or run at once, >= 1; 256 by default. Further requests are told to come back later.
    request_timeout_s : float
        A request that takes longer is given up, in seconds, > 0; 600 by default.
    drain_timeout_s : float
        How long requests may go on after the server was asked to stop, in seconds, >= 0; 30 by default.
    default_slo_class : str
        The SLO class of requests that name none.
    access_log : str
        Where one line of JSON per request goes: ``"-"`` for standard error, a file, or empty for nowhere.
    metric_aliases : bool
        Whether ``/metrics`` also speaks vLLM's names.
    tuning : bool
        Whether models can be fine-tuned.
    state_dir : str
        Where uploaded files, jobs and tuned models are kept; empty for ``$XDG_STATE_HOME/headway`` or
        ``~/.local/state/headway``. One server at a time can use a folder.
    max_file_bytes : int
        Longest uploaded file in bytes, >= 1024; 512 MiB by default.
    """

    engine: EngineConfig
    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    tuning_api_keys: tuple[str, ...] = ()
    api_key_file: str = ""
    max_body_bytes: int = 8 << 20
    max_prompt_tokens: int = 0
    max_choices: int = 16
    max_queue: int = 256
    request_timeout_s: float = 600.0
    drain_timeout_s: float = 30.0
    default_slo_class: str = "default"
    access_log: str = "-"
    metric_aliases: bool = True
    tuning: bool = False
    state_dir: str = ""
    max_file_bytes: int = 512 << 20

    def __post_init__(self) -> None:
        _between("port", self.port, 0, 65535, 8000)
        _between("max_body_bytes", self.max_body_bytes, 1024, 1 << 40, 8 << 20)
        _between("max_file_bytes", self.max_file_bytes, 1024, 1 << 40, 512 << 20)
        _between("max_prompt_tokens", self.max_prompt_tokens, 0, 1 << 40, 0)
        _between("max_choices", self.max_choices, 1, 1 << 20, 16)
        _between("max_queue", self.max_queue, 1, 1 << 20, 256)
        _between("drain_timeout_s", self.drain_timeout_s, 0, 1e9, 30)
        if not self.request_timeout_s > 0:
            raise ConfigError(f"server: request_timeout_s must be > 0, got {self.request_timeout_s}. Try 600.")
        check_slo_classes(self.slo_classes, "server")
        check_default(self.default_slo_class, self.slo_classes, "server")

    @property
    def slo_classes(self) -> tuple[SloClass, ...]:
        """The promises that requests can name."""
        return self.engine.slo_classes or SLO_CLASSES

    @property
    def full_engine(self) -> EngineConfig:
        """The engine's configuration with the SLO classes filled in."""
        return msgspec.structs.replace(self.engine, slo_classes=self.slo_classes)


def keys_of(config: ServerConfig, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Collect the API keys from the configuration, its key file and the environment, whatever they open.

    Raises
    ------
    ConfigError
        When the key file cannot be read, holds no key, or a line that is none.
    """
    keys = [*config.api_keys, *environment.get(KEY_VARIABLE, "").split(",")]
    keys += [key for key, _ in _keys_in(config.api_key_file)]
    return _once([*keys, *tuning_keys_of(config, environment)])


def tuning_keys_of(config: ServerConfig, environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Collect those API keys that may fine-tune.

    Raises
    ------
    ConfigError
        As for `keys_of`.
    """
    keys = [*config.tuning_api_keys, *environment.get(TUNING_KEY_VARIABLE, "").split(",")]
    return _once([*keys, *(key for key, tunes in _keys_in(config.api_key_file) if tunes)])


def _once(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key.strip() for key in keys if key.strip()))


def _keys_in(file: str) -> list[tuple[str, bool]]:
    """The keys in a file, each with whether it may fine-tune."""
    if not file:
        return []
    try:
        lines = [line.strip() for line in Path(file).read_text().splitlines()]
    except OSError as error:
        raise ConfigError(f"server: api_key_file must be readable, got {file} ({error.strerror}).") from error
    keys = [_key_in(line, file) for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"server: api_key_file must hold a key per line, got none in {file}.")
    return keys


def _key_in(line: str, file: str) -> tuple[str, bool]:
    key, *rights = line.split()
    if rights not in ([], [TUNING_WORD]):
        raise ConfigError(
            f"server: after a key in api_key_file nothing may follow but the word {TUNING_WORD}, "
            f"got {' '.join(rights)!r} in {file}."
        )
    return key, bool(rights)


def _between(what: str, value: float, low: float, high: float, good: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"server: {what} must be from {low} to {high}, got {value}. Try {good}.")
