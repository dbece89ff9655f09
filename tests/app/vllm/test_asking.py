from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vllm.playing import CHAT, PLAIN, Street, Vllm
from headway.engines.vllm.asks import Asks, asks_of

HELLO = {"model": "m", "messages": [{"role": "user", "content": 'say "headway" twice, é and \u2028'}]}
ALL = {
    "slo_class": "interactive", "ttft_s": 0.5, "tpot_s": 0.05, "deadline_s": 20.0, "priority": 3, "tenant": "acme",
    "session": "job-17", "stage": "revise", "tool": "bash",
}  # fmt: skip

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
bodies = st.dictionaries(st.text().filter(lambda key: key not in ("headway", "service_tier", "vllm_xargs")), values)


@pytest.fixture
def vllm() -> Vllm:
    return Vllm()


@settings(deadline=None, max_examples=60)
@given(body=bodies, spaced=st.booleans(), plain=st.booleans())
def test_a_body_that_asks_nothing_passes_byte_for_byte(body: dict[str, Any], spaced: bool, plain: bool) -> None:
    vllm = Vllm()
    raw = json.dumps(body, indent=1 if spaced else None, ensure_ascii=not plain).encode(errors="replace")
    assert Street(vllm).post(raw).status == 200
    assert vllm.bodies == [raw]


@settings(deadline=None, max_examples=60)
@given(body=bodies, at_the_front=st.booleans())
def test_what_is_asked_is_taken_out_and_the_rest_keeps_its_bytes(body: dict[str, Any], at_the_front: bool) -> None:
    vllm = Vllm()
    asked = {"headway": ALL}
    raw = json.dumps({**asked, **body} if at_the_front else {**body, **asked}).encode()
    Street(vllm).post(raw, parts=[raw[:7], raw[7:]])
    assert vllm.body == {**body, "vllm_xargs": {f"headway_{name}": value for name, value in ALL.items()}}
    for name, value in body.items():
        assert f"{json.dumps(value)}".encode() in vllm.bodies[0], name
    assert vllm.header(b"content-length") == [str(len(vllm.bodies[0])).encode()]


@settings(deadline=None, max_examples=60)
@given(raw=st.binary())
def test_no_bytes_break_the_door(raw: bytes) -> None:
    street = Street(Vllm())
    assert street.post(raw).status in (200, 400)
    assert street.post(raw, headers={"x-headway-priority": "1"}).status in (200, 400)


