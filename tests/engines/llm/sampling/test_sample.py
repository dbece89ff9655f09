"""Sampling: supports, distributions, penalties, seeds, log-probabilities."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from headway.engines.llm.messages import Sampling
from headway.engines.llm.sampling.draws import draw, draw_likeliest
from headway.engines.llm.sampling.recipe import Counts, Recipe, plain
from headway.engines.llm.sampling.sample import greedy, sample

VOCAB = 40
EVEN = [(n + 0.5) / 3000 for n in range(3000)]
"""Uniform numbers without chance: their outcomes show a distribution almost exactly."""


def make_recipe(prompt: list[int] | None = None, end_ids: tuple[int, ...] = (), seed: int = 0, **asked: Any) -> Recipe:
    return Recipe(Sampling(**asked), prompt or [], end_ids, seed)


def random_logits(rows: int, vocab: int = VOCAB, seed: int = 0, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale


def expected(logits: torch.Tensor, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> torch.Tensor:
    """The distribution of one row, written as its definition: sort, cut, renormalise; ties stay or go together."""
    values, ids = logits.double().sort(descending=True, stable=True)
    if top_k:
        values, ids = values[values >= values[min(top_k, len(values)) - 1]], ids[: (values >= values[top_k - 1]).sum()]
    shares = values.softmax(0)
    needed = int((shares.cumsum(0) - shares < top_p).sum()) if top_p < 1 else len(shares)
    cut = max(float(values[needed - 1]), float(values[0]) + (math.log(min_p) if min_p else -math.inf))
    kept = values >= cut
    out = torch.zeros(len(logits), dtype=torch.float64)
    out[ids[kept]] = values[kept].softmax(0)
    return out


def frequencies(logits: torch.Tensor, **asked: Any) -> torch.Tensor:
    """Sample one row once for each of `EVEN`."""
    recipes = [make_recipe(**asked) for _ in EVEN]
    for recipe, uniform in zip(recipes, EVEN, strict=True):
        recipe.random.random = lambda uniform=uniform: uniform  # type: ignore[method-assign,misc]
    tokens, _ = sample(logits.repeat(len(EVEN), 1), recipes)
    return torch.bincount(torch.tensor(tokens), minlength=len(logits)).double() / len(EVEN)


FILTERS: list[dict[str, float]] = [
    {},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": VOCAB},
    {"top_k": 1000},
    {"top_p": 0.5},
    {"top_p": 0.95},
    {"top_p": 1e-6},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"top_k": 7, "top_p": 0.8},
    {"top_k": 7, "top_p": 0.9, "min_p": 0.05},
    {"top_p": 0.9, "min_p": 0.3},
]


@pytest.mark.parametrize("asked", FILTERS, ids=str)
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_every_filter_has_exactly_its_distribution(asked: dict[str, Any], temperature: float) -> None:
    logits = random_logits(1)[0]
    wanted = expected(logits / temperature, **{**asked, "top_k": min(asked.get("top_k", 0), VOCAB)})
    got = frequencies(logits, temperature=temperature, **asked)
    assert not got[wanted == 0].any()
    assert (got - wanted).abs().max() < 2 / len(EVEN) + 1e-6
    reachable = wanted > 2 / len(EVEN)
    assert got[reachable].all()


def test_random_draws_follow_the_distribution() -> None:
    """Pearson's chi-square against the 99.9% quantile for 11 degrees of freedom, with fixed seeds."""
    logits = random_logits(1, vocab=12, seed=3, scale=1.0)[0]
    recipe, counts, num_draws = make_recipe(seed=5), Counter[int](), 4000
    for _ in range(num_draws // 100):
        tokens, _ = sample(logits.repeat(100, 1), [recipe] * 100)
        counts.update(tokens)
    wanted = logits.double().softmax(0) * num_draws
    chi_square = sum((counts[token] - float(wanted[token])) ** 2 / float(wanted[token]) for token in range(12))
    assert chi_square < 31.26


@settings(max_examples=60, deadline=None)
@example(695, 691, 237, 0.6875, 0.0, 0.5)  # more are as likely as the k-th than are looked at first
@example(444, 257, 256, 0.5, 0.02, 0.5)
@example(0, 485, 256, 0.75, 0.0, 0.0)  # a nucleus of more tokens than are looked at first
@given(
    st.integers(0, 10_000), st.integers(1, 700), st.integers(0, 700), st.floats(0.01, 1.0), st.sampled_from([0.0,
    0.02]), st.sampled_from([0.5, 0.0]),
)  # fmt: skip
def test_ranked_draws_hit_their_support_and_no_more(
    seed: int, vocab: int, top_k: int, top_p: float, min_p: float, step: float
) -> None:
    """Wide vocabularies make `draw_likeliest` look further than at first; coarse logits make ties."""
    logits = random_logits(3, vocab, seed)
    logits = (logits / step).round() * step if step else logits
    k = min(top_k, vocab)
    wanted, less, more = (
        torch.stack([expected(row, k, min(top_p + nudge, 1.0), min_p) for row in logits]) for nudge in (0, -1e-6, 1e-6)
    )
    assume(torch.equal(less > 0, more > 0))  # on the very border of a nucleus, rounding decides
    for uniform in (0.0, 0.3, 0.7, 1 - 2**-53):
        tokens = draw_likeliest(
            logits,
            torch.full((3,), uniform, dtype=torch.float64),
            torch.full((3,), k or vocab),
            torch.full((3,), top_p),
            torch.full((3,), math.log(min_p) if min_p else -math.inf),
        )
        for row, token in enumerate(tokens.tolist()):
            ends = wanted[row].cumsum(0)
            assert wanted[row, token] > 0
            assert ends[token] - wanted[row, token] - 1e-5 <= uniform <= ends[token] + 1e-5


@given(st.integers(0, 1000), st.integers(1, 1600), st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_plain_draws_invert_the_distribution_function(seed: int, vocab: int, uniform: float) -> None:
    logits = random_logits(2, vocab, seed)
    logits[:, ::3] = -torch.inf
    if vocab == 1:
        logits[:] = 0.0
    elif vocab > 1:
        logits[:, 1] = 1.0
    tokens = draw(logits, torch.full((2,), uniform, dtype=torch.float64))
    for row, token in enumerate(tokens.tolist()):
        shares = logits[row].double().softmax(0)
        assert shares[token] > 0
        assert shares[:token].sum() - 1e-6 <= uniform <= shares[: token + 1].sum() + 1e-6


def test_the_same_seed_gives_the_same_tokens_whatever_the_batch() -> None:
    asked: list[dict[str, Any]] = [{}, {"top_k": 5}, {"top_p": 0.7}, {"temperature": 0.4}, {"min_p": 0.05}]
    steps = [random_logits(1, 700, seed)[0] for seed in range(20)]

    def alone(index: int) -> list[int]:
        recipe = make_recipe(seed=index, **asked[index])
        return [sample(logits[None].clone(), [recipe])[0][0] for logits in steps]

    def together(order: list[int]) -> dict[int, list[int]]:
        recipes: list[Recipe | None] = [make_recipe(seed=index, **asked[index]) for index in order]
        given = [
            sample(torch.cat([logits[None]] * len(order) + [logits[None]]), [*recipes, None])[0] for logits in steps
        ]
        return {index: [tokens[place] for tokens in given] for place, index in enumerate(order)}

    first, second = together([0, 1, 2, 3, 4]), together([3, 1, 4, 0, 2])
    for index in range(len(asked)):
        assert alone(index) == first[index] == second[index]
    assert len({tuple(tokens) for tokens in first.values()}) > 1


def test_greedy_rows_take_the_likeliest_also_beside_others() -> None:
    logits = random_logits(4)
    wanted = greedy(logits)
    assert wanted == [int(row.argmax()) for row in logits]
    recipes = [None, make_recipe(seed=1), make_recipe(temperature=0.0), make_recipe(temperature=1e-9)]
    tokens, _ = sample(logits.clone(), recipes)
    assert [tokens[0], tokens[2], tokens[3]] == [wanted[0], wanted[2], wanted[3]]


def reference_penalties(logits: torch.Tensor, prompt: list[int], output: list[int], asked: Sampling) -> torch.Tensor:
    """The penalties as their definitions say, token by token."""
    out = logits.clone()
    for token in range(len(logits)):
        if token in asked.logit_bias:
            out[token] += asked.logit_bias[token]
        if token in prompt or token in output:
            out[token] = (
                out[token] / asked.repetition_penalty if out[token] > 0 else out[token] * asked.repetition_penalty
            )
        out[token] -= asked.frequency_penalty * output.count(token)
        out[token] -= asked.presence_penalty * (token in output)
    return out


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, VOCAB - 1), max_size=20), st.integers(0, 200),
    st.sampled_from([1.0, 0.7, 1.6]), st.sampled_from([0.0, 0.9, -1.0]), st.sampled_from([0.0, 0.4, -2.0]),
    st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-5, 5), max_size=3),
)  # fmt: skip
def test_penalties_and_bias_equal_their_definitions(
    prompt: list[int], seed: int, repetition: float, presence: float, frequency: float, bias: dict[int, float]
) -> None:
    asked = Sampling(
        temperature=0.0,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        logit_bias=bias,
    )
    recipes = [Recipe(asked, prompt, (), 0), Recipe(Sampling(temperature=0.0, presence_penalty=1.5), [1, 2], (), 0)]
    outputs: list[list[int]] = [[], []]
    for step in range(12):
        logits = random_logits(2, seed=seed + step, scale=1.0)
        changed = logits.clone()
        tokens, _ = sample(changed, recipes)
        wanted = [
            reference_penalties(row, plan_prompt, output, recipe.sampling)
            for row, plan_prompt, output, recipe in zip(logits, [prompt, [1, 2]], outputs, recipes, strict=True)
        ]
        torch.testing.assert_close(changed, torch.stack(wanted))
        for output, token in zip(outputs, tokens, strict=True):
            output.append(token)


