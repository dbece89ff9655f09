"""Steps whose operations run side by side: a price by a plan of nano-batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Seconds
from headway.policies.serving.nanoflow_plan import SPEEDS, Kind, NanoPlan, Points, speed
from headway.policies.serving.nanoflow_search import SPLITS, search
from headway.sim.serving.cost.layer import Layer, rows_of
from headway.sim.serving.cost.power import PowerModel
from headway.sim.serving.cost.replica import Replica
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.price import BatchShape, Chunk


class OverlapSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[fleet.overlap]``: operations of nano-batches run side by side, by a plan made for one kind of step.

    Parameters
    ----------
    tokens, decodes : int
        Of the step that the plan is made for: all its tokens, >= 1, and those of decodes, 0 to `tokens`.
    context_tokens : int
        What each of these decodes attends to, >= 0.
    split : tuple of float
        Shares of the step that nano-batches have; they sum to 1. That of NanoFlow on eight A100 by default; several are
        tried when it is empty.
    side_by_side : bool
        Whether the operations run side by side; otherwise one after the other, cut into nano-batches for nothing.
    """

    tokens: int = 2048
    decodes: int = 1024
    context_tokens: int = 768
    split: tuple[float, ...] = (0.375, 0.625)
    side_by_side: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.decodes <= self.tokens or self.tokens < 1 or self.context_tokens < 0:
            raise ConfigError(f"overlap: must have 0 <= decodes <= tokens and context_tokens >= 0, got {self}.")
        if self.split and (min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6):
            raise ConfigError(f"overlap: split must be shares > 0 that sum to 1, got {self.split}. Leave it out.")

    @property
    def shape(self) -> BatchShape:
        """The step that the plan is made for."""
        new = self.tokens - self.decodes
        return BatchShape(self.decodes, self.decodes * self.context_tokens, (Chunk(new, 0),) if new else ())


class OverlappedPrice:
    """Prices steps whose nano-batches run by a plan; a `StepPrice`.

    A step takes as many frames of the plan as the model has layers, with the operations of this very step, and what is
    beside the layers; or, where that is quicker, one operation after the other. The price of a step of decodes alone
    must be a straight line in their context: it is the one through the prices at half and at one and a half times the
    context that the plan is made for.

    Parameters
    ----------
    price : RooflinePrice
        Of one operation after the other.
    plan : NanoPlan
        Who runs beside whom.
    context_tokens : int
        What each decode attends to, about, >= 0.
    speeds : mapping of kind to points
        How fast operations are that share the device.
    side_by_side : bool
        Whether they do; otherwise the nano-batches' operations follow each other.
    """

    def __init__(
        self,
        *,
        price: RooflinePrice,
        plan: NanoPlan,
        context_tokens: int = 768,
        speeds: Mapping[Kind, Points] = SPEEDS,
        side_by_side: bool = True,
    ) -> None:
        self.price = price
        self.plan = plan
        self.context_tokens = context_tokens
        self.speeds = speeds
        self.side_by_side = side_by_side
        self._layer = Layer(price.stage, price.engine.kernel_factor)
        self._lines: dict[int, tuple[Seconds, Seconds]] = {}
        kinds = [one.kind for one in self._layer.operations(rows_of(BatchShape(1, 1)))] * len(plan.fracs)
        self._slow = [1 / speed(kind, share, speeds) for kind, share in zip(kinds, plan.shares, strict=True)]

    def step_s(self, shape: BatchShape) -> Seconds:
        """Return the time of one run, in seconds."""
        if not self._fits(shape):
            return self.price.step_s(shape)
        if not shape.chunks:
            base_s, token_s = self.decode_line(shape.num_decodes)
            return base_s + token_s * shape.context_tokens
        plain_s = self.price.step_s(shape)
        return min(plain_s, self._planned_s(shape, plain_s)) if self.side_by_side else self._planned_s(shape, plain_s)

    def decode_line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        """Return (base_s, per_token_s) of a step of `num_decodes` decodes and nothing else, at the full share."""
        if (known := self._lines.get(num_decodes)) is None:
            known = self._lines[num_decodes] = self._line(num_decodes)
        return known

    def _line(self, num_decodes: int) -> tuple[Seconds, Seconds]:
        base_s, token_s = self.price.decode_line(num_decodes)
        few, usual, many = (round(num_decodes * self.context_tokens * times) for times in (0.5, 1.0, 1.5))
        if len(self.plan.fracs) == 1 or few == many:
            return base_s, token_s
        few_s, many_s = (
            self._planned_s(BatchShape(num_decodes, context), base_s + token_s * context) for context in (few, many)
        )
        slope_s = max(0.0, (many_s - few_s) / (many - few))
        start_s = few_s - slope_s * few
        if self.side_by_side and (start_s <= 0 or start_s + slope_s * usual >= base_s + token_s * usual):
            return base_s, token_s
        return start_s, slope_s

    def _planned_s(self, shape: BatchShape, plain_s: Seconds) -> Seconds:
        """Return the time of a step by the plan, where it takes `plain_s` without."""
        rows, num_layers = rows_of(shape), self.price.stage.num_layers
        beside_s = plain_s - num_layers * sum([one.alone_s for one in self._layer.operations(rows)])
        alone = [one.alone_s for frac in self.plan.fracs for one in self._layer.operations(rows.part(frac))]
        if not self.side_by_side:
            return beside_s + num_layers * sum(alone)
        frame_s = max(self.plan.ends_s([one * slow for one, slow in zip(alone, self._slow, strict=True)]))
        return beside_s + self.plan.num_frames(num_layers) * frame_s

    def _fits(self, shape: BatchShape) -> bool:
        """Whether the plan is about such steps."""
        whole = all([chunk.layers_frac == 1 for chunk in shape.chunks])
        return whole and shape.share == 1 and not shape.drafted_tokens and len(self.plan.fracs) > 1


def overlapped(made: Replica, spec: OverlapSpec) -> Replica:
    """Return a replica that runs operations of nano-batches side by side.

    Raises
    ------
    ConfigError
        When its model is a mixture of experts or in pipeline stages, or its price is not that of kernels.
    """
    price = made.price
    if not isinstance(price, RooflinePrice) or price.stage.pipeline_parallel > 1 or price.stage.moe_frac:
        raise ConfigError(
            "overlap: its plan must be of kernels of a dense model in one stage, got another replica. Leave it out."
        )
    plan = _plan(price, spec.shape, (spec.split,) if spec.split else SPLITS)
    quicker = OverlappedPrice(
        price=price, plan=plan, context_tokens=spec.context_tokens, side_by_side=spec.side_by_side
    )
    power = PowerModel(stage=price.stage, price=quicker, fit=made.power.fit if made.power else None)
    note = "overlap: how operations slow each other is published in part, and assumed in part."
    return replace(made, price=quicker, power=power, notes=(*made.notes, note))


def plan_for(price: RooflinePrice, shape: BatchShape, splits: Sequence[Sequence[float]] = SPLITS) -> NanoPlan:
    """Search for the plan of a kind of steps."""
    layer, rows = Layer(price.stage, price.engine.kernel_factor), rows_of(shape)
    return search(lambda frac: layer.operations(rows.part(frac)), splits=splits)


@lru_cache(maxsize=64)
def _plan(price: RooflinePrice, shape: BatchShape, splits: tuple[tuple[float, ...], ...]) -> NanoPlan:
    return plan_for(price, shape, splits)
