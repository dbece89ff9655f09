"""The verbs and flags of the command line, frozen: a change here is a change for users."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import typer

from headway.app.cli.root import app

FLAGS = {
    "": "--debug --version",
    "serve": (
        "<model> --access-log --adapter --api-key --api-key-file --block-size --config --context "
        "--default-slo-class --device --drain-timeout --dtype --engine --host --json --kv-memory --max-body "
        "--max-choices --max-file-bytes --max-prompt-tokens --max-queue --max-seqs --metric-aliases --name --native "
        "--no-metric-aliases --no-native --no-prefix-caching --no-tuning --policy --policy-param --port "
        "--prefix-caching --quantize --request-timeout --seed --state-dir --trace --tuner --tuner-param --tuning "
        "--tuning-api-key"
    ),
    "chat": (
        "--api-key --json --max-tokens --message --min-p --model --seed --slo-class --stop --system "
        "--temperature --top-k --top-p --url"
    ),
    "tune": (
        "<data> --alpha --base --batch-size --checkpoint-steps --device --dropout --dtype --epochs --json "
        "--learning-rate --max-grad-norm --microbatch-tokens --name --out --plot --rank --recompute --schedule --seed "
        "--target --valid --warmup --weight-decay"
    ),
    "run": ("<file> --html --json --load --out --perfetto --plot --policy --record --requests --seed --set --trace"),
    "compare": (
        "<file> --bound --html --json --loads --metrics --plot --policies --ray --ray-address --requests --resume "
        "--seeds --set --trace --workers"
    ),
    "plan": (
        "<file> --html --json --load --policies --policy --ray --ray-address --requests --seeds --set --trace --workers"
    ),
    "replay": "<recording> --json --policy --recipe --set",
    "solve": (
        "<file> --blocking --gantt --json --list --no-swap --objective --out --planner --plot --seed --set --start "
        "--time-limit --workers"
    ),
    "calibrate": (
        "<model> --block-size --context --device --dtype --json --kv-memory --max-seqs --minutes --native --no-native "
        "--out --policy --policy-param --quantize --threads --trace"
    ),
    "trace list": "--json",
    "trace describe": "<file> --columns --drop-bad --format --json --plot --sort",
    "trace convert": "<source> <target> --columns --drop-bad --format --json --sort",
    "trace slice": (
        "<source> <target> --columns --drop-bad --end-s --format --json --label --max-requests --sort --start-s"
    ),
    "trace scale": "<source> <target> --columns --drop-bad --factor --format --json --lengths-factor --rate --sort",
    "trace synthesise": (
        "<target> --arrivals --cv --json --lengths --like --max-tokens --num --output-median --output-p90 --period-s "
        "--prefix-groups --prefix-tokens --prompt-median --prompt-p90 --rate --seed --spec --swing-frac"
    ),
    "list": "<kind> --family --json --seat --tag",
    "show": "<id> --config --json",
    "new": "<id> --arxiv --authors --directory --json --seat --title --year",
    "train": "<id> --budget --json --out --seed --start",
    "check": "<ids> --json",
    "reproduce": "<id> --all --claims --html --json --quick --resume --seeds --workers",
    "doctor": "--json --port",
    "bench serve": (
        "<more_goodput> --api-key --backend --base-url --burstiness --dataset-name --dataset-path "
        "--disable-tqdm --endpoint --endpoint-type --extra-body --goodput --header --host --ignore-eos "
        "--input-len --json --label --max-concurrency --max-model-len --metadata --metric-percentiles --min-p "
        "--model --num-prompts --num-warmups --output-len --percentile-metrics --port --prompt-kind "
        "--random-input-len --random-output-len --random-prefix-len --random-range-ratio --rate-scale "
        "--ready-check-timeout-sec --request-id-prefix --request-rate --request-timeout --result-dir "
        "--result-filename --save-detailed --save-result --seed --served-model-name --slo-class --temperature "
        "--top-k --top-p --trace"
    ),
}


def spelled(command: Any) -> str:
    options = [option for p in command.params for option in (*p.opts, *p.secondary_opts) if option.startswith("--")]
    words = [f"<{p.name}>" for p in command.params if not any(option.startswith("-") for option in p.opts)]
    return " ".join([*words, *sorted(options)])


def found() -> dict[str, str]:
    root: Any = typer.main.get_command(app)
    verbs = {"": root, **root.commands}
    for group in ("bench", "trace"):
        verbs |= {f"{group} {name}": command for name, command in verbs.pop(group).commands.items()}
    return {name: spelled(command) for name, command in verbs.items()}


def test_verbs_and_flags_are_exactly_these() -> None:
    assert found() == FLAGS


def test_help_pulls_in_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from headway.app.cli.root import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'starlette', 'httpx2', 'h11') if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_help_is_quick() -> None:
    code = (
        "import sys, time\n"
        "from headway.app.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(time.process_time(), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, "--help"]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(5)]
    assert min(float(run.stderr) for run in runs) < 0.4
