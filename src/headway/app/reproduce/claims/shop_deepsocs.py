"""What is claimed of DeepSoCS: jobs are done sooner than with HEFT, and noise harms it less.

Source: Sung, Ha, Kim, Yahja, Sohn, Ryu, "DeepSoCS: A Neural Scheduler for Heterogeneous System-on-Chip (SoC) Resource
Scheduling", 2020, arXiv 2005.07666. Its claims are known here as directions; sizes are what is expected of them.
"""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Ratio, Size, ratio
from headway.app.reproduce.claims import soc_settings as settings

SOURCE = "abstract"
HARDWARE = "a simulator of chips; times of tasks are tabled"
HERE = (
    "Virtual time: 150 jobs of ten tasks on three elements, at most three jobs at a time, exponential gaps with a mean "
    "of {scales}; weights taught once by `headway train`, on other streams"
)
OURS, HEFT, HELD = settings.OURS, settings.HEFT, settings.HELD
CONTESTANTS = {
    OURS: "a network orders what is ready, and each task runs where it is over first",
    HEFT: "a plan by upward ranks, made anew at every arrival",
    "etf": "always the pair of task and element that is over first",
    "eft": "first come first served, each where it is over first",
    "met": "first come first served, each where it runs fastest",
    "stf": "shortest first, each where it is over first",
    "random": "dice",
    HELD: "etf that, like DeepSoCS here, decides anew about what would have to queue",
}


def _noise(who: str, noise: int) -> Of:
    return Of(who, f"noise_{noise}_mean_e2e_s")


CLAIMS = (
    Claim(
        id="latency",
        text="Jobs are done sooner than with HEFT; expected are 2 to 15% at gaps of 25 to 50.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(scales="25, 35 and 50") + "; no noise",
        ours=OURS,
        contestants=CONTESTANTS,
        measure=settings.by_scale,
        directions=[
            Below(Of(OURS, f"scale_{scale}_mean_e2e_s"), Of(other, f"scale_{scale}_mean_e2e_s"))
            for scale in settings.SCALES_S
            for other in (HEFT, *settings.LISTS, HELD)
        ],
        sizes=[Size(ratio(f"scale_{scale}_mean_e2e_s", OURS, HEFT), 0.915, slack=0.065) for scale in settings.SCALES_S],
        notes=[
            "Jobs are done 17 to 18% sooner than with HEFT, more than was expected, and 5 to 7% sooner than with "
            "etf-held.",
            "HEFT is made for one job: where jobs come one after the other its plan puts the beginnings of new jobs "
            "before the ends of old ones, and list rules without any plan beat it. So the comparison that says most of "
            "what was learnt is that with etf-held, which differs in the order alone.",
        ],
    ),
    Claim(
        id="noise",
        text="It is more robust to noise than HEFT: its advantage widens as times depart from the expected ones.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE.format(scales="25 and 50") + "; normal noise of 0, 20 and 50% on every task",
        ours=OURS,
        contestants=CONTESTANTS,
        measure=settings.by_noise,
        directions=[
            *(Below(_noise(OURS, noise), _noise(HEFT, noise)) for noise in settings.NOISES),
            *(
                Below(Ratio(_noise(OURS, noise), _noise(HEFT, noise)), Ratio(_noise(OURS, 0), _noise(HEFT, 0)))
                for noise in (20, 50)
            ),
            *(Below(_noise(OURS, noise), _noise(HELD, noise)) for noise in settings.NOISES),
        ],
    ),
    Claim(
        id="radio",
        text="The same on a chip with special elements, for applications of radio and radar.",
        source=SOURCE,
        hardware=HARDWARE,
        here="Virtual time: 150 jobs of four applications (their shapes from memory) on ten elements, at most three "
        "jobs at a time, mean gap 100, 20% of noise; the same weights",
        ours=OURS,
        contestants=CONTESTANTS,
        measure=settings.radio,
        directions=[Below(Of(OURS, "mean_e2e_s"), Of(other, "mean_e2e_s")) for other in (HEFT, *settings.LISTS, HELD)],
    ),
)
