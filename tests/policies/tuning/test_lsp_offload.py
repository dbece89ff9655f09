"""LSP-Offload decides: in which form gradients travel, what comes next on each lane, when projectors are learnt."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.actions import Action, Start
from headway.core.errors import ConfigError
from headway.core.events import Event, Woke
from headway.core.nouns import Resource
from headway.policies.tuning.lsp_offload import LspOffload
from headway.policies.tuning.lsp_offload_board import OffloadBoard
from headway.policies.tuning.lsp_offload_nouns import (
    LANES,
    SLOT,
    Begin,
    Layer,
    OffloadJob,
    OffloadView,
    Op,
    What,
)
from headway.policies.tuning.lsp_offload_order import PlainOffload, start
from headway.policies.tuning.lsp_offload_plan import (
    layer_wise_s,
    num_projector_bytes,
    num_sent,
    op_s,
    phased_s,
    sent_bytes,
    widest,
)

LAYER = Layer(matrices=((64, 96), (32, 64)), num_small=10, forward_s=0.01, backward_s=0.02)
EVENT = Woke(at_s=0.0)


def lanes(bytes_per_s: float = 1e6, params_per_s: float = 1e6) -> list[Resource]:
    traits = {
        "gpu": {"memory_bytes_per_s": 1e9},
        "down": {"bytes_per_s": bytes_per_s},
        "cpu": {"params_per_s": params_per_s},
        "up": {"bytes_per_s": bytes_per_s},
    }
    return [Resource(id=lane, kind=lane, capacity=SLOT, traits=found) for lane, found in traits.items()]


def by_id(bytes_per_s: float = 1e6, params_per_s: float = 1e6) -> dict[str, Resource]:
    return {one.id: one for one in lanes(bytes_per_s, params_per_s)}


def job(num_layers: int = 3, num_steps: int = 2, layer: Layer = LAYER) -> OffloadJob:
    return OffloadJob(id="j", arrival_s=0.0, layers=(layer,) * num_layers, num_steps=num_steps)


def begun(width: int = 16, num_layers: int = 3, num_steps: int = 2) -> OffloadBoard:
    board = OffloadBoard(lanes())
    board.add(job(num_layers, num_steps))
    assert board.apply(Begin("j", width)) is None
    return board


def run(board: OffloadBoard, *whats: tuple[int, int, What], bias_frac: float = float("nan")) -> None:
    """Start and finish operations, one after the other."""
    for step, layer, what in whats:
        op = Op("j", step, layer, what)
        assert board.apply(start(op)) is None, op
        board.finish(op, bias_frac)


def asked(policy: LspOffload | PlainOffload, board: OffloadBoard) -> dict[str, str]:
    """What a policy starts, by lane."""
    return {next(iter(one.on)): one.id for one in policy.decide(EVENT, board) if isinstance(one, Start)}


# Form ----------------------------------------------------------------------------------------------------------------


def test_bytes_of_a_layer_are_those_of_its_squares_and_of_what_is_not_narrowed() -> None:
    assert num_sent(LAYER, 0) == 64 * 96 + 32 * 64 + 10
    assert num_sent(LAYER, 32) == 32 * 32 + 32 * 64 + 10  # a side of 32 is not longer than the width
    assert num_sent(LAYER, 16) == 2 * 16 * 16 + 10
    assert sent_bytes(job(), 16) == 3 * 2 * (2 * 16 * 16 + 10)


def test_projectors_take_memory_by_their_nonzeros_and_not_by_the_width() -> None:
    assert num_projector_bytes(LAYER, 16, 4, 2) == (64 + 96 + 32 + 64) * 4 * 6
    assert num_projector_bytes(LAYER, 8, 4, 2) == num_projector_bytes(LAYER, 16, 4, 2)
    assert num_projector_bytes(LAYER, 32, 4, 2) == (64 + 96) * 4 * 6


def test_the_widest_hidden_subspace_is_chosen() -> None:
    square = Layer(matrices=((256, 256),), forward_s=0.01, backward_s=0.02)
    one = job(layer=square)
    assert widest(one, 8, by_id(bytes_per_s=1e9, params_per_s=1e9)) == 128  # half the side: nothing is in the way
    narrow = widest(one, 8, by_id(bytes_per_s=2 * 64 * 64 / 0.031, params_per_s=1e9))
    assert narrow == 64  # a square of 64 takes 31 ms, about what the passes and the projectors take
    assert widest(one, 8, by_id(bytes_per_s=1.0)) == 16
    assert widest(job(layer=Layer(matrices=((16, 400),))), 8, by_id()) == 0


def test_the_policy_begins_the_first_job_with_its_parameters() -> None:
    board = OffloadBoard(lanes())
    board.add(job())
    found = list(LspOffload(width=16, nonzeros=4, alpha=0.3, learn_steps=7, beta=0.1).decide(EVENT, board))
    assert found == [Begin("j", 16, 4, 0.3, 7, 0.1)]
    (chosen,) = LspOffload().decide(EVENT, board)
    assert isinstance(chosen, Begin)
    assert chosen.width == widest(job(), 8, board.resources)


# Order ---------------------------------------------------------------------------------------------------------------


def test_a_gradient_is_compressed_before_the_next_layer_goes_backward() -> None:
    board = begun()
    run(board, (0, 0, "forward"), (0, 1, "forward"), (0, 2, "forward"), (0, 2, "backward"))
    policy = LspOffload(check_steps=1000)
    run(board, (0, 2, "check"), bias_frac=0.1)  # a check is due in the first step
    assert asked(policy, board) == {"gpu": "j/0/2/compress"}


def test_a_shallow_layer_overtakes_deep_ones_on_every_lane() -> None:
    board = begun()
    run(board, (0, 0, "forward"), (0, 1, "forward"), (0, 2, "forward"))
    for layer in (2, 1, 0):
        run(board, (0, layer, "backward"), (0, layer, "compress"))
    assert asked(LspOffload(), board) == {"down": "j/0/0/down"}
    assert asked(PlainOffload(order="arrival", width=16), board) == {"down": "j/0/2/down"}
    for layer in (2, 1, 0):
        run(board, (0, layer, "down"))
    assert asked(LspOffload(), board) == {"cpu": "j/0/0/update"}


def test_a_forward_pass_waits_for_the_update_of_its_own_layer_alone() -> None:
    board = begun()
    run(board, (0, 0, "forward"), (0, 1, "forward"), (0, 2, "forward"))
    for layer in (2, 1, 0):
        run(board, (0, layer, "backward"), (0, layer, "compress"))
    run(board, (0, 0, "down"), (0, 0, "update"), (0, 0, "up"))
    assert "j/1/0/forward" not in [op.id for op in board.ready("gpu")]
    run(board, (0, 0, "apply"))
    assert [op.id for op in board.ready("gpu")] == ["j/1/0/forward"]
    run(board, (1, 0, "forward"))
    assert not list(board.ready("gpu"))  # the second layer's update is not there
    run(board, (0, 1, "down"), (0, 1, "update"), (0, 1, "up"), (0, 1, "apply"))
    assert [op.id for op in board.ready("gpu")] == ["j/1/1/forward"]


def test_phases_wait_for_all_layers() -> None:
    board = begun(width=0)
    policy = PlainOffload()
    run(board, (0, 0, "forward"), (0, 1, "forward"), (0, 2, "forward"))
    run(board, (0, 2, "backward"), (0, 2, "down"))
    assert asked(policy, board) == {"gpu": "j/0/1/backward"}  # the update of the last layer could start
    run(board, (0, 1, "backward"), (0, 0, "backward"), (0, 1, "down"), (0, 0, "down"))
    assert asked(policy, board) == {"cpu": "j/0/2/update"}
    run(board, (0, 2, "update"), (0, 1, "update"))
    assert asked(policy, board) == {"cpu": "j/0/0/update"}
    run(board, (0, 0, "update"), (0, 0, "up"))
    assert asked(policy, board) == {"up": "j/0/2/up"}


# Projectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias_frac", "then"), [(0.6, "learn"), (0.4, "compress")])
def test_projectors_are_learnt_where_the_bias_exceeds_alpha(bias_frac: float, then: str) -> None:
    policy, board = LspOffload(width=16, alpha=0.5), begun(num_layers=1)
    run(board, (0, 0, "forward"), (0, 0, "backward"))
    assert asked(policy, board) == {"gpu": "j/0/0/check"}
    run(board, (0, 0, "check"), bias_frac=bias_frac)
    assert asked(policy, board) == {"gpu": f"j/0/0/{then}"}


def test_learning_that_comes_to_its_end_above_alpha_is_not_repeated_before_the_next_check() -> None:
    policy, board = LspOffload(width=16, alpha=0.5, check_steps=2), begun(num_layers=1, num_steps=3)
    run(board, (0, 0, "forward"), (0, 0, "backward"))
    run(board, (0, 0, "check"), (0, 0, "learn"), bias_frac=0.9)
    assert asked(policy, board) == {"gpu": "j/0/0/compress"}
    for step in (0, 1):
        tail: list[What] = ["compress", "down", "update", "up", "apply"]
        run(board, *[(step, 0, what) for what in tail])
        run(board, (step + 1, 0, "forward"), (step + 1, 0, "backward"))
        assert asked(policy, board) == {"gpu": f"j/{step + 1}/0/{'check' if step else 'compress'}"}


# The board -----------------------------------------------------------------------------------------------------------


def test_the_board_refuses_what_cannot_be_and_stays_as_it_is() -> None:
    board = begun()
    board.add(OffloadJob(id="k", arrival_s=0.0, layers=(LAYER,), num_steps=1))
    before = board.fingerprint()
    forward = Op("j", 0, 0, "forward")
    refusals = {
        "not ready": start(Op("j", 0, 1, "forward")),
        "not waiting": Begin("j"),
        "another job": Begin("k"),
        "the slot of gpu": Start(forward.id, {"cpu": SLOT}),
        "does not know": Nonsense(),
    }
    for why, action in refusals.items():
        assert why in (board.apply(action) or "")
    assert board.fingerprint() == before
    assert board.apply(start(forward)) is None
    assert "not ready" in (board.apply(start(forward)) or "")


class Nonsense(Action, frozen=True, gc=False):
    """An action of nobody."""


def test_a_lane_runs_one_operation_at_a_time() -> None:
    board = begun()
    run(board, (0, 0, "forward"), (0, 1, "forward"), (0, 2, "forward"), (0, 2, "backward"))
    assert board.apply(start(Op("j", 0, 1, "backward"))) is None
    assert board.apply(start(Op("j", 0, 2, "compress"))) == "gpu is busy"


class _Dice:
    """Starts whatever is ready, in any order, checks and learning included."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def pick(self, view: OffloadView) -> Iterator[Op]:
        for lane in LANES:
            ready = [op for op in view.ready(lane) if view.is_idle(lane)]
            if ready and self._rng.random() < 0.8:
                yield ready[self._rng.integers(len(ready))]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_no_order_makes_an_update_stale_or_loses_one(seed: int, layers: int, steps: int, is_whole: bool) -> None:
    board, dice = begun(0 if is_whole else 16, layers, steps), _Dice(seed)
    rng = np.random.default_rng([seed, 1])
    applied = dict.fromkeys(range(layers), -1)
    seen: list[Event | Op] = []
    running: list[Op] = []
    for _ in range(10_000):
        for op in list(dice.pick(board)):
            if op.what == "compress" and rng.random() < 0.3:
                op = Op(op.job, op.step, op.layer, "check")
            if board.apply(start(op)) is None:
                running.append(op)
                if op.what == "forward":
                    assert applied[op.layer] == op.step - 1
        if running:
            op = running.pop(rng.integers(len(running)))
            seen.append(op)
            if op.what == "apply":
                applied[op.layer] = op.step
            if board.finish(op, 0.0):
                break
    ran = [op for op in seen if isinstance(op, Op) and op.what != "check"]
    kinds = 6 if is_whole else 7
    assert len(ran) == len({op.id for op in ran}) == kinds * layers * steps
    assert board.under_way is None
    assert not board.jobs


