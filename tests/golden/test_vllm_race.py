"""The race inside vLLM: what is sent, what counts as kept, and where a walk along the loads ends."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headway.app.bench.answer import Answer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not (BENCHMARKS / "vllm_race").is_dir(), reason="needs a source checkout")


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def part(name: str) -> Any:
    return importlib.import_module(f"vllm_race.{name}")


def rows(num: int = 40, rate_per_s: float = 2.0, seed: int = 0, salt: str = "") -> list[Any]:
    found: list[Any] = part("workload").draw(seed, rate_per_s, num, salt)
    return found


def test_equal_seeds_give_equal_requests_at_whatever_rate() -> None:
    slow, fast = rows(rate_per_s=1.0), rows(rate_per_s=4.0)
    assert {row.slo_class for row in slow} == {"chat", "code", "summary", "agent", "batch"}
    assert [(row.slo_class, row.prompt, row.output_tokens) for row in slow] == [
        (row.slo_class, row.prompt, row.output_tokens) for row in fast
    ]
    assert slow[-1].at_s == pytest.approx(4 * fast[-1].at_s) == pytest.approx(len(slow) - 1)


def test_calls_of_an_agent_go_on_with_the_prompt_of_the_call_before() -> None:
    drawn = rows(num=120)
    followers = [row for row in drawn if row.after >= 0]
    assert followers
    for row in followers:
        before = drawn[row.after]
        assert before.session == row.session != ""
        assert before.prompt[:64] == row.prompt[:64]


def test_no_run_finds_the_prompts_of_another_in_a_cache() -> None:
    ours, theirs = rows(salt="1"), rows(salt="2")
    assert all(one.prompt != other.prompt for one, other in zip(ours, theirs, strict=True) if len(one.prompt) > 3)


def test_the_length_of_an_output_is_hidden_from_the_scheduler() -> None:
    drawn = rows()
    bodies = [json.loads(row.body({"headway_slo_class": "chat"}, by_priority=True)) for row in drawn]
    assert len({body["max_tokens"] for body in bodies}) == 1
    assert [body["min_tokens"] + 1 for body in bodies] == [row.output_tokens for row in drawn]
    assert all(body["stop_token_ids"] == [int(token) for token in body["logit_bias"]] for body in bodies)
    by_class = {row.slo_class: body["priority"] for row, body in zip(drawn, bodies, strict=True)}
    assert by_class["chat"] < by_class["summary"] < by_class["batch"]


def test_a_promise_is_kept_by_a_whole_answer_within_its_bounds_alone() -> None:
    one = next(row for row in rows() if row.slo_class == "chat")
    bounds = part("bounds").Bounds(ttft_s=1.0, tpot_s=0.1)
    whole = {"id": "", "planned_s": 0.0, "status": 200, "error": "", "output_tokens": one.output_tokens}
    last_s = 0.5 + 0.05 * (one.output_tokens - 1)

    def good(**changes: Any) -> bool:
        answer = Answer(**{**whole, "first_s": 0.5, "last_s": last_s, **changes})
        return bool(part("score").is_good(one, answer, bounds))

    assert good()
    assert not good(first_s=1.2, last_s=last_s + 0.7)
    assert not good(last_s=0.5 + 0.2 * (one.output_tokens - 1))
    assert not good(output_tokens=one.output_tokens - 1)
    assert not good(error="HTTP 429: no room", status=429)
    assert not good(output_tokens=0)


@pytest.mark.parametrize(("crosses", "is_fine"), [(3.4, True), (-6.5, True), (0.5, False), (20.0, True)])
def test_a_walk_finds_where_the_share_crosses_the_level(crosses: float, is_fine: bool) -> None:
    mixed = part("mixed")
    walk, num = mixed.Walk(0, is_fine), 0
    while (step := walk.wanted) is not None:
        good = min(1.0, max(0.0, mixed.LEVEL + 0.02 * (crosses - step)))
        walk.take(step, [good, good])
        num += 1
    assert num <= 10
    if crosses > mixed.FARTHEST:
        assert walk.failed is None
        assert walk.load_per_s() == pytest.approx(mixed.GRID**mixed.FARTHEST)
        assert not mixed.beside(walk, walk)["is_bracketed"]
    else:
        assert walk.failed - walk.carried == (1 if is_fine else 2)
        assert walk.load_per_s([0]) == walk.load_per_s() == pytest.approx(mixed.GRID**crosses)


def test_an_interval_is_as_wide_as_the_seeds_differ() -> None:
    mixed = part("mixed")
    base, alike, apart = mixed.Walk(0, True), mixed.Walk(0, True), mixed.Walk(0, True)
    for step in range(-3, 9):
        goods = [mixed.LEVEL + 0.02 * (crosses - step) for crosses in (1.0, 2.0, 3.0)]
        base.take(step, goods)
        alike.take(step, [good + 0.06 for good in goods])  # three steps farther with every seed
        apart.take(step, [goods[0], goods[1] + 0.06, goods[2] + 0.12])
    surely, perhaps = mixed.beside(alike, base), mixed.beside(apart, base)
    for found in (surely, perhaps):
        assert found["ratio_found"] == pytest.approx(mixed.GRID**3)
    assert surely["ratio_low"] == pytest.approx(surely["ratio_high"])
    assert perhaps["ratio_low"] < perhaps["ratio_found"] < perhaps["ratio_high"]


def test_a_race_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    ledger = part("ledger").Ledger
    path, terms = tmp_path / "kept.jsonl", {"requests": 60}
    first = ledger(path, terms)
    assert first.get(("mixed", "vllm", 3, 0), lambda: {"good_frac": 0.5}) == {"good_frac": 0.5}
    again = ledger(path, terms)
    assert again.has("mixed", "vllm", 3, 0)
    assert again.get(("mixed", "vllm", 3, 0), lambda: {"good_frac": 1.0}) == {"good_frac": 0.5}
    assert again.rows("mixed", "vllm") == [{"good_frac": 0.5}]
    with pytest.raises(SystemExit, match="same terms"):
        ledger(path, {"requests": 61})


class Moody(BaseHTTPRequestHandler):
    """Answers as vLLM does: chats and code are served, summaries turned away by HTTP, agents by an empty output."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.heard.append(body)  # type: ignore[attr-defined]
        kind = body["vllm_xargs"]["headway_slo_class"]
        if kind == "summary":
            self.answer(429, b'{"error": {"message": "no room"}}')
            return
        num = 0 if kind == "agent" else body["min_tokens"] + 1
        end = {"index": 0, "text": "", "finish_reason": "abort" if not num else "stop"}
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "text": "a"}]}] * (num - 1)
        chunks += [{"choices": [end]}, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": num}}]
        self.answer(200, b"".join(b"data: %s\n\n" % json.dumps(c).encode() for c in chunks) + b"data: [DONE]\n\n")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Stub:
    """What the driver needs of a server."""

    url: str
    contender: Any
    idle: list[bool] = field(default_factory=list)

    def wait_until_idle(self) -> None:
        self.idle.append(True)


def test_a_run_is_sent_as_planned_and_what_is_turned_away_is_missed() -> None:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    heard: list[dict[str, Any]] = []
    http.heard = heard  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        stub = Stub(f"http://127.0.0.1:{http.server_port}", part("contenders").contender("vllm-tuned"))
        drawn = rows(rate_per_s=400.0)
        bounds = {name: part("bounds").Bounds(ttft_s=60.0, tpot_s=60.0) for name in ("chat", "summary", "agent")}
        answers = part("driver").play(stub, drawn, bounds)
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
    found = part("score").score(drawn, answers, bounds)["by_class"]
    assert stub.idle == [True]
    assert found["chat"]["num_good"] == found["chat"]["num"] > 0
    assert found["summary"]["num_good"] == found["agent"]["num_good"] == 0
    assert found["summary"]["num_turned_away"] == found["summary"]["num"]
    roots = sum(row.slo_class == "agent" and row.after < 0 for row in drawn)
    assert found["agent"]["num_turned_away"] == roots < found["agent"]["num"]  # nobody goes on after that
    assert found["batch"]["num_served"] == found["batch"]["num"]
    assert len(heard) == len(drawn) - (found["agent"]["num"] - roots)
    promised = {body["vllm_xargs"].get("headway_ttft_s") for body in heard if body["priority"] < 2}
    assert 60.0 in promised
    assert all("headway_ttft_s" not in body["vllm_xargs"] for body in heard if body["priority"] == 2)


def test_bounds_are_multiples_of_idle_times() -> None:
    bounds = part("bounds")
    idle = bounds.Idle(ttft_s={"chat": 0.05, "code": 0.06, "summary": 0.4, "agent": 0.16}, tpot_s=0.012)
    found = idle.bounds()
    assert found["chat"].ttft_s == pytest.approx(0.545)
    assert found["code"].tpot_s == pytest.approx(0.042)
    assert "batch" not in found


def test_without_vllm_it_says_so() -> None:
    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed")
    command = [sys.executable, str(BENCHMARKS / "vllm_race.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("skipped: vllm is not installed")
