from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.server.running import Running, told
from app.tuning.serving import GOOD, client_of, create, tuning, until, until_step, upload

SLOW = {"tune_steps": 2000, "tune_step_s": 0.005}


def ask(ai: openai.OpenAI, model: str) -> str:
    answer = ai.chat.completions.create(model=model, messages=[{"role": "user", "content": "the cat"}])
    assert answer.model == model
    return answer.choices[0].message.content or ""


def test_a_job_becomes_a_model_that_answers(ai: openai.OpenAI, state: Path) -> None:
    valid = upload(ai, "valid.jsonl")
    made = create(ai, suffix="pirate", validation_file=valid, seed=7, metadata={"team": "sea"})
    assert (made.object, made.status, made.model, made.seed) == ("fine_tuning.job", "validating_files", "parrot", 7)
    assert made.fine_tuned_model is made.finished_at is made.trained_tokens is None
    assert made.hyperparameters.n_epochs == "auto"
    done = until(ai, made.id, "succeeded")
    assert done.fine_tuned_model == "ft:parrot:pirate"
    assert done.finished_at is not None
    assert (done.trained_tokens, done.error, done.metadata) == (2000, None, {"team": "sea"})
    assert done.hyperparameters.model_dump() == {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}
    assert done.method is not None
    assert done.method.type == "supervised"
    assert [model.id for model in ai.models.list()] == ["parrot", "ft:parrot:pirate"]
    assert ask(ai, "ft:parrot:pirate") == "the cat"
    (results,) = done.result_files
    rows = ai.files.content(results).text.splitlines()
    assert rows[0] == "step,train_loss,train_accuracy,valid_loss,valid_accuracy,learning_rate,tokens"
    assert rows[1] == "1,2.0,,,,0.001,100"
    assert rows[20] == "20,0.1,,0.5,0.75,0.001,2000"
    assert ai.files.retrieve(results).purpose == "fine-tune-results"
    assert sorted(path.name for path in (state / "jobs" / made.id).glob("*/*")) == ["adapter", "curve.jsonl"]


