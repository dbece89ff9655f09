"""What a running vLLM says of itself over HTTP."""

from __future__ import annotations

import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

import msgspec
from msgspec import Struct

PROBE_S = 2.0
_INFO = re.compile(r"^vllm:cache_config_info\{(.*)\}", re.MULTILINE)


class VllmFacts(Struct, frozen=True, kw_only=True):
    """What can be known of a vLLM server.

    Parameters
    ----------
    model : str
        The name it serves its model under.
    adapters : tuple of str
        The names of its LoRA adapters.
    context_tokens : int
        Longest prompt plus output.
    num_blocks, block_size : int
        Its KV memory; 0 when it does not say.
    """

    model: str
    adapters: tuple[str, ...] = ()
    context_tokens: int = 0
    num_blocks: int = 0
    block_size: int = 0


class _Model(Struct):
    id: str
    parent: str | None = None
    max_model_len: int | None = None


class _Models(Struct):
    data: list[_Model]


class Probe:
    """Asks a server on this machine.

    Parameters
    ----------
    url : str
        Its address, such as ``"http://127.0.0.1:8000"``.
    key : str
        An API key; empty for none.

    Attributes
    ----------
    port : int
        That of the address.
    """

    def __init__(self, url: str, key: str = "") -> None:
        self._url = url
        self.port = urllib.parse.urlsplit(url).port or 0
        self._key = key
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if url.startswith("https"):  # it is our own child on this machine, whatever its certificate is made out to
            handlers.append(urllib.request.HTTPSHandler(context=ssl._create_unverified_context()))
        self._opener = urllib.request.build_opener(*handlers)

    def is_healthy(self) -> bool:
        """Whether it can serve."""
        try:
            self._get("/health")
        except OSError:
            return False
        return True

    def facts(self) -> VllmFacts:
        """Ask for all facts.

        Raises
        ------
        OSError
            When it does not answer.
        """
        models = msgspec.json.decode(self._get("/v1/models"), type=_Models).data
        base = next((model for model in models if model.parent is None), models[0])
        num_blocks, block_size = cache_size(self._get("/metrics").decode())
        return VllmFacts(
            model=base.id,
            adapters=tuple(model.id for model in models if model.parent is not None),
            context_tokens=base.max_model_len or 0,
            num_blocks=num_blocks,
            block_size=block_size,
        )

    def _get(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with self._opener.open(urllib.request.Request(self._url + path, headers=headers), timeout=PROBE_S) as answer:
            found: bytes = answer.read()
            return found


def cache_size(metrics: str) -> tuple[int, int]:
    """Read the number of KV blocks and their size from vLLM's metrics; zeros when they are not there.

    Examples
    --------
    >>> cache_size('vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="99"} 1.0')
    (99, 16)
    """
    found = _INFO.search(metrics)
    labels = dict(re.findall(r'(\w+)="(\d+)"', found[1])) if found else {}
    return int(labels.get("num_gpu_blocks", 0)), int(labels.get("block_size", 0))
