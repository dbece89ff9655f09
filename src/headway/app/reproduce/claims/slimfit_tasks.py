"""Made tasks for small models: a source to learn first, and another target to fine-tune on.

Words belong to topics, and a sentence has two halves. The source asks for the topic of each half, the target whether
they are the same. Images are waves. The source asks for their direction, the target for their length.
"""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor

from headway.app.reproduce.claim import Numbers
from headway.app.reproduce.claims.slimfit_models import Batch, shaped
from headway.engines.tuning.slimfit import fine_tune
from headway.engines.tuning.slimfit_recipe import Recipe
from headway.policies.tuning.slimfit import SlimFit
from headway.policies.tuning.slimfit_schedule import Name

Part = Literal["source", "target"]
NUM_TOPICS, WORDS_PER_TOPIC, HALF = 8, 8, 8
PURITY_FRAC = 0.85
"""Of words that are of their half's topic; the others are of any."""
PIXELS, NOISE = 16, 0.7
NUM_CLASSES = {
    ("bert", "source"): NUM_TOPICS**2, ("bert", "target"): 2, ("vit", "source"): 8, ("vit", "target"): 4,
}  # fmt: skip
RATE = 0.8
"""The share of units that is frozen; what the authors freeze for MNLI, QQP and SQuAD."""
LEARNING_RATES = {"full": 1e-3}
"""The best of 3e-4 and 1e-3 for all weights, of 1e-3 and 2e-3 for few, on a seed that no claim uses."""
OTHERWISE = 2e-3


WAYS: dict[str, tuple[float, Name, float]] = {
    "full": (0.0, "change", 1.0),
    "slimfit": (RATE, "change", 0.1),
    "whole-norms": (RATE, "change", 1.0),
    "dice": (RATE, "dice", 1.0),
    "last": (RATE, "last", 1.0),
}
"""Share of frozen units, schedule, and share of its output that a frozen LayerNorm keeps."""


def made(shape: str, part: Part, num: int, dice: torch.Generator) -> Batch:
    """Draw examples of a task.

    Parameters
    ----------
    shape : str
        ``"bert"`` for sentences, ``"vit"`` for images.
    part : str
        ``"source"`` or ``"target"``.
    num : int
        How many.
    dice : torch.Generator
        From which they are drawn.
    """
    return sentences(part, num, dice) if shape == "bert" else waves(part, num, dice)


def sentences(part: Part, num: int, dice: torch.Generator) -> Batch:
    """Draw sentences of two halves, each about one of eight topics in the main."""
    first = torch.randint(0, NUM_TOPICS, (num,), generator=dice)
    second = torch.randint(0, NUM_TOPICS, (num,), generator=dice)
    labels = first * NUM_TOPICS + second
    if part == "target":
        labels = torch.randint(0, 2, (num,), generator=dice)
        other = (first + torch.randint(1, NUM_TOPICS, (num,), generator=dice)) % NUM_TOPICS
        second = torch.where(labels == 1, first, other)
    mark = torch.ones(num, 1, dtype=torch.long)
    words = torch.cat([mark, _half(first, dice), 2 * mark, _half(second, dice)], dim=1)
    return {"input_ids": words, "labels": labels}


def waves(part: Part, num: int, dice: torch.Generator) -> Batch:
    """Draw images of waves in noise, of one of eight directions and one of four lengths."""
    direction = torch.randint(0, 8, (num,), generator=dice)
    length = torch.randint(0, 4, (num,), generator=dice)
    angle = (direction + 0.6 * torch.rand(num, generator=dice)) * math.pi / 8
    per_side = 1.5 + length + 0.6 * torch.rand(num, generator=dice)
    phase = 2 * math.pi * torch.rand(num, generator=dice)
    axis = torch.linspace(-1, 1, PIXELS)
    along = torch.cos(angle)[:, None, None] * axis + torch.sin(angle)[:, None, None] * axis[:, None]
    images = torch.sin(math.pi * per_side[:, None, None] * along + phase[:, None, None])
    images = images + NOISE * torch.randn(images.shape, generator=dice)
    return {"pixel_values": images[:, None], "labels": direction if part == "source" else length}


def small(shape: str, part: Part) -> Any:
    """Make a small model for a task, with random weights."""
    words = 3 + NUM_TOPICS * WORDS_PER_TOPIC
    num_classes = NUM_CLASSES[shape, part]
    return shaped(shape, num_layers=2, width=64, num_heads=4, num_classes=num_classes, words=words, pixels=PIXELS)


def pretrained(shape: str, seed: int, num_iterations: int) -> Any:
    """Train a small model on the source."""
    dice = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = small(shape, "source").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=num_iterations)
    for _ in range(num_iterations):
        model(**made(shape, "source", 64, dice)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        rates.step()
    return model


def accuracy(model: Any, examples: Batch) -> float:
    """Return the share of examples that a model gets right."""
    model.eval()
    with torch.no_grad():
        guesses = model(**{name: value for name, value in examples.items() if name != "labels"}).logits.argmax(-1)
    return float((guesses == examples["labels"]).float().mean())


def accuracies(shape: str, seed: int, quick: bool) -> Numbers:
    """Fine-tune the same model on the target in several ways; returns what each gets right on other examples."""
    torch.set_num_threads(1)  # such small models gain nothing from more
    source = pretrained(shape, seed, 60 if quick else 400)
    dice = torch.Generator().manual_seed(10_000 + seed)
    examples, unseen = made(shape, "target", 2048, dice), made(shape, "target", 4096, dice)
    batches = _epochs(examples, 1 if quick else 3, dice)
    found = {}
    for who, (freeze_frac, schedule, norm_frac) in WAYS.items():
        model = _with_new_head(shape, source, seed)
        recipe = Recipe(
            learning_rate=LEARNING_RATES.get(who, OTHERWISE),
            slim_layers=who != "full",
            norm_frac=norm_frac,
            all_biases=who != "last",
            always=("classifier",),
            seed=seed,
        )
        fine_tune(model, batches, freeze_frac=freeze_frac, policy=SlimFit(schedule=schedule), recipe=recipe)
        found[who] = {"accuracy_frac": accuracy(model, unseen)}
    found["full"]["less_frac"] = 0.0
    for numbers in found.values():
        numbers["less_frac"] = found["full"]["accuracy_frac"] - numbers["accuracy_frac"]
    return found


def _half(topic: Tensor, dice: torch.Generator) -> Tensor:
    """Draw the words of a half."""
    shape = (len(topic), HALF)
    of_topic = torch.rand(shape, generator=dice) < PURITY_FRAC
    topics = torch.where(of_topic, topic[:, None], torch.randint(0, NUM_TOPICS, shape, generator=dice))
    return 3 + topics * WORDS_PER_TOPIC + torch.randint(0, WORDS_PER_TOPIC, shape, generator=dice)


def _epochs(examples: Batch, num_epochs: int, dice: torch.Generator) -> list[Batch]:
    """Cut examples into batches of 32, in another order in each epoch."""
    orders = [torch.randperm(len(examples["labels"]), generator=dice) for _ in range(num_epochs)]
    cuts = [places for order in orders for places in torch.split(order, 32)]
    return [{name: value[places] for name, value in examples.items()} for places in cuts]


def _with_new_head(shape: str, source: Any, seed: int) -> Any:
    """Return a copy of what was learnt, with a new head for the target."""
    torch.manual_seed(seed)
    model = small(shape, "target")
    model.base_model.load_state_dict(copy.deepcopy(source.base_model.state_dict()))
    return model
