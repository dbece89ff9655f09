"""The trace of an engine, whose disk may be full: that is no reason for a policy to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from headway.core.errors import ConfigError
from headway.core.trace import FileTrace, Record, TraceHeader
from headway.engines.vllm.facts import Facts
from headway.engines.vllm.settings import Settings

log = logging.getLogger(__name__)


class Recording:
    """A trace file that ends, with a line in the log, when it cannot be written any more.

    Parameters
    ----------
    file : FileTrace
        The file.
    """

    def __init__(self, file: FileTrace) -> None:
        self._file: FileTrace | None = file

    def write(self, record: Record) -> None:
        """Append one record."""
        if self._file is not None:
            self._try(self._file.write, record)

    def flush(self) -> None:
        """Write what is buffered."""
        if self._file is not None:
            self._try(self._file.flush)

    def close(self) -> None:
        """Write what is buffered and close the file; may be called twice."""
        if self._file is not None:
            self._try(self._file.close)

    def _try(self, do: Callable[..., None], *arguments: Record) -> None:
        try:
            do(*arguments)
        except OSError as error:
            file, self._file = self._file, None
            assert file is not None
            log.error("Headway: the trace %s cannot be written (%s), and ends here.", file.path, error.strerror)
            with suppress(OSError):
                file.close()


def record(settings: Settings, facts: Facts) -> Recording | None:
    """Open the trace that the settings ask for, if any; its first line says what decides, and in what engine.

    Raises
    ------
    ConfigError
        When there can be no such file.
    """
    if not settings.trace:
        return None
    about: dict[str, str | int] = {
        "engine": f"vllm {facts.version}",
        "model": facts.model,
        "num_layers": facts.num_layers,
    }
    header = TraceHeader(
        family="serving",
        policy=settings.policy,
        params=settings.policy_params,
        seed=settings.seed,
        facts={**about, "num_blocks": facts.num_blocks, "block_size": facts.block_size, "max_seqs": facts.max_seqs},
    )
    path = _path_of(settings, facts)
    try:
        recording = Recording(FileTrace(path, header))
    except OSError as error:
        raise ConfigError(
            f"vllm: trace must be a file that can be written, got {path} ({error.strerror}). Make its folder first."
        ) from error
    recording.flush()  # vLLM may be ended without a word
    return recording


def _path_of(settings: Settings, facts: Facts) -> Path:
    """Return the file of this engine: data-parallel engines after the first have their number in its name."""
    path = Path(settings.trace)
    return path.with_name(f"{path.stem}.{facts.index}{path.suffix}") if facts.index else path
