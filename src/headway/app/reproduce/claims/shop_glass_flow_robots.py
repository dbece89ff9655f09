"""What is claimed for learned transfer robots, and how it is measured here."""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio, rising
from headway.app.reproduce.claims import glass_settings as settings

ON = "robot types of real processes, in the authors' simulation"
CELLS = (
    "Virtual time: drawn cells of a loader, four chambers in series and an unloader, around a robot or along its rail, "
    "one hand or two; limited by the robot, by the slowest chamber, or by both alike; 80 glasses each"
)
WHO = {
    "learned": "one network for all cells, taught by PPO on other drawn cells of two to five stages",
    "sequence": "the backward sequence with one hand, the swap with two",
    "fifo": "what has been done for longest goes first",
}

CLAIMS = (
    Claim(
        id="feasible",
        text="A policy learned in a physical simulation can control transfer robots of different types. The abstract "
        "has no number; expected: 95 to 100% of the best cycle.",
        source="abstract; the expectation is the specification's",
        hardware=ON,
        here=CELLS,
        ours="learned",
        contestants={**WHO, "best-cycle": "the best of all sequences that repeat, found by trying them all"},
        measure=settings.of_bound,
        directions=rising("of_bound_frac", "fifo", "learned"),
        sizes=[Size(ratio("of_bound_frac", "learned", "best-cycle"), 0.975, slack=0.025)],
        notes=[
            "All numbers are shares of a lower bound on seconds per glass that no schedule can beat; with two hands in "
            "cells limited by the robot it is not tight.",
            "Where a chamber is the limit, the sequences reach the bound: nothing is left to be learned there.",
        ],
    ),
    Claim(
        id="hands",
        text="Two hands are worth 20 to 60% where the robot is the limit, and next to nothing where a chamber is.",
        source="expectation of the specification; the abstract has no number",
        hardware=ON,
        here=CELLS,
        ours="learned-two_hands",
        contestants={
            "learned-one_hand": "the network, one hand",
            "learned-two_hands": "the network, two hands, the same cell",
            "sequence-one_hand": "the backward sequence",
            "sequence-two_hands": "the swap",
        },
        measure=settings.hands,
        directions=[
            Below(Of(f"{who}-one_hand", f"{region}_glasses_per_h"), Of(f"{who}-two_hands", f"{region}_glasses_per_h"))
            for who in ("learned", "sequence")
            for region in ("transport", "process")
        ],
        sizes=[
            Size(ratio("transport_glasses_per_h", "learned-two_hands", "learned-one_hand"), 1.4, slack=0.2),
            Size(ratio("process_glasses_per_h", "learned-two_hands", "learned-one_hand"), 1.0, slack=0.15),
            Size(ratio("transport_glasses_per_h", "sequence-two_hands", "sequence-one_hand"), 1.4, slack=0.2),
            Size(ratio("process_glasses_per_h", "sequence-two_hands", "sequence-one_hand"), 1.0, slack=0.15),
        ],
        notes=[
            "In these cells picks and places take more of the robot's time than moves, and two hands save moves alone.",
        ],
    ),
    Claim(
        id="noise",
        text="Processing that varies breaks cyclic schedules, so that a policy that sees the state should do better.",
        source="a remark of the specification",
        hardware=ON,
        here=CELLS + "; processing varies by 0.3 around its plan, the slowest stage has two chambers",
        ours="learned",
        contestants=WHO,
        measure=settings.with_noise,
        directions=[*rising("of_bound_frac", "fifo", "learned"), *rising("of_bound_frac", "sequence", "learned")],
        notes=["The sequences here look at the state, too: they skip what is not there and wait for what is not done."],
    ),
)
"""The headline first."""
