from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.drivers import simulate
from headway.core.errors import ConfigError
from headway.core.events import Failed
from headway.core.session import Session
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.castillo import Castillo, Kind
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.length_laws import LengthLaw, LogNormalLaw, Seen
from headway.policies.serving.nouns import Request, RequestArrived, RequestFinished
from headway.policies.serving.sarathi import SarathiServe
from headway.policies.serving.shortest_first import ShortestFirst
from headway.policies.serving.stack import Stack
from headway.policies.serving.state import InstanceState, RequestState
from headway.sim.serving.small import small_world


def request(id: str = "r", **more: object) -> Request:
    return Request(**{"id": id, "arrival_s": 0.0, "prompt_tokens": 100, "max_tokens": 1000, **more})  # type: ignore[arg-type]


def state(output_tokens: int = 0, **more: object) -> RequestState:
    found = RequestState(request(**more))
    for _ in range(output_tokens):
        found.give(1.0)
    return found


def told(kind: Kind, lengths: dict[str, int], **more: object) -> Castillo:
    found = Castillo(kind=kind, **more)  # type: ignore[arg-type]
    found.reset(np.random.default_rng(7))
    found.foretell(lengths.__getitem__)
    return found


def test_clients_differ_and_newcomers_are_like_all() -> None:
    predict = Castillo(num_least=3)
    for tokens in (10, 20, 30):
        predict.learn(request(tenant="short"), tokens)
        predict.learn(request(tenant="long"), 10 * tokens)
    assert predict.output_tokens(state(tenant="short")) == 20
    assert predict.output_tokens(state(tenant="long")) == 200
    assert predict.output_tokens(state(tenant="new")) == 110
    assert predict.output_tokens(state(tenant="long"), 0.5) == 200
    assert predict.output_tokens(state(tenant="long"), 0.9) == 300


def test_what_is_there_already_counts() -> None:
    predict = Castillo(num_least=1)
    for tokens in (10, 20, 30, 500):
        predict.learn(request(), tokens)
    assert predict.output_tokens(state(25)) == (30 + 500) / 2
    assert predict.output_tokens(state(30), 0.5) == 500
    assert predict.output_tokens(state(600)) > 601  # longer than all: as far again as it is past their middle
    assert predict.output_tokens(state(999)) == 1000  # and never more than was asked for


def test_only_the_latest_are_remembered() -> None:
    predict = Castillo(num_kept=2, num_least=1)
    for tokens in (900, 10, 20):
        predict.learn(request(), tokens)
    assert predict.output_tokens(state()) == 15


def test_it_learns_from_what_ends_and_not_from_what_is_cut_short() -> None:
    view = ServingBoard([InstanceState("gpu", BlockPool(8), num_layers=2)], frozenset())
    predict = Castillo(num_least=1)

    def end(id: str, reason: str, tokens: int) -> None:
        predict.steer(RequestArrived(at_s=0.0, work=request(id)), view)
        felt = {"queue_s": 0.0, "ttft_s": 1.0, "tpot_s": 0.1, "e2e_s": 2.0}
        done = RequestFinished(at_s=2.0, id=id, reason=reason, output_tokens=tokens, **felt)
        assert not list(predict.steer(done, view))

    end("a", "cancelled", 3)
    predict.steer(RequestArrived(at_s=0.0, work=request("b")), view)
    predict.steer(Failed(at_s=1.0, id="b", why="test"), view)
    assert predict.output_tokens(state()) == 1000
    end("c", "stop", 40)
    assert predict.output_tokens(state()) == 40


def test_a_regression_finds_what_lengths_depend_on() -> None:
    rng, predict = np.random.default_rng(0), Castillo(kind="learned")
    for _ in range(400):
        prompt, tenant = int(rng.integers(20, 2000)), str(rng.choice(["a", "b"]))
        median = 2 * prompt**0.5 * (4 if tenant == "b" else 1)
        predict.learn(request(prompt_tokens=prompt, tenant=tenant), max(1, int(rng.lognormal(math.log(median), 0.2))))
    for tenant, factor in (("a", 1), ("b", 4)):
        for prompt in (50, 400, 1600):
            found = predict.output_tokens(state(prompt_tokens=prompt, tenant=tenant), 0.5)
            assert found == pytest.approx(2 * prompt**0.5 * factor, rel=0.25)


