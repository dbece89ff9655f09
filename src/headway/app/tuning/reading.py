"""The process that reads files of examples: ``python -m headway.app.tuning.reading``.

An `Errand` comes as a line of JSON on the standard input, what it `Brought` goes to the standard output. The process
ends when its standard input does, and gives way to all others while it computes.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import msgspec

from headway.app.tuning.errand import Brought, Errand, in_words
from headway.app.tuning.examples import FaultyExamples, Tokenised, check_lines, end_tokens, tokenise
from headway.app.tuning.records import Trouble
from headway.app.tuning.troubles import DiskFull, noticing_full_disks
from headway.core.errors import ConfigError

NICE = 10


def main() -> int:
    """Run one errand."""
    os.nice(NICE)
    errand = msgspec.json.decode(sys.stdin.buffer.readline(), type=Errand)
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    brought = bring(errand)
    sys.stdout.buffer.write(msgspec.json.encode(brought))
    sys.stdout.buffer.flush()
    return 0


def bring(errand: Errand) -> Brought:
    """Do what an errand asks for."""
    if not errand.folder:
        return Brought(faults=check_lines(Path(errand.training)).faults)
    try:
        with noticing_full_disks():
            return _prepared(errand)
    except DiskFull as error:
        return Brought(trouble=Trouble("disk_full", str(error)))
    except ConfigError as error:
        return Brought(trouble=Trouble("invalid_model", str(error), "model"))


def _prepared(errand: Errand) -> Brought:
    from headway.app.server.tokenizer import load_tokenizer

    folder = Path(errand.folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(errand.model)
    ends = end_tokens(errand.model, tokenizer)
    made: dict[str, Tokenised] = {}
    for param, file in (("training_file", errand.training), ("validation_file", errand.validation)):
        if not file:
            continue
        try:
            made[param] = tokenise(Path(file), tokenizer, ends, _out(folder, param), errand.context_tokens)
        except FaultyExamples as error:
            return Brought(trouble=_faulty(param, error.faults))
        except FileNotFoundError:
            return Brought(trouble=Trouble("file_not_found", f"The {_named(param)} was deleted.", param))
    training, validation = made["training_file"], made.get("validation_file")
    return Brought(
        tokens=str(_out(folder, "training_file")),
        valid_tokens=str(_out(folder, "validation_file")) if validation else "",
        counts=_counts(training, validation),
    )


def _counts(training: Tokenised, validation: Tokenised | None) -> dict[str, int]:
    counts = {"examples": training.examples, "tokens": training.tokens, "trained_tokens": training.trained_tokens}
    return counts | ({"validation_examples": validation.examples} if validation else {})


def _out(folder: Path, param: str) -> Path:
    return folder / f"{param.removesuffix('_file')}.safetensors"


def _named(param: str) -> str:
    return param.replace("_", " ")


def _faulty(param: str, faults: list[str]) -> Trouble:
    return Trouble(f"invalid_{param}", f"The {_named(param)} cannot be trained on: {in_words(faults)}", param)


def _end_with(other: int) -> None:
    """End when whoever sent us is gone."""
    while os.read(other, 1):  # not through a buffer: a thread that holds its lock would be in the way of our own end
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
