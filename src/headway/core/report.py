"""What a run comes to: the numbers of one session, ready to print, compare or keep."""

from __future__ import annotations

import math

import msgspec

from headway.core.slo import SloRow


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one run.

    Parameters
    ----------
    policy : str
        Who decided.
    seed : int
        The run's seed.
    duration_s : float
        From the first to the last event, in seconds of the run's clock.
    num_events, num_actions, num_refused : int
        What went through the session.
    refused : dict of str to int
        Refusals by reason.
    decide_s : dict of str to float
        Mean and quantiles of the real time that one decision took, in seconds.
    numbers : dict of str to float
        Every metric of the family, by name with unit.
    slos : list of SloRow
        How each objective fared.
    """

    policy: str
    seed: int
    duration_s: float
    num_events: int
    num_actions: int
    num_refused: int
    refused: dict[str, int]
    decide_s: dict[str, float]
    numbers: dict[str, float]
    slos: list[SloRow]

    def to_json(self) -> str:
        """Return the report as one line of JSON; numbers that do not exist are null."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> Report:
        """Read back what `to_json` wrote."""
        plain = msgspec.json.decode(text)
        for group in ("decide_s", "numbers"):
            plain[group] = {name: math.nan if value is None else value for name, value in plain[group].items()}
        return msgspec.convert(plain, Report)
