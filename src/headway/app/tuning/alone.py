"""A run of fine-tuning by itself: its folder, its tokens, and the training, without a server."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from headway.app.server.tokenizer import load_tokenizer
from headway.app.tuning.examples import Tokenised, end_tokens, tokenise
from headway.core.errors import ConfigError
from headway.engines import pretrained
from headway.engines.tuning.spec import TuneSpec

TOKENS, VALID_TOKENS = "train.tokens", "valid.tokens"
"""The files of tokens in a run's folder."""

LOCK = "lock"
"""The file in a run's folder that one process holds at a time."""

Tell = Callable[[str], None]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder of a run, and hold it in the `with` block.

    Raises
    ------
    ConfigError
        When another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder}: one process at a time may train here, and another one does. Wait for it, or choose "
                "another folder."
            ) from None
        yield


def prepare(data: Path, valid: Path | None, spec: TuneSpec, tell: Tell) -> list[Tokenised]:
    """Turn files of examples into the tokens of a run.

    Parameters
    ----------
    data, valid : Path, Path or None
        Files of JSON lines.
    spec : TuneSpec
        The run; its folder must exist.
    tell : callable
        Is told in a few words what is being done.

    Returns
    -------
    list of Tokenised
        What there is in the files.

    Raises
    ------
    ConfigError
        When the model has no tokenizer, or a file holds no examples.
    """
    described = pretrained.read_config(spec.model)
    pretrained.check_decoder_only(spec.model, described)
    context = pretrained.own_context_tokens(described.get_text_config(decoder=True)) or 1 << 30
    tokenizer = load_tokenizer(spec.model)
    ends, found = end_tokens(spec.model, tokenizer), list[Tokenised]()
    for source, out in ((data, spec.tokens), (valid, spec.valid_tokens)):
        if source is not None:
            found.append(tokenise(source, tokenizer, ends, Path(out), context))
            counts = found[-1]
            tell(
                f"{source}: {counts.examples} examples, {counts.trained_tokens} of {counts.tokens} tokens to be learnt"
            )
    return found