def test_all_of_it_arrives_at_the_scheduler(vllm: Vllm) -> None:
    Street(vllm).post({**HELLO, "headway": ALL})
    assert asks_of(vllm.asks) == Asks(**ALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(("said", "calls"), [({}, "tool"), ({"tool": ""}, ""), ({"tool": "bash"}, "bash")])
def test_a_session_goes_on_unless_its_sender_says_not(vllm: Vllm, said: dict[str, str], calls: str) -> None:
    Street(vllm).post({"headway": {"session": "job-17", **said}})
    asks = asks_of(vllm.asks)
    assert asks.calls == calls
    assert asks.extra_args() == vllm.asks


@pytest.mark.parametrize("path", [CHAT, PLAIN, "/v1/responses"])
def test_headers_say_what_the_body_leaves_out(vllm: Vllm, path: str) -> None:
    headers = {f"x-headway-{name.replace('_', '-')}": str(value) for name, value in ALL.items()}
    Street(vllm).post({"headway": {"ttft_s": 9, "slo_class": "batch"}}, path, headers)
    want = ALL | {"ttft_s": 9.0, "slo_class": "batch"}
    assert vllm.asks == {f"headway_{name}": value for name, value in want.items()}


def test_a_header_alone_is_enough(vllm: Vllm) -> None:
    Street(vllm).post(HELLO, headers={"x-headway-tool": ""})
    assert vllm.body == {**HELLO, "vllm_xargs": {"headway_tool": ""}}


def test_a_class_of_ours_goes_out_of_the_service_tier(vllm: Vllm) -> None:
    street = Street(vllm)
    street.post({**HELLO, "service_tier": "interactive"}, headers={"x-headway-slo-class": "batch"})
    assert vllm.body == {**HELLO, "vllm_xargs": {"headway_slo_class": "interactive"}}
    street.post({**HELLO, "service_tier": "interactive", "headway": {"slo_class": "interactive", "priority": 0}})
    assert vllm.asks == {"headway_slo_class": "interactive", "headway_priority": 0}


@pytest.mark.parametrize("tier", ["auto", "default", "flex", "scale", "priority", None])
def test_a_tier_of_vllm_goes_on(vllm: Vllm, tier: str | None) -> None:
    raw = json.dumps({**HELLO, "service_tier": tier}).encode()
    street = Street(vllm)
    street.post(raw)
    assert vllm.bodies == [raw]
    street.post({"service_tier": tier}, headers={"x-headway-slo-class": "batch"})
    assert vllm.body == {"service_tier": tier, "vllm_xargs": {"headway_slo_class": "batch"}}


def test_own_classes_stand_in_the_additional_configuration(vllm: Vllm) -> None:
    own = {"slo_classes": [{"name": "gold"}, {"name": "priority"}], "default_slo_class": "gold"}
    street = Street(vllm, {"headway": own})
    street.post({"service_tier": "priority"})
    assert vllm.asks == {"headway_slo_class": "priority"}
    assert "'auto', 'gold', 'priority', got 'batch'" in street.post({"service_tier": "batch"}).error["message"]


def test_extra_arguments_of_others_stay(vllm: Vllm) -> None:
    Street(vllm).post({"vllm_xargs": {"other": [1, 2], "headway_ttft_s": 3}, "headway": {"ttft_s": 1}})
    assert vllm.body == {"vllm_xargs": {"other": [1, 2], "headway_ttft_s": 1.0}}


def test_a_key_in_disguise_is_found(vllm: Vllm) -> None:
    Street(vllm).post(rb'{"\u0068eadway": {"priority": 1}, "n": 1e400, "big": 12345678901234567890123}')
    assert vllm.bodies == [b'{"n":1e400,"big":12345678901234567890123,"vllm_xargs":{"headway_priority":1}}']


@pytest.mark.parametrize(
    ("body", "param", "code", "words"),
    [
        ({"service_tier": "gold"}, "service_tier", "unknown_slo_class", "must be one of 'auto', 'interactive'"),
        ({"headway": {"slo_class": "gold"}}, "headway.slo_class", "unknown_slo_class", "got 'gold'"),
        (
            {"service_tier": "batch", "headway": {"slo_class": "interactive"}},
            "headway.slo_class", None, "must not contradict each other",
        ),
        ({"headway": {"ttft_s": 0}}, "headway.ttft_s", None, "must be a number of seconds above 0"),
        ({"headway": {"ttft": 1}}, "headway.ttft", "unknown_parameter", "Unknown parameter: 'headway.ttft'"),
        ({"headway": {"priority": "high"}}, "headway.priority", "invalid_type", "Invalid value for 'headway.priority'"),
        ({"headway": {"tenant": ""}}, "headway.tenant", None, "from 1 to 256 characters"),
        ({"headway": {"priority": 1}, "vllm_xargs": 3}, "vllm_xargs", "invalid_type", "vllm_xargs"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_the_words_of_our_server(
    vllm: Vllm, body: dict[str, Any], param: str, code: str | None, words: str
) -> None:
    street = Street(vllm)
    heard = street.post({**HELLO, **body})
    assert (heard.status, heard.error["param"], heard.error["code"]) == (400, param, code)
    assert words in heard.error["message"]
    assert vllm.bodies == []
    assert street.value("headway_refused_total", reason=code or "400") == 1


@pytest.mark.parametrize(("header", "value"), [("ttft-s", "soon"), ("priority", "1.5"), ("deadline-s", "nan")])
def test_a_header_that_makes_no_sense_is_refused(vllm: Vllm, header: str, value: str) -> None:
    heard = Street(vllm).post(HELLO, headers={f"x-headway-{header}": value})
    assert heard.status == 400
    assert value in heard.error["message"]


def test_a_header_that_is_not_known_is_refused_as_a_field_would_be(vllm: Vllm) -> None:
    heard = Street(vllm).post(HELLO, headers={"x-headway-slo-clas": "batch"})
    assert (heard.status, heard.error["code"]) == (400, "unknown_parameter")
    assert "x-headway-slo-class" in heard.error["message"]


def test_a_body_that_is_no_json_is_left_to_vllm_unless_it_asks(vllm: Vllm) -> None:
    street = Street(vllm)
    assert street.post(b'{"broken": \\u00').status == 200
    assert vllm.bodies == [b'{"broken": \\u00']
    assert street.post(b'{"headway": {}').status == 400


def test_a_body_that_is_too_long_is_refused_while_it_comes(vllm: Vllm) -> None:
    street = Street(vllm, {"headway_door": {"max_body_bytes": 2048}})
    heard = street.post(b"", parts=[b"x" * 1500, b"y" * 1500, b"z"])
    assert (heard.status, heard.headers["connection"]) == (413, "close")
    assert vllm.bodies == []


def test_without_a_key_nothing_is_read_and_vllm_refuses(vllm: Vllm) -> None:
    street = Street(vllm, keys=("one", "two"))
    raw = json.dumps({"service_tier": "gold"}).encode()
    street.post(raw)
    assert vllm.bodies == [raw]
    assert street.post(raw, headers={"authorization": "Bearer two"}).status == 400


def test_other_paths_are_none_of_the_doors_business(vllm: Vllm) -> None:
    raw = json.dumps({"headway": {"ttft": 1}}).encode()
    Street(vllm).post(raw, "/v1/embeddings")
    assert vllm.bodies == [raw]
