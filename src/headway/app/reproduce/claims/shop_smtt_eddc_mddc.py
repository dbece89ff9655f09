"""What two rules for one machine that a language model found are worth, against proven optima.

Source: Cetinkaya, Buyuktahtakin, Shojaee, Reddy, "Discovering Heuristics with Large Language Models (LLMs) for
Mixed-Integer Programs: Single-Machine Scheduling", 2025, arXiv 2510.24013. Instances are made up after its generator;
its own are not public.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

from headway.app.reproduce.claim import Below, Claim, Of, Size, rising
from headway.app.reproduce.claims import smtt_settings as settings

HARDWARE = "none: gaps do not depend on it"
HERE = (
    "{num} made-up instances of {jobs} jobs (tardiness 0.2-0.8, spread of due dates 0.2-1, durations {law}); optima "
    "proven by Lawler's decomposition, those of 0 left out"
)
CONTESTANTS = {
    "edd": "earliest due date first",
    "eddc": "EDDC as reconstructed: a pass of insertions from shortest first",
    "eddc-printed": "EDDC as printed",
    "mdd": "modified due date",
    "mddc": "MDDC",
    "mddc-plain": "MDDC without its correction for long jobs",
    "psk": "Panwalkar, Smith, Koulamas",
    "spt": "shortest first",
    "evolved": "the rule that random changes of expressions found in 150 s",
}
NOTES = [
    "Printed, EDDC sorts by due dates and then exchanges what is not in that order: nothing. Its gaps are those of "
    "EDD, not the published ones; the reconstruction's are near those published.",
    "Mean gaps in percent are those of the few instances whose optimum is close to 0: among uniform jobs they "
    "decide whether MDDC or MDD has the smaller mean, and differ from seed to seed. Gaps of sums do not.",
    "Panneerselvam's heuristic, which is far behind in the publication, is left out: its steps are not known here.",
]
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "20-uniform": {"edd": 0.4661, "eddc": 0.1283, "mdd": 0.0186, "mddc": 0.0170, "psk": 0.0177},
    "20-normal": {"edd": 0.3194, "eddc": 0.1130, "mdd": 0.0251, "mddc": 0.0171, "psk": 0.0241},
    "100-uniform": {"edd": 0.5957, "eddc": 0.2812, "mdd": 0.0181, "mddc": 0.0152, "psk": 0.0179},
    "200-uniform": {"edd": 0.6298, "eddc": 0.5202, "mdd": 0.0207, "mddc": 0.0200, "psk": 0.0199},
}


def _gaps(jobs: int, per_class: int, law: Literal["uniform", "normal"], *notes: str) -> Claim:
    published = PUBLISHED[f"{jobs}-{law}"]
    return Claim(
        id=f"{law}-{jobs}",
        text=f"Mean gap to the optimum at {jobs} jobs, {law} durations: EDD {published['edd']:.1%}, EDDC "
        f"{published['eddc']:.1%}, MDD {published['mdd']:.2%}, MDDC {published['mddc']:.2%}.",
        source="its tables of mean gaps",
        hardware=HARDWARE,
        here=HERE.format(num=per_class * settings.NUM_CLASSES, jobs=jobs, law=law),
        ours="mddc",
        contestants=CONTESTANTS,
        measure=partial(settings.gaps, jobs, per_class, law),
        directions=[
            *rising("mean_gap_frac", "mddc", "mdd", "eddc", "edd"),
            *rising("sum_gap_frac", "mddc", "mdd", "eddc", "edd"),
        ],
        sizes=[Size(Of(rule, "mean_gap_frac"), published[rule]) for rule in ("mddc", "mdd", "eddc", "edd")],
        claimed={(rule, "mean_gap_frac"): gap for rule, gap in published.items()},
        notes=[*NOTES, *notes],
    )


CLAIMS = (
    _gaps(20, 40, "normal"),
    _gaps(20, 40, "uniform"),
    Claim(
        id="classes",
        text="Where due dates are close together, MDDC more than halves the gap of MDD: 2.54% against 6.00% at "
        "tardiness 0.6, 0.47% against 2.93% at 0.8.",
        source="its table by class, 20 uniform jobs",
        hardware=HARDWARE,
        here=HERE.format(num=800, jobs=20, law="uniform") + "; the two classes with spread 0.2",
        ours="mddc",
        contestants=CONTESTANTS,
        measure=partial(settings.gaps, 20, 40, "uniform"),
        directions=[
            Below(Of("mddc", metric), Of(rule, metric))
            for metric in ("class_6_2_gap_frac", "class_8_2_gap_frac")
            for rule in ("mdd", "mddc-plain", "psk", "eddc")
        ],
        sizes=[
            Size(Of("mddc", "class_6_2_gap_frac"), 0.0254),
            Size(Of("mdd", "class_6_2_gap_frac"), 0.0600),
            Size(Of("mddc", "class_8_2_gap_frac"), 0.0047),
            Size(Of("mdd", "class_8_2_gap_frac"), 0.0293),
        ],
        notes=NOTES[:1],
    ),
    _gaps(100, 4, "uniform"),
    _gaps(200, 2, "uniform"),
    Claim(
        id="large",
        text="EDDC is better than EDD up to 500 jobs, and MDDC remains ahead of traditional rules.",
        source="its abstract and its section on 500 jobs",
        hardware="not said",
        here="20 made-up instances of 500 jobs, against the cheapest of all rules; the time of each, once compiled",
        ours="mddc",
        contestants={name: CONTESTANTS[name] for name in settings.RULES},
        measure=settings.large,
        directions=[
            *rising("mean_over_best", "mdd", "eddc", "edd", "spt"),
            Below(Of("mddc", "mean_over_best"), Of("mdd", "mean_over_best")),
        ],
        notes=["At 500 jobs MDDC and MDD differ by less than half a percent, one way or the other."],
    ),
    Claim(
        id="discovery",
        text="A search over programs improves on the rules that it begins with; random changes of expressions do, too.",
        source="its training: EDD 6400 to 4680, MDD 4362 to 4355 mean total tardiness at 25 jobs",
        hardware="Mixtral 8x7B, up to 72 hours",
        here=HERE.format(num=400, jobs=25, law="uniform") + "; the rule shipped, found by 33,000 random changes in 150 "
        "processor seconds (headway train shop/smtt-eddc-mddc)",
        ours="evolved",
        contestants=CONTESTANTS,
        measure=partial(settings.gaps, 25, 20, "uniform"),
        directions=[Below(Of("evolved", "sum_gap_frac"), Of(rule, "sum_gap_frac")) for rule in ("mddc", "mdd", "edd")],
        notes=[
            "No language model takes part here. The rule was chosen by its mean total tardiness; its mean gap in "
            "percent, which nobody asked it for, is worse than that of MDD.",
        ],
    ),
    Claim(
        id="units",
        text="MDDC adds a pure number to a time, so that its decisions depend on the unit of time.",
        source="this project: its last term",
        hardware=HARDWARE,
        here=HERE.format(num=400, jobs=20, law="uniform") + "; the clock in units, in thousandths, and normalised",
        ours="normalised",
        contestants={
            "mddc": "as published, in the unit of the instances",
            "thousandths": "as published, in thousandths of it",
            "normalised": "in thousandths, durations measured by their mean",
        },
        measure=settings.units,
        directions=[Below(Of("normalised", "other_order_frac"), Of("thousandths", "other_order_frac"))],
        notes=["The term decides little: it changes orders, and gaps hardly at all."],
    ),
)
