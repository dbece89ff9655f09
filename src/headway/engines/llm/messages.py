"""What the API process and the engine process say to each other, as tagged structs in length-prefixed frames."""

from __future__ import annotations

from msgspec import Struct

from headway.core.nouns import Id, Seconds
from headway.core.slo import SloRow
from headway.engines.tuning.news import TuneNews
from headway.engines.tuning.spec import TuneSpec

UNNAMED_TOOL = "tool"
"""What the tool of a session is called whose sender does not name it."""


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is chosen from its distribution.

    Parameters
    ----------
    max_tokens : int
        The most tokens to give, >= 1.
    min_tokens : int
        No end before so many tokens, >= 0.
    temperature : float
        >= 0; 0 means greedy.
    top_p, min_p : float
        In (0, 1] and [0, 1]; 1 and 0 switch them off.
    top_k : int
        >= 0; 0 switches it off.
    repetition_penalty : float
        > 0; 1 switches it off. Applies to prompt and output tokens.
    presence_penalty, frequency_penalty : float
        In [-2, 2]; 0 switches them off. Apply to output tokens.
    logit_bias : dict of int to float
        Added to the logits, by token id.
    seed : int or None
        Makes the request's own random stream repeatable.
    stop_token_ids : tuple of int
        Tokens that end the output, besides the model's own.
    ignore_eos : bool
        Whether the model's own end tokens are ignored.
    logprobs : int or None
        How many alternatives to report per token, 0 to 20; None for no logprobs at all.
    grammar : str or None
        A JSON schema (as JSON text) that the output must satisfy.
    """

    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    grammar: str | None = None


class Message(Struct, frozen=True, tag=True, kw_only=True):
    """Anything that goes over the wire."""


class Submit(Message, frozen=True, kw_only=True):
    """To the engine: continue `prompt`. The objectives are those of `Request`; `deadline_s` counts from now.

    `tool` is the one whose result the sender will come back with: empty when its session ends with this request, None
    when it does not say.
    """

    id: Id
    prompt: list[int]
    sampling: Sampling
    adapter: str = ""
    slo_class: str = "default"
    priority: int = 0
    tenant: str = "default"
    ttft_s: Seconds | None = None
    tpot_s: Seconds | None = None
    deadline_s: Seconds | None = None
    session: Id = ""
    stage: str = ""
    tool: str | None = None

    @property
    def calls(self) -> str:
        """The tool that its output will call, as far as anybody knows; a session goes on unless its sender says not."""
        return UNNAMED_TOOL if self.tool is None and self.session else self.tool or ""


class Cancel(Message, frozen=True, kw_only=True):
    """To the engine: stop `id`, because of ``"stop"`` (a stop string was found) or ``"cancelled"`` (nobody listens)."""

    id: Id
    reason: str = "cancelled"


class Drain(Message, frozen=True, kw_only=True):
    """To the engine: finish what is here, then end."""


class Tune(Message, frozen=True, kw_only=True):
    """To the engine: train an adapter of its model beside serving, or go on from where a run of this spec was left."""

    spec: TuneSpec


class StopTune(Message, frozen=True, kw_only=True):
    """To the engine: end the run `id`; what it has saved stays."""

    id: Id


class Adopt(Message, frozen=True, kw_only=True):
    """To the engine: serve the LoRA adapter in `folder` under `name` from now on."""

    name: str
    folder: str


class Loading(Message, frozen=True, kw_only=True):
    """From the engine, before it is ready: what it is doing, in a few words."""

    what: str


class Ready(Message, frozen=True, kw_only=True):
    """From the engine: the model is loaded and these are the facts."""

    model: str
    context_tokens: int
    vocab_size: int
    eos_ids: tuple[int, ...]
    block_size: int
    num_blocks: int
    num_layers: int
    dtype: str
    device: str
    kernels: str
    quantize: str
    policy: str
    adapters: tuple[str, ...]
    slo_classes: tuple[str, ...]
    pid: int


class TokenLogprob(Struct, frozen=True, array_like=True):
    """The log-probability of one given token, and those of the likeliest alternatives, best first."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


class Output(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """News of one request: new tokens, and why it ended if it did.

    `finish` is ``""`` while it goes on, else ``"stop"``, ``"length"``, ``"cancelled"``, ``"rejected"`` or
    ``"error"``; the last two come with `why`, and a rejection with `retry_after_s` where trying again may help. With
    the first token come `cached_tokens` and `queue_s`, the time from the engine's receipt of the request to its first
    step.
    """

    id: Id
    tokens: list[int] = []
    logprobs: list[TokenLogprob] = []
    finish: str = ""
    why: str = ""
    cached_tokens: int = 0
    queue_s: Seconds = 0.0
    retry_after_s: Seconds | None = None


class Outputs(Message, frozen=True, kw_only=True, omit_defaults=True):
    """From the engine: what one step gave, all requests together.

    A request is either among `items` or, when it was given exactly one token and there is nothing else to tell, one of
    `ids` with its token at the same place of `tokens`. So the common case costs no object per request.
    """

    items: list[Output] = []
    ids: list[Id] = []
    tokens: list[int] = []


class Gauges(Message, frozen=True, kw_only=True):
    """From the engine, about twice a second: how it stands, and counters since it started.

    `tune_blocks` are the KV blocks lent to fine-tuning, `tune_s` the time that its units have taken,
    `tune_error_frac` by how much predictions of steps beside them were off.
    """

    running: int
    waiting: int
    kv_used_frac: float
    kv_free_blocks: int
    prefix_queried_tokens: int
    prefix_hit_tokens: int
    num_steps: int
    step_s: Seconds
    num_preempted: int
    num_refused: int
    decide_s: dict[str, float]
    slos: list[SloRow]
    tune_blocks: int = 0
    tune_s: Seconds = 0.0
    tune_error_frac: float | None = None


class TuneTold(Message, frozen=True, kw_only=True):
    """From the engine: something has happened in the run `id`."""

    id: Id
    news: TuneNews


class TuneEnded(Message, frozen=True, kw_only=True):
    """From the engine: the run `id` is over.

    `reason` is ``"succeeded"``, ``"failed"`` (`why` is a sentence) or ``"cancelled"``; `folder` holds the adapter of a
    run that succeeded, which is served already.
    """

    id: Id
    reason: str
    why: str = ""
    folder: str = ""


class Adopted(Message, frozen=True, kw_only=True):
    """From the engine: an adapter is served now, or `why` says why it cannot be."""

    name: str
    why: str = ""


class Fatal(Message, frozen=True, kw_only=True):
    """From the engine, just before it ends: why it cannot go on, in one sentence."""

    why: str


ToEngine = Submit | Cancel | Drain | Tune | StopTune | Adopt
FromEngine = Loading | Ready | Outputs | Gauges | Fatal | TuneTold | TuneEnded | Adopted
