"""What a transfer of an adapter to another base is told before it starts."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headway.core.errors import ConfigError


class Wording(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How texts are put to models.

    Parameters
    ----------
    lead : str
        What stands before the seeds when new texts are asked for; empty.
    between : str
        What ends every seed, and every new text; one line break.
    task : str
        How a text becomes the prompt of the adapter; ``"{text}"``.
    question : str
        How a text becomes the prompt of the discriminator, with ``{text}`` and ``{name}``.
    yes, no : str
        Its two answers; they must begin with different tokens.
    chat : bool
        Whether adapter and discriminator are asked through the chat template, as a user's message.
    """

    lead: str = ""
    between: str = "\n"
    task: str = "{text}"
    question: str = "{text}\n\nIs the text above from the data set {name}? Answer yes or no.\n"
    yes: str = "yes"
    no: str = "no"
    chat: bool = False


class Lesson(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a LoRA adapter is trained.

    Parameters
    ----------
    num_epochs : int
        How often every example is seen, >= 1; 20, the paper's.
    batch_size : int
        Examples per step, >= 1; 8, the paper's.
    learning_rate : float
        Of AdamW without weight decay, going down a line to 0 without warm-up, > 0; 2e-5, the paper's (2e-4 on MMLU).
        The toy models need about 5e-3.
    rank : int
        Width of the adapter, >= 1; 8.
    alpha : float
        It is scaled by ``alpha / rank``, > 0; 16. Rank and alpha are ours.
    targets : tuple of str
        Linear layers that are adapted; the query and value projections, as in the paper.
    """

    num_epochs: int = 20
    batch_size: int = 8
    learning_rate: float = 2e-5
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def __post_init__(self) -> None:
        for name in ("num_epochs", "batch_size", "learning_rate", "rank", "alpha"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"lesson: {name} must be > 0, got {getattr(self, name)}. Try the default.")


class TransferSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One transfer.

    Parameters
    ----------
    name : str
        Of the data set, as the discriminator was asked about it; also the id of the transfer.
    source, target : str
        Folders (or hub ids) of the base that the adapter belongs to and of the one that it is moved to.
    adapter : str
        Folder of the adapter, in peft format.
    discriminator : str
        Folder of its discriminator; empty to keep every text, which is a baseline.
    judge : str
        The base that the discriminator belongs to; empty where it is `source`. An adapter that is moved again keeps its
        first discriminator.
    seeds : tuple of str
        A few real inputs, >= 1; five in the paper.
    folder : str
        Where the new adapter goes.
    wanted : int
        Examples to train on, >= 1; 250, which most experiments of the paper have.
    text_tokens, answer_tokens : int
        The most tokens of a new text and of an answer, >= 1; 128 each.
    temperature : float
        Of new texts, > 0; 1. Answers are greedy.
    labels : str
        ``"text"`` (default) trains on the old adapter's words; ``"logits"`` on its probabilities, which needs two bases
        of one vocabulary.
    lesson : Lesson
        How the new adapter is trained.
    wording : Wording
        How texts are put to models.
    grammar : bool
        Whether new texts come from a noisy grammar over the seeds, in place of the new base. Only for toy models that
        cannot go on with a list.
    seed : int
        Of all dice, >= 0; 0.

    Raises
    ------
    ConfigError
        When a value is out of its range.
    """

    name: str
    source: str
    target: str
    adapter: str
    discriminator: str
    judge: str = ""
    seeds: tuple[str, ...]
    folder: str
    wanted: int = 250
    text_tokens: int = 128
    answer_tokens: int = 128
    temperature: float = 1.0
    labels: Literal["text", "logits"] = "text"
    lesson: Lesson = Lesson()
    wording: Wording = Wording()
    grammar: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("wanted", "text_tokens", "answer_tokens", "temperature"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"transfer {self.name!r}: {name} must be > 0, got {getattr(self, name)}. Try the default."
                )
        if not self.seeds or not all(self.seeds):
            raise ConfigError(f"transfer {self.name!r}: seeds must be texts, got {self.seeds}. Give about five inputs.")
