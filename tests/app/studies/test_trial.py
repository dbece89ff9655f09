from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headway.app.studies import trial
from headway.app.studies.choice import Choice
from headway.app.studies.job import Job, play
from headway.app.studies.trial import try_out
from headway.app.studies.watch import StopRun, Watch, bounds_in
from headway.core.errors import ConfigError, PolicyFailed
from headway.core.events import Arrived, Failed, Finished
from headway.core.nouns import Work


def job(load: float = 1.0, **setting: Any) -> Job:
    given = {"slo": [{"name": "default", "e2e_s": 2.0}], "trace": {"max_requests": 400}, **setting}
    return Job(family="counter", setting=given, policy=Choice(id="counter/even"), load=load)


def share(load: float, seeds: tuple[int, ...]) -> float:
    jobs = [msgspec.structs.replace(job(load), seed=seed) for seed in seeds]
    return sum(play(one).report.numbers["goodput_frac"] for one in jobs) / len(jobs)


@pytest.mark.parametrize("load", [0.5, 1.0, 1.3, 1.5, 1.8, 3.0])
@pytest.mark.parametrize("attain_frac", [0.5, 0.9, 0.99])
def test_a_verdict_is_that_of_all_seeds_played_to_their_end(load: float, attain_frac: float) -> None:
    seeds = (0, 1)  # too few for a verdict by likelihood
    verdict, want = try_out(job(load), seeds, attain_frac), share(load, seeds)
    assert verdict.passed == (want >= attain_frac)
    if verdict.whole:
        assert verdict.good_frac == pytest.approx(want)
    else:
        assert want <= verdict.good_frac + 1e-9 < attain_frac + 1e-9
    if verdict.passed:
        assert verdict.rate_per_s == pytest.approx(load, rel=0.1)
        assert verdict.numbers["goodput_frac"] == pytest.approx(want)


def test_hopeless_runs_are_stopped() -> None:
    verdict = try_out(job(4.0, trace={"max_requests": 2000}), (0, 1, 2), 0.9)
    assert (verdict.passed, verdict.whole, verdict.num_runs, verdict.numbers) == (False, False, 1, {})


def test_seeds_that_cannot_matter_are_not_played() -> None:
    verdict = try_out(job(0.5), range(20), 0.9)
    assert (verdict.passed, verdict.num_runs) == (True, 3)


def test_a_promise_to_nobody_cannot_be_planned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def play_without(*args: Any, **options: Any) -> Any:
        outcome = play(*args, **options)
        return type(outcome)(msgspec.structs.replace(outcome.report, slos=[]), outcome.works)

    monkeypatch.setattr(trial, "play", play_without)
    with pytest.raises(ConfigError, match="an objective must be set"):
        try_out(job(), (0,), 0.9)


def test_an_error_names_the_job() -> None:
    bad = Job(family="counter", setting={}, policy=Choice(id="counter/bad"), load=2.0)
    with pytest.raises(PolicyFailed, match="counter/bad at load 2, seed 5"):
        try_out(bad, (5,), 0.9)


class Ended(Finished, frozen=True, gc=False, kw_only=True):
    ttft_s: float = 0.0


def test_a_watch_counts_misses_by_class() -> None:
    watch = Watch(bounds_in([{"name": "a", "ttft_s": 1}, {"name": "b"}]), lambda num_all: 0.1 * num_all)
    for id, tenant in (("1", "a"), ("2", "a"), ("3", "b"), ("4", "b")):
        watch.on_event(Arrived(at_s=0.0, work=Work(id=id, kind="w", arrival_s=0.0, tenant=tenant)))
    watch.on_event(Ended(at_s=2.0, id="1", ttft_s=1.0))
    watch.on_event(Ended(at_s=2.0, id="3", ttft_s=9.0))
    assert watch.num_missed == 0
    watch(2, 10)
    watch.on_event(Ended(at_s=2.0, id="2", ttft_s=1.1))
    watch(3, 10)
    watch.on_event(Failed(at_s=3.0, id="4", why="turned away"))
    assert watch.num_missed == 2
    with pytest.raises(StopRun):
        watch(4, 10)


@pytest.mark.parametrize("load", [0.5, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("policy", ["serving/vllm", "serving/sarathi"])
def test_serving_runs_that_are_stopped_would_have_missed(load: float, policy: str) -> None:
    setting = {
        "trace": {
            "lengths": {"kind": "lognormal", "prompt_median": 900, "prompt_sigma": 1.0, "output_median": 60,
                        "output_sigma": 1.0, "max_prompt_tokens": 6000, "max_output_tokens": 900},
            "arrivals": {"kind": "poisson", "rate_per_s": 8.0},
            "slo_classes": {"chat": 0.7, "batch": 0.2, "nobody": 0.1},
            "num_requests": 600,
        },
        "model": {"name": "llama-3-8b"},
        "fleet": [{"accelerator": "a100-80gb-sxm"}],
        "slo": [{"name": "chat", "ttft_s": 0.6, "tpot_s": 0.05}, {"name": "batch", "e2e_s": 20.0}],
    }  # fmt: skip
    whole = Job(family="serving", setting=setting, policy=Choice(id=policy), load=load)
    want = play(whole).report.numbers["goodput_frac"]
    watch = Watch(bounds_in(setting["slo"]), lambda num_all: num_all)  # type: ignore[arg-type]
    play(whole, instruments=[watch], on_progress=watch)
    assert 1 - watch.num_missed / 600 == pytest.approx(want)
    verdict = try_out(whole, (0,), 0.9)
    assert verdict.passed == (want >= 0.9)
    assert want <= verdict.good_frac + 1e-9
