"""What a client waits for beside the engine's steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.app.bench.answer import Answer
from headway.app.calibrate.recording import Recording, Sent

FEWEST = 5


def overheads(answers: Sequence[Answer], recording: Recording) -> dict[str, float]:
    """Return what requests that were alone took longer, for their client, than in the engine; empty if too few were.

    Parameters
    ----------
    answers : sequence of Answer
        As the client saw them.
    recording : Recording
        The same requests as the engine saw them.

    Returns
    -------
    dict of str to float
        Medians in seconds: ``first_token_s``, from sending to the first token at the client less what lies between
        arrival and the end of its step in the engine; ``last_token_s``, the same up to the last token;
        ``scatter_s``, the distance of the quartiles of the first.
    """
    pairs = [(answer, sent) for answer in _alone(answers) if (sent := engine_side(answer, recording)) is not None]
    if len(pairs) < FEWEST:
        return {}
    first = np.array([answer.ttft_s - (sent.first_s - sent.arrival_s) for answer, sent in pairs])
    last = np.array([answer.e2e_s - (sent.last_s - sent.arrival_s) for answer, sent in pairs])
    low, high = np.quantile(first, [0.25, 0.75])
    return {
        "first_token_s": float(np.median(first)),
        "last_token_s": float(np.median(last)),
        "scatter_s": float(high - low),
    }


def engine_side(answer: Answer, recording: Recording) -> Sent | None:
    """Return a request as the engine saw it; None when its end is not in the recording."""
    return recording.sent.get(f"{answer.answer_id}-0")


def _alone(answers: Sequence[Answer]) -> list[Answer]:
    """Return the requests of bursts of one: the engine takes them in at once."""
    bursts: dict[str, list[Answer]] = {}
    for answer in answers:
        bursts.setdefault(answer.id.rpartition("-")[0], []).append(answer)
    return [burst[0] for burst in bursts.values() if len(burst) == 1]
