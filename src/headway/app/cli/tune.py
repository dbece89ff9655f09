"""`headway tune`: fine-tune a LoRA adapter on a file of examples."""

# ruff: noqa: ARG001  (flags are read together, from the context)
from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headway.app.cli import studying
from headway.app.cli.output import Json, err, out, print_json
from headway.app.cli.studying import PlotFlag

if TYPE_CHECKING:
    from headway.engines.tuning.spec import TuneSpec
    from headway.plots.chart import Chart

_adapter = partial(typer.Option, rich_help_panel="Adapter")
_training = partial(typer.Option, rich_help_panel="Training")
_machine = partial(typer.Option, rich_help_panel="Machine")

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

SHOWN_FAULTS = 3
"""So many faults of a file are told in the error itself, the others before it."""


def tune(
    ctx: typer.Context,
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA.jsonl...", help="Examples: chats, or prompts with completions; an adapter each."),
    ],
    *,
    base: Annotated[
        str, _adapter(metavar="MODEL", help="A folder or hub id; the model that comes with Headway if left out.")
    ] = "",
    valid: Annotated[Path | None, _training(metavar="FILE", help="Examples to validate on after each epoch.")] = None,
    name: Annotated[str, _adapter(help="The name to serve it under; that of the file if left out.")] = "",
    out_dir: Annotated[
        Path | None, _adapter("--out", metavar="DIR", help="Where it goes, with checkpoints; tuned/NAME if left out.")
    ] = None,
    rank: Annotated[int, _adapter(help="Width of the adapter.")] = 8,
    alpha: Annotated[float, _adapter(help="It is scaled by alpha / rank.")] = 16.0,
    target: Annotated[
        list[str] | None, _adapter(help="A linear layer to adapt, such as q_proj; may be repeated; all if left out.")
    ] = None,
    epochs: Annotated[int, _training(help="How often every example is seen.")] = 3,
    batch_size: Annotated[int, _training(help="Examples per step.")] = 8,
    learning_rate: Annotated[float, _training(help="After the warm-up.")] = 2e-4,
    schedule: Annotated[str, _training(help="How it goes on: linear, cosine or constant.")] = "linear",
    warmup: Annotated[float, _training(help="Share of the steps in which it rises.")] = 0.03,
    weight_decay: Annotated[float, _training(help="Of AdamW.")] = 0.0,
    max_grad_norm: Annotated[float, _training(help="Longer gradients are shortened to it; 0 for none.")] = 1.0,
    dropout: Annotated[float, _training(help="Share of the adapter's inputs that is dropped.")] = 0.0,
    seed: Annotated[int, _training(help="Of the order of examples and the first weights.")] = 0,
    microbatch_tokens: Annotated[int, _machine(help="The most tokens that are computed at once.")] = 512,
    recompute: Annotated[
        bool, _machine("--recompute", help="Keep little while computing, and compute it again on the way back.")
    ] = False,
    checkpoint_steps: Annotated[int, _machine(help="Steps from one checkpoint to the next; 0 for epochs.")] = 10,
    dtype: Annotated[str, _machine(help="Of the base weights: float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, _machine(help="auto, cpu or cuda.")] = "auto",
    plot: PlotFlag = None,
    json: Json = False,
) -> None:
    """Fine-tune a LoRA adapter on a file of examples, or several at once, each on a file of its own.

    A run that was stopped goes on from its last checkpoint when it is started again.
    """
    from headway.app.tuning.alone import held, prepare

    studying.check_figures(None, plot)
    _check_files([*data, valid])
    model = base or _shipped()
    if len(data) > 1:
        _several(ctx, data, model)
        return
    name = name or data[0].stem
    folder = out_dir or Path("tuned") / name
    spec = _spec(ctx.params, model, name, folder)
    with held(folder):
        prepare(data[0], valid, spec, _say)
        told = _train(spec, json)
    told["serve"] = shlex.join(
        ["headway", "serve", *([base] if base else []), "--adapter", f"{name}={folder / 'adapter'}"]
    )
    told["resume"] = studying.command(ctx)
    if plot is not None:
        _plot(folder, name, plot)
    if json:
        print_json(told)
    else:
        _print(told, folder)
    if not told["finished"]:
        raise typer.Exit(INTERRUPTED)


def _several(ctx: typer.Context, data: list[Path], model: str) -> None:
    """Train an adapter on each file, all at once; each has a folder of its name."""
    from headway.app.cli.tune_several import names_of, print_several, train_several

    asked = ctx.params
    names = names_of(data, asked["name"], asked["valid"])
    folders = [(asked["out_dir"] or Path("tuned")) / name for name in names]
    told = train_several(
        data, [_spec(asked, model, name, folder) for name, folder in zip(names, folders, strict=True)]
    )  # fmt: skip
    steps = told.pop("steps")
    told["adapters"] = [
        {"name": name, "adapter": str(folder / "adapter") if told["finished"] else None, **steps[name]}
        | _losses(folder)
        for name, folder in zip(names, folders, strict=True)
    ]
    adapters = [word for one in told["adapters"] for word in ("--adapter", f"{one['name']}={one['adapter']}")]
    told["serve"] = shlex.join(["headway", "serve", *([asked["base"]] if asked["base"] else []), *adapters])
    told["resume"] = studying.command(ctx)
    if asked["plot"] is not None:
        _plot_several(dict(zip(names, folders, strict=True)), asked["plot"])
    if asked["json"]:
        print_json(told)
    else:
        print_several(told)
    if not told["finished"]:
        raise typer.Exit(INTERRUPTED)


def _plot_several(folders: dict[str, Path], path: Path) -> None:
    from headway.engines.tuning.curve import read_curve
    from headway.plots.charts.loss import loss_curves
    from headway.plots.save import save

    curves = {
        name: [(news.step, news.loss) for news in read_curve(folder) if news.loss is not None]
        for name, folder in folders.items()
    }
    save(loss_curves(curves, "Loss of adapters trained at once"), path)
    err().print(f"Written: {path}", markup=False, soft_wrap=True)


def _shipped() -> str:
    from headway.app.cli.shipped import SHIPPED, shipped_folder
    from headway.core.errors import ConfigError

    folder = shipped_folder()
    if not (folder / "config.json").is_file():
        raise ConfigError(f"tune: the shipped model {SHIPPED} must be in {folder}, found nothing. Give --base MODEL.")
    return str(folder)


def _check_files(paths: list[Path | None]) -> None:
    """Raise at once for a file that does not hold examples, before anything is loaded."""
    from headway.app.tuning.examples import FaultyExamples, check_lines

    for path in filter(None, paths):
        checked = check_lines(path)
        if checked.faults:
            for fault in checked.faults[SHOWN_FAULTS:]:
                err().print(fault, markup=False, highlight=False, soft_wrap=True)
            raise FaultyExamples(path, checked.faults)


def _say(what: str) -> None:
    err().print(f"  {what}", markup=False, soft_wrap=True)


def _spec(params: dict[str, Any], model: str, name: str, folder: Path) -> TuneSpec:
    from headway.app.tuning.alone import TOKENS, VALID_TOKENS
    from headway.engines.tuning.spec import TuneSpec

    same = (
        "rank", "alpha", "batch_size", "learning_rate", "schedule", "weight_decay", "max_grad_norm", "dropout", "seed",
        "microbatch_tokens", "recompute", "checkpoint_steps", "dtype", "device",
    )  # fmt: skip
    with _by_flags():
        return TuneSpec(
            job=name,
            name=name,
            model=model,
            folder=str(folder),
            tokens=str(folder / TOKENS),
            valid_tokens=str(folder / VALID_TOKENS) if params["valid"] else "",
            num_epochs=params["epochs"],
            warmup_frac=params["warmup"],
            targets=tuple(params["target"] or ()),
            **{field: params[field] for field in same},
        )


@contextmanager
def _by_flags() -> Iterator[None]:
    """Have errors name the flag that was typed, not the field that it sets."""
    from headway.core.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        where, _, rest = str(error).partition(" must ")
        field = where.removeprefix("tune: ")
        if not rest or not field.isidentifier():
            raise
        flag = {"num_epochs": "epochs", "warmup_frac": "warmup"}.get(field, field).replace("_", "-")
        raise ConfigError(f"tune: --{flag} must {rest}") from error


def _train(spec: TuneSpec, json: bool) -> dict[str, Any]:
    """Train to the end or to Ctrl-C, and return what came of it."""
    from headway.app.cli.watching import Interrupt, Watch
    from headway.engines.tuning.trainer import Trainer

    with Interrupt() as interrupt:
        trainer = Trainer(spec, progress=_say)
        if trainer.step and not json:
            _say(f"going on after step {trainer.step} of {trainer.num_steps}")
        watch = Watch(trainer)
        with watch.shown():
            finished = trainer.train(watch.tell, stopped=lambda: interrupt.came)
    return {
        "name": spec.name,
        "base": spec.model,
        "finished": finished,
        "adapter": str(trainer.finish()) if finished else None,
        "step": trainer.step,
        "num_steps": trainer.num_steps,
        "duration_s": watch.duration_s,
        "tokens_per_s": watch.tokens_per_s,
        **_losses(Path(spec.folder)),
    }


def _losses(folder: Path) -> dict[str, Any]:
    from headway.engines.tuning.curve import read_curve

    steps = [news for news in read_curve(folder) if news.what == "step"]
    valid = [news for news in read_curve(folder) if news.what == "validated"]
    return {
        "trained_tokens": steps[-1].tokens if steps else 0,
        "first_loss": steps[0].loss if steps else None,
        "loss": steps[-1].loss if steps else None,
        "valid_loss": valid[-1].valid_loss if valid else None,
        "valid_accuracy": valid[-1].accuracy if valid else None,
    }


def _chart(folder: Path, name: str) -> Chart:
    from headway.engines.tuning.curve import read_curve
    from headway.plots.charts.loss import loss_curves

    curve = read_curve(folder)
    training = [(news.step, news.loss) for news in curve if news.loss is not None]
    validation = [(news.step, news.valid_loss) for news in curve if news.what == "validated" and news.valid_loss]
    return loss_curves({"training": training, "validation": validation}, f"Loss of {name}")


def _plot(folder: Path, name: str, path: Path) -> None:
    from headway.plots.save import save

    save(_chart(folder, name), path)
    err().print(f"Written: {path}", markup=False, soft_wrap=True)


def _print(told: dict[str, Any], folder: Path) -> None:
    from headway.plots.chart import Curve
    from headway.plots.terminal import draw_curves

    curves = [mark for mark in _chart(folder, told["name"]).marks if isinstance(mark, Curve)]
    lines = draw_curves(curves[:1], width=50, height=6)
    if told["step"] > 1:
        out().print("\nloss over the steps", style="bold")
        out().print("\n".join(lines), markup=False)
    said = f"{told['step']} of {told['num_steps']} steps, {told['trained_tokens']:,} tokens learnt"
    if told["loss"] is not None:
        said += f", loss {told['first_loss']:.3f} -> {told['loss']:.3f}"
    if told["valid_loss"] is not None:
        said += f", validation loss {told['valid_loss']:.3f} (accuracy {told['valid_accuracy']:.1%})"
    if told["tokens_per_s"]:
        said += f"; {told['duration_s']:.1f} s, {told['tokens_per_s']:,.0f} tokens/s"
    elif told["finished"]:
        said += "; it was done before"
    out().print(said, markup=False, soft_wrap=True)
    if told["finished"]:
        out().print(f"The adapter is in {told['adapter']}. Serve it:", markup=False, soft_wrap=True)
        out().print(f"  {told['serve']}", markup=False, style="bold", soft_wrap=True)
    else:
        out().print("Stopped; there is a checkpoint of the last step. Go on:", markup=False)
        out().print(f"  {told['resume']}", markup=False, style="bold", soft_wrap=True)
