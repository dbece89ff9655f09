from __future__ import annotations

from pathlib import Path

import pytest

from headway.app.server import ServerConfig, keys_of
from headway.app.server.auth import Caller, KeyRing
from headway.app.server.config import tuning_keys_of
from headway.app.server.offered import Offer, Offers
from headway.core.errors import ConfigError
from headway.engines.llm.config import EngineConfig

ENGINE = EngineConfig(model="somewhere")


def test_without_keys_anybody_may_do_everything() -> None:
    assert KeyRing(()).caller(b"") == Caller("", True)


def test_rights_and_tenants_come_from_the_key() -> None:
    ring = KeyRing(["plain", "both"], ["tunes", "both"])
    rights = {key: ring.caller(f"Bearer {key}".encode()) for key in ("plain", "both", "tunes")}
    assert {key: caller.tunes for key, caller in rights.items() if caller} == {
        "plain": False,
        "both": True,
        "tunes": True,
    }
    assert len({caller.tenant for caller in rights.values() if caller}) == 3
    assert KeyRing([], ["plain"]).caller(b"bearer plain") == Caller(rights["plain"].tenant, True)  # type: ignore[union-attr]
    for wrong in (b"", b"Bearer", b"Bearer x", b"Basic plain", b"plain", b"Bearer plain x"):
        assert ring.caller(wrong) is None
        assert not ring.opens(wrong)


def test_a_tenant_does_not_lead_back_to_its_key() -> None:
    caller = KeyRing(["key"]).caller(b"Bearer key")
    assert caller is not None
    assert "key" not in caller.tenant
    assert len(caller.tenant) == 24


def test_keys_that_may_tune_come_from_three_places(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("one\n two tuning \n# three tuning\n")
    config = ServerConfig(engine=ENGINE, api_keys=("zero",), tuning_api_keys=("four",), api_key_file=str(path))
    environment = {"HEADWAY_API_KEY": "five", "HEADWAY_TUNING_API_KEY": "six,"}
    assert tuning_keys_of(config, environment) == ("four", "six", "two")
    assert set(keys_of(config, environment)) == {"zero", "one", "two", "four", "five", "six"}


def test_a_word_that_is_no_right_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("one admin\n")
    with pytest.raises(ConfigError, match="nothing may follow but the word tuning, got 'admin'"):
        keys_of(ServerConfig(engine=ENGINE, api_key_file=str(path)), {})


def test_what_was_offered_is_not_reached_by_another_name() -> None:
    offers = Offers()
    offers.add(Offer("ft:x", "ft:x@1", 5))
    assert offers.shown(("style", "ft:x@1")) == ("style", "ft:x")
    offers.remove("ft:x")
    assert (offers.find("ft:x"), offers.shown(("style", "ft:x@1"))) == (None, ("style",))
    assert offers.hides("ft:x@1")
    offers.remove("ft:x")
