"""What is visible of one request and of one instance while they are served.

Executors write these records through a `ServingBoard`; policies read them. They are plain slotted objects because a
policy walks over every running request at every step.
"""

from __future__ import annotations

import sys
from collections import OrderedDict

from headway.core.nouns import Id, Seconds
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Request


class RequestState:
    """How far one request has come.

    Attributes
    ----------
    request : Request
        What is known of it.
    known_tokens : int
        Prompt plus output tokens so far.
    computed_tokens : int
        How many of them have their keys and values in memory.
    kv_tokens : int
        How many tokens the blocks it holds have room for.
    output_tokens : int
        How many tokens it was given so far.
    blocks : list of int
        The blocks it holds, in order.
    hashes : list of int
        Chained hashes of its full blocks, as far as they are known.
    instance : str
        Where it waits or runs; empty before it is routed.
    layers_done : int
        How many layers the chunk in progress has been through (layered prefill); 0 between chunks.
    layers_tokens : int
        How many tokens that chunk has.
    one : Piece
        Its next token through all layers: the piece of every decode.
    """

    __slots__ = (
        "blocks", "cached_tokens", "computed_tokens", "first_step_s", "first_token_s", "hashes", "id", "instance",
        "known_tokens", "kv_tokens", "last_token_s", "layers_done", "layers_tokens", "num_preempted", "one",
        "output_tokens", "remembered", "request",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self.request = request
        self.id: Id = request.id
        self.known_tokens = request.prompt_tokens
        self.computed_tokens = 0
        self.kv_tokens = 0
        self.output_tokens = 0
        self.cached_tokens = 0
        self.layers_done = 0
        self.layers_tokens = 0
        self.num_preempted = 0
        self.remembered = 0  # full blocks already findable by hash
        self.blocks: list[int] = []
        self.hashes = list(request.hashes)
        self.instance: Id = ""
        self.first_step_s: Seconds | None = None
        self.first_token_s: Seconds | None = None
        self.last_token_s: Seconds = request.arrival_s
        self.one = Piece(request.id, 1)

    @property
    def left_tokens(self) -> int:
        """Known tokens that are not computed yet: 1 while decoding, more while (re)computing a prompt."""
        return self.known_tokens - self.computed_tokens

    @property
    def decoding(self) -> bool:
        """Whether its next token is an output token: everything but the last known token is computed."""
        return self.known_tokens - self.computed_tokens == 1 and self.output_tokens > 0

    @property
    def reach_tokens(self) -> int:
        """The most tokens it can ever come to."""
        return self.request.prompt_tokens + self.request.max_tokens


class InstanceState:
    """One replica of a model: who waits for it, who runs on it, and its memory.

    Attributes
    ----------
    waiting : OrderedDict of str to RequestState
        First come first; a preempted request is put in front.
    running : OrderedDict of str to RequestState
        In the order in which they were started.
    kv : BlockPool
        The books of its memory.
    busy : bool
        Whether a step is under way.
    num_layers : int
        Layers of its model.
    max_running : int
        The most requests that can run at once, whatever their memory.
    """

    __slots__ = ("busy", "id", "kv", "max_running", "num_layers", "running", "waiting")

    def __init__(self, id: Id, kv: BlockPool, num_layers: int, max_running: int = sys.maxsize) -> None:
        self.id = id
        self.max_running = max_running
        self.kv = kv
        self.num_layers = num_layers
        self.waiting: OrderedDict[Id, RequestState] = OrderedDict()
        self.running: OrderedDict[Id, RequestState] = OrderedDict()
        self.busy = False

    @property
    def num_requests(self) -> int:
        """Requests that wait or run here."""
        return len(self.waiting) + len(self.running)
