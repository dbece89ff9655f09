from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.server.running import Running
from app.tuning.serving import GOOD, upload
from headway.app.tuning import upload as uploading

FORM = {"purpose": "fine-tune"}


def lying(state: Path) -> tuple[int, int]:
    """How many files there are, and how many are on their way."""
    return len(list((state / "files").iterdir())), len(list((state / "uploads").iterdir()))


def test_a_file_comes_back_as_it_went_in(ai: openai.OpenAI) -> None:
    made = ai.files.create(file=GOOD, purpose="fine-tune")
    assert (made.object, made.filename, made.bytes, made.purpose) == ("file", GOOD[0], len(GOOD[1]), "fine-tune")
    assert made.status == "processed"
    assert ai.files.retrieve(made.id) == made
    assert ai.files.wait_for_processing(made.id, poll_interval=0.01) == made
    assert ai.files.content(made.id).content == GOOD[1]
    assert ai.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="There is no file"):
        ai.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        ai.files.content(made.id)
    with pytest.raises(openai.NotFoundError):
        ai.files.delete(made.id)


def test_lists_come_in_pages(ai: openai.OpenAI, client: httpx.Client) -> None:
    ids = [upload(ai, f"{number}.jsonl") for number in range(5)]
    listed = [file.id for file in ai.files.list(limit=2)]
    assert listed[:5] == ids[::-1]
    assert [file.id for file in ai.files.list(limit=2, order="asc")][-5:] == ids
    assert [file.id for file in ai.files.list(purpose="fine-tune-results") if file.id in ids] == []
    page = client.get("/v1/files", params={"limit": 2, "after": ids[3]}).json()
    assert [file["id"] for file in page["data"]] == [page["first_id"], page["last_id"]] == [ids[2], ids[1]]
    assert page["has_more"] is True


@pytest.mark.parametrize("query", [
    {"limit": "0"}, {"limit": "10001"}, {"limit": "x"}, {"limit": "9" * 99}, {"limit": "٣"}, {"order": "up"},
    {"after": "file-none"},
])  # fmt: skip
def test_bad_queries_are_named(client: httpx.Client, query: dict[str, str]) -> None:
    answer = client.get("/v1/files", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(query)))


def test_faulty_lines_are_told(ai: openai.OpenAI, state: Path) -> None:
    before = lying(state)
    with pytest.raises(openai.BadRequestError, match=r"line 2: must be JSON\. line 3") as told:
        upload(ai, content=b"{}\nwhat\nis this\n{}")
    assert (told.value.param, told.value.code) == ("file", "invalid_file_format")
    with pytest.raises(openai.BadRequestError, match="got none"):
        upload(ai, content=b"")
    with pytest.raises(openai.BadRequestError, match="30 faults"):
        upload(ai, content=b"bad\n" * 30)
    assert lying(state) == before


@pytest.mark.parametrize(("form", "param"), [
    ({}, "purpose"), ({"purpose": "assistants"}, "purpose"), ({**FORM, "what": "x"}, "what"),
    ({**FORM, "expires_after[anchor]": "now"}, "expires_after[anchor]"),
    ({**FORM, "expires_after[anchor]": "created_at"}, "expires_after[seconds]"),
    ({**FORM, "expires_after[anchor]": "created_at", "expires_after[seconds]": "5"}, "expires_after[seconds]"),
    ({**FORM, "x": "y" * 5000}, "x"),
])  # fmt: skip
def test_bad_forms_are_named(client: httpx.Client, form: dict[str, str], param: str) -> None:
    answer = client.post("/v1/files", data=form, files={"file": GOOD})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_what_is_no_form_is_refused(client: httpx.Client, state: Path) -> None:
    before = lying(state)
    head = {"content-type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n'
    bad: list[dict[str, Any]] = [
        {"json": {"file": "x"}},
        {"data": FORM},
        {"content": part, "headers": head},  # ends in the middle
        {"content": b"rubbish", "headers": head},
        {"content": part + part + b"--x--\r\n", "headers": head},
        {"content": b"", "headers": {"content-type": "multipart/form-data"}},
        {"content": b"", "headers": {"content-type": "multipart/form-data; boundary=" + "x" * 999}},
    ]
    for request in bad:
        answer = client.post("/v1/files", **request)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), answer.text
    assert lying(state) == before
    assert client.post("/v1/files", data=FORM, files={"file": GOOD}).status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["x", '"x"', "", "ü"]))
def test_any_body_is_answered(client: httpx.Client, body: bytes, boundary: str) -> None:
    kind = f"multipart/form-data; boundary={boundary}".encode("latin-1")
    assert client.post("/v1/files", content=b"--x\r\n" + body, headers=[(b"content-type", kind)]).status_code == 400


def test_names_are_names(ai: openai.OpenAI, client: httpx.Client) -> None:
    made = ai.files.create(file=("../../etc/päss\\wörd\x07.jsonl", GOOD[1]), purpose="fine-tune")
    assert made.filename.endswith(".jsonl")
    assert "/" not in made.filename
    assert client.get(f"/v1/files/{made.id}/content").status_code == 200
    assert client.get("/v1/files/..%2F..%2Fbooks").status_code == 404
    assert client.get("/v1/files/../tuning.sqlite").status_code == 404


def test_a_file_that_is_too_long_is_refused_whether_announced_or_not(client: httpx.Client, state: Path) -> None:
    before, long = lying(state), b"{" * (2 << 20)
    announced = client.post("/v1/files", data=FORM, files={"file": ("x", long)})
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + long + b"\r\n--x--\r\n"
    head = {"content-type": "multipart/form-data; boundary=x"}
    chunked = client.post(
        "/v1/files", content=iter([part[at : at + 65536] for at in range(0, len(part), 65536)]), headers=head
    )
    field = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"y" * (1 << 20)
    for answer in (announced, chunked):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    assert client.post("/v1/files", content=field, headers=head).status_code == 400
    assert lying(state) == before


def test_a_client_that_goes_away_leaves_nothing(server: Running, client: httpx.Client, state: Path) -> None:
    before, address = lying(state), urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        head = "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        head += "Content-Length: 999999\r\n\r\n"
        part = '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + "{}\n" * 1000
        connection.sendall((head + part).encode())
        end_s = time.monotonic() + 10
        while lying(state)[1] == before[1]:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    while lying(state) != before:
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_full_disk_is_told_and_nothing_is_left(
    ai: openai.OpenAI, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lying(state)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("write", "fsync", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(uploading.os, name, full)
            with pytest.raises(openai.InternalServerError, match="is full") as told:
                upload(ai)
            assert (told.value.status_code, told.value.code) == (507, "disk_full")
        assert lying(state) == before
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(openai.InternalServerError, match="is full"):
            upload(ai)
    assert lying(state) == before
    assert upload(ai)


def test_files_expire(ai: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ai.files.create(file=GOOD, purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600})
    assert made.expires_at == made.created_at + 3600
    now_s = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now_s + 4000)
        with pytest.raises(openai.NotFoundError):
            ai.files.retrieve(made.id)
        assert made.id not in [file.id for file in ai.files.list()]
    assert ai.files.retrieve(made.id) == made
