"""The tables of a serving recipe: model, fleet, promises and outages."""

from __future__ import annotations

import math
from typing import Literal

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds, Slo
from headway.core.slo import SloClass
from headway.sim.serving.cost.overlap import OverlapSpec


class ModelSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[model]``: what is served.

    Parameters
    ----------
    name : str
        A shipped model's name, or a folder with a ``config.json``.
    weights, kv : str
        Types of the numbers of weights, and of keys and values; ``"bf16"``.
    max_tokens : int
        The most output tokens that every request asks for, >= 1; 0 takes the longest output of the trace.
    acceptance_frac : float
        The share of tokens that a draft model guesses, in [0, 1]; 0 for none, and then nobody can speculate.
    draft_s : float
        What each pass through the draft model adds to a step, in seconds, >= 0; 1 ms.
    context_tokens : int
        Longest prompt and output together, >= 1, for a model that was stretched beyond its config, as by scaled rotary
        positions; 0 takes the config's.
    routing_skew : float or None
        How unevenly tokens visit the experts of a mixture, >= 0; that of the accelerator's kernel measurements by
        default. See `headway.sim.serving.cost.experts.Coverage`.
    """

    name: str = "llama-3-8b"
    weights: str = "bf16"
    kv: str = "bf16"
    max_tokens: int = 0
    context_tokens: int = 0
    acceptance_frac: float = 0.0
    draft_s: Seconds = 1e-3
    routing_skew: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "context_tokens", "routing_skew"):
            if not (getattr(self, name) or 0) >= 0:
                raise ConfigError(f"model {self.name}: {name} must be >= 0, got {getattr(self, name)}. Leave it out.")
        if not 0 <= self.acceptance_frac <= 1 or not 0 <= self.draft_s < math.inf:
            raise ConfigError(
                f"model {self.name}: acceptance_frac must be in [0, 1] and draft_s >= 0, got {self.acceptance_frac} "
                f"and {self.draft_s}. Try 0.7 and 0.001."
            )


MAX_INSTANCES = 100_000
"""More than any fleet has, and still played in bounded memory."""


class FleetSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[fleet]]``: a pool of equal instances.

    Parameters
    ----------
    pool : str
        Its name; policies that tell pools apart go by it.
    accelerator : str
        Of the hardware table.
    model : str
        What it serves instead of ``[model]``'s, for policies that choose between models; empty by default. Requests are
        not to move between pools then.
    weights : str
        The type of its weights instead of ``[model]``'s; empty by default.
    instances : int
        How many, 1 to 100,000; of a pool with `max_instances`, how many are up at the start, and none is allowed.
    max_instances : int or None
        How many a policy can have in use at once, >= `instances`; not more than at the start by default.
    startup_s : float or None
        From asked for to serving, in seconds, >= 0; what loading the weights takes by default.
    tensor_parallel, pipeline_parallel : int
        Accelerators per stage, and stages, >= 1.
    kv_blocks : int or None
        Size of each KV memory in blocks, >= 1; what fits by default.
    block_size : int
        Tokens per block, >= 1; 16.
    memory_frac : float
        The share of the accelerator's memory that may be used, in (0, 1].
    max_batched_tokens : int
        The largest step that memory is reserved for, >= 1.
    max_running : int or None
        The most requests at once, >= 1; as many as there is memory for by default.
    caching : bool
        Whether prefixes are remembered.
    engine : str
        Whose overheads are added: a name of the engines' table.
    extra_step_s : float
        What a slower engine adds to each step, in seconds, >= 0.
    overlap : OverlapSpec or None
        How operations of nano-batches run side by side; one after the other by default.
    calibration : str
        A file that `headway calibrate` wrote; it stands in for model and accelerator.
    host_blocks : int
        Room for swapped requests in the host's memory, in blocks, >= 0.
    max_adapters : int or None
        How many LoRA adapters are at hand at once, >= 1; all, always, by default.
    adapter_load_s : float
        How long one takes to come to an instance, in seconds, >= 0; 2, an assumption.
    usd_per_h : float or None
        Price of one instance, >= 0; the hardware table's by default.
    """

    pool: str = "main"
    accelerator: str = "a100-80gb-sxm"
    model: str = ""
    weights: str = ""
    instances: int = 1
    max_instances: int | None = None
    startup_s: Seconds | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    kv_blocks: int | None = None
    block_size: int = 16
    memory_frac: float = 0.9
    max_batched_tokens: int = 8192
    max_running: int | None = None
    caching: bool = True
    engine: str = "vllm"
    extra_step_s: Seconds = 0.0
    overlap: OverlapSpec | None = None
    calibration: str = ""
    host_blocks: int = 0
    max_adapters: int | None = None
    adapter_load_s: Seconds = 2.0
    usd_per_h: float | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        for name in ("max_adapters", "block_size", "kv_blocks", "max_running"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"fleet {self.pool}: {name} must be >= 1, got {value}. Mend [[fleet]].")
        for name in ("host_blocks", "usd_per_h", "startup_s", "adapter_load_s"):
            amount = getattr(self, name)
            if amount is not None and not 0 <= amount < math.inf:
                raise ConfigError(f"fleet {self.pool}: {name} must be >= 0, got {amount}. Mend [[fleet]].")

    @property
    def most(self) -> int:
        """How many can be in use at once."""
        return self.instances if self.max_instances is None else self.max_instances

    def _check_numbers(self) -> None:
        if not 0 <= self.extra_step_s < math.inf:
            must = f"extra_step_s must be >= 0, got {self.extra_step_s}"
            raise ConfigError(f"fleet {self.pool}: {must}. Mend [[fleet]].")
        least = 1 if self.max_instances is None else 0
        if self.instances < least:
            raise ConfigError(f"fleet {self.pool}: instances must be >= {least}, got {self.instances}. Mend [[fleet]].")
        if self.most < max(1, self.instances):
            must = f"max_instances must be >= {max(1, self.instances)}"
            raise ConfigError(f"fleet {self.pool}: {must}, got {self.max_instances}. Mend [[fleet]].")
        if self.most > MAX_INSTANCES:
            most = f"instances must be <= {MAX_INSTANCES}"
            raise ConfigError(f"fleet {self.pool}: {most}, got {self.most}. Mend [[fleet]].")


class SloSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[slo]]``: what the requests of one class are promised.

    Parameters
    ----------
    name : str
        Of the class; requests of a trace without classes are ``"default"``.
    ttft_s, tpot_s, e2e_s, queue_s : float or None
        Bounds in seconds, > 0.
    quantile : float
        Share of the requests that must meet each bound, in (0, 1].
    """

    name: str = "default"
    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    e2e_s: Seconds | None = None
    queue_s: Seconds | None = None
    quantile: float = 0.9

    @property
    def is_empty(self) -> bool:
        """Whether it promises nothing: best effort."""
        return not self.slo_class.slos

    @property
    def slo_class(self) -> SloClass:
        """The promise."""
        bounds = {"queue_s": self.queue_s, "ttft_s": self.ttft_s, "tpot_s": self.tpot_s, "e2e_s": self.e2e_s}
        slos = tuple(Slo(metric, bound, self.quantile) for metric, bound in bounds.items() if bound is not None)
        return SloClass(name=self.name, slos=slos)


class KvPoolSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[kv_pool]``: memory beyond the instances, where they find keys and values that others have computed.

    What an instance fetches from it delays its next step; what it puts there costs nothing.

    Parameters
    ----------
    gib : float
        How large, in GiB, > 0.
    bytes_per_s : float or None
        How fast it is read, > 0; as fast as the network by default.
    latency_s : float
        Before the first byte of a request's blocks arrives, in seconds, >= 0; 1 ms, an assumption.
    takes : str
        Which blocks come into it: ``"all"`` that instances fill, or those that they have ``"evicted"``.
    small_frac : float
        Share of S3-FIFO's small queue, in (0, 1]; 0.3, AIBrix's default.
    """

    gib: float
    bytes_per_s: float | None = None
    latency_s: Seconds = 1e-3
    takes: Literal["all", "evicted"] = "all"
    small_frac: float = 0.3

    def __post_init__(self) -> None:
        for name, value in (("gib", self.gib), ("bytes_per_s", self.bytes_per_s), ("small_frac", self.small_frac)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"kv_pool: {name} must be > 0, got {value}. Mend [kv_pool].")
        if self.small_frac > 1 or not 0 <= self.latency_s < math.inf:
            must = "small_frac must be <= 1 and latency_s >= 0"
            raise ConfigError(f"kv_pool: {must}, got {self.small_frac} and {self.latency_s}. Mend [kv_pool].")


class OutageSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[outages]``: how often instances fail.

    Parameters
    ----------
    mtbf_s : float
        Mean time between failures of one instance, in seconds, > 0; the times are exponential.
    repair_s : float
        Mean time to repair, in seconds, >= 0.
    startup_s : float or None
        From repaired to serving, in seconds, >= 0; what loading the weights takes by default.
    """

    mtbf_s: Seconds
    repair_s: Seconds = 60.0
    startup_s: Seconds | None = None
