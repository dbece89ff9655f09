"""How much memory and time SlimFit takes on this machine, beside other ways to fine-tune the same model."""

from __future__ import annotations

import ctypes
import statistics
import subprocess
import sys
from typing import Any

import msgspec
from msgspec import Struct

from headway.app.reproduce.claim import Numbers
from headway.core.errors import TuneError

MMAP_THRESHOLD = -3
"""glibc's number for the size from which memory is given back to the system as soon as it is free."""
RATE = 0.9
BATCH, LENGTH, SIDE = 8, 128, 11
"""Inputs per batch; words of a BERT's; patches along the side of a ViT's."""


class Way(Struct, frozen=True):
    """A way to fine-tune.

    Parameters
    ----------
    freeze_frac : float
        The share of units that is frozen in each iteration.
    slim_layers : bool
        Whether layers keep less.
    attention : str
        Which attention plain layers run with.
    recomputes : bool
        Whether each block is computed again in the backward pass (gradient checkpointing).
    """

    freeze_frac: float = 0.0
    slim_layers: bool = False
    attention: str = "eager"
    recomputes: bool = False


WAYS = {
    "full": Way(),
    "fused": Way(attention="sdpa"),
    "checkpoints": Way(recomputes=True),
    "frozen": Way(freeze_frac=RATE),
    "slimfit": Way(freeze_frac=RATE, slim_layers=True),
}


def model_of(shape: str, way: Way, num_layers: int = 3, width: int = 128) -> Any:
    """Make a small model, fine-tuned in this way."""
    from headway.app.reproduce.claims.slimfit_models import shaped

    dropped_frac = 0.1 if shape == "bert" else 0.0
    sizes = {"num_layers": num_layers, "width": width, "num_heads": width // 32, "num_classes": 2}
    pixels = {"pixels": 4 * SIDE} if shape == "vit" else {}
    model: Any = shaped(shape, attention=way.attention, dropped_frac=dropped_frac, **sizes, **pixels)
    if way.recomputes:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def fine_tuned(model: Any, shape: str, way: Way, num_iterations: int, seed: int, counts_bytes: bool = False) -> Any:
    """Fine-tune a model on noise; returns what it came to."""
    from headway.app.reproduce.claims.slimfit_models import noise
    from headway.engines.tuning.slimfit import fine_tune
    from headway.engines.tuning.slimfit_recipe import Recipe

    batches = noise(shape, BATCH, LENGTH if shape == "bert" else SIDE, num_iterations, seed)
    recipe = Recipe(slim_layers=way.slim_layers, counts_bytes=counts_bytes, seed=seed)
    return fine_tune(model, batches, freeze_frac=way.freeze_frac, recipe=recipe)


def memory(seed: int, quick: bool) -> Numbers:
    """Measure what each way takes with both shapes, each in a process of its own."""
    num_iterations = 4 if quick else 12  # by the twelfth, AdamW has moments for every unit
    command = [
        sys.executable,
        "-m",
        "headway.app.reproduce.claims.slimfit_alone",
        str(seed),
        str(num_iterations),
    ]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if done.returncode:
        raise TuneError(f"slimfit: a process that measures memory must end well, got {done.stderr[-500:]!r}.")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=dict[str, dict[str, float]])


def taken(shape: str, who: str, seed: int, num_iterations: int) -> dict[str, float]:
    """Fine-tune in a process that does nothing else; returns the most bytes it took, named after the shape.

    Its peak is by how much memory grew, model included: with a GPU the most that was allocated there, without one the
    largest resident set of the process. Saved is the most that was kept from forward to backward.
    """
    import torch

    torch.set_num_threads(1)
    way, counts = WAYS[who], not WAYS[who].recomputes  # which hooks into what is kept itself
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fine_tuned(model_of(shape, way, num_layers=1, width=32).to(device), shape, way, 1, seed)  # what is loaded once, is
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _give_back_at_once()
    before = _resident_bytes("VmRSS")
    done = fine_tuned(model_of(shape, way).to(device), shape, way, num_iterations, seed, counts_bytes=counts)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _resident_bytes("VmHWM") - before
    saved = {f"{shape}_saved_bytes": float(max(done.saved_bytes))} if counts else {}
    return {f"{shape}_peak_bytes": float(peak)} | saved


def pace(shape: str, seed: int, quick: bool) -> Numbers:
    """Measure how long an iteration takes, one way after the other and again."""
    ways = ("full", "frozen", "slimfit")
    took: dict[str, list[float]] = {who: [] for who in ways}
    models = {who: model_of(shape, WAYS[who]) for who in ways}
    for _ in range(2 if quick else 5):
        for who in ways:
            took[who] += fine_tuned(models[who], shape, WAYS[who], 4, seed).took_s[1:]
    return {who: {"iteration_s": statistics.median(took[who])} for who in ways}


def _resident_bytes(what: str) -> float:
    """Read what the kernel says of this process; in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(1024.0 * int(line.split()[1]) for line in status if line.startswith(f"{what}:"))


def _give_back_at_once() -> None:
    """Ask glibc to return freed tensors to the system, so that resident sets tell what was in use."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_THRESHOLD, 1 << 16)
