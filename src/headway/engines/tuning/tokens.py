"""Prepared examples on disk: tokens, which of them are trained, and where each example begins.

The file is in the safetensors format: `ids` int32 `[tokens]`, `trained` uint8 `[tokens]`, `offsets` int64
`[examples + 1]`. It is written as examples come and read where it lies, so neither needs the memory for all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import ConfigError
from headway.core.writing import replacing

_KINDS: dict[str, tuple[str, np.dtype[Any]]] = {
    "ids": ("I32", np.dtype("<i4")),
    "trained": ("U8", np.dtype("u1")),
    "offsets": ("I64", np.dtype("<i8")),
}
_HASHED_AT_ONCE_BYTES = 1 << 20


class ExamplesWriter:
    """Takes examples one by one; made by `writing_examples`."""

    def __init__(self, files: dict[str, IO[bytes]]) -> None:
        self._files = files
        self.num_examples = 0
        self.num_tokens = 0
        self.num_trained = 0
        self._note("offsets", [0])

    def add(self, ids: Sequence[int], trained: Sequence[int] | Sequence[bool]) -> None:
        """Write one example: its tokens, and which of them the model is to learn."""
        self._note("ids", ids)
        self._note("trained", trained)
        self.num_examples += 1
        self.num_tokens += len(ids)
        self.num_trained += sum(map(bool, trained[1:]))  # nothing foretells the first
        self._note("offsets", [self.num_tokens])

    def _note(self, name: str, values: Sequence[int] | Sequence[bool]) -> None:
        self._files[name].write(np.asarray(values, _KINDS[name][1]).tobytes())


@contextmanager
def writing_examples(path: Path) -> Iterator[ExamplesWriter]:
    """Hand out a writer of examples; the file is there, whole, when the block ends well.

    Raises
    ------
    ConfigError
        When the folder does not exist.
    """
    with replacing(path) as beside, tempfile.TemporaryDirectory(dir=path.parent, prefix=".tokens-") as scratch:
        files: dict[str, IO[bytes]] = {}
        try:
            for name in _KINDS:
                files[name] = (Path(scratch) / name).open("w+b")
            yield ExamplesWriter(files)
            _join(files, beside)
        finally:
            for file in files.values():
                file.close()


def _join(files: dict[str, IO[bytes]], path: Path) -> None:
    header: dict[str, Any] = {}
    at = 0
    for name, file in files.items():
        kind, dtype = _KINDS[name]
        size = file.tell()
        header[name] = {"dtype": kind, "shape": [size // dtype.itemsize], "data_offsets": [at, at + size]}
        at += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as whole:
        whole.write(struct.pack("<Q", len(encoded)) + encoded)
        for file in files.values():
            file.seek(0)
            shutil.copyfileobj(file, whole)
        whole.flush()
        os.fsync(whole.fileno())


class Examples:
    """Prepared examples, read where they lie.

    Parameters
    ----------
    path : str
        The file.

    Attributes
    ----------
    lengths : numpy.ndarray
        Tokens of each example, int64 `[examples]`.
    num_trained : numpy.ndarray
        Of those, how many are trained, int64 `[examples]`.

    Raises
    ------
    ConfigError
        When there is no such file, it is damaged, or an example teaches nothing.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._ids, self._trained, self._offsets = self._open()
        self.lengths = np.diff(self._offsets)
        self.num_trained = self._count_trained()
        if not len(self.lengths) or self.num_trained.min() < 1:
            raise self._wrong("hold examples with at least one trained token after the first")

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Return the tokens of an example, and which of them are trained."""
        first, last = self._offsets[index : index + 2]
        trained = self._trained[first:last].astype(np.bool_)
        trained[0] = False  # nothing foretells the first
        return self._ids[first:last], trained

    @property
    def largest_id(self) -> int:
        """The largest token."""
        return int(self._ids.max())

    def digest(self) -> str:
        """Return a short text that differs when the examples do."""
        found = hashlib.blake2b(digest_size=16)
        with self._path.open("rb") as file:
            while piece := file.read(_HASHED_AT_ONCE_BYTES):
                found.update(piece)
        return found.hexdigest()

    def _count_trained(self) -> NDArray[np.int64]:
        if (self.lengths < 1).any():
            raise self._wrong("hold no empty example")
        if not len(self.lengths):
            return np.zeros(0, np.int64)
        starts = self._offsets[:-1]
        counted: NDArray[np.int64] = np.add.reduceat(self._trained, starts, dtype=np.int64)
        counted -= self._trained[starts] != 0
        return counted

    def _open(self) -> tuple[Any, Any, Any]:
        try:
            size = self._path.stat().st_size
            with self._path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(min(length, size)))
            arrays = {name: self._map(header[name], name, 8 + length) for name in _KINDS}
            offsets = np.array(arrays["offsets"])
            if not len(offsets) or offsets[-1] != len(arrays["ids"]) or len(arrays["ids"]) != len(arrays["trained"]):
                raise ValueError("its parts do not fit together")
        except FileNotFoundError:
            raise self._wrong("be there") from None
        except (ValueError, KeyError, TypeError, struct.error) as error:
            raise self._wrong(f"be a whole file of prepared examples ({error})") from error
        return arrays["ids"], arrays["trained"], offsets

    def _map(self, described: dict[str, Any], name: str, start: int) -> Any:
        kind, dtype = _KINDS[name]
        first, last = described["data_offsets"]
        if described["dtype"] != kind:
            raise ValueError(f"{name} is {described['dtype']}")
        if first == last:
            return np.zeros(0, dtype)
        return np.memmap(self._path, dtype, "r", offset=start + first, shape=((last - first) // dtype.itemsize,))

    def _wrong(self, must: str) -> ConfigError:
        return ConfigError(f"tune: the prepared examples {self._path} must {must}. Prepare them again.")
