"""Everything the routes share: the engine, the tokenizer, limits, metrics and logs of one server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from starlette.routing import Route

from headway import __version__
from headway.app.server.auth import KeyRing
from headway.app.server.config import ServerConfig, keys_of, tuning_keys_of
from headway.app.server.errors import unavailable
from headway.app.server.extension import Extension
from headway.app.server.limits import Gate
from headway.app.server.mailbox import Mailbox
from headway.app.server.metrics import Metrics
from headway.app.server.offered import Offers
from headway.app.server.order import OrderDesk
from headway.app.server.record import AccessLog
from headway.app.server.tokenizer import ModelTokenizer
from headway.engines.llm.client import COMMAND, EngineClient, News
from headway.engines.llm.messages import Fatal, Gauges, Loading, Ready


class Service:
    """One server's shared state.

    Parameters
    ----------
    config : ServerConfig
        What is served, and how.
    on_loading : callable or None
        Told what the engine does before it is ready.
    command : sequence of str
        How the engine process is started.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        on_loading: Callable[[str], None] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.config = config
        self.engine = EngineClient(config.full_engine, on_news=self._note, command=command)
        self.gate = Gate(config.max_queue)
        self.keys = KeyRing(keys_of(config), tuning_keys_of(config))
        self.log = AccessLog(config.access_log)
        self.metrics = Metrics(config.metric_aliases)
        self.mailboxes: set[Mailbox] = set()
        self.offers = Offers()
        self.extension: Extension | None = None
        self._desk: OrderDesk | None = None
        self._on_loading = on_loading

    def open(self, tokenizer: ModelTokenizer) -> None:
        """Take orders from now on."""
        self._desk = OrderDesk(
            self.config, tokenizer, lambda: self.engine.ready, lambda: self.engine.why_not, self.offers
        )

    @property
    def extra_routes(self) -> Sequence[Route]:
        """The routes of its extension."""
        return self.extension.routes() if self.extension is not None else ()

    @property
    def why_not(self) -> str:
        """Why no request can be served now, as a clause; empty when one can."""
        if self.gate.draining:
            return "it is shutting down"
        if self.engine.ready is None:
            return self.engine.why_not
        return "" if self._desk is not None else "the tokenizer is loading"

    @property
    def desk(self) -> OrderDesk:
        """Where orders are made.

        Raises
        ------
        ApiError
            503 while the engine cannot serve.
        """
        if self._desk is None or self.engine.ready is None:
            raise unavailable(self.why_not, "engine_restarting")
        return self._desk

    @property
    def fingerprint(self) -> str:
        """Changes with whatever may change the answers to equal requests."""
        facts = self.desk.facts
        parts = (__version__, facts.model, facts.dtype, facts.quantize, facts.kernels, facts.device)
        return "fp_" + hashlib.blake2b("/".join(parts).encode(), digest_size=5).hexdigest()

    def fail_all(self, error: Exception) -> None:
        """Tell every live request that no more will come."""
        for mailbox in list(self.mailboxes):
            mailbox.fail(error)

    def render_metrics(self, accept: str) -> tuple[bytes, str]:
        """Write the metrics down; returns the text and its media type."""
        self.metrics.put("headway_live", self.gate.live)
        self.metrics.put("headway_ready", float(not self.why_not))
        self.metrics.put("headway_engine_restarts", self.engine.num_restarts)
        if self.extension is not None:
            self.extension.measure()
        return self.metrics.render(accept)

    def _note(self, news: News) -> None:
        if self.extension is not None:
            self.extension.note(news)
        if isinstance(news, Gauges):
            self.metrics.take(news)
        elif isinstance(news, Ready):
            self.metrics.model, self.metrics.policy = news.model, news.policy
        elif isinstance(news, Fatal):
            self.metrics.put("headway_running", 0)
            self.metrics.put("headway_waiting", 0)
            self.metrics.put("headway_kv_used_frac", 0)
            self.metrics.put("headway_tuning_lent_blocks", 0)
        elif isinstance(news, Loading) and self._on_loading is not None:
            self._on_loading(news.what)
