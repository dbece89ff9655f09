"""What is visible of one request and of one instance while they are served.

Executors write these records through a `ServingBoard`; policies read them.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Sequence

from headway.core.nouns import Id, Seconds
from headway.policies.serving.adapters import Adapters
from headway.policies.serving.cohort import Cohort
from headway.policies.serving.kv import BlockPool
from headway.policies.serving.nouns import Piece, Request
from headway.policies.serving.promises import NO_PROMISE, Promise

_ALONE: Cohort[RequestState] = Cohort(1)
"""The cohort of all that are in none; its clock never moves."""


class RequestState:
    """How far one request has come.

    While it is in a `Cohort`, some of its numbers move with the cohort's clock; reading them costs a little more than
    reading a plain attribute.

    Attributes
    ----------
    request : Request
        What is known of it.
    promise : Promise
        What it is promised.
    blocks : list of int
        The blocks it holds where it runs, in order; without the first `away_blocks`.
    away_blocks : int
        How many of its first blocks other instances hold.
    hashes : list of int
        Chained hashes of its full blocks, as far as they are known.
    instance : str
        Where it waits or runs; empty before it is routed.
    layers_done : int
        How many layers the chunk in progress has been through (layered prefill); 0 between chunks.
    layers_tokens : int
        How many tokens that chunk has.
    swapped_tokens : int
        How many of its tokens have their keys and values in the host's memory; 0 unless it was swapped out.
    one : Piece
        Its next token through all layers: the piece of every decode.
    """

    __slots__ = (
        "_cohort", "_computed", "_known", "_last_s", "away_blocks", "block_size", "blocks", "cached_tokens",
        "first_step_s", "first_token_s", "grows_at", "hashes", "hashing", "id", "instance", "later_hashes",
        "layers_done", "layers_tokens", "num_preempted", "one", "promise", "remembered", "request",
        "swapped_tokens", "turn",
    )  # fmt: skip

    def __init__(self, request: Request, promise: Promise = NO_PROMISE) -> None:
        self.request = request
        self.promise = promise
        self.id: Id = request.id
        self._cohort = _ALONE
        self._known = request.prompt_tokens
        self._computed = 0
        self._last_s: Seconds = request.arrival_s
        self.cached_tokens = 0
        self.layers_done = 0
        self.layers_tokens = 0
        self.num_preempted = 0
        self.swapped_tokens = 0
        self.remembered = 0  # full blocks already findable by hash
        self.grows_at = 0  # the cohort's clock at which it needs another block
        self.turn = 0  # in which order requests were started
        self.block_size = 0
        self.blocks: list[int] = []
        self.away_blocks = 0
        self.hashes = list(request.hashes)
        self.hashing = True  # whether blocks that fill up may have a hash
        self.later_hashes: Sequence[int] = ()  # what a world alone knows of; shown as blocks fill up
        self.instance: Id = ""
        self.first_step_s: Seconds | None = None
        self.first_token_s: Seconds | None = None
        self.one = Piece(request.id, 1)

    @property
    def known_tokens(self) -> int:
        """Prompt plus output tokens so far."""
        return self._known + self._cohort.clock

    @property
    def computed_tokens(self) -> int:
        """How many of them have their keys and values in memory."""
        return self._computed + self._cohort.clock

    @property
    def output_tokens(self) -> int:
        """How many tokens it was given so far."""
        return self._known + self._cohort.clock - self.request.prompt_tokens

    @property
    def last_token_s(self) -> Seconds:
        """When it was given its latest token; its arrival before the first."""
        cohort = self._cohort
        # Who has just joined was given its latest token before, and perhaps long before.
        return self._last_s if self.id in cohort.fresh else max(self._last_s, cohort.last_s)

    @property
    def kv_tokens(self) -> int:
        """How many tokens the blocks it holds have room for, those that are away among them."""
        return (self.away_blocks + len(self.blocks)) * self.block_size

    @property
    def away_tokens(self) -> int:
        """How many of its computed tokens have their keys and values away from where it runs."""
        return min(self.away_blocks * self.block_size, self.computed_tokens) if self.away_blocks else 0

    @property
    def left_tokens(self) -> int:
        """Known tokens that are not computed yet: 1 while decoding, more while (re)computing a prompt."""
        return self._known - self._computed

    @property
    def decoding(self) -> bool:
        """Whether its next token is an output token: everything but the last known token is computed."""
        return self._known - self._computed == 1 and self.output_tokens > 0

    @property
    def reach_tokens(self) -> int:
        """The most tokens it can ever come to."""
        return self.request.prompt_tokens + self.request.max_tokens

    # What boards call ----------------------------------------------------------------------------------------------

    def enter(self, cohort: Cohort[RequestState]) -> None:
        """Let the numbers move with the clock of `cohort`."""
        self._known -= cohort.clock
        self._computed -= cohort.clock
        self._cohort = cohort

    def exit(self) -> None:
        """Keep the numbers by itself again."""
        cohort = self._cohort
        self._last_s = self.last_token_s
        self._known += cohort.clock
        self._computed += cohort.clock
        self._cohort = _ALONE

    def compute(self, tokens: int) -> None:
        """Note that the next `tokens` known tokens are in memory now."""
        self._computed += tokens

    def give(self, now_s: Seconds) -> None:
        """Note one more output token."""
        self._known += 1
        self._last_s = now_s
        if self.first_token_s is None:
            self.first_token_s = now_s

    def forget(self, computed_tokens: int = 0) -> None:
        """Note that no more than `computed_tokens` of its tokens are in memory, in which it holds no blocks."""
        self._computed = computed_tokens
        self.blocks, self.remembered = [], 0
        self.away_blocks = 0
        self.layers_done = self.layers_tokens = 0


class InstanceState:
    """One replica of a model: who waits for it, who runs on it, and its memory.

    Between steps every running request is either in `decodes` or in `prefills`.

    Parameters
    ----------
    id : str
        Its name.
    kv : BlockPool
        The books of its memory.
    num_layers : int
        Layers of its model, >= 1.
    max_running : int
        The most requests that can run at once, >= 1, whatever their memory.
    num_stages : int
        Pipeline stages, >= 1: so many steps can be under way at once, none of which shares a request with another.
    pool : str
        The name of the group of instances it belongs to.
    host_blocks : int
        Room in the host's memory for swapped requests, in blocks, >= 0.
    num_shares : int
        Into how many equal parts its compute can be split between a step and something beside it, >= 1.

    Attributes
    ----------
    waiting : OrderedDict of str to RequestState
        First come first; a preempted request is put in front.
    running : OrderedDict of str to RequestState
        In the order in which they were started, without those that are `flying`.
    decodes : Cohort
        The running requests that are due an output token.
    prefills : dict of str to RequestState
        The running requests that have more than one known token to compute, or are amid the layers of a chunk.
    flying : dict of str to RequestState
        Those that no step can take now: in a stage of a pipeline or a lane, or on their way here from another instance.
    lent : dict of str to RequestState
        Those that run here and have blocks elsewhere.
    guests : dict of str to int
        How many blocks are held here for requests that run elsewhere, by request.
    busy : bool
        Whether no step can begin now.
    num_lanes : int
        How many steps can be under way side by side, each with a share of the compute; 1 unless a policy has set it.
    num_under_way : int
        With several lanes, how many steps are.
    decodes_held : bool
        With several lanes, whether one of these steps is that of all `decodes`, so that no other can take any of them.
    adapters : Adapters or None
        The LoRA adapters at hand; None where all are, always.
    draining : bool
        Whether it takes no more requests, and leaves when it has finished those it has.
    tune_blocks : list of int
        The blocks of its memory that are lent to fine-tuning.
    """

    __slots__ = (
        "adapters", "busy", "decodes", "decodes_held", "draining", "flying", "guests", "host_blocks", "id", "kv",
        "lent", "max_running", "num_lanes", "num_layers", "num_shares", "num_stages", "num_under_way", "pool",
        "prefills", "running", "tune_blocks", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        id: Id,
        kv: BlockPool,
        num_layers: int,
        max_running: int = sys.maxsize,
        *,
        num_stages: int = 1,
        pool: str = "",
        host_blocks: int = 0,
        num_shares: int = 10,
    ) -> None:
        self.id = id
        self.num_shares = num_shares
        self.max_running = max_running
        self.kv = kv
        self.num_layers = num_layers
        self.num_stages = num_stages
        self.pool = pool
        self.host_blocks = host_blocks
        self.waiting: OrderedDict[Id, RequestState] = OrderedDict()
        self.running: OrderedDict[Id, RequestState] = OrderedDict()
        self.decodes: Cohort[RequestState] = Cohort(kv.block_size)
        self.prefills: dict[Id, RequestState] = {}
        self.flying: dict[Id, RequestState] = {}
        self.lent: dict[Id, RequestState] = {}
        self.guests: dict[Id, int] = {}
        self.busy = False
        self.draining = False
        self.adapters: Adapters | None = None
        self.num_lanes = 1
        self.num_under_way = 0
        self.decodes_held = False
        self.tune_blocks: list[int] = []

    @property
    def adapters_in_use(self) -> set[Id]:
        """The adapters of the requests that run here."""
        return {s.request.adapter for s in (*self.running.values(), *self.flying.values()) if s.request.adapter}

    @property
    def num_running(self) -> int:
        """Requests that hold memory here."""
        return len(self.running) + len(self.flying)

    @property
    def num_requests(self) -> int:
        """Requests that wait or run here."""
        return len(self.waiting) + len(self.running) + len(self.flying)
