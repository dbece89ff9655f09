"""The plan of LoRAFusion: groups are packed into microbatches, staggered, merged, and kept at a distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from headway.core.nouns import Id
from headway.numerics.bins import pack
from headway.policies.tuning.lorafusion_groups import grouped
from headway.policies.tuning.lorafusion_merge import merge_pass
from headway.policies.tuning.lorafusion_nouns import Mix, Part, merged
from headway.policies.tuning.lorafusion_rule import spaced


class Pipe(Struct, frozen=True):
    """What of the pipeline matters to a plan."""

    num_stages: int
    capacity_tokens: int
    tile_tokens: int


class Knobs(Struct, frozen=True):
    """The parameters of `LoraFusion`, as it describes them."""

    k_sigma: float
    max_group: int
    merge_tokens: int
    lookahead: int
    max_nodes: int


class Left(Struct, frozen=True):
    """What is left to do of a job: tokens by the number of the example, by global batch from `first` on."""

    job: Id
    first: int
    batches: tuple[Mapping[int, int], ...]


def planned(left: Sequence[Left], pipe: Pipe, knobs: Knobs, under_way: Sequence[Mix] = ()) -> list[Mix]:
    """Return the microbatches that do all that is left, in the order in which they enter.

    Parameters
    ----------
    left : sequence of Left
        What is left of each job.
    pipe : Pipe
        Where they run.
    knobs : Knobs
        How they are packed.
    under_way : sequence of Mix
        What is in the pipeline already, the first to enter first; the plan keeps its distance from it.
    """
    lengths = {one.job: [list(batch.values()) for batch in one.batches] for one in left}
    groups = grouped(
        lengths, pipe.capacity_tokens, pipe.num_stages, k_sigma=knobs.k_sigma, max_group=knobs.max_group
    )  # fmt: skip
    by_job = {one.job: one for one in left}
    mixes = staggered([[by_job[job] for job in group] for group in groups], pipe, knobs.max_nodes)
    tight = merge_pass(
        mixes, pipe.capacity_tokens, pipe.tile_tokens, pipe.num_stages, knobs.merge_tokens, knobs.lookahead
    )  # fmt: skip
    return spaced(tight, pipe.num_stages, under_way)


def staggered(groups: Sequence[Sequence[Left]], pipe: Pipe, max_nodes: int) -> list[Mix]:
    """Pack the global batches: the first of each group, one group after another, then the second of each."""
    longest = max([len(one.batches) for group in groups for one in group], default=0)
    return [mix for nth in range(longest) for group in groups for mix in packed(group, nth, pipe, max_nodes)]


def packed(group: Iterable[Left], nth: int, pipe: Pipe, max_nodes: int) -> list[Mix]:
    """Pack the `nth` global batch that is left of each job of a group into few microbatches, all full but the last."""
    examples = [
        Part(one.job, one.first + nth, (number,), (tokens,))
        for one in group if nth < len(one.batches)
        for number, tokens in one.batches[nth].items()
    ]  # fmt: skip
    sizes, kinds = [part.tokens for part in examples], [part.job for part in examples]
    found = pack(sizes, kinds, pipe.capacity_tokens, multiple=pipe.tile_tokens, max_nodes=max_nodes)
    return [merged(Mix(tuple([examples[item] for item in sorted(items)]))) for items in found]
