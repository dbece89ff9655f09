"""Examples to fine-tune on: files of JSON lines, checked line by line and turned into tokens.

Neither needs the memory for a whole file: lines are read, checked and written one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from headway.app.server.tokenizer import ModelTokenizer
from headway.app.tuning.example import Chat, Completion, FaultyLine, example_of
from headway.app.tuning.lesson import Lesson, lessons_of
from headway.core.errors import ConfigError
from headway.engines.tuning.tokens import writing_examples

MOST_FAULTS = 20
"""So many are found before a file is given up."""

MOST_LINE_BYTES = 1 << 24
"""A line may be so long."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class FaultyExamples(ConfigError):
    """A file of examples that cannot be trained on.

    Parameters
    ----------
    path : Path
        The file.
    faults : list of str
        What is wrong, one sentence each, those of lines first come first.
    """

    def __init__(self, path: Path, faults: list[str]) -> None:
        super().__init__(f"{path}: must hold examples to train on, but {_in_words(faults)}")
        self.faults = faults


class Checked(Struct, frozen=True, kw_only=True):
    """What a look at a file says.

    Parameters
    ----------
    kind : str
        ``"chat"`` or ``"completion"``; empty when no line said so.
    num_examples : int
        Lines that are right.
    faults : list of str
        What is wrong, one sentence each; at most `MOST_FAULTS`, after which nobody has looked.
    """

    kind: str
    num_examples: int
    faults: list[str]


class Tokenised(Struct, frozen=True, kw_only=True):
    """What came of a file.

    Parameters
    ----------
    examples : int
        Lines.
    tokens, trained_tokens : int
        Of all of them; trained are those of the answers.
    longest_tokens : int
        Of the longest example.
    """

    examples: int
    tokens: int
    trained_tokens: int
    longest_tokens: int


def check_lines(path: Path) -> Checked:
    """Look whether every line is an example, as far as that can be seen without a tokenizer.

    Parameters
    ----------
    path : Path
        The file.
    """
    reading = _Reading(path)
    for _ in reading.examples():
        pass
    return Checked(kind=reading.kind, num_examples=reading.num_right, faults=reading.all_faults())


def tokenise(
    path: Path,
    tokenizer: ModelTokenizer,
    ends: Sequence[int],
    out: Path,
    context_tokens: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Tokenised:
    """Turn a file of examples into tokens as serving would see them, and mark those that are to be learnt.

    Parameters
    ----------
    path : Path
        The file of JSON lines.
    tokenizer : ModelTokenizer
        The model's own.
    ends : sequence of int
        Tokens that end an answer; the first of them is put behind a completion.
    out : Path
        The file of tokens to be written; its folder must exist.
    context_tokens : int
        The most tokens that an example may have.
    on_progress : callable
        Is told how many bytes of the file have been read.

    Raises
    ------
    FaultyExamples
        When a line is no example, or too long.
    """
    reading, longest = _Reading(path), 0
    with writing_examples(out) as writer:
        for example in reading.examples():
            if isinstance(example, Chat) and not tokenizer.can_chat:
                raise FaultyExamples(
                    path, ["the model has no chat template, so that it learns from completions alone."]
                )
            try:
                for lesson in lessons_of(example, tokenizer, ends):
                    _check_length(lesson, context_tokens)
                    longest = max(longest, len(lesson.ids))
                    writer.add(lesson.ids, lesson.trained)
            except FaultyLine as fault:
                reading.note(str(fault))
            on_progress(reading.num_bytes)
        if faults := reading.all_faults():
            raise FaultyExamples(path, faults)
    return Tokenised(
        examples=reading.num_right,
        tokens=writer.num_tokens,
        trained_tokens=writer.num_trained,
        longest_tokens=longest,
    )


def end_tokens(model: str, tokenizer: ModelTokenizer) -> list[int]:
    """Return the tokens that end an answer of a model, its tokenizer's own first.

    Parameters
    ----------
    model : str
        A folder or hub id.
    tokenizer : ModelTokenizer
        The model's own.
    """
    from transformers import GenerationConfig

    found = [] if tokenizer.end_token is None else [tokenizer.end_token]
    try:
        more = GenerationConfig.from_pretrained(model).eos_token_id
    except (OSError, ValueError):
        more = None
    if more is not None:
        found += [token for token in ([more] if isinstance(more, int) else more) if token not in found]
    if not found:
        raise ConfigError(f"tune: model {model} must say which token ends an answer, but does not. Choose another.")
    return found


class _Reading:
    """Goes through the lines of a file once, and notes what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: list[str] = []
        self._line = 0
        self.kind = ""
        self.num_right = 0
        self.num_bytes = 0

    def examples(self) -> Iterator[Chat | Completion]:
        """The lines that are right, until there are too many that are not."""
        with self._path.open("rb") as file:
            while (raw := file.readline(MOST_LINE_BYTES + 1)) and len(self._faults) < MOST_FAULTS:
                self._line += 1
                self.num_bytes += len(raw)
                if self._line == 1 and raw.startswith(_UTF16_BOMS):
                    self.note("must be UTF-8, got UTF-16; save the file as UTF-8")
                    return
                try:
                    if len(raw) > MOST_LINE_BYTES:
                        _skip_line(file)
                        raise FaultyLine(f"must be of at most {MOST_LINE_BYTES} bytes, got more")
                    example = self._example(raw.removeprefix(_BOM) if self._line == 1 else raw)
                except FaultyLine as fault:
                    self.note(str(fault))
                    continue
                if example is not None:
                    self.num_right += 1
                    yield example

    def note(self, fault: str) -> None:
        """Note what is wrong with the present line."""
        self._faults.append(f"line {self._line}: {fault}.")

    def all_faults(self) -> list[str]:
        """What is wrong with the lines, or with there being none."""
        if not self._faults and not self.num_right:
            return ["the file is empty, and must have one example per line."]
        return self._faults

    def _example(self, raw: bytes) -> Chat | Completion | None:
        if not raw.strip():
            return None
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FaultyLine(f"must be one JSON object in UTF-8, but cannot be read: {error}") from error
        example = example_of(value)
        kind = "chat" if isinstance(example, Chat) else "completion"
        self.kind = self.kind or kind
        if kind != self.kind:
            raise FaultyLine(f"must be a {self.kind} example as the first one is, got a {kind} example")
        return example


def _skip_line(file: IO[bytes]) -> None:
    while (piece := file.readline(MOST_LINE_BYTES)) and not piece.endswith(b"\n"):
        pass


def _check_length(lesson: Lesson, context_tokens: int) -> None:
    if len(lesson.ids) > context_tokens:
        raise FaultyLine(f"must have at most {context_tokens} tokens, the model's context, got {len(lesson.ids)}")


def _in_words(faults: list[str]) -> str:
    told = " ".join(faults[:3])
    or_more = "or more, for the rest was not read" if len(faults) >= MOST_FAULTS else "more"
    return told + (f" And {len(faults) - 3} {or_more}." if len(faults) > 3 else "")
