"""Choosing the next token of every row of a step, in torch, paying only for what some row asks for.

The order is: the request's own logit bias, penalties (repetition, then frequency and presence), tokens that must not
come (an end before `min_tokens`, what a grammar excludes), temperature, top_k, top_p, min_p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from headway.engines.llm.draws import draw, draw_likeliest
from headway.engines.llm.messages import TokenLogprob
from headway.engines.llm.plan import Plan


def greedy(logits: Tensor) -> list[int]:
    """Return the likeliest token of every row of float32 `[rows, vocab]`; the first of equals."""
    return logits.argmax(-1).tolist()


def sample(logits: Tensor, plans: Sequence[Plan | None]) -> tuple[list[int], list[TokenLogprob | None]]:
    """Choose one token per row as its plan says; None stands for the likeliest token and nothing else.

    Parameters
    ----------
    logits : Tensor
        float32 `[rows, vocab]`; changed in place.
    plans : sequence of Plan or None
        One per row; each takes note of its token.

    Returns
    -------
    tokens : list of int
        One per row.
    logprobs : list of TokenLogprob or None
        One per row, of the distribution as the model gave it, where asked for.
    """
    asked = [row for row, plan in enumerate(plans) if plan is not None and plan.sampling.logprobs is not None]
    untouched = logits[asked] if asked else None  # indexing with a list copies
    _adjust(logits, plans)
    tokens = _choose(logits, plans)
    logprobs: list[TokenLogprob | None] = [None] * len(plans)
    if untouched is not None:
        for row, logprob in zip(asked, _logprobs(untouched, asked, plans, tokens), strict=True):
            logprobs[row] = logprob
    for plan, token in zip(plans, tokens, strict=True):
        if plan is not None:
            plan.note(token)
    return tokens, logprobs


# What changes logits -----------------------------------------------------------------------------------------------


def _adjust(logits: Tensor, plans: Sequence[Plan | None]) -> None:
    biased: list[tuple[int, Plan]] = []
    counted: list[tuple[int, Plan]] = []
    early: list[tuple[int, Plan]] = []
    for row, plan in enumerate(plans):
        if plan is not None:
            if plan.bias_ids:
                biased.append((row, plan))
            if plan.counts is not None:
                counted.append((row, plan))
            if plan.forbids_end:
                early.append((row, plan))
    if biased:
        _add_bias(logits, biased)
    if counted:
        _penalise(logits, counted)
    if early:
        rows = [row for row, plan in early for _ in plan.end_ids]
        logits[rows, [token for _, plan in early for token in plan.end_ids]] = -torch.inf
    _follow_grammars(logits, plans)


def _add_bias(logits: Tensor, biased: list[tuple[int, Plan]]) -> None:
    rows = torch.tensor([row for row, plan in biased for _ in plan.bias_ids], device=logits.device)
    ids = torch.tensor([token for _, plan in biased for token in plan.bias_ids], device=logits.device)
    values = [value for _, plan in biased for value in plan.bias_values]
    logits[rows, ids] += torch.tensor(values, dtype=logits.dtype, device=logits.device)


def _penalise(logits: Tensor, counted: list[tuple[int, Plan]]) -> None:
    """Apply all penalties to the tokens each row has seen, all rows at once, without a `[rows, vocab]` table."""
    seen = [plan.counts for _, plan in counted if plan.counts is not None]
    lengths = [len(counts.ids) for counts in seen]

    def spread(values: list[float]) -> Tensor:
        return torch.from_numpy(np.repeat(np.array(values, np.float32), lengths)).to(logits.device)

    rows = torch.from_numpy(np.repeat(np.array([row for row, _ in counted], np.int64), lengths)).to(logits.device)
    ids = torch.from_numpy(np.concatenate([counts.ids for counts in seen])).to(logits.device)
    counts = torch.from_numpy(np.concatenate([counts.counts for counts in seen])).to(logits.device)
    repetition = spread([plan.sampling.repetition_penalty for _, plan in counted])
    values = logits[rows, ids]
    values = torch.where(values > 0, values / repetition, values * repetition)
    values -= spread([plan.sampling.frequency_penalty for _, plan in counted]) * counts
    values -= spread([plan.sampling.presence_penalty for _, plan in counted]) * (counts > 0)
    logits[rows, ids] = values


def _follow_grammars(logits: Tensor, plans: Sequence[Plan | None]) -> None:
    for row, plan in enumerate(plans):
        if plan is None or plan.matcher is None or plan.ended:
            continue
        allowed = plan.matcher.allowed()
        if plan.matcher.error:
            plan.fail(f"the grammar cannot be followed: {plan.matcher.error}")
        elif not allowed.any():
            plan.fail("the grammar cannot be followed: no token may come next")
        else:
            logits[row].masked_fill_(torch.from_numpy(~allowed).to(logits.device), -torch.inf)


# What chooses ------------------------------------------------------------------------------------------------------


def _choose(logits: Tensor, plans: Sequence[Plan | None]) -> list[int]:
    free = [row for row, plan in enumerate(plans) if plan is not None and not plan.greedy and not plan.ranked]
    ranked = [row for row, plan in enumerate(plans) if plan is not None and not plan.greedy and plan.ranked]
    if len(free) + len(ranked) == len(plans):
        tokens = torch.zeros(len(plans), dtype=torch.int64, device=logits.device)
    else:
        tokens = logits.argmax(-1)
    if free:
        tokens[free] = _draw_free(logits, free, [plan for row in free if (plan := plans[row])])
    if ranked:
        tokens[ranked] = _draw_ranked(logits, ranked, [plan for row in ranked if (plan := plans[row])])
    return tokens.tolist()


def _draw_free(logits: Tensor, rows: list[int], plans: list[Plan]) -> Tensor:
    scaled = _scaled(logits, rows, plans)
    if any(plan.sampling.min_p > 0 for plan in plans):
        floor = scaled.amax(-1) + _column([plan.log_min_p for plan in plans], scaled)
        scaled.masked_fill_(scaled < floor[:, None], -torch.inf)
    return draw(scaled, _uniforms(plans, scaled))


def _draw_ranked(logits: Tensor, rows: list[int], plans: list[Plan]) -> Tensor:
    scaled = _scaled(logits, rows, plans)
    vocab = scaled.shape[1]
    limits = [min(plan.sampling.top_k or vocab, vocab) for plan in plans]
    return draw_likeliest(
        scaled,
        _uniforms(plans, scaled),
        torch.tensor(limits, device=scaled.device),
        _column([plan.sampling.top_p for plan in plans], scaled),
        _column([plan.log_min_p for plan in plans], scaled),
    )


def _scaled(logits: Tensor, rows: list[int], plans: list[Plan]) -> Tensor:
    mine = logits if len(rows) == len(logits) else logits[rows]
    return mine / _column([plan.sampling.temperature for plan in plans], mine)[:, None]


def _column(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _uniforms(plans: list[Plan], like: Tensor) -> Tensor:
    return torch.tensor([plan.random.random() for plan in plans], dtype=torch.float64, device=like.device)


# What is told about the choice -------------------------------------------------------------------------------------


def _logprobs(logits: Tensor, rows: list[int], plans: Sequence[Plan | None], tokens: list[int]) -> list[TokenLogprob]:
    """Return the log-probabilities of chosen and likeliest tokens; `logits` has only the `rows` that asked."""
    wanted = [plan.sampling.logprobs or 0 for row in rows if (plan := plans[row])]
    logprobs = logits.log_softmax(-1)
    chosen = [tokens[row] for row in rows]
    own = logprobs[torch.arange(len(rows)), chosen].tolist()
    best, ids = (part.tolist() for part in logprobs.topk(min(max(wanted), logits.shape[1])))
    return [
        TokenLogprob(token, value, list(zip(ids[place][:count], best[place][:count], strict=True)))
        for place, (token, value, count) in enumerate(zip(chosen, own, wanted, strict=True))
    ]
