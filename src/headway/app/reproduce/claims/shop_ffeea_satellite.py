"""What estimating fitness is worth to an evolutionary search for link plans.

Source: Jiang, Guo, Zhang, Song, Pedrycz, Xing, "An Evolutionary Task Scheduling Algorithm Using Fuzzy Fitness
Evaluation Method for Communication Satellite Network", 2024, arXiv 2408.13500. Its abstract claims that estimates and
the other improvements raise network service time significantly; the sizes below are what is expected of that, not
numbers of the publication.
"""

from __future__ import annotations

from functools import partial

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio
from headway.app.reproduce.claims import ffeea_settings as settings

HARDWARE = "not known: only the abstract is"
SCENARIOS = (
    "2 made-up scenarios per seed: 800 windows of 5-15 minutes, 57 satellites with two feed modes, 10 stations; random "
    "first populations of 100"
)
CONTESTANTS = {
    "ffeea": "estimated fitness and adaptive crossover",
    "exact": "adaptive crossover, everybody evaluated",
    "ffeea-fixed": "estimated fitness, crossover that does not adapt",
    "exact-fixed": "everybody evaluated, crossover that does not adapt",
}
GREEDY = {"greedy": "the best of five orders by simple rules, from one evaluation each"}
TIMED = [
    "Time is that of the processor, so that other work on the machine does not count. Estimates pay where an "
    "evaluation takes long beside a comparison with 200 known individuals: here one takes about 0.2 ms compiled and "
    "some 10 ms in plain Python, a comparison 0.01 ms.",
    "The gain is about a percent: plans by the simplest rules, which greedy is, leave little more to gain.",
]
RECONSTRUCTED = "Similarity, thresholds, crossover and decoder are reconstructed; see `FfeeaSatellite`."

CLAIMS = (
    Claim(
        id="slow-decoder",
        text="In equal time, estimating fitness gives 1 to 5% more link time than evaluating everybody.",
        source="its abstract (more service time); expected size",
        hardware=HARDWARE,
        here=SCENARIOS + "; 60 s in which each evaluation is charged what it takes in plain Python",
        ours="ffeea",
        contestants={**CONTESTANTS, **GREEDY},
        measure=partial(settings.equal_time, 60.0, True),
        directions=[
            Below(Of("exact", "link_hours"), Of("ffeea", "link_hours")),
            Below(Of("exact-fixed", "link_hours"), Of("ffeea-fixed", "link_hours")),
            Below(Of("greedy", "link_hours"), Of("ffeea", "link_hours")),
        ],
        sizes=[Size(ratio("link_hours", "ffeea", "exact"), 1.03, slack=0.02)],
        notes=[*TIMED, RECONSTRUCTED],
    ),
    Claim(
        id="fast-decoder",
        text="With a fast decoder, too, estimates give more link time in equal time than evaluating everybody.",
        source="this project: what becomes of the claim when the decoder is compiled",
        hardware=HARDWARE,
        here=SCENARIOS + "; 2 processor seconds, compiled decoder",
        ours="ffeea",
        contestants={**CONTESTANTS, **GREEDY},
        measure=partial(settings.equal_time, 2.0, False),
        directions=[Below(Of("exact", "link_hours"), Of("ffeea", "link_hours"))],
        notes=[*TIMED, RECONSTRUCTED],
    ),
    Claim(
        id="generations",
        text="In equally many generations, estimates save 30 to 70% of evaluations and lose below 1% link time.",
        source="expected of its method",
        hardware=HARDWARE,
        here=SCENARIOS + "; 150 generations",
        ours="ffeea",
        contestants=CONTESTANTS,
        measure=settings.equal_generations,
        directions=[Below(Of("ffeea", "num_real"), Of("exact", "num_real"))],
        sizes=[
            Size(Of("ffeea", "real_frac"), 0.5, slack=0.2),
            Size(ratio("link_hours", "ffeea", "exact"), 1.0, slack=0.01),
        ],
        notes=[RECONSTRUCTED],
    ),
    Claim(
        id="adaptive",
        text="Adaptive crossover gives more link time than one that does not adapt.",
        source="its abstract (other improvement strategies)",
        hardware=HARDWARE,
        here=SCENARIOS + "; 60 s in which each evaluation is charged what it takes in plain Python",
        ours="ffeea",
        contestants={**CONTESTANTS, **GREEDY},
        measure=partial(settings.equal_time, 60.0, True),
        directions=[
            Below(Of("ffeea-fixed", "link_hours"), Of("ffeea", "link_hours")),
            Below(Of("exact-fixed", "link_hours"), Of("exact", "link_hours")),
        ],
        notes=[
            "How its crossover adapts is not known. This one, with odds by fitness and lengths by how long nothing got "
            "better, makes no difference that could be told from chance.",
        ],
    ),
    Claim(
        id="bound",
        text="Link plans come near to the most that is possible.",
        source="this project: a bound by constraint programming",
        hardware=HARDWARE,
        here="a made-up scenario per seed: 150 windows, 30 satellites, 4 stations; 15 s for the constraint program, "
        "on one core and from the greedy plan on",
        ours="ffeea",
        contestants={
            "ffeea": "as it comes, from greedy orders on, below a second",
            "greedy": GREEDY["greedy"],
            "cp-sat": "the constraint program's own plan",
        },
        measure=settings.against_bound,
        directions=[Below(Of("greedy", "of_bound_frac"), Of("ffeea", "of_bound_frac"))],
        notes=["The bound is proven and not always reached, so that the true distance is smaller."],
    ),
)
