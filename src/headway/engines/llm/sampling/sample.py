"""Choosing the next token of every row of a step, in torch, paying only for what some row asks for.

The order is: the request's own logit bias, penalties (repetition, then frequency and presence), tokens that must not
come (an end before `min_tokens`, what a grammar excludes), temperature, top_k, top_p, min_p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headway.engines.llm.messages import TokenLogprob
from headway.engines.llm.sampling.draws import draw, draw_likeliest
from headway.engines.llm.sampling.recipe import Recipe


def greedy(logits: Tensor) -> list[int]:
    """Return the likeliest token of every row of float32 `[rows, vocab]`; the first of equals."""
    return logits.argmax(-1).tolist()


def sample(logits: Tensor, recipes: Sequence[Recipe | None]) -> tuple[list[int], list[TokenLogprob | None]]:
    """Choose one token per row as its recipe says; None stands for the likeliest token and nothing else.

    Parameters
    ----------
    logits : Tensor
        float32 `[rows, vocab]`; changed in place.
    recipes : sequence of Recipe or None
        One per row; each takes note of its token.

    Returns
    -------
    tokens : list of int
        One per row.
    logprobs : list of TokenLogprob or None
        One per row, of the distribution as the model gave it, where asked for.
    """
    asked = [row for row, recipe in enumerate(recipes) if recipe is not None and recipe.sampling.logprobs is not None]
    untouched = logits[asked] if asked else None  # indexing with a list copies
    _adjust(logits, recipes)
    tokens = _choose(logits, recipes)
    logprobs: list[TokenLogprob | None] = [None] * len(recipes)
    if untouched is not None:
        for row, logprob in zip(asked, _logprobs(untouched, asked, recipes, tokens), strict=True):
            logprobs[row] = logprob
    for recipe, token in zip(recipes, tokens, strict=True):
        if recipe is not None:
            recipe.note(token)
    return tokens, logprobs


# What changes logits -----------------------------------------------------------------------------------------------


def _adjust(logits: Tensor, recipes: Sequence[Recipe | None]) -> None:
    biased: list[tuple[int, Recipe]] = []
    counted: list[tuple[int, Recipe]] = []
    early: list[tuple[int, Recipe]] = []
    for row, recipe in enumerate(recipes):
        if recipe is not None:
            if recipe.bias_ids:
                biased.append((row, recipe))
            if recipe.counts is not None:
                counted.append((row, recipe))
            if recipe.forbids_end:
                early.append((row, recipe))
    if biased:
        _add_bias(logits, biased)
    if counted:
        _penalise(logits, counted)
    if early:
        rows = [row for row, recipe in early for _ in recipe.end_ids]
        logits[rows, [token for _, recipe in early for token in recipe.end_ids]] = -torch.inf
    _follow_grammars(logits, recipes)


def _add_bias(logits: Tensor, biased: list[tuple[int, Recipe]]) -> None:
    rows = torch.tensor([row for row, recipe in biased for _ in recipe.bias_ids], device=logits.device)
    ids = torch.tensor([token for _, recipe in biased for token in recipe.bias_ids], device=logits.device)
    values = [value for _, recipe in biased for value in recipe.bias_values]
    logits[rows, ids] += torch.tensor(values, dtype=logits.dtype, device=logits.device)


def _penalise(logits: Tensor, counted: list[tuple[int, Recipe]]) -> None:
    """Apply all penalties to the tokens each row has seen, all rows at once, without a `[rows, vocab]` table."""
    seen = [recipe.counts for _, recipe in counted if recipe.counts is not None]
    lengths = [len(counts.ids) for counts in seen]

    def spread(values: list[float]) -> Tensor:
        return torch.from_numpy(np.repeat(np.array(values, np.float32), lengths)).to(logits.device)

    rows = torch.from_numpy(np.repeat(np.array([row for row, _ in counted], np.int64), lengths)).to(logits.device)
    ids = torch.from_numpy(np.concatenate([counts.ids for counts in seen])).to(logits.device)
    counts = torch.from_numpy(np.concatenate([counts.counts for counts in seen])).to(logits.device)
    repetition = spread([recipe.sampling.repetition_penalty for _, recipe in counted])
    values = logits[rows, ids]
    values = torch.where(values > 0, values / repetition, values * repetition)
    values -= spread([recipe.sampling.frequency_penalty for _, recipe in counted]) * counts
    values -= spread([recipe.sampling.presence_penalty for _, recipe in counted]) * (counts > 0)
    logits[rows, ids] = values


def _follow_grammars(logits: Tensor, recipes: Sequence[Recipe | None]) -> None:
    for row, recipe in enumerate(recipes):
        if recipe is None or recipe.matcher is None or recipe.ended:
            continue
        allowed = recipe.matcher.allowed()
        if recipe.matcher.error:
            recipe.fail(f"the grammar cannot be followed: {recipe.matcher.error}")
        elif not allowed.any():
            recipe.fail("the grammar cannot be followed: no token may come next")
        else:
            logits[row].masked_fill_(torch.from_numpy(~allowed).to(logits.device), -torch.inf)
            if recipe.forbids_end and not bool((logits[row] > -torch.inf).any()):
                logits[row].zero_()  # a row without a possible token must not spoil those of the others
                recipe.fail("the grammar allows nothing but an end, and min_tokens forbids it")


# What chooses ------------------------------------------------------------------------------------------------------


def _choose(logits: Tensor, recipes: Sequence[Recipe | None]) -> list[int]:
    free = [row for row, recipe in enumerate(recipes) if recipe is not None and not recipe.greedy and not recipe.ranked]
    ranked = [row for row, recipe in enumerate(recipes) if recipe is not None and not recipe.greedy and recipe.ranked]
    if len(free) + len(ranked) == len(recipes):
        tokens = torch.zeros(len(recipes), dtype=torch.int64, device=logits.device)
    else:
        tokens = logits.argmax(-1)
    if free:
        tokens[free] = _draw_free(logits, free, [recipe for row in free if (recipe := recipes[row])])
    if ranked:
        tokens[ranked] = _draw_ranked(logits, ranked, [recipe for row in ranked if (recipe := recipes[row])])
    return tokens.tolist()


def _draw_free(logits: Tensor, rows: list[int], recipes: list[Recipe]) -> Tensor:
    scaled = _scaled(logits, rows, recipes)
    if any(recipe.sampling.min_p > 0 for recipe in recipes):
        floor = scaled.amax(-1) + _column([recipe.log_min_p for recipe in recipes], scaled)
        scaled.masked_fill_(scaled < floor[:, None], -torch.inf)
    return draw(scaled, _uniforms(recipes, scaled))


def _draw_ranked(logits: Tensor, rows: list[int], recipes: list[Recipe]) -> Tensor:
    scaled = _scaled(logits, rows, recipes)
    vocab = scaled.shape[1]
    limits = [min(recipe.sampling.top_k or vocab, vocab) for recipe in recipes]
    return draw_likeliest(
        scaled,
        _uniforms(recipes, scaled),
        torch.tensor(limits, device=scaled.device),
        _column([recipe.sampling.top_p for recipe in recipes], scaled),
        _column([recipe.log_min_p for recipe in recipes], scaled),
    )


def _scaled(logits: Tensor, rows: list[int], recipes: list[Recipe]) -> Tensor:
    mine = logits if len(rows) == len(logits) else logits[rows]
    return mine / _column([recipe.sampling.temperature for recipe in recipes], mine)[:, None]


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _uniforms(recipes: list[Recipe], like: Tensor) -> Tensor:
    return torch.tensor([recipe.random.random() for recipe in recipes], dtype=torch.float64, device=like.device)


# What is told about the choice -------------------------------------------------------------------------------------


def _logprobs(
    logits: Tensor, rows: list[int], recipes: Sequence[Recipe | None], tokens: list[int]
) -> list[TokenLogprob]:
    """Return the log-probabilities of chosen and likeliest tokens; `logits` has only the `rows` that asked."""
    wanted = [recipe.sampling.logprobs or 0 for row in rows if (recipe := recipes[row])]
    logprobs = logits.log_softmax(-1)
    chosen = [tokens[row] for row in rows]
    own = logprobs[torch.arange(len(rows)), chosen].tolist()
    best, ids = (part.tolist() for part in logprobs.topk(min(max(wanted), logits.shape[1])))
    return [
        TokenLogprob(token, value, list(zip(ids[place][:count], best[place][:count], strict=True)))
        for place, (token, value, count) in enumerate(zip(chosen, own, wanted, strict=True))
    ]
