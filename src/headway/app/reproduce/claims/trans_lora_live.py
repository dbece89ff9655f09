"""Adapters that are really trained, moved and measured, for the claims of Trans-LoRA."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from headway.app.reproduce.claim import Numbers
from headway.engines.tuning import trans_lora_toys as toys

if TYPE_CHECKING:
    from headway.engines.tuning.trans_lora_desk import Moved
    from headway.engines.tuning.trans_lora_speaker import Speaker
    from headway.engines.tuning.trans_lora_spec import TransferSpec

NUM_REAL, NUM_WANTED = 250, 1000
NUM_SEEDS, NUM_TESTS, MOST_TOKENS = 5, 300, 8
SOURCE_EPOCHS, DISCRIMINATOR_EPOCHS, NEW_EPOCHS = 20, 10, 10
OLD_RATE, NEW_RATE = 6e-3, 1e-2
OLD_BATCH, NEW_BATCH, NEW_BATCH_QUICK = 8, 16, 32


class Workshop:
    """A task with its real data, the toy bases, the source adapter and its discriminator, in a folder of its own.

    Parameters
    ----------
    folder : Path
        Where adapters go.
    seed : int
        Which task.
    quick : bool
        Whether the new adapter takes fewer steps, with larger batches.
    """

    def __init__(self, folder: Path, seed: int, quick: bool) -> None:
        from headway.engines.tuning.trans_lora_speaker import Speaker
        from headway.engines.tuning.trans_lora_spec import Lesson, Wording

        rng = np.random.default_rng([1, seed])
        self.folder, self.seed = folder, seed
        self.task = toys.Task(seed)
        self.real = self.task.family.lines(rng, NUM_REAL)
        self.tests = self.task.family.lines(rng, NUM_TESTS)
        self.random = toys.random_text(rng, NUM_WANTED)
        self.seeds = chosen_seeds(self.real)
        self.wording = Wording(task="{text}=", question="{text}?", yes="y", no="n")
        self.old_lesson = Lesson(num_epochs=SOURCE_EPOCHS, learning_rate=OLD_RATE, batch_size=OLD_BATCH)
        self.new_lesson = Lesson(
            num_epochs=NEW_EPOCHS,
            learning_rate=NEW_RATE,
            batch_size=NEW_BATCH_QUICK if quick else NEW_BATCH,
            rank=16,
            alpha=32.0,
        )
        self.bases = {name: Speaker(str(toys.BASES / name), device="cpu") for name in ("small", "large", "other")}
        self.speakers = {one.folder: one for one in self.bases.values()}
        self._train_source()

    def spec(self, name: str, source: str, target: str, adapter: Path) -> TransferSpec:
        """Say how an adapter is moved; everything but names has the values of this workshop."""
        from headway.engines.tuning.trans_lora_spec import TransferSpec

        return TransferSpec(
            name=name,
            source=self.bases[source].folder,
            target=self.bases[target].folder,
            adapter=str(adapter),
            discriminator=str(self.folder / "discriminator"),
            judge=self.bases["small"].folder,
            seeds=self.seeds,
            folder=str(self.folder / f"moved-{name}"),
            wanted=NUM_WANTED,
            text_tokens=MOST_TOKENS,
            answer_tokens=MOST_TOKENS,
            lesson=self.new_lesson,
            wording=self.wording,
            seed=self.seed,
        )

    def move(self, spec: TransferSpec) -> Moved:
        """Move an adapter by the engine and the policy."""
        from headway.engines.tuning.trans_lora import transfer

        return transfer([spec], speakers=self.speakers)[spec.name]

    def distil(self, spec: TransferSpec, texts: Sequence[str]) -> Moved:
        """Train on given texts instead of generated ones."""
        from headway.engines.tuning.trans_lora_desk import Desk

        desk = Desk(spec, self.speakers.__getitem__)
        desk.keep(texts)
        desk.do("label", len(texts))
        desk.do("train", spec.lesson.num_epochs)
        desk.deliver()
        return desk.moved

    def right_frac(self, base: str, adapter: Path | None = None) -> float:
        """Share of fresh lines of the family that a base, with an adapter, answers as the task says."""
        speaker, name = self.bases[base], "under-test" if adapter else ""
        if adapter is not None:
            speaker.graft(name, str(adapter))
        with speaker.using(name):
            found = self.task.right_frac(self.tests, speaker.write(self._prompts(speaker), MOST_TOKENS))
        if adapter is not None:
            speaker.drop(name)
        return found

    def valid_frac(self, texts: Sequence[str]) -> float:
        """Share of texts that could be real."""
        return float(np.mean([self.task.family.has(text) for text in texts]))

    def _prompts(self, speaker: Speaker) -> list[list[int]]:
        return [speaker.prompt(self.wording.task.format(text=text)) for text in self.tests]

    def _train_source(self) -> None:
        from headway.engines.tuning.trans_lora_fit import Fit, Row
        from headway.engines.tuning.trans_lora_judge import train_discriminator

        small, task = self.bases["small"], self.task
        small.grow("source", self.old_lesson, self.seed)
        rows = [Row(small.prompt(f"{text}="), small.answer(task.answer(text))) for text in self.real]
        Fit(small, "source", rows, self.old_lesson, self.seed).run(SOURCE_EPOCHS)
        self.source = small.save("source", str(self.folder / "source"))
        small.drop("source")
        train_discriminator(
            small,
            "toy",
            self.real,
            self.seeds,
            str(self.folder / "discriminator"),
            lesson=msgspec.structs.replace(self.old_lesson, num_epochs=DISCRIMINATOR_EPOCHS),
            wording=self.wording,
            text_tokens=MOST_TOKENS,
            seed=self.seed,
        )


def chosen_seeds(real: Sequence[str]) -> tuple[str, ...]:
    """Choose the first line with each marker, as one would by hand, and fill up with the first others."""
    first = {line[0]: line for line in reversed(real)}
    others = [line for line in real if line not in first.values()]
    return tuple([*first.values(), *others][:NUM_SEEDS])


@contextmanager
def workshop(seed: int, quick: bool) -> Iterator[Workshop]:
    """Open a workshop; toy models are fastest on one thread."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Workshop(Path(folder), seed, quick)
    finally:
        torch.set_num_threads(num_threads)


