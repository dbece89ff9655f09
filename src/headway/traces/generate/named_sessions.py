"""Sessions and workflows by name: with the statistics that publications give of theirs."""

from __future__ import annotations

from headway.traces.generate.sessions import AgentSessions, Tool
from headway.traces.generate.workflows import Stage, Workflows

AnySessions = AgentSessions | Workflows


def text_to_sql(
    candidate: tuple[float, float], revise: tuple[float, float], revisions: float, most_revisions: int
) -> Workflows:
    """Return the workflow of a text-to-SQL agent: schema linking, candidates, revisions one by one, evaluation.

    Parameters
    ----------
    candidate, revise : (float, float)
        Mean prompt and output tokens of these two, which differ between data sets.
    revisions : float
        Mean number of revisions.
    most_revisions : int
        The most there are.
    """
    retrieve = Stage(name="retrieve", prompt_tokens=306, output_tokens=7, prompt_cv=0.01, output_cv=0.8)
    tester = Stage(name="unit-tester", prompt_tokens=275, output_tokens=5, prompt_cv=0.01, output_cv=0.2)
    return Workflows(
        stages=(
            retrieve,
            Stage(name="keywords", prompt_tokens=669, output_tokens=44, least=0, most=1, mean=0.67),
            retrieve,
            retrieve,
            retrieve,
            Stage(
                name="candidate", prompt_tokens=candidate[0], output_tokens=candidate[1],
                prompt_cv=0.2, least=2, most=2, parallel=True,
            ),
            Stage(
                name="revise", prompt_tokens=revise[0], output_tokens=revise[1],
                output_cv=0.5, least=0, most=most_revisions, mean=revisions,
            ),
            tester,
            Stage(name="unit-test", prompt_tokens=1110, output_tokens=102, prompt_cv=0.15),
            tester,
            Stage(
                name="evaluate", prompt_tokens=960, output_tokens=29,
                prompt_cv=0.15, output_cv=1.0, least=3, most=6, mean=4.9, parallel=True,
            ),
            tester,
        )
    )  # fmt: skip


NAMED_SESSIONS: dict[str, AnySessions] = {
    "swe-bench": AgentSessions(
        mean_turns=10.9,
        tools={
            "cat": Tool(share=0.35, mean_s=0.15, cv=1.0),
            "grep": Tool(share=0.25, mean_s=0.4, cv=1.5),
            "sed": Tool(share=0.2, mean_s=0.2, cv=1.0),
            "python": Tool(share=0.2, mean_s=3.663, cv=1.5),
        },
    ),
    "bfcl-web": AgentSessions(
        mean_turns=6.3,
        system_tokens=2048,
        task_tokens=200,
        answer_tokens=2000,
        output_tokens=120,
        tools={
            "search": Tool(share=0.5, mean_s=1.2, cv=0.8),
            "fetch": Tool(share=0.5, mean_s=2.646, cv=1.5),
        },
    ),
    "text2sql-1": text_to_sql((10_000, 680), (5954, 82), 3.7, 9),
    "text2sql-2": text_to_sql((11_947, 741), (7993, 122), 4.4, 10),
    "text2sql-3": text_to_sql((10_768, 696), (6897, 156), 5.0, 10),
}
"""Agents: turns per session and mean time of a tool are those of Li et al., "Continuum", arXiv 2511.02230 (SWE-Bench:
10.9 and 0.925 s; BFCL: 6.3 and 1.923 s). Which tools there are, how they differ and how prompts grow is this project's
guess: a common system prompt, answers of some hundred tokens to a coding agent, and of some thousand from the web.

Text to SQL: calls per query and mean lengths of three public traces, as published with HexGen-Flow, arXiv 2505.05286;
spreads are this project's guess."""
