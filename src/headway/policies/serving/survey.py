"""What a step would do, looked at before anything is changed."""

from __future__ import annotations

from collections.abc import Collection

from headway.core.nouns import Id
from headway.policies.serving.nouns import Piece, Step
from headway.policies.serving.state import InstanceState, RequestState

Growth = list[tuple[RequestState, int]]
"""Requests, and how many blocks each is to be given."""


class Survey:
    """A step that can be carried out.

    Attributes
    ----------
    step : Step
        The step.
    whole : bool
        Whether it begins with all decodes of its instance, which are then advanced as one.
    rest : tuple of Piece
        The pieces that are looked at one by one.
    growth : list of (RequestState, int)
        The blocks that requests of `rest` need.
    at_door : bool
        Whether it is still in the first stage of its instance.
    joining : list of str
        Requests that join the decodes when it is over, because they cannot while it computes them.
    """

    __slots__ = ("at_door", "growth", "joining", "rest", "step", "whole")

    def __init__(self, step: Step, whole: bool, rest: tuple[Piece, ...]) -> None:
        self.step = step
        self.whole = whole
        self.rest = rest
        self.growth: Growth = []
        self.at_door = True
        self.joining: list[Id] = []

    def takes(self, state: RequestState, instance: InstanceState) -> bool:
        """Whether it computes a piece of a request of its instance."""
        if self.whole and state.id in instance.decodes.members:
            return True
        return any([piece.request == state.id for piece in self.rest])


def survey(instance: InstanceState, step: Step, can: Collection[str]) -> Survey | str:
    """Return what a step of an idle instance comes to, or why it cannot be; memory is not looked at."""
    if (why := _bad_step(step, can)) is not None:
        return why
    whole, rest = _split(instance, step)
    found = Survey(step, whole, rest)
    if rest and (why := _bad_rest(instance, found, can)) is not None:
        return why
    return found


def _split(instance: InstanceState, step: Step) -> tuple[bool, tuple[Piece, ...]]:
    decodes, pieces = instance.decodes.pieces, step.pieces
    if not decodes or instance.num_stages > 1 or instance.decodes_held:
        return False, pieces
    if step.speculate:  # who speculates comes farther than the others
        return False, pieces
    if pieces is decodes:
        return True, ()
    # Comparing takes next to nothing: the piece of a decode is always the same object.
    num = len(decodes)
    return (True, pieces[num:]) if pieces[:num] == decodes else (False, pieces)


def _bad_step(step: Step, can: Collection[str]) -> str | None:
    if step.speculate or step.tune or step.share != 1.0 or step.repeat < 1:
        asked = {"speculate": step.speculate, "share": step.share != 1.0, "tune": step.tune}
        for ability, wanted in asked.items():
            if wanted and ability not in can:
                return f"this executor cannot {ability}"
        if step.repeat < 1 or not 0 < step.share <= 1:
            return f"repeat must be >= 1 and share in (0, 1], got {step.repeat} and {step.share:g}"
        if step.tune and step.repeat > 1:
            return "a step that carries fine-tuning is run once"
        if step.fused and ("fuse" not in can or step.share != 1.0):
            return "this executor cannot fuse" if "fuse" not in can else "a fused step has all of the compute"
    if not step.pieces and not step.tune:
        return "a step must compute something"
    if step.speculate and (step.repeat > 1 or min(step.speculate.values()) < 1):
        return "a step that drafts tokens drafts at least one for each request it names, and is run once"
    return None


def _bad_rest(instance: InstanceState, found: Survey, can: Collection[str]) -> str | None:
    """Check the pieces one by one and note the blocks that they need."""
    if (why := _bad_names(instance, found)) is not None:
        return why
    block_size, again, drafted = instance.kv.block_size, found.step.repeat > 1, found.step.speculate
    for piece in found.rest:
        state = instance.running.get(piece.request)
        if state is None:
            return f"{piece.request} is not running here"
        end, known = state.computed_tokens + piece.tokens, state.known_tokens
        if piece.tokens < 1 or end > known:
            return f"{piece.request} has {state.left_tokens} tokens left, {piece.tokens} asked for"
        if again and (end != known or piece.tokens > 1 or piece.layers is not None):
            return "only steps of single tokens, each followed by another, can be repeated"
        if drafted and piece.request in drafted:
            if not _can_draft(state, piece):
                return f"{piece.request} is not due an output token, so that none can be drafted for it"
            end += drafted[piece.request]
        if end > state.kv_tokens:
            found.growth.append((state, -(-(end - state.kv_tokens) // block_size)))
        if (piece.layers is not None or state.layers_done) and (why := _bad_layers(instance, state, piece, can)):
            return why
    return None


def _bad_names(instance: InstanceState, found: Survey) -> str | None:
    names = {piece.request for piece in found.rest}
    if len(names) != len(found.rest) or (found.whole and not names.isdisjoint(instance.decodes.members)):
        return "a step takes at most one piece of a request"
    if instance.decodes_held and not names.isdisjoint(instance.decodes.members):
        return "a request of it is in a step under way"
    if found.step.speculate and not names.issuperset(found.step.speculate):
        return "tokens are drafted for requests of the step only"
    return None


def _can_draft(state: RequestState, piece: Piece) -> bool:
    return state.decoding and piece.layers is None and not state.layers_done


def _bad_layers(instance: InstanceState, state: RequestState, piece: Piece, can: Collection[str]) -> str | None:
    if "layer_ranges" not in can:
        return "this executor cannot layer_ranges"
    first, last = piece.layers or (0, instance.num_layers)
    if first != state.layers_done or not first < last <= instance.num_layers:
        return f"{state.id} must go on from layer {state.layers_done}, got layers {first} to {last}"
    if state.layers_done and piece.tokens != state.layers_tokens:
        return f"{state.id} is amid a chunk of {state.layers_tokens} tokens, {piece.tokens} asked for"
    return None
