"""The serving family's nouns: requests, steps, and what happens to them.

A `Step` says everything that one iteration of one instance does, so that no mechanism has to go around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from headway.core.actions import Action
from headway.core.events import Arrived, Event, Finished
from headway.core.nouns import Id, Seconds, Slo, Work

UNTIL_NEWS = 1 << 30
"""As `repeat` of a step: again and again, until something happens that its policy would want to know."""


class Request(Work, frozen=True, kw_only=True):
    """A prompt to be continued; what a scheduler may know of it.

    Parameters
    ----------
    prompt_tokens : int
        Length of the prompt, >= 1.
    max_tokens : int
        The most output tokens its sender accepts, >= 1. The true number is known to nobody.
    hashes : tuple of int
        One chained hash per full block of the prompt; equal chains mean equal prefixes.
    adapter : str
        The LoRA adapter to run it with; empty for the base model.
    slo_class : str
        The named promise it is served under.
    session : str
        The conversation, program or workflow that it belongs to; empty when it stands for itself.
    stage : str
        Which kind of call of its session it is; empty when nobody says.
    ttft_s, tpot_s : float or None
        Bounds of its own on the time to first token and the time per output token, in seconds, > 0. They stand in for
        those of its class.
    """

    kind: str = "request"
    prompt_tokens: int
    max_tokens: int
    hashes: tuple[int, ...] = ()
    adapter: str = ""
    slo_class: str = "default"
    session: Id = ""
    stage: str = ""
    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None

    @property
    def own_slos(self) -> list[Slo]:
        """The objectives that the request itself brought."""
        bounds = {"ttft_s": self.ttft_s, "tpot_s": self.tpot_s}
        return [Slo(metric, bound, 1.0) for metric, bound in bounds.items() if bound is not None]


class Piece(Struct, frozen=True, gc=False):
    """A share of one request in a step: its next `tokens` tokens, through layers ``[first, last)`` or all."""

    request: Id
    tokens: int
    layers: tuple[int, int] | None = None


class Microbatch(Struct, frozen=True, array_like=True, gc=False):
    """Examples that a fine-tuning job computes at once.

    Parameters
    ----------
    tokens : int
        Tokens computed, padding among them, >= 1.
    trains : bool
        Whether it is passed backward, too; what only validates is not.
    updates : bool
        Whether the optimizer updates the weights after it.
    """

    tokens: int
    trains: bool = True
    updates: bool = False


class TuneJob(Work, frozen=True, kw_only=True):
    """A fine-tuning job; what a scheduler may know of it.

    Parameters
    ----------
    num_layers : int
        Layers of its model, >= 1.
    microbatches : tuple of Microbatch
        All of them in order, those of all epochs.
    kv_blocks : int
        How many KV blocks the activations of a microbatch under way take at most, >= 0.
    first : int
        The first microbatch that is not done yet: more than 0 where a job goes on from a checkpoint.
    """

    kind: str = "tune"
    num_layers: int
    microbatches: tuple[Microbatch, ...]
    kv_blocks: int = 0
    first: int = 0


Phase = Literal["forward", "backward", "update"]


class TuneUnit(Struct, frozen=True, gc=False):
    """A unit of fine-tuning carried by a step: some layers of one microbatch of a job.

    Parameters
    ----------
    job : str
        Whose.
    microbatch : int
        Which of the job.
    layers : tuple of int
        First layer, and the one after the last. A forward unit that comes to the last layer computes the loss, too.
    phase : str
        ``"forward"``, ``"backward"``, or ``"update"`` when the optimizer updates the weights.
    """

    job: Id
    microbatch: int
    layers: tuple[int, int]
    phase: Phase


class Step(Action, frozen=True, gc=False, kw_only=True):
    """One iteration of one instance.

    Parameters
    ----------
    instance : str
        Which instance runs it; it must be idle.
    pieces : tuple of Piece
        What it computes; at most one piece per request. A request whose known tokens are all computed by the end of the
        step yields one output token.
    speculate : mapping of str to int
        How many tokens to draft ahead, >= 1, by request; each must be due an output token, and have a piece of that one
        token. It is given the drafted tokens that prove right and one more. Such a step is run once.
    share : float
        The share of compute this step gets, in (0, 1]; the rest belongs to `tune` or to another step.
    tune : tuple of TuneUnit
        Fine-tuning carried along: units of one job, in order. With all of the compute (a share of 1) they follow the
        pieces, whose tokens are there before; with less they are computed beside these. The instance is idle again
        when both are done.
    fused : bool
        Whether the units' tokens are computed in one batch with those of the pieces, so that weights are read once; all
        tokens are there at the end. For a share of 1.
    repeat : int
        Run the step this many times at most, >= 1. It ends before when a request of it ends, when another comes to
        wait at the instance, when memory lacks for one more run, or when the executor has a reason of its own. Only for
        steps of single-token pieces, each of which is followed by another.
    """

    instance: Id
    pieces: tuple[Piece, ...]
    speculate: Mapping[Id, int] = {}
    share: float = 1.0
    tune: tuple[TuneUnit, ...] = ()
    fused: bool = False
    repeat: int = 1

    @property
    def subject(self) -> Id:
        """The instance."""
        return self.instance

    @property
    def num_tokens(self) -> int:
        """Tokens computed in one run of the step."""
        return sum(piece.tokens for piece in self.pieces)


class Copy(Action, frozen=True, gc=False):
    """Copy the keys and values of a running request to another instance, while it goes on.

    The memory for them is reserved there. A later `Move` to the same instance transfers only what has come since, and
    another `Copy` copies that first. What is copied is everything that the request has computed; while its prompt is
    not computed to the end, it is the whole prompt, which then follows layer by layer behind the steps that compute it.

    Parameters
    ----------
    what : str
        The request.
    to : str
        The instance.
    """

    what: Id
    to: Id

    @property
    def subject(self) -> Id:
        """The request."""
        return self.what


class Uncopy(Action, frozen=True, gc=False):
    """Give up the copy of a request, under way or not, and the memory reserved for it."""

    what: Id

    @property
    def subject(self) -> Id:
        """The request."""
        return self.what


class Pin(Action, frozen=True, gc=False, kw_only=True):
    """Keep the memory of a request that runs or has just finished, whoever lets go of it.

    What is kept are its full blocks whose hashes are known, for only these can be found again. Nothing ends a pin but
    an `Unpin`, another pin of the same owner, or the loss of the instance.

    Parameters
    ----------
    id : str
        The request.
    owner : str
        In whose name: that of a session, for example.
    """

    id: Id
    owner: Id

    @property
    def subject(self) -> Id:
        """The request."""
        return self.id


class Unpin(Action, frozen=True, gc=False, kw_only=True):
    """End a pin.

    Parameters
    ----------
    owner : str
        In whose name the memory was kept.
    instance : str
        Where.
    """

    owner: Id
    instance: Id

    @property
    def subject(self) -> Id:
        """In whose name the memory was kept."""
        return self.owner


class Lend(Action, frozen=True, gc=False):
    """Let another instance hold some blocks of a running request, which stays where it runs.

    Room is reserved at once; the blocks move in the background, and free memory where they were when they have arrived.
    A `Start` with amounts on several instances begins a request with memory on all of them, the oldest tokens away from
    the one where it waits.

    Parameters
    ----------
    what : str
        The request.
    to : str
        Who is to hold them: another instance, or the request's own, to which they then come back.
    blocks : int
        How many, >= 1. From home it is the oldest, all of them full; from a holder the newest of its last parcel.
    source : str
        Who holds them now; empty for the request's own instance.
    tokens_per_step : int
        How many tokens move per step of the request's own instance, >= 1; 16, which hide behind the step.
    """

    what: Id
    to: Id
    blocks: int
    source: Id = ""
    tokens_per_step: int = 16

    @property
    def subject(self) -> Id:
        """The request."""
        return self.what


class RequestArrived(Arrived, frozen=True, gc=False, kw_only=True):
    """A request is here and waits for a decision."""

    work: Request


class JobArrived(Arrived, frozen=True, gc=False, kw_only=True):
    """A fine-tuning job is here and waits to be placed."""

    work: TuneJob


class JobFinished(Finished, frozen=True, gc=False, kw_only=True):
    """A fine-tuning job has ended.

    Parameters
    ----------
    reason : str
        ``"done"`` or ``"cancelled"``.
    trained_tokens : int
        Padded tokens that it was trained on, since it came here.
    """

    reason: str
    trained_tokens: int


class StepDone(Event, frozen=True, gc=False, kw_only=True):
    """`instance` has run a step.

    Parameters
    ----------
    instance : str
        It is idle again.
    step_s : float
        How long the step took, in seconds.
    num_tokens : int
        Tokens computed, repeats included.
    num_runs : int
        How often the step was run.
    tune_s : float
        How long the units of fine-tuning took that it carried, in seconds; 0 without any.
    pieces_s : float or None
        How long its pieces took, in seconds, where it carried units; without any it is all of `step_s`.
    """

    instance: Id
    step_s: Seconds
    num_tokens: int
    num_runs: int = 1
    tune_s: Seconds = 0.0
    pieces_s: Seconds | None = None


class DoorOpen(Event, frozen=True, gc=False, kw_only=True):
    """A step has left the first pipeline stage of `instance`, so that another can enter."""

    instance: Id


class AdapterLoaded(Event, frozen=True, gc=False, kw_only=True):
    """A LoRA adapter has come to an instance.

    Parameters
    ----------
    id : str
        The adapter.
    instance : str
        Where it is at hand now.
    took_s : float
        How long it was on its way, in seconds.
    """

    id: Id
    instance: Id
    took_s: Seconds


class RequestMoved(Event, frozen=True, gc=False, kw_only=True):
    """A running request has come to another instance, with its memory.

    Parameters
    ----------
    id : str
        The request.
    instance : str
        Where it is now.
    took_s : float
        How long the transfer took, in seconds.
    """

    id: Id
    instance: Id
    took_s: Seconds


class Copied(Event, frozen=True, gc=False, kw_only=True):
    """What a `Copy` was to bring to another instance is there.

    Parameters
    ----------
    id : str
        The request, which still runs where it ran.
    to : str
        Where the copy is.
    tokens : int
        Of how many of its tokens the keys and values are there now.
    took_s : float
        How long the copying took, in seconds.
    """

    id: Id
    to: Id
    tokens: int
    took_s: Seconds


class Lent(Event, frozen=True, gc=False, kw_only=True):
    """Blocks of a running request have come to another instance, and are free where they were.

    Parameters
    ----------
    id : str
        The request.
    source, to : str
        Who held them, and who holds them now.
    blocks : int
        How many.
    took_s : float
        How long it took, in seconds.
    """

    id: Id
    source: Id
    to: Id
    blocks: int
    took_s: Seconds


class RequestFinished(Finished, frozen=True, gc=False, kw_only=True):
    """A request is complete, with what its sender felt.

    Parameters
    ----------
    reason : str
        ``"stop"``, ``"length"`` or ``"cancelled"``.
    output_tokens : int
        How many tokens it was given.
    queue_s : float
        From arrival to the first step, in seconds.
    ttft_s : float
        From arrival to the first token, in seconds.
    tpot_s : float
        Mean time per output token after the first, in seconds; 0 with fewer than two.
    e2e_s : float
        From arrival to the last token, in seconds.
    cached_tokens : int
        Prompt tokens that were found in the prefix cache.
    num_preempted : int
        How often it lost its place.
    tool : str
        The tool that its output calls before its session goes on; empty when the session ends with it, or nobody
        knows.
    """

    reason: str
    output_tokens: int
    queue_s: Seconds
    ttft_s: Seconds
    tpot_s: Seconds
    e2e_s: Seconds
    cached_tokens: int = 0
    num_preempted: int = 0
    tool: str = ""
