"""Accelerators: what the hardware could do at best, as data with sources (`hardware.toml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from headway.core.errors import ConfigError, unknown_name
from headway.core.nouns import Seconds
from headway.core.parameters import decode, read_toml

TABLE = Path(__file__).with_name("hardware.toml")
"""The accelerators that come with Headway; each figure has its source there."""

FLOAT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5 + 2 / 128}
"""Bytes per number by type; int4 with one 16-bit scale per 128 numbers."""


class Accelerator(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One accelerator's peaks. Rates are of dense arithmetic, and of one direction of a link.

    Parameters
    ----------
    name : str
        As recipes call it.
    bf16_flops : float
        Arithmetic with 16-bit floats, in FLOP/s, > 0.
    fp8_flops, int8_flops : float
        The same with eight bits, >= 0; 0 where the hardware cannot: numbers are then computed with in 16 bits.
    memory_bytes : int
        What a program can allocate in all, in bytes, > 0.
    memory_bytes_per_s : float
        Bandwidth of that memory, > 0.
    num_cores : int
        Streaming multiprocessors, compute units or cores, >= 1: work comes in waves of so many tiles.
    link_bytes_per_s, network_bytes_per_s, host_bytes_per_s : float
        To an accelerator of the same node, to one of another node, to the host's memory; > 0.
    tdp_watts, idle_watts : float
        Power at most and with nothing to do; 0 <= idle <= tdp.
    usd_per_h : float
        Price of one for an hour, >= 0.
    aliases : tuple of str
        Other names.
    sources : dict of str to str
        Where the figures are from.

    Raises
    ------
    ConfigError
        When a figure is out of its range.
    """

    name: str
    bf16_flops: float
    fp8_flops: float = 0.0
    int8_flops: float = 0.0
    memory_bytes: int
    memory_bytes_per_s: float
    num_cores: int = 100
    link_bytes_per_s: float
    network_bytes_per_s: float
    host_bytes_per_s: float
    tdp_watts: float
    idle_watts: float
    usd_per_h: float
    aliases: tuple[str, ...] = ()
    sources: dict[str, str] = {}

    def __post_init__(self) -> None:
        above = ("bf16_flops", "memory_bytes", "memory_bytes_per_s", "num_cores")
        for field in (*above, "link_bytes_per_s", "network_bytes_per_s", "host_bytes_per_s"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"accelerator {self.name}: {field} must be > 0, got {getattr(self, field)}.")
        if not 0 <= self.idle_watts <= self.tdp_watts:
            raise ConfigError(
                f"accelerator {self.name}: must have 0 <= idle_watts <= tdp_watts, got {self.idle_watts}."
            )
        if min(self.fp8_flops, self.int8_flops, self.usd_per_h) < 0:
            raise ConfigError(f"accelerator {self.name}: fp8_flops, int8_flops and usd_per_h must be >= 0.")

    def flops(self, dtype: str) -> float:
        """Return the peak for products of numbers of a type, in FLOP/s; of the next wider type where it has none."""
        fast = {"fp8": self.fp8_flops, "int8": self.int8_flops, "fp32": self.bf16_flops / 2}.get(dtype, 0.0)
        return fast or self.bf16_flops

    def arithmetic(self, dtype: str) -> str:
        """Return the type in which numbers of a type are multiplied: eight bits only where the hardware can."""
        return dtype if {"fp8": self.fp8_flops, "int8": self.int8_flops, "fp32": 1.0}.get(dtype, 0.0) else "bf16"

    def read_s(self, num_bytes: float) -> Seconds:
        """Return the least time to read so many bytes of its memory."""
        return num_bytes / self.memory_bytes_per_s


@cache
def accelerators() -> dict[str, Accelerator]:
    """Return the accelerators that come with Headway, by name."""
    return _read(TABLE)


def accelerator_facts(name: str | Accelerator) -> Accelerator:
    """Find an accelerator.

    Parameters
    ----------
    name : str or Accelerator
        Its name or an alias; or a TOML file of one's own with one table like those of `TABLE`; or the thing itself.

    Raises
    ------
    UnknownName
        When there is none; names the nearest three.
    ConfigError
        When a file of one's own is not such a file.
    """
    if isinstance(name, Accelerator):
        return name
    if name.endswith(".toml"):
        return _own(Path(name))
    known = accelerators()
    if (key := name.lower().replace("_", "-")) in known:
        return known[key]
    by_alias = {alias: one for one in known.values() for alias in one.aliases}
    if key in by_alias:
        return by_alias[key]
    raise unknown_name("accelerator", name, [*known, *by_alias])


def _own(path: Path) -> Accelerator:
    found = list(_read(path).values())
    if len(found) != 1:
        raise ConfigError(f"{path}: must have one table, the accelerator's, got {len(found)}. Write one per file.")
    return found[0]


def _read(path: Path) -> dict[str, Accelerator]:
    return {name: _convert(path, name, table) for name, table in read_toml(path).items()}


def _convert(path: Path, name: str, table: Any) -> Accelerator:
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} must be a table, [{name}], got {table!r}.")
    return decode(Accelerator, {"name": name, **table}, where=f"{path}: [{name}]")