def test_the_truth_and_what_blurs_it() -> None:
    lengths = {str(index): int(tokens) for index, tokens in enumerate(np.geomspace(2, 900, 300))}
    exact, noisy, bucket = (told(kind, lengths) for kind in ("oracle", "noisy", "bucket"))
    errors = []
    for name, tokens in lengths.items():
        assert exact.output_tokens(state(id=name)) == tokens == exact.output_tokens(state(id=name), 0.99)
        errors.append(math.log(noisy.output_tokens(state(id=name), 0.5) / tokens))
        assert noisy.output_tokens(state(id=name)) == noisy.output_tokens(state(id=name))  # it does not change its mind
        assert bucket.output_tokens(state(id=name)) >= 1
    assert np.std(errors) == pytest.approx(0.5, rel=0.25)
    assert exact.output_tokens(state(50, id="0")) == 51  # it was told 2; what it has already it has


def test_the_best_predictor_is_off_by_what_samples_of_a_prompt_differ_by() -> None:
    """It is calibrated: the truth is as far from it as samples are from their prompt's median, and in no direction."""
    rng = np.random.default_rng(1)
    medians = np.exp(rng.normal(5.0, 0.7, 3000))
    lengths = {str(i): max(1, round(m * math.exp(rng.normal(0, 0.25)))) for i, m in enumerate(medians)}
    predict = told("oracle-mean", lengths)
    off = [
        math.log(tokens / predict.output_tokens(state(id=name, max_tokens=10**6), 0.5))
        for name, tokens in lengths.items()
    ]
    assert np.std(off) == pytest.approx(0.25, rel=0.1)
    assert np.mean(off) == pytest.approx(0.0, abs=0.03)
    below = [tokens <= predict.output_tokens(state(id=name, max_tokens=10**6), 0.9) for name, tokens in lengths.items()]
    assert np.mean(below) == pytest.approx(0.9, abs=0.03)


def test_a_wrong_bucket_is_named_as_often_as_asked_for() -> None:
    lengths = {str(index): 100 for index in range(500)}
    predict = told("bucket", lengths, wrong_frac=0.3)
    found = [predict.output_tokens(state(id=name)) for name in lengths]
    assert np.mean([64 <= tokens <= 128 for tokens in found]) == pytest.approx(0.7, abs=0.06)


def test_without_anybody_to_tell_it_learns() -> None:
    predict = Castillo(kind="oracle", num_least=1)
    predict.reset(np.random.default_rng(0))
    predict.learn(request(), 40)
    assert predict.output_tokens(state()) == 40


@settings(max_examples=200, deadline=None)
@given(
    law=st.one_of(
        st.builds(Seen, st.lists(st.integers(1, 5000), min_size=1, max_size=50)),
        st.builds(LogNormalLaw, st.floats(0, 8), st.floats(0, 2)),
    ),
    above=st.integers(0, 20_000),
    share=st.floats(0.01, 0.98),
)
def test_laws_are_above_what_is_there_and_rise(law: LengthLaw, above: int, share: float) -> None:
    assert law.quantile(share, above) >= above * (1 - 1e-6)
    assert law.mean(above) >= above * (1 - 1e-6)
    assert law.quantile(share, above) <= law.quantile(share + 0.01, above) * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["quantile", "learned", "oracle", "oracle-mean", "noisy", "bucket", "none"])
def test_every_kind_sits_in_a_stack_and_survives_pickling(kind: Kind) -> None:
    def play(stack: Stack) -> object:
        world, accounts = small_world(3)
        return simulate(world, stack, session=Session(stack, world.view, seed=3, accounts=accounts)).duration_s

    stack = Stack(batch=SarathiServe(), order=ShortestFirst(), predict=Castillo(kind=kind))
    first = play(stack)
    assert play(pickle.loads(pickle.dumps(stack))) == first == play(stack)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"sigma": -1.0}, "sigma must be >= 0"),
        ({"edges": (8, 8)}, "edges must be rising"),
        ({"wrong_frac": 2.0}, "wrong_frac must be in"),
        ({"between_sigma": 0.0}, "between_sigma must be > 0"),
        ({"num_least": 0}, "num_least must be >= 1"),
    ],
)
def test_parameters_out_of_range_are_errors(wrong: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Castillo(**wrong)  # type: ignore[arg-type]
