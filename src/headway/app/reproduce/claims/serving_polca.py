"""What was published of POLCA: more servers behind the same feed, and who pays for it.

Source: Patel et al., "POLCA: Power Oversubscription in LLM Cloud Providers", 2023, arXiv 2308.12908.
"""

from __future__ import annotations

from functools import partial

from headway.app.reproduce.claim import Below, Claim, Of, Size, rising
from headway.app.reproduce.claims import polca_settings as settings

HARDWARE = "Simulated there, too: a row of 40 DGX-A100, six weeks of power recorded in production"
HERE = (
    "Virtual time: BLOOM-176B on 10 servers of 8 A100-80GB (and those added), half for each priority, summaries, "
    "search and chat; arrivals swing by half around their mean over one day of 10 minutes"
)
MODELLED = (
    "Modelled: decodes take 1/f^0.25 and prompts 1/f as long at a clock f, power above idle goes with f^2.2; 1,500 W "
    "per server beside its accelerators; a brake holds for 30 s at least. The budget is set so that the row without "
    "added servers peaks at 79% of it, as published of production: where brakes first appear without a limit follows "
    "from that; what limits come to does not."
)
RULES = {
    "two": "POLCA: two thresholds, low priority first",
    "one-all": "one threshold (89%), all lowered",
    "one-low": "one threshold (89%), low priority lowered",
}
SLOWDOWNS = [f"{priority}_p{percent}_slowdown_frac" for priority in ("high", "low") for percent in (50, 99)]

CLAIMS = (
    Claim(
        id="added",
        text="30% more servers fit into the same power; without a limit, brakes are pulled from 20 to 30% on.",
        source="abstract; what no limit comes to is recalled, not read again",
        hardware=HARDWARE,
        here=HERE,
        ours="two",
        contestants={"none": "nobody lowers clocks, the brake apart", "two": RULES["two"]},
        measure=settings.added,
        directions=rising("most_added_frac", "none", "two"),
        sizes=[Size(Of("two", "most_added_frac"), 0.3, slack=0.1), Size(Of("none", "most_added_frac"), 0.2, slack=0.1)],
        claimed={("two", "most_added_frac"): 0.3},
        notes=[
            "most_added_frac is the largest share of servers added, in steps of 10% to 50%, before the first brake.",
            MODELLED,
        ],
    ),
    Claim(
        id="slowdowns",
        text="With 30% more servers, two thresholds come without a brake, slow high priority by less than 1% (P50) and "
        "5% (P99) and low priority by less than 5% and 50%; lowering all harms high priority more.",
        source="evaluation; the bounds are recalled, not read again",
        hardware=HARDWARE,
        here=HERE,
        ours="two",
        contestants={
            "promised": "the bounds; 0.5 brakes stand for none",
            "none": "nobody lowers clocks, the brake apart",
            **RULES,
        },
        measure=partial(settings.slowdowns, settings.SWING_FRAC),
        directions=[
            *rising("num_brakes", "two", "promised", "none"),
            *(Below(Of("two", name), Of("promised", name)) for name in SLOWDOWNS),
            *(Below(Of("two", name), Of("none", name)) for name in SLOWDOWNS),
            *(Below(Of("two", name), Of("one-all", name)) for name in SLOWDOWNS[:2]),
            *rising("peak_power_frac", "two", "one-low"),
        ],
        notes=[
            "Slowdowns are of e2e, against the same servers and requests without any limit.",
            "Half of low priority is slowed by more than the 5% promised because servers are loaded enough here that "
            "prompts, which a low clock slows most, hold up decodes again and again: with half the requests per server "
            "it is 6%, with a quarter 1 to 4% (two seeds each). Swings of 90% instead of 50% change nothing about it.",
            MODELLED,
        ],
    ),
)
