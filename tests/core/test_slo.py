"""Counting objectives."""

from __future__ import annotations

import pytest

from headway.core.errors import ConfigError
from headway.core.events import Arrived, Failed, Finished, Started
from headway.core.nouns import Slo, Work
from headway.core.slo import SloClass, SloLedger, SloRow, WorkAccounts

FAST = SloClass(name="fast", slos=(Slo("ttft_s", 0.5, 0.9), Slo("tpot_s", 0.1)))


def counts(ledger: SloLedger) -> list[tuple[str, int, int]]:
    return [(row.metric, row.met, row.missed) for row in ledger.rows()]


def test_a_bound_is_met_up_to_and_including_it() -> None:
    ledger = SloLedger([FAST])
    assert ledger.record("fast", {"ttft_s": 0.5, "tpot_s": 0.1})
    assert not ledger.record("fast", {"ttft_s": 0.51, "tpot_s": 0.1})
    assert counts(ledger) == [("ttft_s", 1, 1), ("tpot_s", 2, 0)]
    assert ledger.numbers()["goodput_frac"] == 0.5


def test_a_metric_that_does_not_exist_is_not_counted() -> None:
    ledger = SloLedger([FAST])
    assert ledger.record("fast", {"ttft_s": 0.1})
    assert counts(ledger) == [("ttft_s", 1, 0), ("tpot_s", 0, 0)]


def test_own_objectives_stand_in_for_those_of_the_class() -> None:
    ledger = SloLedger([FAST])
    assert ledger.record("fast", {"ttft_s": 0.9, "tpot_s": 0.1}, own=[Slo("ttft_s", 1.0)])
    assert not ledger.record("fast", {"ttft_s": 0.4, "tpot_s": 0.1}, own=[Slo("ttft_s", 0.3)])
    assert counts(ledger) == [("ttft_s", 0, 0), ("tpot_s", 2, 0)]


def test_unnamed_classes_have_no_objectives() -> None:
    ledger = SloLedger([FAST])
    assert ledger.record("other", {"ttft_s": 99.0})
    assert ledger.num_seen == 1


def test_missed_work_has_no_metrics() -> None:
    ledger = SloLedger([FAST])
    ledger.miss("fast", own=[Slo("ttft_s", 9.0)])
    ledger.miss("other")
    assert counts(ledger) == [("ttft_s", 0, 0), ("tpot_s", 0, 1)]
    assert ledger.numbers() == {"goodput_frac": 0.0}


def test_a_row_says_whether_its_promise_was_kept() -> None:
    def row(met: int, missed: int) -> SloRow:
        return SloRow(slo_class="fast", metric="ttft_s", bound=0.5, quantile=0.9, met=met, missed=missed)

    assert (row(9, 1).met_frac, row(9, 1).attained) == (0.9, True)
    assert not row(8, 2).attained
    assert row(0, 0).attained


def test_nothing_seen_means_no_numbers() -> None:
    assert SloLedger().numbers() == {}


@pytest.mark.parametrize("slo", [Slo("ttft_s", 0.0), Slo("ttft_s", 1.0, 0.0), Slo("ttft_s", 1.0, 1.5)])
def test_impossible_promises_are_refused(slo: Slo) -> None:
    with pytest.raises(ConfigError, match="SLO class 'bad': bound must be > 0 and quantile in"):
        SloClass(name="bad", slos=(slo,))


def test_plain_work_is_measured_from_arrival_to_end() -> None:
    accounts = WorkAccounts([SloClass(name="alice", slos=(Slo("e2e_s", 4.0),))])
    for name, tenant in (("a", "alice"), ("b", "alice"), ("c", "bob")):
        accounts.on_event(Arrived(at_s=1.0, work=Work(id=name, kind="job", arrival_s=1.0, tenant=tenant)))
    for event in (
        Started(at_s=2.0, id="a"),
        Finished(at_s=5.0, id="a"),
        Started(at_s=3.0, id="b"),
        Finished(at_s=9.0, id="b"),
        Failed(at_s=9.0, id="c", why="broke"),
        Finished(at_s=9.0, id="c"),
        Started(at_s=9.0, id="nobody"),
        Finished(at_s=9.0, id="nobody"),
    ):
        accounts.on_event(event)
    assert counts(accounts.ledger) == [("e2e_s", 1, 1)]
    numbers = accounts.ledger.numbers()
    assert (numbers["mean_queue_s"], numbers["mean_run_s"], numbers["mean_e2e_s"]) == (1.5, 4.5, 6.0)
