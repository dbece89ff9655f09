"""The model and the requests of the live part: random weights, random tokens, lengths as in life."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headway.app.bench.arrivals import arrivals
from headway.app.bench.load import Planned
from headway.app.cli.shipped import shipped_folder
from race.checkpoint import write

SHAPE = {
    "hidden_size": 512, "num_hidden_layers": 16, "num_attention_heads": 8, "num_key_value_heads": 2,
    "intermediate_size": 2048, "vocab_size": 2048,
}  # fmt: skip
"""62 M weights: a step takes milliseconds, and a request some tens of them."""


@dataclass(frozen=True)
class Lengths:
    """Log-normal lengths between bounds: many short ones, a few long."""

    median: float
    sigma: float
    least: int
    most: int

    def draw(self, num: int, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Draw so many."""
        drawn = np.rint(self.median * np.exp(self.sigma * rng.standard_normal(num)))
        return np.clip(drawn, self.least, self.most).astype(np.int64)


PROMPTS = Lengths(100, 0.8, 16, 512)
OUTPUTS = Lengths(24, 0.6, 4, 96)


def plan(name: str, rate_per_s: float, seconds: float, seed: int) -> list[Planned]:
    """Draw up the requests of one run: a Poisson process; the name goes into the prompts, so that no two are alike."""
    rng = np.random.default_rng([seed, *name.encode()])
    num = max(10, round(rate_per_s * seconds))
    times, prompts, outputs = arrivals(num, rate_per_s, 1.0, rng), PROMPTS.draw(num, rng), OUTPUTS.draw(num, rng)
    return [
        Planned(id=f"{name}-{row}", at_s=at_s, input_tokens=int(prompts[row]), output_tokens=int(outputs[row]))
        for row, at_s in enumerate(times)
    ]


def checkpoint(shape: dict[str, int] = SHAPE) -> Path:
    """Return a random model with the tokenizer of the shipped one, written at the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headway" / "bench"
    folder = cache / f"fidelity-{shape['hidden_size']}x{shape['num_hidden_layers']}"
    if not (folder / "tokenizer.json").is_file():
        write(shape, folder)
        speak_plainly(folder)
        for name in ("tokenizer_config.json", "tokenizer.json"):
            shutil.copy(shipped_folder() / name, folder / name)
    return folder


def speak_plainly(folder: Path) -> None:
    """Keep a model from giving tokens that are no text by themselves: the client could not tell when they came."""
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(shipped_folder() / "tokenizer.json"))
    weights = load_file(folder / "model.safetensors")
    texts = [tokenizer.decode([token]) for token in range(len(weights["model.embed_tokens.weight"]))]
    mute = [token for token, text in enumerate(texts) if not text or "\ufffd" in text]
    weights["model.embed_tokens.weight"][mute] = 0  # tied: their logits are 0, and there is always a larger one
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
