"""From a request's body to a complete order for the engine."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from msgspec import Struct

from headway.app.server.body import ChatBody, CompletionBody
from headway.app.server.config import ServerConfig
from headway.app.server.errors import unavailable, unknown_model
from headway.app.server.offered import Offers
from headway.app.server.promises import Promise, Promises
from headway.app.server.prompts import Prompt, chat_prompt, check_length, completion_prompts, num_prompts_in
from headway.app.server.sampling import num_choices_of, refuse_bad_mix, sampling_of, stops_of
from headway.app.server.tokenizer import ModelTokenizer
from headway.engines.llm.messages import Ready, Sampling


class Order(Struct, frozen=True, kw_only=True):
    """One checked request.

    Parameters
    ----------
    id : str
        Of the answer, for example ``"chatcmpl-..."``.
    created : int
        When it came, in seconds of the Unix epoch.
    model : str
        The name it asked for.
    adapter : str
        The LoRA adapter behind that name; empty for the base model.
    prompts : list of Prompt
        What is to be continued.
    sampling : list of Sampling
        How, one per prompt.
    num_choices : int
        Outputs per prompt.
    stops : tuple of str
        Stop strings.
    keep_stop : bool
        Whether the stop string is shown.
    promise : Promise
        Its SLO class and objectives.
    chat : bool
        Whether it is a conversation.
    stream, include_usage, echo : bool
        How it wants to be answered.
    """

    id: str
    created: int
    model: str
    adapter: str
    prompts: list[Prompt]
    sampling: list[Sampling]
    num_choices: int
    stops: tuple[str, ...]
    keep_stop: bool
    promise: Promise
    chat: bool
    stream: bool = False
    include_usage: bool = False
    echo: bool = False

    @property
    def num_outputs(self) -> int:
        """Outputs of all prompts together."""
        return len(self.prompts) * self.num_choices

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once."""
        return sum(len(prompt.tokens) for prompt in self.prompts)


class OrderDesk:
    """Checks bodies against what is served here and makes orders of them.

    Parameters
    ----------
    config : ServerConfig
        Limits and SLO classes.
    tokenizer : ModelTokenizer
        Of the model.
    ready : callable
        Returns the engine's facts, or None while it cannot serve.
    why_not : callable
        Returns why it cannot.
    offers : Offers or None
        Models that come and go while the server runs.
    """

    def __init__(
        self,
        config: ServerConfig,
        tokenizer: ModelTokenizer,
        ready: Callable[[], Ready | None],
        why_not: Callable[[], str],
        offers: Offers | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._config = config
        self._ready = ready
        self._why_not = why_not
        self._offers = offers or Offers()
        self._promises = Promises(config.slo_classes, config.default_slo_class)

    @property
    def facts(self) -> Ready:
        """The engine's facts.

        Raises
        ------
        ApiError
            503 while the engine cannot serve.
        """
        ready = self._ready()
        if ready is None:
            raise unavailable(self._why_not(), "engine_restarting")
        return ready

    @property
    def model_names(self) -> list[str]:
        """The base model's name, then those of the adapters."""
        return [self.facts.model, *self._offers.shown(self.facts.adapters)]

    def adapter_of(self, model: str | None) -> str:
        """The adapter behind a model name, empty for the base model; 404 when there is no such name."""
        if model is None or model == self.facts.model:
            return ""
        if offer := self._offers.find(model):
            return offer.adapter
        if model not in self.facts.adapters or self._offers.hides(model):
            raise unknown_model(model)
        return model

    async def chat(self, body: ChatBody) -> Order:
        """Make an order of a conversation."""
        refuse_bad_mix(body)
        return self._order(body, self.adapter_of(body.model), [await chat_prompt(self.tokenizer, body)], "chatcmpl-")

    async def completion(self, body: CompletionBody) -> Order:
        """Make an order of plain prompts."""
        refuse_bad_mix(body)
        adapter = self.adapter_of(body.model)
        num_choices_of(body, num_prompts_in(body.prompt), self._config.max_choices)  # before any work is put into it
        prompts = await completion_prompts(self.tokenizer, body, self.facts.vocab_size)
        return self._order(body, adapter, prompts, "cmpl-")

    def _order(self, body: ChatBody | CompletionBody, adapter: str, prompts: list[Prompt], prefix: str) -> Order:
        facts, options = self.facts, body.stream_options
        for prompt in prompts:
            check_length(prompt.tokens, facts.context_tokens, self._config.max_prompt_tokens)
        return Order(
            id=prefix + uuid.uuid4().hex,
            created=int(time.time()),
            model=body.model or facts.model,
            adapter=adapter,
            prompts=prompts,
            sampling=[self._sampling(body, prompt, facts) for prompt in prompts],
            num_choices=num_choices_of(body, len(prompts), self._config.max_choices),
            stops=stops_of(body),
            keep_stop=body.include_stop_str_in_output,
            promise=self._promises.of(body),
            chat=isinstance(body, ChatBody),
            stream=bool(body.stream),
            include_usage=options is not None and options.include_usage,
            echo=bool(getattr(body, "echo", False)),
        )

    def _sampling(self, body: ChatBody | CompletionBody, prompt: Prompt, facts: Ready) -> Sampling:
        room_tokens = facts.context_tokens - len(prompt.tokens)
        return sampling_of(body, room_tokens=room_tokens, vocab_size=facts.vocab_size)
