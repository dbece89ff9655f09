"""How long copies of keys and values take in virtual time.

Every copy has a link at full speed to itself, as any other transfer has, and costs the steps of both instances nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.copies import KvCopy
from headway.policies.serving.nouns import Copied, Step
from headway.sim.serving.agenda import NEWS, Agenda, Entry
from headway.sim.serving.links import Links


class _Stream:
    """One copy under way.

    Attributes
    ----------
    begin_s : float
        When it began.
    free_s : float
        When everything that was computed so far is over.
    """

    __slots__ = ("begin_s", "copy", "entry", "free_s")

    def __init__(self, copy: KvCopy, begin_s: Seconds, free_s: Seconds) -> None:
        self.copy = copy
        self.begin_s = begin_s
        self.free_s = free_s
        self.entry: Entry | None = None


class Copying:
    """The copies under way in a world.

    Parameters
    ----------
    board : ServingBoard
        Keeps their books.
    links : Links
        How fast they are.
    agenda : Agenda
        Where their ends are noted.
    tell : callable of Id
        Called when a copy from this instance is over.
    """

    def __init__(self, board: ServingBoard, links: Links, agenda: Agenda, tell: Callable[[Id], None]) -> None:
        self._board = board
        self._links = links
        self._agenda = agenda
        self._tell = tell
        self._streams: dict[Id, _Stream] = {}

    def begin(self, request: Id) -> None:
        """Begin the copy that the board has just accepted."""
        copy, state, now_s = self._board.copies[request], self._board.requests[request], self._board.now_s
        ready = min(copy.until, state.computed_tokens) - copy.tokens
        stream = self._streams[request] = _Stream(copy, now_s, now_s + self._links.between_s(max(0, ready)))
        self._end_if_whole(stream)

    def computed(self, step: Step, start_s: Seconds) -> None:
        """Let copies follow the prompts of a step that has just ended: each layer is sent once it is computed."""
        for piece in step.pieces:
            stream = self._streams.get(piece.request)
            if stream is None or stream.entry is not None:
                continue
            layers = self._board.instances[step.instance].num_layers
            if piece.layers is None or piece.layers[1] == layers:
                wire_s = self._links.wire_s(piece.tokens)
                tail_s = self._links.latency_s + wire_s / layers
                stream.free_s = max(self._board.now_s + tail_s, max(stream.free_s, start_s) + wire_s)
                self._end_if_whole(stream)

    def tidy_up(self) -> None:
        """Call off what the board has given up."""
        if not self._streams:
            return
        copies = self._board.copies
        for stream in list(self._streams.values()):
            if copies.get(stream.copy.id) is not stream.copy:
                del self._streams[stream.copy.id]
                if stream.entry is not None:
                    self._agenda.call_off(stream.entry)

    def _end_if_whole(self, stream: _Stream) -> None:
        copy = stream.copy
        if self._board.requests[copy.id].computed_tokens >= copy.until:
            at_s = max(self._board.now_s, stream.free_s)
            stream.entry = self._agenda.add(at_s, NEWS, partial(self._over, stream))

    def _over(self, stream: _Stream) -> Iterator[Event]:
        copy = stream.copy
        if self._board.copies.get(copy.id) is not copy:
            return
        del self._streams[copy.id]
        self._board.books.over(copy.id)
        self._tell(copy.source)
        now_s = self._board.now_s
        yield Copied(at_s=now_s, id=copy.id, to=copy.to, tokens=copy.tokens, took_s=now_s - stream.begin_s)
