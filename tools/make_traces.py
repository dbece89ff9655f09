"""Make the traces that ship with the package, from statistics; or take those statistics from recorded data.

    python tools/make_traces.py               draws src/headway/traces/shipped/* from statistics.toml there
    python tools/make_traces.py --fit FOLDER  prints the numbers of statistics.toml, from a folder of recorded traces

Only statistics go in: quantiles of lengths, rates and burstiness, how often prompts begin alike.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from headway.traces import reshape
from headway.traces.generate.arrivals import Gamma, Markov, Poisson, Process
from headway.traces.generate.lengths import correlated, whole
from headway.traces.readers.door import read_requests
from headway.traces.table import Floats, Ints, Labels, Prefixes, RequestTable
from headway.traces.writers import write_requests

FOLDER = Path(__file__).parents[1] / "src" / "headway" / "traces" / "shipped"
LEVELS = (0, 0.01, 0.02, 0.05, *(n / 20 for n in range(2, 19)), 0.95, 0.98, 0.99, 0.995, 1)
SEED = 20240306
Numbers = dict[str, Any]


# Draw -------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", type=Path, metavar="FOLDER", help="print statistics of recorded traces instead")
    folder = parser.parse_args().fit
    if folder is not None:
        fit(folder)
        return
    for name, entry in read_statistics().items():
        path = FOLDER / entry["file"]
        write_requests(draw(name, entry["numbers"]), path)
        print(f"{name:22s} {entry['file']:32s} {path.stat().st_size / 1024:6.1f} KiB")


def read_statistics() -> dict[str, Any]:
    """Return what the traces are drawn from, by name."""
    return tomllib.loads((FOLDER / "statistics.toml").read_text(encoding="utf-8"))


def draw(name: str, numbers: Numbers) -> RequestTable:
    """Draw one shipped trace."""
    seed = int.from_bytes(name.encode()[:8], "little")
    lengths_rng, times_rng, prefix_rng = np.random.default_rng([SEED, seed]).spawn(3)
    if "calls" in numbers:
        return draw_sessions(numbers, lengths_rng)
    prompt, output = draw_lengths(numbers, lengths_rng)
    table = RequestTable(np.zeros(len(prompt)), prompt, output)
    if "rate_per_s" in numbers:
        table = reshape.arriving(table, process(numbers), times_rng)
        table = reshape.at_rate(table, numbers["rate_per_s"])
        table = with_times(table, table.arrival_s - table.arrival_s[0])
    if "continue_frac" in numbers:
        table = with_conversations(table, numbers, prefix_rng)
    return table


def draw_lengths(numbers: Numbers, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw both lengths so that their quantiles are the wanted ones, evenly spread, however few requests there are."""
    normal = correlated(numbers["num"], numbers["correlation"], rng)
    shares = (np.argsort(np.argsort(normal, axis=1), axis=1) + 0.5) / numbers["num"]
    prompt, output = (
        np.interp(share, LEVELS, numbers[n]) for n, share in zip(("prompt", "output"), shares, strict=True)
    )
    return whole(prompt), whole(output)


def process(numbers: Numbers) -> Process:
    """Return the arrival process of a trace."""
    if "rates_per_s" in numbers:
        return Markov(rates_per_s=tuple(numbers["rates_per_s"]), mean_stays_s=tuple(numbers["mean_stays_s"]))
    return Gamma(rate_per_s=numbers["rate_per_s"], cv=numbers["cv"])


def with_times(table: RequestTable, arrival_s: Floats, **more: Any) -> RequestTable:
    """Return a table at other times, in whole milliseconds."""
    return RequestTable(**{**vars(table), "arrival_s": np.round(arrival_s, 3), **more})


