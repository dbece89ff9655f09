"""Files of examples: what is right is turned into tokens, what is wrong is told line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.app.cli.shipped import shipped_folder
from headway.app.server.tokenizer import ModelTokenizer, load_tokenizer
from headway.app.tuning import examples
from headway.app.tuning.examples import FaultyExamples, check_lines, end_tokens, tokenise
from headway.engines.tuning.tokens import Examples

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello."}


@pytest.fixture(scope="module")
def tokenizer() -> ModelTokenizer:
    return load_tokenizer(str(shipped_folder()))


def write(path: Path, *lines: Any) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def chat(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def learnt(path: Path, tokenizer: ModelTokenizer, most: int = 2048) -> list[tuple[str, list[str]]]:
    """Each lesson as text, and the texts that are to be learnt of it."""
    out = path.with_suffix(".tokens")
    tokenise(path, tokenizer, [0], out, most)
    found = []
    read = Examples(str(out))
    for index in range(len(read)):
        ids, trained = read[index]
        runs = [[]] if trained[0] else list[list[int]]()
        for place in range(1, len(ids)):
            if trained[place]:
                if not trained[place - 1]:
                    runs.append([])
                runs[-1].append(int(ids[place]))
        texts = [tokenizer.decode(run, hide_special=False) for run in runs]
        found.append((tokenizer.decode(ids.tolist(), hide_special=False), texts))
    return found


def test_an_answer_is_learnt_to_its_end(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    path = write(tmp_path / "a.jsonl", chat({"role": "system", "content": "Be kind."}, USER, ANSWER))
    whole = "<|system|>Be kind.<|end|><|user|>Hi<|end|><|assistant|>Hello.<|end|>"
    assert learnt(path, tokenizer) == [(whole, ["Hello.<|end|>"])]


def test_every_answer_is_learnt_but_those_of_weight_0(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    messages = [USER, ANSWER, USER, {**ANSWER, "content": "No.", "weight": 0}, USER, {**ANSWER, "weight": 1}, USER]
    ((whole, answers),) = learnt(write(tmp_path / "a.jsonl", chat(*messages)), tokenizer)
    assert answers == ["Hello.<|end|>", "Hello.<|end|>"]
    assert whole.endswith("No.<|end|><|user|>Hi<|end|><|assistant|>Hello.<|end|>")


def test_a_completion_is_learnt_with_an_end(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    path = write(tmp_path / "a.jsonl", {"prompt": "Once upon", "completion": " a time"})
    assert learnt(path, tokenizer) == [("Once upon a time<|end|>", [" a time<|end|>"])]


def test_tokens_are_those_that_serving_sees(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ANSWER]
    path = write(tmp_path / "a.jsonl", chat(*messages))
    tokenise(path, tokenizer, [0], tmp_path / "t", 2048)
    ids, trained = Examples(str(tmp_path / "t"))[0]
    prompt = tokenizer.encode(
        tokenizer.prompt_of([{"role": "user", "content": "a\nb"}], add_generation_prompt=True), special=False
    )
    assert ids[~trained].tolist() == prompt


class Thinking:
    """A tokenizer of bytes whose template shows the thoughts of the last answer alone, and ends lines."""

    can_chat = True
    end_token = 3

    def prompt_of(self, messages: list[dict[str, Any]], add_generation_prompt: bool = False) -> str:
        text = ""
        for index, message in enumerate(messages):
            thought = "<think>" if index == len(messages) - 1 and message["role"] == "assistant" else ""
            text += f"{message['role'][0]}:{thought}{message['content']}\x03\n"
        return text + ("a:" if add_generation_prompt else "")

    def encode(self, text: str, special: bool = True) -> list[int]:
        return list(text.encode())


def test_a_template_that_changes_its_mind_makes_a_lesson_of_each_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(USER, ANSWER, USER, ANSWER))
    thinking: Any = Thinking()
    counts = tokenise(path, thinking, [3], tmp_path / "t", 2048)
    read = Examples(str(tmp_path / "t"))
    assert counts.examples == 1
    wholes = [bytes(read[index][0].tolist()).decode() for index in range(2)]
    assert wholes == ["u:Hi\x03\na:<think>Hello.\x03", "u:Hi\x03\na:Hello.\x03\nu:Hi\x03\na:<think>Hello.\x03"]
    for index in range(2):
        ids, trained = read[index]
        assert bytes(ids[trained].tolist()).decode() == "<think>Hello.\x03"


WRONG: list[tuple[Any, str]] = [
    (b'{"messages": [', "must be one JSON object in UTF-8, but cannot be read"),
    (b"\xff\xfe{}", "must be one JSON object in UTF-8"),
    (b"[1, 2]", "must be a JSON object, got a list"),
    (b"{}", 'must have "messages" (chat), or "prompt" and "completion", got no keys'),
    ({"text": "a"}, "got the keys 'text'"),
    (chat(), "messages must be a list of messages, got an empty list"),
    ({"messages": "Hi"}, "messages must be a list of messages, got text"),
    (chat("Hi"), "messages[0] must be an object, got text"),
    (chat({"content": "a"}), "messages[0].role must be one of system, developer, user, assistant, tool, got none"),
    (chat({"role": "bot", "content": "a"}), "messages[0].role must be one of"),
    (chat({"role": ["user"], "content": "a"}), "got a list"),
    (chat(USER), "messages must hold at least one of role assistant, got none"),
    (chat(USER, {**ANSWER, "weight": 0}), "with weight 1, got only weights of 0"),
    (chat(USER, {**ANSWER, "weight": 0.5}), "messages[1].weight must be 0 or 1, got 0.5"),
    (chat(USER, {**ANSWER, "weight": True}), "messages[1].weight must be 0 or 1, got True"),
    (chat({**USER, "weight": 1}, ANSWER), "messages[0].weight must stand with role assistant, got role user"),
    (chat(USER, {"role": "assistant"}), "messages[1].content must be text, got none"),
    (chat(USER, {"role": "assistant", "content": None}), "messages[1].content must be text, got null"),
    (chat(USER, {"role": "assistant", "content": " \n"}), "messages[1].content must not be empty"),
    (chat({"role": "user", "content": ""}, ANSWER), "messages[0].content must not be empty"),
    (chat(USER, {"role": "assistant", "content": 7}), "messages[1].content must be text, got a number"),
    (chat({"role": "user", "content": [{"type": "image_url"}]}, ANSWER), 'must be {"type": "text", "text": ...}'),
    (chat({**USER, "mood": "good"}, ANSWER), "messages[0] must have no other keys than role, content, name"),
    (chat({**USER, "name": 3}, ANSWER), "messages[0].name must be text, got a number"),
    (chat({**USER, "tool_calls": []}, ANSWER), "messages[0].tool_calls must stand with role assistant"),
    (chat(USER, ANSWER, mood="good"), "must have no other keys than messages"),
    (chat(USER, ANSWER, tools=[{"type": "function"}]), "tools must be left out"),
    ({"prompt": "a"}, "completion must be text, got none"),
    ({"prompt": None, "completion": "b"}, "prompt must be text, got null"),
    ({"prompt": "", "completion": "b"}, "prompt must not be empty"),
    ({"prompt": "a", "completion": " "}, "completion must not be empty"),
    ({"prompt": "a", "completion": "b", "weight": 1}, "must have no other keys than prompt, completion, got 'weight'"),
]


@pytest.mark.parametrize(("line", "fault"), WRONG)
def test_what_is_wrong_with_a_line_is_told(tmp_path: Path, line: Any, fault: str) -> None:
    kind: Any = (
        {"prompt": "a", "completion": "b"} if isinstance(line, dict) and "prompt" in line else chat(USER, ANSWER)
    )
    checked = check_lines(write(tmp_path / "a.jsonl", kind, line, kind))
    (told,) = checked.faults
    assert told.startswith("line 2: ")
    assert fault in told
    assert checked.num_examples == 2


def test_an_empty_file_is_told(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    for content in (b"", b"\n \n"):
        (tmp_path / "a.jsonl").write_bytes(content)
        assert check_lines(tmp_path / "a.jsonl").faults == ["the file is empty, and must have one example per line."]
        with pytest.raises(FaultyExamples, match=r"must hold examples to train on, but the file is empty"):
            tokenise(tmp_path / "a.jsonl", tokenizer, [0], tmp_path / "t", 100)
        assert not (tmp_path / "t").exists()


def test_one_file_holds_one_kind(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", chat(USER, ANSWER), {"prompt": "a", "completion": "b"})
    assert check_lines(path).faults == ["line 2: must be a chat example as the first one is, got a completion example."]


def test_a_file_is_given_up_after_20_faults(tmp_path: Path) -> None:
    checked = check_lines(write(tmp_path / "a.jsonl", *[b"no"] * 50))
    assert len(checked.faults) == 20
    assert checked.faults[-1].startswith("line 20: ")
    assert str(FaultyExamples(tmp_path, checked.faults)).endswith("And 17 or more, for the rest was not read.")


def test_a_mark_at_the_beginning_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    line = json.dumps(chat(USER, ANSWER)).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n" + line + b"\n\n")
    assert check_lines(tmp_path / "a.jsonl") == examples.Checked(kind="chat", num_examples=2, faults=[])


def test_a_file_in_utf_16_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(chat(USER, ANSWER)) + "\n", encoding="utf-16")
    told = "line 1: must be UTF-8, got UTF-16; save the file as UTF-8."
    assert check_lines(tmp_path / "a.jsonl").faults == [told]


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "MOST_LINE_BYTES", 100)
    path = write(tmp_path / "a.jsonl", b"x" * 950, chat(USER, ANSWER))
    checked = check_lines(path)
    assert checked.faults == ["line 1: must be of at most 100 bytes, got more."]
    assert checked.num_examples == 1


def test_what_is_too_long_is_told_with_the_limit(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    path = write(tmp_path / "a.jsonl", chat(USER, ANSWER), chat(USER, {**ANSWER, "content": "so " * 60}))
    with pytest.raises(FaultyExamples) as caught:
        tokenise(path, tokenizer, [0], tmp_path / "t", 30)
    (fault,) = caught.value.faults
    assert fault.startswith("line 2: must have at most 30 tokens, the model's context, got ")


def test_what_the_template_refuses_is_told(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    path = write(tmp_path / "a.jsonl", chat(USER, {"role": "tool", "content": "7"}, ANSWER))
    assert check_lines(path).faults == []
    with pytest.raises(FaultyExamples, match=r"line 1: messages must suit the model's chat template, got: .*roles"):
        tokenise(path, tokenizer, [0], tmp_path / "t", 2048)


def test_nothing_stands_before_the_first_answer(tmp_path: Path, tokenizer: ModelTokenizer) -> None:
    with pytest.raises(FaultyExamples, match="since nothing stands before it"):
        tokenise(write(tmp_path / "a.jsonl", chat(ANSWER)), tokenizer, [0], tmp_path / "t", 2048)
    greeted = write(tmp_path / "b.jsonl", chat({**ANSWER, "weight": 0}, USER, ANSWER))
    assert learnt(greeted, tokenizer)[0][1] == ["Hello.<|end|>"]


def test_a_model_without_a_template_learns_completions(tmp_path: Path) -> None:
    plain: Any = Thinking()
    plain.can_chat = False
    with pytest.raises(FaultyExamples, match="learns from completions alone"):
        tokenise(write(tmp_path / "a.jsonl", chat(USER, ANSWER)), plain, [3], tmp_path / "t", 99)


def test_the_ends_of_a_model_are_known(tokenizer: ModelTokenizer) -> None:
    assert end_tokens(str(shipped_folder()), tokenizer) == [0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
    | st.sampled_from(["user", "assistant", "system", "tool", "text"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["role", "content", "weight", "messages", "prompt", "completion", "type", "text", "name",
                         "tool_calls", "x"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON | st.fixed_dictionaries({"messages": st.lists(JSON, max_size=3)}), max_size=4))
def test_whatever_comes_is_right_or_told(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(line) for line in lines))
    checked = check_lines(path)
    assert checked.num_examples + len(checked.faults) == max(1, len(lines))


@pytest.mark.slow
def test_a_large_file_does_not_need_its_size_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    line = json.dumps(chat(USER, {**ANSWER, "content": "so it goes " * 300})).encode() + b"\n"
    with (tmp_path / "a.jsonl").open("wb") as file:
        for _ in range(20_000):
            file.write(line)
    tracemalloc.start()
    assert check_lines(tmp_path / "a.jsonl").num_examples == 20_000
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 2_000_000 < (tmp_path / "a.jsonl").stat().st_size / 30
