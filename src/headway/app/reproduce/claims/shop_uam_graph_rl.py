"""What is claimed for fleets that a graph network sends, and how it is measured here."""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Ratio, Size, ratio, rising
from headway.app.reproduce.claims import uam_settings as settings

ON = "a simulated city of 8 vertiports and 40 aircraft; the computer is not known"
CITY = (
    "Virtual time: one drawn city of 8 vertiports, 40 aircraft, 12 hours, two peaks, 400 passengers an hour; the "
    "network was taught on other days of this city"
)
WHO = {
    "learned": "the network, taught by PPO",
    "flow": "min-cost flow through the next hour, planned anew at every decision; the paper has none",
    "greedy": "each aircraft where it earns most at once",
    "genetic": "a plan of the whole day made in advance by a genetic algorithm, 18,000 plans tried",
    "random": "anything that is possible",
}
LONGEST, MEAN = Of("genetic", "slowest_decide_s"), Of("learned", "decide_s")
"""All of a genetic algorithm's planning is one decision."""
BESIDE_FLOW = Size(ratio("profit", "learned", "flow"), 1.0, slack=0.05)
"""Nobody claims this; it is what a strong baseline makes of the same day."""

CLAIMS = (
    Claim(
        id="profit",
        text="More profit a day than a genetic algorithm and than random feasible flights; expected beyond the paper: "
        "random < greedy < learned, and 1.0 to 1.3 times the genetic algorithm. No profit is published.",
        source="abstract; the expectations are the specification's",
        hardware=ON,
        here=CITY + "; with delays, closed routes, repairs and passengers who do not come as forecast",
        ours="learned",
        contestants=WHO,
        measure=settings.uncertain,
        directions=[
            *rising("profit", "random", "greedy", "learned"),
            *rising("profit", "genetic", "learned"),
        ],
        sizes=[Size(ratio("profit", "learned", "genetic"), 1.15, factor=1.15), BESIDE_FLOW],
        notes=[
            "A plan made in advance meets a day that is otherwise: it earns less than greed. The published ratio may "
            "be to a genetic algorithm that was better, or planned more often.",
            "Constants of aircraft and city are reconstructed. That flows are about as good is no claim of the paper, "
            "which leaves them out; in steps longer than five minutes they earn less.",
        ],
    ),
    Claim(
        id="sure",
        text="The same where everything comes as forecast, which is what a plan made in advance is for.",
        source="a remark of the specification",
        hardware=ON,
        here=CITY + "; passengers and fares are known in advance, nothing is late, closed or broken",
        ours="learned",
        contestants=WHO,
        measure=settings.sure,
        directions=[
            *rising("profit", "random", "greedy", "learned"),
            *rising("profit", "genetic", "learned"),
        ],
        sizes=[Size(ratio("profit", "learned", "genetic"), 1.15, factor=1.15), BESIDE_FLOW],
        notes=["The network was never taught on such days; flows and the genetic algorithm use that all is known."],
    ),
    Claim(
        id="time",
        text="A decision takes about three orders of magnitude less time than the genetic algorithm's.",
        source="abstract",
        hardware=ON,
        here=CITY
        + "; mean decision of the network, in numpy, against the one in which the genetic algorithm plans, compiled",
        ours="learned",
        contestants={name: WHO[name] for name in ("learned", "genetic")},
        measure=settings.deciding,
        directions=[Below(MEAN, LONGEST)],
        sizes=[Size(Ratio(LONGEST, MEAN), 1000.0, at_least=True)],
        notes=[
            "The genetic algorithm plays a day in a third of a millisecond here, and 18,000 of them; the ratio is as "
            "large as one lets it search long.",
        ],
    ),
    Claim(
        id="larger",
        text="Graph networks do not depend on how many vertiports and aircraft there are.",
        source="section on encoders; that weights transfer is not claimed there in numbers known here",
        hardware=ON,
        here="Virtual time: another city, of 12 vertiports and 60 aircraft, with the same weights",
        ours="learned",
        contestants={name: WHO[name] for name in ("learned", "greedy", "random")},
        measure=settings.larger,
        directions=rising("profit", "random", "greedy", "learned"),
    ),
)
"""The headline first."""
