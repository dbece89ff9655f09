"""What is claimed of learned dispatching in shops without buffers, and what else must be so in such shops.

Source: Wong, Kim, Park, Park and Law, "Generating Dispatching Rules for the Interrupting Swap-Allowed Blocking Job Shop
Problem Using Graph Neural Network and Reinforcement Learning", 2023, arXiv 2302.02506. It claims that the learned rule
is better than fixed ones, or as good, over a range of probabilities; the sizes here are this project's expectations.
"""

from __future__ import annotations

from functools import partial

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio, rising
from headway.app.reproduce.claims import isbjssp_settings as settings
from headway.policies.shop.blocking_rule import RULES

SOURCE = "abstract"
HARDWARE = "simulated shops; training on hardware that is not known here"
SHOPS = (
    "drawn shops of 10 x 5, 15 x 5 and 10 x 10 (jobs x machines) with times uniform in 5..99, larger than those "
    "trained on; 12 of each size per seed, the same for all, interruptions included"
)
CONTESTANTS = {
    "learned": "the shipped weights",
    "mean rule": "the mean of the rules below",
    "fifo": "who has waited longest",
    "lifo": "who has waited least",
    "spt": "the shortest operation",
    "lpt": "the longest operation",
    "mtwr": "most work remaining",
    "ltwr": "least work remaining",
    "mor": "most operations remaining",
    "lor": "fewest operations remaining",
    "random": "anybody",
}


def _dispatch(prob: float) -> Claim:
    return Claim(
        id=f"at-{round(100 * prob)}",
        text="The learned rule outperforms dispatching rules with fixed priorities, or is as good.",
        source=SOURCE,
        hardware=HARDWARE,
        here=f"{SHOPS}; "
        + (f"{prob:.0%} of the operations interrupt their machine, for 1 to 99 s" if prob else "no interruptions"),
        ours="learned",
        contestants=CONTESTANTS,
        measure=partial(settings.dispatched, prob),
        directions=[
            *rising("makespan_s", "learned", "mean rule"),
            *(Below(Of("learned", "makespan_s"), Of(rule, "makespan_s")) for rule in RULES),
        ],
        sizes=[Size(ratio("makespan_s", "mean rule", "learned"), 1.08, slack=0.05)],
    )


CLAIMS = (
    _dispatch(0.1),
    _dispatch(0.0),
    _dispatch(0.05),
    _dispatch(0.2),
    Claim(
        id="failing",
        text="The more often machines are interrupted, the longer the makespan.",
        source="expected",
        hardware=HARDWARE,
        here=f"{SHOPS}; what fails at a smaller probability fails at a larger one, too",
        ours="0%",
        contestants={f"{prob:.0%}": f"{prob:.0%} of the operations" for prob in settings.PROBS},
        measure=settings.failing,
        directions=rising("makespan_s", *(f"{prob:.0%}" for prob in settings.PROBS)),
    ),
    Claim(
        id="blocking",
        text="Blocking makes makespans 1.1 to 1.5 times as long as buffers would; without swaps, deadlock is common.",
        source="expected",
        hardware=HARDWARE,
        here=f"{SHOPS}; most work remaining, no interruptions",
        ours="blocking",
        contestants={
            "blocking": "no buffers; jobs in a circle swap",
            "buffers": "a job leaves its machine when its operation is over",
            "no swaps": "no buffers; a circle is a deadlock",
        },
        measure=settings.buffered,
        directions=[
            *rising("makespan_s", "buffers", "blocking"),
            *rising("deadlock_frac", "blocking", "no swaps"),
        ],
        sizes=[
            Size(ratio("makespan_s", "blocking", "buffers"), 1.3, slack=0.2),
            Size(Of("no swaps", "deadlock_frac"), 0.5, at_least=True),
        ],
        notes=[
            "In shops of 7 x 7 blocking costs a factor of 1.3; the more jobs there are for a machine, and the larger "
            "the shop, the more it costs.",
        ],
    ),
    Claim(
        id="optimum",
        text="The learned rule is nearer to the optimum than dispatching rules are.",
        source="expected",
        hardware=HARDWARE,
        here="drawn shops of 6 x 4 without interruptions, optimal makespans proven by CP-SAT; rules never hold a "
        "machine back, which an optimal schedule may",
        ours="learned",
        contestants={
            "optimum": "CP-SAT, blocking with swaps",
            "learned": "the shipped weights",
            "mean rule": "the mean of the dispatching rules",
        },
        measure=settings.against_optimum,
        directions=rising("makespan_s", "optimum", "learned", "mean rule"),
    ),
)
