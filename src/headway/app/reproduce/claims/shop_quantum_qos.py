"""What is claimed of schedulers of quantum networks.

Source: Skrzypczyk, Wehner, "An Architecture for Meeting Quality-of-Service Requirements in Multi-User Quantum
Networks", 2021, arXiv 2111.13124. Its claims are known here as directions; sizes are what is expected of them.
"""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio, rising
from headway.app.reproduce.claims import quantum_settings as settings

SOURCE = "abstract, and the simulator that its authors released"
HARDWARE = "none: calculated for nodes of one communication and three storage qubits, slots of 10 ms"
HERE = (
    "Virtual time, nothing fails: 60 demands offered one after the other, what the last table delivers; star, H, "
    "symmetric, line and a network like SURFnet (lengths from memory, scaled down to a fifth)"
)
UNI, BLOCK, SEGMENTS, BUDGET = settings.UNI, settings.BLOCK, settings.SEGMENTS, settings.BUDGET
ABOUT = {
    UNI: "one thing at a time in the whole network",
    "uni-pb-edf": "one thing at a time, runs may be stopped for up to 100 slots",
    "rcpsp-cedf": "nodes by themselves, clairvoyant",
    BLOCK: "nodes by themselves, runs are blocks of all their nodes",
    SEGMENTS: "qubits by themselves, as operations use them",
    BUDGET: "communication qubits by themselves, runs may be stopped for up to 100 slots",
}
BRANCHED = ("h", "symmetric", "line", "surfnet")

CLAIMS = (
    Claim(
        id="resources",
        text="Schedulers that know several resources deliver much more than one that takes the network as one: "
        "expected are 1.5 to 5 times as much.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE + "; fidelity 0.6, 0.4 to 1.6 pairs per second each",
        ours=BLOCK,
        contestants={name: ABOUT[name] for name in (UNI, BLOCK, SEGMENTS)},
        measure=settings.by_topology,
        directions=[Below(Of(UNI, f"{net}_pairs_per_s"), Of(BLOCK, f"{net}_pairs_per_s")) for net in BRANCHED],
        sizes=[Size(ratio(f"{net}_pairs_per_s", BLOCK, UNI), 3.25, slack=1.75) for net in BRANCHED],
        notes=[
            "In a star everything goes through one node, so that blocks gain nothing there, and no direction is asked "
            "of it. The more paths avoid each other, the larger the gain; in the H, where most meet at its bar, it is "
            "1.4 times, a little below what was expected.",
        ],
    ),
    Claim(
        id="paths",
        text="The gain grows with the number of paths that have nothing in common.",
        source=SOURCE,
        hardware=HARDWARE,
        here="Virtual time, nothing fails: 60 demands of fidelity 0.6 between 1 to 4 pairs of users, each pair with a "
        "repeater of its own",
        ours=BLOCK,
        contestants={name: ABOUT[name] for name in (UNI, BLOCK)},
        measure=settings.by_paths,
        directions=[
            Below(ratio(f"paths_{one}_pairs_per_s", BLOCK, UNI), ratio(f"paths_{one + 1}_pairs_per_s", BLOCK, UNI))
            for one in settings.PATHS[:-1]
        ],
        sizes=[Size(ratio(f"paths_{num}_pairs_per_s", BLOCK, UNI), float(num), factor=1.2) for num in (2, 3, 4)],
    ),
    Claim(
        id="fidelity",
        text="The better pairs must be, the fewer there are: several-fold from fidelity 0.55 to 0.85, for distillation "
        "multiplies what must be made.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE + "; the mean over networks",
        ours="0.55",
        contestants={f"{one:.2f}": f"all demands want fidelity {one:.2f}" for one in settings.FIDELITIES},
        measure=settings.by_fidelity,
        directions=rising("pairs_per_s", "0.85", "0.70", "0.55"),
        sizes=[Size(ratio("pairs_per_s", "0.55", "0.85"), 2.0, at_least=True)],
        notes=[
            "The mean is carried by neighbours in the line and in SURFnet, for whom a fibre alone nearly suffices; "
            "users with two repeaters between them get nothing at 0.85.",
        ],
    ),
    Claim(
        id="preemption",
        text="Runs that may be stopped for a while let the network deliver more, at the price of jitter and of the "
        "longest response.",
        source=SOURCE,
        hardware=HARDWARE,
        here=HERE + "; fidelities of 0.55, 0.7 and 0.85 and 0.4 to 3.2 pairs per second mixed; the mean over networks. "
        "Pairs: of the demands that each scheduler takes; jitter and response: of those that blocks take",
        ours=BUDGET,
        contestants=ABOUT,
        measure=settings.mixed,
        directions=[
            *rising("pairs_per_s", BLOCK, BUDGET),
            *rising("jitter_s2", BLOCK, BUDGET),
            *rising("response_s", BLOCK, BUDGET),
        ],
        notes=[
            "More is delivered; the price is not seen here. Serving the same demands, runs that may be stopped have a "
            "shorter longest response and a smaller jitter than blocks: short runs need not wait for long blocks, the "
            "long ones have room in their periods, and communication qubits are free between the parts of a run, while "
            "a block keeps all its nodes. With the network as one resource, where only stopping differs, as much is "
            "delivered with and without it. Non-preemptive runs that take their qubits as they use them deliver "
            "slightly more than those that may be stopped.",
            "Our blocks are placed by insertion, earliest deadline first, and so know what is to come. A scheduler "
            "that does not may look worse against preemption.",
        ],
    ),
)
