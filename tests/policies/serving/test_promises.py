"""SLO classes are refused when they would promise nothing without a word."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.core.nouns import Slo
from headway.core.slo import SloClass
from headway.engines.vllm.settings import settings_of
from headway.policies.serving.promises import SLO_CLASSES, check_default, check_slo_classes, listed


def test_the_classes_that_come_along_are_good() -> None:
    check_slo_classes(SLO_CLASSES, "here")
    check_default("default", SLO_CLASSES, "here")


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ([SloClass(name="gold"), SloClass(name="gold")], "here: the names of SLO classes must differ, got gold, gold"),
        ([SloClass(name="gold", slos=(Slo("ttf", 1.0),))], r"metric must be one of ttft_s, .*, got 'ttf'"),
    ],
)
def test_what_could_never_be_kept_is_refused(classes: list[SloClass], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check_slo_classes(classes, "here")


def test_a_default_is_one_of_the_classes() -> None:
    with pytest.raises(ConfigError, match=r"here: default_slo_class must be one of .*\(gold\), got 'gol'\. Set"):
        check_default("gol", [SloClass(name="gold")], "here")


@pytest.mark.parametrize("key", ["slo", "prio"])
def test_a_class_with_a_key_that_is_not_known_is_refused(key: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.convert({"name": "gold", key: 1}, SloClass)


def test_a_table_by_name_is_as_good_as_a_list() -> None:
    assert listed({"gold": {"priority": 2}}) == [{"name": "gold", "priority": 2}]
    assert listed([{"name": "gold"}]) == [{"name": "gold"}]
    assert listed({"gold": 2}) == {"gold": 2}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"slo_classes": {"gold": {}}, "default_slo_class": "gol"},
            r"default_slo_class must be one of the SLO classes \(gold\)",
        ),
        ({"slo_classes": {"gold": 3}}, r"slo_classes"),
        ({"slo_classes": {"gold": {"slo": []}}, "default_slo_class": "gold"}, r"key 'slo' is not known"),
    ],
)
def test_inside_vllm_they_are_checked_at_start_too(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        settings_of({"headway": given})
