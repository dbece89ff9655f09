"""Prepared examples survive the disk, and what is wrong with a file is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.errors import ConfigError
from headway.engines.tuning.tokens import Examples, writing_examples

examples = st.lists(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=20).map(
        lambda pairs: [*pairs, (7, True)]
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(examples)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, given: list[list[tuple[int, bool]]]) -> None:
    path = tmp_path_factory.mktemp("tokens") / "t.safetensors"
    with writing_examples(path) as writer:
        for example in given:
            writer.add([token for token, _ in example], [mark for _, mark in example])
    read = Examples(str(path))
    assert len(read) == len(given) == writer.num_examples
    for index, example in enumerate(given):
        ids, trained = read[index]
        assert ids.tolist() == [token for token, _ in example]
        assert trained.tolist() == [False] + [mark for _, mark in example[1:]]
        assert read.num_trained[index] == trained.sum()
    assert read.num_trained.sum() == writer.num_trained
    assert read.largest_id == max(token for example in given for token, _ in example)


def test_the_file_is_one_of_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    with writing_examples(tmp_path / "t") as writer:
        writer.add([5, 6, 7], [0, 1, 1])
    arrays = load_file(tmp_path / "t")
    assert arrays["ids"].tolist() == [5, 6, 7]
    assert arrays["trained"].tolist() == [0, 1, 1]
    assert arrays["offsets"].tolist() == [0, 3]
    assert arrays["ids"].dtype == np.int32


def test_nothing_is_left_of_what_was_not_finished(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing_examples(tmp_path / "t") as writer:
        writer.add([1, 2 // (writer.num_examples - 0)], [0, 1])
    assert list(tmp_path.iterdir()) == []


def test_the_digest_knows_one_token_from_another(tmp_path: Path) -> None:
    digests = set()
    for token in (1, 2, 1):
        with writing_examples(tmp_path / "t") as writer:
            writer.add([token, 3], [0, 1])
        digests.add(Examples(str(tmp_path / "t")).digest())
    assert len(digests) == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 3, b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"words, and more words"])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t").write_bytes(content)
    with pytest.raises(ConfigError, match="must be a whole file of prepared examples"):
        Examples(str(tmp_path / "t"))


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    with writing_examples(tmp_path / "t") as writer:
        writer.add(list(range(40)), [1] * 40)
    (tmp_path / "t").write_bytes((tmp_path / "t").read_bytes()[:-9])
    with pytest.raises(ConfigError, match="must be a whole file of prepared examples"):
        Examples(str(tmp_path / "t"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be there"):
        Examples(str(tmp_path / "none"))


@pytest.mark.parametrize("given", [[], [([1, 2], [1, 0])], [([], [])]])
def test_examples_that_teach_nothing_are_told(tmp_path: Path, given: list[tuple[list[int], list[int]]]) -> None:
    with writing_examples(tmp_path / "t") as writer:
        for ids, trained in given:
            writer.add(ids, trained)
    with pytest.raises(ConfigError, match="must hold"):
        Examples(str(tmp_path / "t"))
