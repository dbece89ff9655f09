"""What the stages of a transfer take, by roofline or as measured."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.policies.tuning.trans_lora_nouns import STAGES, Base, Stage


class Affine(Struct, frozen=True, array_like=True):
    """A cost with a fixed part: ``fixed_s + num * each_s``."""

    fixed_s: Seconds
    each_s: Seconds


class StagePrice(Struct, frozen=True, kw_only=True):
    """What runs take.

    Parameters
    ----------
    costs : mapping of (str, str) to Affine
        By stage and base; per text, or per text and epoch where the stage is to train.
    load_bytes_per_s : float
        How fast the weights of a base come to a device, > 0.
    """

    costs: Mapping[tuple[Stage, Id], Affine]
    load_bytes_per_s: float = 12e9

    def run_s(self, stage: Stage, base: Id, num: int) -> Seconds:
        """What a run of `num` texts takes once its base is there."""
        cost = self.costs[stage, base]
        return cost.fixed_s + num * cost.each_s


class Lengths(Struct, frozen=True, kw_only=True):
    """How long texts are, in tokens: five seeds, what is generated, what is answered. Ours; the paper names none."""

    seeds_tokens: int = 500
    text_tokens: int = 100
    answer_tokens: int = 60


class Accelerator(Struct, frozen=True, kw_only=True):
    """A device as a roofline: an A100 of 40 GB by default, of whose peaks a half is reached in arithmetic.

    Parameters
    ----------
    memory_bytes, bytes_per_s, flops : float
        Memory, what of its bandwidth is reached, and what of its arithmetic, each > 0.
    """

    memory_bytes: float = 40e9
    bytes_per_s: float = 1.3e12
    flops: float = 150e12


def base_of(id: Id, num_params: float, kv_bytes_per_token: float, lengths: Lengths | None = None) -> Base:
    """Return the memory that a base with 16-bit weights takes; the seeds of a batch are kept once.

    Training an adapter takes about as much as 4,000 tokens of keys and values: activations of a batch of 8 that are
    computed again on the way back. An assumption.
    """
    tokens = (lengths or Lengths()).text_tokens + (lengths or Lengths()).answer_tokens
    return Base(
        id=id,
        weights_bytes=2 * num_params,
        text_bytes=kv_bytes_per_token * tokens,
        train_bytes=kv_bytes_per_token * 4000,
    )


def roofline(bases: Mapping[Id, float], on: Accelerator | None = None, lengths: Lengths | None = None) -> StagePrice:
    """Price the stages for bases of so many parameters.

    A token that is decoded reads all weights once for its batch and takes 2 operations per parameter and text; a
    prompt takes the operations alone. A token that is trained on takes 8: forward, again on the way back, and the
    gradients of activations; the frozen weights have none.
    """
    on, lengths = on or Accelerator(), lengths or Lengths()
    costs: dict[tuple[Stage, Id], Affine] = {}
    for id, num_params in bases.items():
        read_s, token_s = 2 * num_params / on.bytes_per_s, 2 * num_params / on.flops
        both = lengths.text_tokens + lengths.answer_tokens
        costs["generate", id] = Affine(
            lengths.text_tokens * read_s + lengths.seeds_tokens * token_s, lengths.text_tokens * token_s
        )
        costs["filter", id] = Affine(read_s, lengths.text_tokens * token_s)
        costs["label", id] = Affine(lengths.answer_tokens * read_s, both * token_s)
        costs["train", id] = Affine(read_s, 4 * both * token_s)
    assert {stage for stage, _ in costs} == set(STAGES)
    return StagePrice(costs=costs)
