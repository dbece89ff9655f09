"""All outputs of one HTTP request, from submission to the last token."""

from __future__ import annotations

import time
from types import TracebackType

import msgspec

from headway.app.server.choice import Choice, Delta
from headway.app.server.errors import ApiError, internal, invalid, overloaded, unavailable
from headway.app.server.mailbox import Mailbox
from headway.app.server.meter import Meter
from headway.app.server.order import Order
from headway.app.server.stops import StopScan
from headway.app.server.tokenizer import ModelTokenizer
from headway.core.errors import EngineError
from headway.engines.llm.client import EngineClient
from headway.engines.llm.messages import Output, Sampling, Submit


class Generation:
    """The outputs of one order; a context manager that cancels at its end whatever still goes on.

    Parameters
    ----------
    order : Order
        What is to be generated.
    engine : EngineClient
        Who generates it.
    tokenizer : ModelTokenizer
        Turns tokens into text.
    mailbox : Mailbox
        Where its news arrive.
    meter : Meter
        Counts and times the tokens.

    Attributes
    ----------
    choices : list of Choice
        The outputs, prompt by prompt.
    """

    def __init__(
        self, order: Order, engine: EngineClient, tokenizer: ModelTokenizer, mailbox: Mailbox, meter: Meter
    ) -> None:
        self.order = order
        self._engine = engine
        self._mailbox = mailbox
        self._meter = meter
        self.choices = [self._choice(tokenizer, index) for index in range(order.num_outputs)]
        self._by_id = {choice.id: choice for choice in self.choices}
        self._num_open = len(self.choices)
        self._reason = "cancelled"  # of outputs that are still open at the end

    def __enter__(self) -> Generation:
        try:
            for choice in self.choices:
                self._engine.submit(self._submit(choice), self._mailbox)
        except BaseException as error:
            self.__exit__(None, None, None)
            if isinstance(error, EngineError):
                raise unavailable(str(error), "engine_restarting") from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for choice in self.choices:
            if not choice.finish:
                self._engine.cancel(choice.id)
                self._meter.finished(choice.index, self._reason)

    @property
    def done(self) -> bool:
        """Whether all outputs have ended."""
        return not self._num_open

    @property
    def output_tokens(self) -> int:
        """Tokens of all outputs so far."""
        return sum(choice.num_tokens for choice in self.choices)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens found in the prefix cache, each prompt counted once."""
        per_prompt = self.order.num_choices
        return sum(choice.cached_tokens for choice in self.choices[::per_prompt])

    async def news(self) -> list[Delta]:
        """Wait for tokens; return what they add, one delta per output that has news.

        Raises
        ------
        ApiError
            When an output cannot be given: refused, failed, timed out, or the engine is gone.
        ClientGone
            When nobody listens any more.
        """
        try:
            outputs = await self._mailbox.take()
        except EngineError as error:
            self._reason = "error"
            raise unavailable(str(error), "engine_restarting") from error
        now_s = time.perf_counter()
        deltas = []
        for output in outputs:
            choice = self._by_id[output.id]
            if not choice.finish:
                deltas.append(self._take(choice, output, now_s))
        return deltas

    def _take(self, choice: Choice, output: Output, now_s: float) -> Delta:
        if output.finish in _FAILURES:
            self._reason = output.finish
            raise _failure(output)
        before = choice.num_tokens
        delta = choice.take(output)
        self._meter.tokens(choice.index, choice.num_tokens - before, now_s)
        if delta.finish:
            self._num_open -= 1
            if choice.stopped:
                self._engine.cancel(choice.id, "stop")
            self._meter.finished(choice.index, delta.finish, choice.queue_s)
        return delta

    def _choice(self, tokenizer: ModelTokenizer, index: int) -> Choice:
        order, number = self.order, index // self.order.num_choices
        prompt = order.prompts[number]
        stream = tokenizer.stream([] if order.chat else prompt.tokens)
        scan = StopScan(order.stops, order.keep_stop)
        prefix = prompt.text if order.echo else ""
        return Choice(index, f"{order.id}-{index}", stream, scan, order.sampling[number].min_tokens, prefix)

    def _submit(self, choice: Choice) -> Submit:
        order, (number, copy) = self.order, divmod(choice.index, self.order.num_choices)
        promise = order.promise
        return Submit(
            id=choice.id,
            prompt=order.prompts[number].tokens,
            sampling=_own_seed(order.sampling[number], copy),
            adapter=order.adapter,
            slo_class=promise.slo_class,
            priority=promise.priority,
            tenant=promise.tenant,
            ttft_s=promise.ttft_s,
            tpot_s=promise.tpot_s,
            deadline_s=promise.deadline_s,
            session=promise.session,
            stage=promise.stage,
            tool=promise.tool,
        )


_FAILURES = ("rejected", "error", "cancelled")


def _own_seed(sampling: Sampling, copy: int) -> Sampling:
    """Give each output of one prompt a random stream of its own, repeatable where the request's seed is given."""
    if sampling.seed is None or not copy:
        return sampling
    return msgspec.structs.replace(sampling, seed=(sampling.seed + copy) % 2**63)


def _failure(output: Output) -> ApiError:
    if output.finish == "rejected" and output.retry_after_s is not None:
        return overloaded(output.why, output.retry_after_s)
    if output.finish == "rejected":
        return invalid(f"The request cannot be served: {output.why}", code="rejected")
    if output.finish == "cancelled":
        return unavailable(output.why or "the engine gave the request up", "cancelled")
    return internal(f"The engine failed on this request: {output.why}")
