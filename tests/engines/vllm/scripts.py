"""Scripts of requests, drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from engines.vllm.rig import prompt_of
from engines.vllm.twins import Sent

PREFIXES = [prompt_of(f"prefix{number}", 64) for number in range(2)]


@st.composite
def prompts(draw: st.DrawFn, longest: int) -> Sequence[int]:
    """Draw a prompt; some begin alike, and some are nothing but that."""
    front = draw(st.sampled_from([[], [], *PREFIXES]))[: draw(st.sampled_from([16, 40, 64]))]
    length = draw(st.integers(0 if front else 1, longest))
    return (front + prompt_of(str(draw(st.integers(0, 50))), length))[:longest]


@st.composite
def scripts(
    draw: st.DrawFn,
    *,
    longest: int = 120,
    outputs: int = 50,
    most: int = 14,
    last_step: int = 40,
    promises: bool = False,
) -> list[Sent]:
    """Draw a script; `promises` says whether some are promised something."""
    return draw(st.lists(sents(longest, outputs, last_step, promises), min_size=1, max_size=most))


@st.composite
def sents(draw: st.DrawFn, longest: int, outputs: int, last_step: int, promises: bool) -> Sent:
    """Draw a request."""
    xargs = draw(st.fixed_dictionaries({}, optional={"headway_ttft_s": BOUNDS, "headway_tpot_s": BOUNDS}))
    return Sent(
        step=draw(st.integers(0, last_step)),
        prompt=draw(prompts(longest)),
        max_tokens=draw(st.integers(1, outputs)),
        stops_at=draw(st.none() | st.integers(1, outputs)),
        priority=draw(st.integers(-1, 1)),
        xargs=xargs if promises and xargs else None,
    )


BOUNDS = st.sampled_from([0.01, 0.02, 0.05, 0.5])