def test_counts_grow_with_what_is_seen() -> None:
    counts = Counts([3, 3, 5])
    for token in [*range(300), 3]:
        counts.add(token)
    seen = dict(zip(counts.ids.tolist(), counts.counts.tolist(), strict=True))
    assert seen == {token: 2.0 if token == 3 else 1.0 for token in range(300)}


def test_no_end_before_min_tokens() -> None:
    logits = torch.zeros(1, VOCAB)
    logits[0, [7, 9]] = 20.0
    recipe = make_recipe(end_ids=(7, 9), temperature=0.0, min_tokens=3)
    tokens = [sample(logits.clone(), [recipe])[0][0] for _ in range(5)]
    assert not {7, 9} & set(tokens[:3])
    assert {7, 9} >= set(tokens[3:])


def test_logprobs_are_those_of_the_distribution_as_the_model_gave_it() -> None:
    logits = random_logits(3)
    recipes = [
        make_recipe(logprobs=4, temperature=0.3, top_k=2, logit_bias={5: 100.0}, repetition_penalty=2.0, prompt=[1]),
        None,
        make_recipe(logprobs=0, temperature=0.0),
    ]
    tokens, logprobs = sample(logits.clone(), recipes)
    assert tokens[0] == 5
    assert logprobs[1] is None
    for row, num_top in ((0, 4), (2, 0)):
        wanted = logits[row].log_softmax(0)
        told = logprobs[row]
        assert told is not None
        assert told.token == tokens[row]
        assert told.logprob == pytest.approx(float(wanted[tokens[row]]), abs=1e-5)
        best = wanted.argsort(descending=True)[:num_top].tolist()
        assert [token for token, _ in told.top] == best
        assert [value for _, value in told.top] == pytest.approx([float(wanted[token]) for token in best], abs=1e-5)