def accuracy(seed: int, quick: bool) -> Numbers:
    """Move one adapter from the small base to the large one: filtered, and on whatever else one might train."""
    with workshop(seed, quick) as shop:
        spec = shop.spec("toy", "small", "large", shop.source)
        moved = shop.move(spec)
        assert moved.folder is not None, moved.why
        found: dict[str, dict[str, float]] = {
            "source": {"right_frac": shop.right_frac("small", shop.source)},
            "target": {"right_frac": shop.right_frac("large")},
            "moved": {
                "right_frac": shop.right_frac("large", moved.folder),
                "valid_frac": shop.valid_frac(moved.texts),
                "accept_frac": moved.accept_frac,
                "num_drawn": moved.num_drawn,
            },
        }
        named = msgspec.structs.replace
        others: dict[str, Callable[[TransferSpec], Moved]] = {
            "unfiltered": lambda one: shop.move(named(one, discriminator="")),
            "random": lambda one: shop.distil(one, shop.random),
            "seeds": lambda one: shop.distil(one, list(shop.seeds) * (NUM_WANTED // NUM_SEEDS // 4)),
        }
        for name, train in others.items():
            other = train(named(spec, folder=str(shop.folder / name)))
            found[name] = {
                "right_frac": shop.right_frac("large", other.folder),
                "valid_frac": shop.valid_frac(other.texts),
            }
        return found


def chain(seed: int, quick: bool) -> Numbers:
    """Move an adapter to the large base, and from there to one with another tokenizer, by one discriminator."""
    with workshop(seed, quick) as shop:
        once = shop.move(shop.spec("toy", "small", "large", shop.source))
        assert once.folder is not None, once.why
        twice = shop.move(
            msgspec.structs.replace(shop.spec("toy", "large", "other", once.folder), folder=f"{once.folder}-2")
        )
        assert twice.folder is not None, twice.why
        return {
            "source": {"right_frac": shop.right_frac("small", shop.source)},
            "once": {"right_frac": shop.right_frac("large", once.folder), "accept_frac": once.accept_frac},
            "twice": {"right_frac": shop.right_frac("other", twice.folder), "accept_frac": twice.accept_frac},
            "target": {"right_frac": shop.right_frac("other")},
        }
