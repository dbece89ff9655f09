"""How long lent blocks are on their way in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from headway.core.events import Event
from headway.core.nouns import Id, Seconds
from headway.policies.serving.board import ServingBoard
from headway.policies.serving.lending import Loan
from headway.policies.serving.nouns import Lent
from headway.sim.serving.agenda import NEWS, Agenda, Entry
from headway.sim.serving.links import Links

Settle = Callable[[Id, Callable[[], Event | None]], Iterator[Event]]
"""(instance, what is to happen) -> news: at the end of its present step, or at once when there is none."""


class Moving:
    """The blocks under way in a world.

    They move so many tokens per step of the request's home, as long as its latest step was, and never faster than the
    link; they are there from the end of a step on.

    Parameters
    ----------
    board : ServingBoard
        Keeps their books.
    links : Links
        How fast they are.
    agenda : Agenda
        Where their ends are noted.
    run_s : callable of Id
        Tells how long a run of a step of an instance takes.
    settle : callable
        Lets something happen between two steps of an instance.
    """

    def __init__(
        self, board: ServingBoard, links: Links, agenda: Agenda, run_s: Callable[[Id], Seconds], settle: Settle
    ) -> None:
        self._board = board
        self._links = links
        self._agenda = agenda
        self._run_s = run_s
        self._settle = settle
        self._entries: dict[Loan, Entry] = {}

    def begin(self, request: Id) -> None:
        """Let the blocks go that the board has just accepted."""
        loan, board = self._board.lending.loans[request], self._board
        state = board.requests[request]
        tokens = len(loan.blocks) * state.block_size
        steps_s = -(-tokens // loan.tokens_per_step) * self._run_s(state.instance)
        at_s = board.now_s + max(self._links.between_s(tokens), steps_s)
        self._entries[loan] = self._agenda.add(at_s, NEWS, partial(self._arrive, loan, board.now_s))

    def tidy_up(self) -> None:
        """Call off what the board has given up."""
        loans = self._board.lending.loans
        for loan in [loan for loan in self._entries if loans.get(loan.id) is not loan]:
            self._agenda.call_off(self._entries.pop(loan))

    def _arrive(self, loan: Loan, since_s: Seconds) -> Iterator[Event]:
        del self._entries[loan]
        home = self._board.requests[loan.id].instance
        yield from self._settle(home, partial(self._over, loan, since_s))

    def _over(self, loan: Loan, since_s: Seconds) -> Event | None:
        board = self._board
        if board.lending.loans.get(loan.id) is not loan:
            return None
        board.lending.over(loan)
        took_s = board.now_s - since_s
        return Lent(
            at_s=board.now_s, id=loan.id, source=loan.source, to=loan.to, blocks=len(loan.blocks), took_s=took_s
        )  # fmt: skip