def test_what_happens_is_told(ai: openai.OpenAI, client: httpx.Client) -> None:
    job = create(ai)
    until(ai, job.id, "succeeded")
    events = list(ai.fine_tuning.jobs.list_events(job.id, limit=3))[::-1]
    texts = [event.message for event in events]
    assert texts[:4] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating files: {job.training_file}",
        "Files validated: 20 examples, 99 tokens. The job is queued.",
        "Training begins: 20 steps.",
    ]
    assert texts[4] == "Step 1/20: training loss=2.0000"
    assert texts[-2:] == [f"New fine-tuned model created: ft:parrot:{job.id}", "The job has successfully completed."]
    metrics = [event for event in events if event.type == "metrics"]
    assert len(metrics) == 20
    assert metrics[3].data == {"step": 4, "train_loss": 0.5, "total_steps": 20, "trained_tokens": 400}
    assert len({event.id for event in events}) == len(events) == 28
    checkpoints = list(ai.fine_tuning.jobs.checkpoints.list(job.id))
    assert [(one.step_number, one.metrics.train_loss) for one in checkpoints] == [(20, 0.1), (10, 0.2)]
    assert checkpoints[0].fine_tuned_model_checkpoint == f"ft:parrot:{job.id}:ckpt-step-20"
    page = client.get(f"/v1/fine_tuning/jobs/{job.id}/events", params={"after": events[2].id}).json()
    assert [event["message"] for event in page["data"]] == texts[1::-1]
    for word in ("events", "checkpoints"):
        answer = client.get(f"/v1/fine_tuning/jobs/{job.id}/{word}", params={"after": "none"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


def test_events_can_be_followed(ai: openai.OpenAI, client: httpx.Client) -> None:
    job = create(ai)
    with client.stream("GET", f"/v1/fine_tuning/jobs/{job.id}/events", params={"stream": "true"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    followed = [json.loads(line)["id"] for line in lines[:-1]]
    assert followed == [event.id for event in ai.fine_tuning.jobs.list_events(job.id, limit=100)][::-1]
    assert client.get(f"/v1/fine_tuning/jobs/{job.id}/events?stream=true&after=x").status_code == 400


def test_jobs_are_listed_by_page_and_note(ai: openai.OpenAI, client: httpx.Client) -> None:
    file = upload(ai)
    ids = [create(ai, training_file=file, metadata={"run": str(number)}).id for number in range(3)]
    plain = create(ai, training_file=file).id
    assert [job.id for job in ai.fine_tuning.jobs.list(limit=2)][:4] == [plain, *ids[::-1]]
    assert [job.id for job in ai.fine_tuning.jobs.list(metadata={"run": "1"})] == [ids[1]]
    without = client.get("/v1/fine_tuning/jobs", params={"metadata": "null"}).json()["data"]
    assert plain in [job["id"] for job in without]
    assert not {job["id"] for job in without} & set(ids)
    for id in (*ids, plain):
        until(ai, id, "succeeded")


@pytest.mark.parametrize(("change", "param"), [
    ({"training_file": "file-none"}, "training_file"),
    ({"validation_file": "file-none"}, "validation_file"),
    ({"suffix": ""}, "suffix"), ({"suffix": "a:b"}, "suffix"), ({"suffix": "x" * 65}, "suffix"),
    ({"suffix": "../x"}, "suffix"),
    ({"seed": -1}, "seed"), ({"seed": 2**40}, "seed"), ({"seed": "1"}, "seed"),
    ({"hyperparameters": {"n_epochs": 0}}, "n_epochs"),
    ({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs"),
    ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs"),
    ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs"),
    ({"hyperparameters": {"batch_size": 10**6}}, "batch_size"),
    ({"hyperparameters": {"learning_rate_multiplier": -1.0}}, "learning_rate_multiplier"),
    ({"hyperparameters": {"learning_rate_multiplier": 0}}, "learning_rate_multiplier"),
    ({"hyperparameters": {"x": 1}}, "hyperparameters.x"),
    ({"hyperparameters": {"n_epochs": 1}, "method": {
        "type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}}, "hyperparameters.n_epochs"),
    ({"method": {"type": "dpo", "dpo": {}}}, "method.type"),
    ({"method": {"type": "supervised", "reinforcement": {}}}, "method.reinforcement"),
    ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"metadata": {"a": "x" * 513}}, "metadata"), ({"metadata": {"a": 1}}, "metadata[...]"),
    ({"headway": {"rank": 0}}, "headway.rank"), ({"headway": {"dropout": 1}}, "headway.dropout"),
    ({"headway": {"targets": "q"}}, "headway.targets"), ({"headway": {"targets": [""]}}, "headway.targets"),
    ({"headway": {"schedule": "up"}}, "headway.schedule"),
    ({"headway": {"learning_rate": 1e999}}, "headway.learning_rate"),
    ({"headway": {"microbatch_tokens": 10**9}}, "headway.microbatch_tokens"),
    ({"headway": {"device": "cuda"}}, "headway.device"), ({"headway": {"tokens": "/etc/passwd"}}, "headway.tokens"),
    ({"headway": {"learning_rate": 0.1}, "hyperparameters": {"learning_rate_multiplier": 2}}, "headway.learning_rate"),
    ({"model": None}, "model"), ({"training_file": None}, "training_file"), ({"what": 1}, "what"),
])  # fmt: skip
def test_bad_bodies_are_named(
    ai: openai.OpenAI, client: httpx.Client, file: str, change: dict[str, Any], param: str
) -> None:
    body = {"model": "parrot", "training_file": file, **change}
    text = json.dumps(body).replace("Infinity", "1e999")
    answer = client.post("/v1/fine_tuning/jobs", content=text.encode())
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert ai.models.list().data


@pytest.fixture(scope="module")
def file(server: Running) -> str:
    with client_of(server) as ai:
        return upload(ai)


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("auto"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["suffix", "seed", "hyperparameters", "method", "metadata", "integrations", "headway", "model"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, BODIES, min_size=1, max_size=3))
def test_any_body_is_answered(client: httpx.Client, body: dict[str, Any]) -> None:
    text = json.dumps({"model": "parrot", "training_file": "file-none", **body})
    answer = client.post("/v1/fine_tuning/jobs", content=text.encode())
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"]


def test_unknown_names_are_answered_as_everywhere(ai: openai.OpenAI, client: httpx.Client) -> None:
    with pytest.raises(openai.NotFoundError) as told:
        ai.fine_tuning.jobs.create(model="gpt-9", training_file="file-none")
    assert told.value.code == "model_not_found"
    for path in ("", "/events", "/checkpoints"):
        assert client.get(f"/v1/fine_tuning/jobs/ftjob-none{path}").status_code == 404
    for path in ("cancel", "pause", "resume"):
        assert client.post(f"/v1/fine_tuning/jobs/ftjob-none/{path}").status_code == 404
    assert client.delete("/v1/models/none").status_code == 404
    assert client.delete("/v1/models/parrot").status_code == 403
    assert client.post("/v1/fine_tuning/jobs", content=b"[1").status_code == 400
    assert client.put("/v1/files").status_code == 405


def test_files_of_results_are_not_trained_on(ai: openai.OpenAI) -> None:
    done = until(ai, create(ai).id, "succeeded")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        create(ai, training_file=done.result_files[0])
    assert done.fine_tuned_model is not None
    with pytest.raises(openai.BadRequestError, match="Only the base model"):
        ai.fine_tuning.jobs.create(model=done.fine_tuned_model, training_file=done.training_file)


@pytest.mark.parametrize(("text", "code", "message"), [
    ("too long", "invalid_training_file", "Line 1 is too long."),
    ("defect", "internal_error", "the server's log says why"),
])  # fmt: skip
def test_files_that_cannot_be_prepared_fail_their_job(ai: openai.OpenAI, text: str, code: str, message: str) -> None:
    file = upload(ai, content=json.dumps({"x": text}).encode())
    job = create(ai, training_file=file, suffix=text.replace(" ", "-"))
    end_s = time.monotonic() + 10
    while (failed := ai.fine_tuning.jobs.retrieve(job.id)).status != "failed":
        assert time.monotonic() < end_s
    assert failed.error is not None
    assert failed.error.code == code
    assert message in failed.error.message
    assert failed.fine_tuned_model is None
    last = ai.fine_tuning.jobs.list_events(job.id).data[0]
    assert (last.level, last.message) == ("error", failed.error.message)
    until(ai, create(ai, suffix=text.replace(" ", "-")).id, "succeeded")  # the name is free again


def test_a_name_is_given_once(ai: openai.OpenAI, client: httpx.Client) -> None:
    first = create(ai, suffix="twice")
    with pytest.raises(openai.ConflictError, match=first.id):
        create(ai, suffix="twice")
    until(ai, first.id, "succeeded")
    with pytest.raises(openai.ConflictError, match="served already"):
        create(ai, suffix="twice")
    assert ai.models.delete("ft:parrot:twice").deleted
    assert "ft:parrot:twice" not in [model.id for model in ai.models.list()]
    with pytest.raises(openai.NotFoundError):
        ask(ai, "ft:parrot:twice")
    with pytest.raises(openai.NotFoundError):
        ask(ai, f"ft:parrot:twice@{first.id}")
    until(ai, create(ai, suffix="twice").id, "succeeded")
    assert ask(ai, "ft:parrot:twice") == "the cat"


def test_wishes_reach_the_engine(ai: openai.OpenAI) -> None:
    job = create(
        ai,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
        hyperparameters={"learning_rate_multiplier": 0.5},
        extra_body={"headway": {"rank": 4, "targets": ["q_proj"], "schedule": "cosine"}},
    )
    done = until(ai, job.id, "succeeded")
    assert done.hyperparameters.model_dump() == {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert done.model_extra is not None
    ours = done.model_extra["headway"]
    assert (ours["rank"], ours["targets"], ours["schedule"], ours["learning_rate"]) == (4, ["q_proj"], "cosine", 1e-4)


def test_jobs_are_cancelled_paused_and_resumed(model: Path, tmp_path: Path) -> None:
    manners = {"tune_hold": 15, "tune_step_s": 0.005}
    with tuning(model, tmp_path / "state", manners) as server, client_of(server) as ai:
        first, second = create(ai, suffix="one"), create(ai, suffix="two")
        until_step(ai, first.id, 15)
        assert ai.fine_tuning.jobs.retrieve(first.id).estimated_finish is not None
        until(ai, second.id, "queued")
        assert ai.fine_tuning.jobs.pause(first.id).status == "paused"
        with pytest.raises(openai.BadRequestError, match="paused"):
            ai.fine_tuning.jobs.pause(first.id)
        until_step(ai, second.id, 15)  # the next one's turn
        assert ai.fine_tuning.jobs.resume(first.id).status == "queued"
        with pytest.raises(openai.BadRequestError, match="not paused"):
            ai.fine_tuning.jobs.resume(first.id)
        cancelled = ai.fine_tuning.jobs.cancel(second.id)
        assert (cancelled.status, cancelled.trained_tokens) == ("cancelled", 1500)
        with pytest.raises(openai.BadRequestError, match="been cancelled"):
            ai.fine_tuning.jobs.cancel(second.id)
        until(ai, first.id, "running")
        end_s = time.monotonic() + 10
        while not any("goes on after step 10" in e.message for e in ai.fine_tuning.jobs.list_events(first.id).data):
            assert time.monotonic() < end_s
        assert ai.fine_tuning.jobs.cancel(first.id).status == "cancelled"
        while list((tmp_path / "state" / "jobs").iterdir()):
            assert time.monotonic() < end_s
        assert [model.id for model in ai.models.list()] == ["parrot"]


def test_a_job_can_be_stopped_before_it_is_sent(ai: openai.OpenAI, state: Path) -> None:
    file = upload(ai, content=b'{"x": "forever"}')
    job = create(ai, training_file=file)
    assert ai.fine_tuning.jobs.pause(job.id).status == "paused"
    assert ai.fine_tuning.jobs.resume(job.id).status == "validating_files"
    until(ai, job.id, "validating_files")
    assert ai.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    until(ai, create(ai).id, "succeeded")  # nothing stands in its way
    assert not (state / "jobs" / job.id).exists()


def test_chat_goes_on_while_a_job_runs(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path, SLOW) as server, client_of(server) as ai:
        job = create(ai)
        until_step(ai, job.id, 5)
        asking = [threading.Thread(target=ask, args=(ai, "parrot")) for _ in range(8)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(10)
        assert ai.fine_tuning.jobs.retrieve(job.id).status == "running"
        with httpx.Client(base_url=server.url) as client:
            text = client.get("/metrics").text
        assert 'headway_tuning_jobs{status="running"} 1.0' in text
        values = {
            line.split()[0]: float(line.split()[1])
            for line in text.splitlines()
            if "tuning" in line and "#" not in line
        }
        assert values["headway_tuning_tokens_total"] >= 500
        assert values["headway_tuning_tokens_per_second"] > 0
        assert 0 < values["headway_tuning_loss"] < 2


def test_a_job_that_fails_says_why(model: Path, tmp_path: Path) -> None:
    manners = {"tune_fail": [4, "The loss is nan at step 4. Try a smaller learning rate."]}
    with tuning(model, tmp_path, manners) as server, client_of(server) as ai:
        job = create(ai)
        end_s = time.monotonic() + 10
        while (failed := ai.fine_tuning.jobs.retrieve(job.id)).status != "failed":
            assert time.monotonic() < end_s
        assert failed.error is not None
        assert (failed.error.code, failed.trained_tokens) == ("training_failed", 300)
        assert "smaller learning rate" in failed.error.message
        assert ask(ai, "parrot") == "the cat"


def test_keys_open_what_they_may(model: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"api_keys": ("plain",), "tuning_api_keys": ("mine", "yours")}
    with (
        tuning(model, tmp_path, **keys) as server,
        client_of(server, "mine") as mine,
        client_of(server, "yours") as yours,
    ):
        with client_of(server, "none") as none, pytest.raises(openai.AuthenticationError):
            upload(none)
        with client_of(server, "plain") as plain:
            assert ask(plain, "parrot") == "the cat"
            for attempt in (
                lambda: upload(plain, content=GOOD[1] * 2000),
                lambda: plain.files.list(),
                lambda: create(plain, training_file="x"),
                lambda: plain.models.delete("parrot"),
            ):
                with pytest.raises(openai.PermissionDeniedError, match="may not fine-tune") as refused:
                    attempt()
                assert refused.value.code == "insufficient_permissions"
        file = upload(mine)
        job = create(mine, suffix="x", training_file=file)
        until(mine, job.id, "succeeded")
        with pytest.raises(openai.NotFoundError):
            yours.files.retrieve(file)
        with pytest.raises(openai.NotFoundError):
            yours.files.content(job.training_file)
        with pytest.raises(openai.BadRequestError, match="There is no file"):
            create(yours, training_file=file)
        for attempt in (yours.fine_tuning.jobs.retrieve, yours.fine_tuning.jobs.cancel):
            with pytest.raises(openai.NotFoundError):
                attempt(job.id)
        assert list(yours.files.list()) == list(yours.fine_tuning.jobs.list()) == []
        assert ask(yours, "ft:parrot:x") == "the cat"  # models are for all
        with pytest.raises(openai.PermissionDeniedError, match="the API key that it was made with"):
            yours.models.delete("ft:parrot:x")
        assert mine.models.delete("ft:parrot:x").deleted


def test_the_key_is_nowhere_on_the_disk(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path, tuning_api_keys=("a-secret-key",)) as server, client_of(server, "a-secret-key") as ai:
        create(ai)
    assert not any(b"a-secret-key" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_the_engine_is_told(model: Path, tmp_path: Path) -> None:
    with tuning(model, tmp_path / "state", trace=str(tmp_path / "told")) as server, client_of(server) as ai:
        job = create(ai, suffix="y")
        until(ai, job.id, "succeeded")
        ask(ai, "ft:parrot:y")
    (submit,) = [message for message in told(tmp_path / "told") if message["type"] == "Submit"]
    assert submit["adapter"] == f"ft:parrot:y@{job.id}"
