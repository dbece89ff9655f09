from __future__ import annotations

import pytest

from headway.app.bench.answer import Answer
from headway.app.calibrate.overheads import overheads
from headway.app.calibrate.recording import Recording, Sent
from headway.core.trace import TraceHeader


def answer(name: str, sent_s: float, ttft_s: float, e2e_s: float) -> Answer:
    return Answer(
        id=name, answer_id=f"cmpl-{name}", planned_s=sent_s, sent_s=sent_s, first_s=sent_s + ttft_s,
        last_s=sent_s + e2e_s, error="",
    )  # fmt: skip


def test_what_a_client_waits_for_beside_steps() -> None:
    answers = [answer(f"burst-{n}-0", n, 0.103, 0.205) for n in range(9)]
    sent = {f"cmpl-burst-{n}-0-0": Sent(70.0 + n, 70.1 + n, 70.2 + n) for n in range(9)}
    found = overheads(answers, Recording(TraceHeader(), [], 0, sent))
    assert found["first_token_s"] == pytest.approx(0.003)
    assert found["last_token_s"] == pytest.approx(0.005)
    assert found["scatter_s"] == pytest.approx(0.0, abs=1e-9)


def test_requests_of_larger_bursts_do_not_count() -> None:
    answers = [answer(f"burst-1-{n}", 0.0, 1.0, 2.0) for n in range(9)]
    sent = {f"cmpl-burst-1-{n}-0": Sent(0.0, 0.1, 0.2) for n in range(9)}
    assert overheads(answers, Recording(TraceHeader(), [], 0, sent)) == {}
