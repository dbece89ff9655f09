"""A process that measures ways to fine-tune, each in a child that has loaded the libraries and done nothing yet.

``python -m headway.app.reproduce.claims.slimfit_alone SEED NUM_ITERATIONS`` prints one line of JSON.
"""

from __future__ import annotations

import importlib
import os
import sys

import msgspec

from headway.app.reproduce.claims.slimfit_live import WAYS, taken

LIBRARIES = (
    "transformers.models.bert.modeling_bert",
    "transformers.models.vit.modeling_vit",
    "headway.app.reproduce.claims.slimfit_models",
    "headway.engines.tuning.slimfit",
)
"""Loaded before children are forked, so that each of them need not."""


def main(seed: int, num_iterations: int) -> dict[str, dict[str, float]]:
    """Measure all ways with both shapes; returns bytes by way."""
    for library in LIBRARIES:
        importlib.import_module(library)
    return {
        who: {
            name: size
            for shape in ("bert", "vit")
            for name, size in _in_a_child(shape, who, seed, num_iterations).items()
        }
        for who in WAYS
    }


def _in_a_child(shape: str, who: str, seed: int, num_iterations: int) -> dict[str, float]:
    """Measure one way in a forked child, where memory that others took cannot be taken again."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        try:
            os.write(writes, msgspec.json.encode(taken(shape, who, seed, num_iterations)))
        except BaseException as error:
            sys.stderr.write(f"{who}: {error!r}")
            os._exit(1)
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        answer = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit(1)
    return msgspec.json.decode(answer, type=dict[str, float])


if __name__ == "__main__":
    found = main(int(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
