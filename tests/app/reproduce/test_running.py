from __future__ import annotations

import pytest

from headway.app.reproduce.find import claims_of
from headway.app.reproduce.running import reproduce, told
from headway.core.errors import ConfigError, UnknownName

pytestmark = pytest.mark.usefixtures("toy")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_claim_is_measured_with_every_seed_whoever_does_it(num_workers: int) -> None:
    seen: list[tuple[int, int]] = []
    found = reproduce(
        "toy/coin", seeds=(0, 4), num_workers=num_workers, on_progress=lambda done, of: seen.append((done, of))
    )
    heads = [verdict.measured["coin"]["num_heads"].mean for verdict in found.verdicts]
    assert heads == [62.0, 62.0, 62.0]
    assert seen == [(num, 6) for num in range(1, 7)]


def test_verdicts_follow_the_claims() -> None:
    found = reproduce("toy/coin", seeds=(0, 1), num_workers=1)
    assert [verdict.agrees_direction for verdict in found.verdicts] == [True, True, False]
    assert [verdict.agrees_magnitude for verdict in found.verdicts] == [True, False, None]


def test_the_headline_stands_on_top() -> None:
    plain = told(reproduce("toy/coin", seeds=(0,), num_workers=1))
    assert plain["claim_id"] == "headline"
    assert (plain["num_claims"], plain["num_agree_direction"]) == (3, 2)
    assert (plain["num_with_magnitude"], plain["num_agree_magnitude"]) == (2, 1)
    assert [claim["claim_id"] for claim in plain["claims"]] == ["headline", "exact", "reverse"]


def test_claims_can_be_chosen() -> None:
    found = reproduce("toy/coin", claims=["reverse", "headline"], seeds=(0,), num_workers=1)
    assert [claim.id for claim in found.claims] == ["headline", "reverse"]
    with pytest.raises(UnknownName, match="Nearest: reverse"):
        reproduce("toy/coin", claims=["revers"], seeds=(0,))


def test_quick_is_passed_on() -> None:
    found = reproduce("toy/coin", claims=["headline"], seeds=(0,), quick=True, num_workers=1)
    assert found.verdicts[0].measured["coin"]["num_quick"].mean == 1.0


def test_who_claims_nothing_cannot_be_reproduced() -> None:
    with pytest.raises(ConfigError, match=r"toy/silent must have claims.*serving/sarathi.*toy/coin"):
        claims_of("toy/silent")
    with pytest.raises(ConfigError, match="claims of toy/wrong"):
        claims_of("toy/wrong")
    with pytest.raises(UnknownName, match="toy/coin"):
        claims_of("toy/coyn")