def test_a_fresh_seed_is_drawn_from_evenly() -> None:
    recipe = make_recipe(seed=11)
    numbers = np.array([recipe.random.random() for _ in range(1000)])
    assert 0.45 < numbers.mean() < 0.55


@pytest.mark.parametrize(
    ("asked", "is_plain"),
    [
        ({}, False),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.0, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "seed": 3}, True),
        ({"temperature": 0.0, "logprobs": 0}, False),
        ({"temperature": 0.0, "min_tokens": 1}, False),
        ({"temperature": 0.0, "logit_bias": {1: 1.0}}, False),
        ({"temperature": 0.0, "repetition_penalty": 1.1}, False),
        ({"temperature": 0.0, "presence_penalty": 0.1}, False),
        ({"temperature": 0.0, "frequency_penalty": 0.1}, False),
        ({"temperature": 0.0, "grammar": "{}"}, False),
    ],
)
def test_only_plain_greedy_needs_no_plan(asked: dict[str, Any], is_plain: bool) -> None:
    assert plain(Sampling(**asked)) == is_plain


def test_a_row_without_a_possible_token_fails_alone() -> None:
    class OnlyTheEnd:
        error = ""

        def allowed(self) -> Any:
            return (torch.arange(VOCAB) == 1).numpy()

        def accept(self, token: int) -> None:
            raise AssertionError(f"{token} was chosen although nothing could be")

    stuck = make_recipe(end_ids=(1,), min_tokens=2, top_p=0.5)
    stuck.matcher = OnlyTheEnd()  # type: ignore[assignment]
    fine = make_recipe(top_p=0.5, seed=1)
    tokens, _ = sample(random_logits(2), [stuck, fine])
    assert len(tokens) == 2
    assert stuck.ended
    assert "min_tokens" in stuck.why
    assert not fine.ended
