"""The tables of a serving recipe about fine-tuning beside serving."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from headway.core.errors import ConfigError
from headway.core.nouns import Id, Seconds
from headway.core.session import truth_stream
from headway.policies.serving.nouns import Microbatch, TuneJob
from headway.sim.serving.cost.roofline import RooflinePrice
from headway.sim.serving.cost.tuning import RooflineUnits, kept_token_bytes
from headway.sim.serving.place import Place
from headway.sim.serving.tuning import DISTURB_FRAC, Tuning
from headway.sim.serving.units import ChunkUnits, TrueJob, UnitPrice
from headway.traces.generate.lengths import AnyLengths
from headway.traces.spec import length_model

MANY = 100_000
"""Microbatches of a job that says nothing of its length: more than any run gets through."""
KEPT_TOKEN_BYTES = 4.5e6
"""Activations of a token of an 8 B model, for instances of which no kernels are known."""


class TuneJobSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[tune]]``: a LoRA fine-tuning job of the served model.

    Parameters
    ----------
    name : str
        Of the job; ``"tune-0"`` and so on by default.
    arrival_s : float
        When it arrives, in seconds, >= 0.
    num_microbatches : int or None
        How many it has, >= 1; more than any run gets through by default.
    microbatch_tokens : int
        Padded tokens that are computed at once, >= 1; 512.
    batch_microbatches : int
        After how many the optimizer updates the weights, >= 1; 8.
    valid_microbatches : int
        How many more at the end only validate, >= 0.
    rank : int
        Of the adapter, >= 1; 16.
    lengths : table, str or None
        How long examples are (prompt and output together): ``{kind = "lognormal", ...}``, or the name of a length model
        or of a shipped trace. Microbatches are then as full as whole examples, padded to the longest, make them. By
        default an example fills a microbatch.
    kv_blocks : int or None
        How many KV blocks a microbatch's activations take, >= 0; by default what keeping all of them takes.

    Raises
    ------
    ConfigError
        When a number is out of its range.
    """

    name: Id = ""
    arrival_s: Seconds = 0.0
    num_microbatches: int | None = None
    microbatch_tokens: int = 512
    batch_microbatches: int = 8
    valid_microbatches: int = 0
    rank: int = 16
    lengths: AnyLengths | str | None = None
    kv_blocks: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_microbatches", "microbatch_tokens", "batch_microbatches", "rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"tune {self.name}: {name} must be >= 1, got {value}. Mend [[tune]].")
        for name in ("arrival_s", "valid_microbatches", "kv_blocks"):
            amount = getattr(self, name)
            if amount is not None and not 0 <= amount < math.inf:
                raise ConfigError(f"tune {self.name}: {name} must be >= 0, got {amount}. Mend [[tune]].")

    def draw(self, number: int, place: Place, rng: np.random.Generator) -> TrueJob:
        """Make the job.

        Parameters
        ----------
        number : int
            Which of the recipe it is, from 0.
        place : Place
            An instance that may train it.
        rng : numpy.random.Generator
            Of its examples' lengths.
        """
        num = self.num_microbatches or MANY
        tokens, example_tokens = self._fill(min(num, 1000), rng)
        every = [tokens[index % len(tokens)] for index in range(num)]
        size = self.batch_microbatches
        training = [
            Microbatch(count, updates=(index + 1) % size == 0 or index + 1 == num) for index, count in enumerate(every)
        ]
        valid = [Microbatch(tokens[i % len(tokens)], trains=False) for i in range(self.valid_microbatches)]
        job = TuneJob(
            id=self.name or f"tune-{number}",
            arrival_s=self.arrival_s,
            num_layers=place.replica.num_layers,
            microbatches=(*training, *valid),
            kv_blocks=self._blocks(place, max(tokens)),
        )
        return TrueJob(job=job, rank=self.rank, example_tokens=example_tokens)

    def _fill(self, num: int, rng: np.random.Generator) -> tuple[list[int], int]:
        """Return the padded tokens of microbatches, and how long an example is on average."""
        most = self.microbatch_tokens
        if self.lengths is None:
            return [most], most
        model = length_model(self.lengths) if isinstance(self.lengths, str) else self.lengths
        prompt, output = model.draw(64 * num, rng)
        lengths = np.minimum(prompt + output, most).tolist()
        filled, count, longest, used = list[int](), 0, 0, 0
        for length in lengths:
            if (count + 1) * max(longest, length) > most:
                filled.append(count * longest)
                count = longest = 0
                if len(filled) == num:
                    break
            count, longest, used = count + 1, max(longest, length), used + 1
        filled += [count * longest] if len(filled) < num else []
        return filled, max(1, round(sum(lengths[:used]) / used))

    def _blocks(self, place: Place, tokens: int) -> int:
        if self.kv_blocks is not None:
            return self.kv_blocks
        price, replica = place.replica.price, place.replica
        kept = KEPT_TOKEN_BYTES
        if isinstance(price, RooflinePrice):
            kept = kept_token_bytes(price.stage) * price.stage.tensor_parallel
        return math.ceil(tokens * kept / (replica.kv_token_bytes * place.spec.block_size))


class TuningSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tuning]``: how fine-tuning and serving get on with each other.

    Parameters
    ----------
    disturb_frac : float
        How much what runs side by side disturbs each other below the limit of the bandwidth, >= 0; 0.25, an
        assumption. See `headway.sim.serving.side_by_side.slowed`.
    noise_frac : float
        How far times side by side scatter (a standard deviation of their logarithm), in [0, 1); 0.03, an assumption.
    until_done : bool
        Whether a run goes on after its last request until all jobs are done.
    """

    disturb_frac: float = DISTURB_FRAC
    noise_frac: float = 0.03
    until_done: bool = False


def units_of(place: Place) -> UnitPrice:
    """Return what units cost at an instance."""
    price = place.replica.price
    if isinstance(price, RooflinePrice) and place.replica.num_stages == 1:
        return RooflineUnits(price)
    return ChunkUnits(price, place.replica.num_layers)


def tuning_of(
    jobs: Sequence[TuneJobSpec], spec: TuningSpec | None, places: Sequence[Place], seed: int
) -> Tuning | None:
    """Return the fine-tuning of one run, if there is any."""
    if not jobs:
        return None
    spec = spec or TuningSpec()
    rng = truth_stream(seed).spawn(5)[4]  # apart from lengths, prefixes and failures
    return Tuning(
        [job.draw(number, places[0], rng) for number, job in enumerate(jobs)],
        {place.id: units_of(place) for place in places},
        disturb_frac=spec.disturb_frac,
        noise_frac=spec.noise_frac,
        until_done=spec.until_done,
        seed=int(rng.integers(1 << 62)),
    )
