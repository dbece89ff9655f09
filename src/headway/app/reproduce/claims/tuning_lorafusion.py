"""What Zhu et al. claim for LoRAFusion, and how it is measured here."""

from __future__ import annotations

from headway.app.reproduce.claim import Below, Claim, Of, Size, ratio
from headway.app.reproduce.claims import lorafusion_live as live
from headway.app.reproduce.claims import lorafusion_settings as settings

ON = (
    "Llama-3.1-8B, Qwen2.5-32B and Llama-3.1-70B on one to four H100 (and L40S); XSum, CNN/DailyMail, WikiSum, mixtures"
)
HERE = (
    "Virtual time: four adapters in a pipeline of four stages, microbatches of 4,096 tokens at most, forward and "
    "backward linear in tokens, lognormal lengths; mean over four mixtures of data and global batches of 8 and 32"
)
CLOCK = (
    "By the clock, on this machine's processor: PyTorch, float32, global batches of 8 examples, four adapters of rank 8"
)
WHO = {
    "lorafusion": "groups, balanced packing, merging, the bubble rule",
    "mlora": "adapters in turns, microbatches in the order of the data (1, 2, 4 or all examples that fit: the best)",
    "one-by-one": "one adapter after the other, as in Megatron-LM (1, 2, 4 or all examples that fit: the best)",
}
TRAINERS = {
    "lorafusion": "one process, four adapters in shared microbatches of 2,048 tokens at most",
    "fused-apart": "the same code, one adapter after the other",
    "trainer": "four runs of `headway tune`'s own trainer, one after the other: padded microbatches of 512 tokens",
    "trainer-2048": "the same with microbatches of 2,048 tokens",
}
SEQUENTIAL = ("trainer", "trainer-2048")