# Time models ---------------------------------------------------------------------------------------------------------


def test_time_models_of_one_step_by_hand() -> None:
    layer = Layer(matrices=((1000, 1000),), forward_s=1.0, backward_s=2.0)
    one, resources = job(num_layers=4, layer=layer), by_id(1e6, 2e6)
    whole = Begin("j")
    apply_s = 2 * 3 * 1e6 / 1e9  # reads and writes of weights, and reads of updates
    assert op_s("down", layer, whole, 2, resources) == 2.0
    assert op_s("update", layer, whole, 2, resources) == 0.5
    # Three of four layers' gradients hide behind the backward passes of those before them.
    assert phased_s(one, whole, resources) == pytest.approx(4 * (3.0 + apply_s) + 2.0 + 2.0 + 8.0)
    assert layer_wise_s(one, whole, resources) == pytest.approx(4 * (3.0 + apply_s) + 2.0 + 0.5 + 2.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("width", -1), ("nonzeros", 0), ("alpha", 0.0), ("check_steps", 0), ("learn_steps", 0), ("beta", -1.0)],
)
def test_parameters_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"tuning/lsp-offload: {name} must be"):
        LspOffload(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="order must be"):
        PlainOffload(order="backwards")


def test_a_lane_without_a_rate_is_a_clear_error() -> None:
    resources = {one.id: Resource(id=one.id, kind=one.id, capacity=SLOT) for one in lanes()}
    with pytest.raises(ConfigError, match="bytes_per_s > 0"):
        op_s("down", LAYER, Begin("j"), 2, resources)
