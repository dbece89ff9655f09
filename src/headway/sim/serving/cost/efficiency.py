"""Which fit belongs to which accelerator (`efficiency.toml`), and what an engine adds (`engines.toml`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headway.core.errors import ConfigError, unknown_name
from headway.core.nouns import Seconds
from headway.core.parameters import read_toml
from headway.sim.serving.cost.operators import (
    DecodeFit,
    ElementwiseFit,
    ExpertFit,
    GemmFit,
    PrefillFit,
    ReduceFit,
    SendFit,
)

FITS = Path(__file__).with_name("efficiency.toml")
"""Fitted shares of the peaks; `tools/fit_efficiencies.py` writes it."""
ENGINES = Path(__file__).with_name("engines.toml")
"""What serving engines add to their kernels' times."""

T = TypeVar("T")


class Efficiency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of an accelerator's peaks its kernels reach; tables by type of numbers (``"bf16"``, ``"fp8"``).

    Parameters
    ----------
    gemm, experts, prefill, decode : dict of str to fit
        Per type, of the weights or of KV memory. A type without a fit takes the nearest one with.
    elementwise, reduce, send : fit
        Of all types.
    borrowed_from : str
        The accelerator whose fits these are; empty when they are its own.
    own : tuple of str
        Fits that are the accelerator's own though others are borrowed.
    """

    gemm: dict[str, GemmFit] = {}
    experts: dict[str, ExpertFit] = {}
    prefill: dict[str, PrefillFit] = {}
    decode: dict[str, DecodeFit] = {}
    elementwise: ElementwiseFit = ElementwiseFit()
    reduce: ReduceFit = ReduceFit()
    send: SendFit = SendFit()
    borrowed_from: str = ""
    own: tuple[str, ...] = ()

    def fused(self) -> Efficiency:
        """Return the same without conversions of inputs; all products then start as those of 16 bits do."""
        start_s = of_type(self.gemm, "bf16", GemmFit()).fixed_s
        gemm = {
            name: replace(fit, convert_frac=0.0, fixed_s=start_s) if fit.convert_frac else fit
            for name, fit in self.gemm.items()
        }
        return replace(self, gemm=gemm)

    def skewed(self, skew: float) -> Efficiency:
        """Return the same with tokens that visit the experts of a mixture as unevenly as this."""
        experts = self.experts or {"bf16": ExpertFit()}
        return replace(self, experts={name: replace(fit, skew=skew) for name, fit in experts.items()})


class EngineFit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a serving engine adds to the time of its kernels.

    Parameters
    ----------
    step_s : float
        Between one step's kernels and the next's (scheduling, launching, sampling), in seconds, >= 0.
    sequence_s : float
        The same per request in the step, in seconds, >= 0.
    token_s : float
        The same per token of a prompt, in seconds, >= 0.
    kernel_factor : float
        On the time of all kernels, > 0.
    fused : bool
        Inputs are converted to eight bits within the operator before the product, as compiled engines do; the kernel
        tables have it as a slow operator of its own.
    """

    step_s: Seconds = 1e-3
    sequence_s: Seconds = 1e-5
    token_s: Seconds = 0.0
    kernel_factor: float = 1.0
    fused: bool = True

    def __post_init__(self) -> None:
        if not self.kernel_factor > 0 or not min(self.step_s, self.sequence_s, self.token_s) >= 0:
            raise ConfigError(f"engine: its times must be >= 0 and kernel_factor > 0, got {self}.")


def of_type(fits: Mapping[str, T], dtype: str, otherwise: T) -> T:
    """Return the fit of a type of numbers, or of the nearest one that has a fit."""
    nearest = {"int8": ("fp8",), "fp8": ("int8",)}.get(dtype, ())
    return next((fits[name] for name in (dtype, *nearest, "bf16") if name in fits), otherwise)


@cache
def efficiency(accelerator: str) -> Efficiency:
    """Return the fits of an accelerator; those of the one named in the file, or plain guesses, when it has none."""
    return _convert(FITS, accelerator, _fits(read_toml(FITS), accelerator), Efficiency)


def _fits(table: Mapping[str, Any], accelerator: str) -> dict[str, Any]:
    """Return what is known of an accelerator; who lends may have borrowed."""
    found = table.get(accelerator, {})
    lender = found.get("borrow", "")
    if not lender:
        return dict(found)
    own = {key: value for key, value in found.items() if key not in ("borrow", "errors")}
    return {**_fits(table, lender), **own, "borrowed_from": lender, "own": tuple(own)}


@cache
def engine(name: str) -> EngineFit:
    """Return what an engine adds.

    Raises
    ------
    UnknownName
        When it has no table; names the nearest three.
    """
    table = read_toml(ENGINES)
    if name not in table:
        raise unknown_name("engine", name, table)
    return _convert(ENGINES, name, table[name], EngineFit)


def _convert(file: Path, name: str, table: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert({key: value for key, value in table.items() if key != "errors"}, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file.name}: [{name}]: {error}.") from error