def with_conversations(table: RequestTable, numbers: Numbers, rng: np.random.Generator) -> RequestTable:
    """Let some requests go on with the prompt of an earlier one, and all begin with the same block."""
    size, fresh = numbers["block_tokens"], 1
    chains: list[list[int]] = []
    for tokens in table.prompt_tokens.tolist():
        wanted = -(-tokens // size)
        chain = continued(chains, wanted, numbers, rng) if rng.random() < numbers["continue_frac"] else [0]
        own = wanted - len(chain)
        chains.append(chain + list(range(fresh, fresh + own)))
        fresh += own
    return with_times(table, table.arrival_s, prefixes=Prefixes.of(size, chains))


def continued(chains: list[list[int]], wanted: int, numbers: Numbers, rng: np.random.Generator) -> list[int]:
    """Return the beginning shared with the longest of some recent prompts that are no longer than this one."""
    recent = range(max(0, len(chains) - numbers["recent"]), len(chains))
    picked = rng.choice(recent, min(len(recent), numbers["candidates"]), replace=False) if len(recent) else []
    fitting = [chains[place] for place in picked if len(chains[place]) <= wanted]
    longest = max(fitting, key=len, default=[0])
    return longest[: max(1, round(len(longest) * numbers["kept_frac"]))][:wanted]


def draw_sessions(numbers: Numbers, rng: np.random.Generator) -> RequestTable:
    """Draw sessions of an agent: each call reads all that came before and a little more."""
    starts = Poisson(rate_per_s=numbers["session_rate_per_s"]).draw(numbers["num_sessions"], rng)
    rows: list[tuple[float, int, int, int, int, float, list[int]]] = []
    fresh = 1
    for session, start_s in enumerate(starts.tolist()):
        calls = int(sample(numbers["calls"], 1, rng)[0])
        prompts = np.cumsum(
            np.concatenate([sample(numbers["first_prompt"], 1, rng), sample(numbers["growth"], calls - 1, rng)])
        )
        outputs, gaps = whole(sample(numbers["output"], calls, rng)), sample(numbers["gap_s"], calls, rng)
        gaps[0] = 0.0
        blocks = int(prompts[-1]) // numbers["block_tokens"]
        chain = [0, *range(fresh, fresh + blocks)]
        fresh += blocks
        took_s = np.concatenate([[0.0], outputs[:-1] * numbers["recorded_s_per_token"]]) + gaps
        for call, at_s in enumerate((start_s + np.cumsum(took_s)).tolist()):
            prompt = int(prompts[call])
            own = chain[: prompt // numbers["block_tokens"]]
            rows.append((at_s, session, call, prompt, int(outputs[call]), float(gaps[call]), own))
    return sessions_table(sorted(rows, key=lambda row: row[0]), numbers["block_tokens"])


def sessions_table(rows: list[Any], block_tokens: int) -> RequestTable:
    """Return calls in order of their times as a table."""
    at_s, session, call, prompt, output, gap_s, chains = zip(*rows, strict=True)
    place = {(s, c): row for row, (s, c) in enumerate(zip(session, call, strict=True))}
    after = [place.get((s, c - 1), -1) for s, c in zip(session, call, strict=True)]
    return RequestTable(
        np.round(at_s, 3), np.array(prompt), np.array(output),
        labels={"session": Labels.of([str(s) for s in session])},
        prefixes=Prefixes.of(block_tokens, chains), after=np.array(after), gap_s=np.round(gap_s, 3),
    )  # fmt: skip


def sample(table: list[float], num: int, rng: np.random.Generator) -> Floats:
    """Draw from a table of quantiles."""
    return np.interp(rng.random(num), LEVELS, table)


# Fit --------------------------------------------------------------------------------------------------------------


def fit(folder: Path) -> None:
    """Print the statistics of each recorded trace, as TOML."""
    fits: dict[str, tuple[str, Callable[[RequestTable], Numbers]]] = {
        "azure-code": ("llm/azure2023_code.csv.gz", lambda t: {**lengths(t), **storms(t, (0.5, 40.0))}),
        "azure-conv": ("llm/azure2023_conv.csv.gz", lambda t: {**lengths(t), **storms(t, (290.0, 345.0), 60.0)}),
        "mooncake-conv": ("llm/mooncake_conversation.jsonl.gz", lambda t: {**lengths(t), "rate_per_s": t.rate_per_s}),
        "sharegpt": ("llm/lengths_sharegpt.csv.gz", lengths),
        "arxiv-summarization": ("llm/lengths_arxiv_summarization.csv.gz", lengths),
        "agent-sessions": ("agent/lmcache_miniswe.jsonl.gz", sessions),
    }
    for name, (file, numbers_of) in fits.items():
        print(f"[{name}.numbers]  # {file}")
        for key, value in numbers_of(read_requests(folder / file).table).items():
            print(f"{key} = {rounded(value)}")
        print()


def lengths(table: RequestTable) -> Numbers:
    """Return quantiles of both lengths and the correlation of their ranks."""
    ranks = [np.argsort(np.argsort(x, kind="stable")) for x in (table.prompt_tokens, table.output_tokens)]
    return {
        "prompt": np.quantile(table.prompt_tokens, LEVELS),
        "output": np.quantile(table.output_tokens, LEVELS),
        "correlation": float(2 * np.sin(np.pi / 6 * np.corrcoef(np.stack(ranks))[0, 1])),
    }


def storms(table: RequestTable, edges: tuple[float, ...], window_s: float = 10.0) -> Numbers:
    """Return rates and mean stays of a Markov-modulated process: states are bands of arrivals per window."""
    counts = np.bincount((table.arrival_s / window_s).astype(int))
    state = np.digitize(counts, edges)
    visits = (1 + int((np.diff(state) != 0).sum())) / (len(edges) + 1)
    bands = range(len(edges) + 1)
    return {
        "rate_per_s": table.rate_per_s,
        "rates_per_s": np.array([counts[state == band].mean() / window_s for band in bands]),
        "mean_stays_s": np.array([(state == band).sum() * window_s / visits for band in bands]),
    }


def sessions(table: RequestTable) -> Numbers:
    """Return quantiles of what sessions are made of."""
    assert table.after is not None
    assert table.gap_s is not None
    follows = np.flatnonzero(table.after >= 0)
    growth = table.prompt_tokens[follows] - table.prompt_tokens[table.after[follows]]
    calls = np.bincount(table.labels["session"].codes)
    tables: dict[str, Ints | Floats] = {
        "calls": calls, "first_prompt": table.prompt_tokens[table.after < 0], "growth": np.maximum(growth, 0),
        "output": table.output_tokens, "gap_s": table.gap_s[follows],
    }  # fmt: skip
    return {name: np.quantile(values, LEVELS) for name, values in tables.items()}


def rounded(value: Any) -> Any:
    """Return numbers short enough for a file."""
    if isinstance(value, np.ndarray):
        return [rounded(float(x)) for x in value]
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short


if __name__ == "__main__":
    main()