CLAIMS = (
    Claim(
        id="end-to-end",
        text="LoRAFusion trains 1.47 times as fast as Megatron-LM on average, at most 1.96 times; 1.29 times as fast "
        "as mLoRA on average, at most 1.46 times.",
        source="abstract",
        hardware=ON,
        here=HERE,
        ours="lorafusion",
        contestants=WHO,
        measure=settings.gains,
        directions=[
            Below(Of(who, "tokens_per_s"), Of("lorafusion", "tokens_per_s")) for who in ("mlora", "one-by-one")
        ],
        sizes=[
            Size(Of("lorafusion", "mean_gain_over_one-by-one"), 1.47, slack=0.25),
            Size(Of("lorafusion", "most_gain_over_one-by-one"), 1.96, slack=0.25),
            Size(Of("lorafusion", "mean_gain_over_mlora"), 1.29, slack=0.25),
            Size(Of("lorafusion", "most_gain_over_mlora"), 1.46, slack=0.25),
        ],
        notes=[
            "The published gains contain those of the kernels; ours are of the schedule alone, all contestants pay the "
            "same per token. Ours grow as global batches get smaller: a pipeline that runs empty at each of them.",
            "Data, stages and the capacity of a microbatch are of our choice, not the paper's. With 16,384 tokens per "
            "microbatch a global batch of 8 short examples is a single one, and turns (mLoRA) do as well or better.",
        ],
    ),
    Claim(
        id="parts",
        text="Balanced packing, merging and groups each reduce bubbles.",
        source="sections on scheduling; no number of them is used here",
        hardware=ON,
        here=HERE.replace("8 and 32", "8"),
        ours="lorafusion",
        contestants={
            "lorafusion": WHO["lorafusion"],
            "greedy": "packed by first fit alone",
            "no-merging": "without the merge pass",
            "no-groups": "each adapter packed alone",
        },
        measure=settings.parts,
        directions=[
            Below(Of(who, "tokens_per_s"), Of("lorafusion", "tokens_per_s"))
            for who in settings.OURS
            if who != "lorafusion"
        ],
        notes=[
            "Merging adds about a tenth here, the search beyond first fit and the groups about 1% or less each: first "
            "fit decreasing is almost always at the fewest microbatches already."
        ],
    ),
    Claim(
        id="stages",
        text="The longer the pipeline, the more is lost in bubbles by those that run it empty.",
        source="motivation; no number of it is used here",
        hardware=ON,
        here=HERE.replace("four stages", "two to eight stages").replace(
            "four mixtures of data and global batches of 8 and 32", "seeds; mixed data, global batches of 32"
        ),
        ours="lorafusion",
        contestants=WHO,
        measure=settings.stages,
        directions=[
            Below(Of("lorafusion", f"{num}_stages_bubble_frac"), Of(who, f"{num}_stages_bubble_frac"))
            for num in (2, 4, 8)
            for who in ("mlora", "one-by-one")
        ],
    ),
    Claim(
        id="together",
        text="One process that trains several adapters over one frozen model beats training them one after the other.",
        source="abstract; by how much is the first claim",
        hardware=ON,
        here=CLOCK + "; Headway Mini (2.8 million parameters), examples of 30 to 90 tokens in the mean",
        ours="lorafusion",
        contestants=TRAINERS,
        measure=live.shipped,
        directions=[Below(Of(who, "tokens_per_s"), Of("lorafusion", "tokens_per_s")) for who in SEQUENTIAL],
        sizes=[
            Size(ratio("tokens_per_s", "lorafusion", "trainer"), 1.47),
            Size(Of("lorafusion", "agreeing_digits"), 4.0, at_least=True),
        ],
        notes=[
            "There is no pipeline here. With 8 examples of such a length in a global batch most of the gain is that of "
            "rows without padding and of the fused function, as `fused-apart` shows; that adapters share microbatches "
            "gains little, for products of some 450 rows keep a processor busy. See the next claim.",
            "`agreeing_digits`: in how many decimal digits all losses of all adapters agree with those of training "
            "each alone; that it is at least 4 is our demand.",
            "Contestants take turns within each measurement, and the mean of two counts; measurements wait for "
            "each other, but other programs on the machine disturb them.",
        ],
    ),
    Claim(
        id="together-little",
        text="The same, where each adapter alone has little to compute at a time.",
        source="motivation",
        hardware=ON,
        here=CLOCK.replace("8 examples", "2 examples") + "; Headway Mini, examples of 30 to 90 tokens in the mean",
        ours="lorafusion",
        contestants=TRAINERS,
        measure=live.little,
        directions=[
            Below(Of(who, "tokens_per_s"), Of("lorafusion", "tokens_per_s")) for who in (*SEQUENTIAL, "fused-apart")
        ],
        sizes=[
            Size(ratio("tokens_per_s", "lorafusion", "trainer"), 1.47),
            Size(Of("lorafusion", "agreeing_digits"), 4.0, at_least=True),
        ],
    ),
    Claim(
        id="together-larger",
        text="The same.",
        source="as above",
        hardware=ON,
        here=CLOCK + "; a random model of 5 million parameters, examples of 30 to 90 tokens in the mean",
        ours="lorafusion",
        contestants=TRAINERS,
        measure=live.small,
        directions=[Below(Of(who, "tokens_per_s"), Of("lorafusion", "tokens_per_s")) for who in SEQUENTIAL],
        sizes=[
            Size(ratio("tokens_per_s", "lorafusion", "trainer"), 1.47),
            Size(Of("lorafusion", "agreeing_digits"), 4.0, at_least=True),
        ],
    ),
    Claim(
        id="function",
        text="The fused kernels are 1.27 times as fast as those of PyTorch on average, at most 1.39 times, and move "
        "34% to 37% fewer bytes (the latter from memory).",
        source="abstract; the bytes are unconfirmed",
        hardware="H100",
        here="One linear layer with an adapter of rank 16 and 10% dropout, 2,048 tokens, forward and backward; bytes "
        "counted per operation; by the clock on this machine's processor (or its GPU, where there is one)",
        ours="fused",
        contestants={"fused": "one function, cut at S", "peft": "the layer of `peft`, differentiated by PyTorch"},
        measure=live.function,
        directions=[
            Below(Of("fused", "moved_bytes"), Of("peft", "moved_bytes")),
            Below(Of("fused", "kept_bytes"), Of("peft", "kept_bytes")),
        ],
        sizes=[
            Size(ratio("calls_per_s", "fused", "peft"), 1.27),
            Size(ratio("moved_bytes", "fused", "peft"), 0.645, slack=0.15),
        ],
        notes=[
            "The function here is made of a library's matrix products, not of kernels of its own. A processor with "
            "large caches is bound by arithmetic in this layer: what is saved hardly shows by the clock.",
            "Bytes are those that each operation reads and writes. Without dropout the function moves 33% to 38% "
            "fewer than `peft`; kernels in which dropout and product are one would come there with dropout, too.",
        ],
    ),
)
"""The headline first."""
