from __future__ import annotations

import numpy as np
import pytest

from headway.core.errors import TraceError
from headway.traces.table import Labels, Prefixes, RequestTable


def test_rows_that_are_taken_keep_their_chains() -> None:
    prefixes = Prefixes.of(16, [[1, 2], [], [3], [4, 5, 6]])
    taken = prefixes.take(np.array([3, 1, 0]))
    assert [taken[row].tolist() for row in range(3)] == [[4, 5, 6], [], [1, 2]]
    assert len(prefixes.take(np.empty(0, np.int64))) == 0


def test_who_follows_somebody_left_out_waits_for_nobody() -> None:
    table = RequestTable(np.arange(4.0), np.ones(4, np.int64), np.ones(4, np.int64), after=np.array([-1, 0, 1, 0]))
    part = table.take(np.array([0, 2, 3]))
    assert part.after is not None
    assert part.after.tolist() == [-1, -1, 0]


def test_chains_lead_back_to_where_they_began() -> None:
    after = np.array([-1, 0, -1, 1, 3, 2])
    table = RequestTable(np.zeros(6), np.ones(6, np.int64), np.ones(6, np.int64), after=after)
    assert table.roots().tolist() == [0, 0, 2, 0, 0, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"arrival_s": np.array([0.0, 2.0, 1.0])}, "arrival_s must not go back in time"),
        ({"prompt_tokens": np.array([1, 0, 1])}, "prompt_tokens must be >= 1, got 0 in request 1"),
        ({"output_tokens": np.ones(2, np.int64)}, r"output_tokens must have one value per request \(3\), got 2"),
        ({"after": np.array([-1, 1, 0])}, "after must be an earlier row"),
        ({"gap_s": np.array([0.0, -1.0, 0.0])}, "gap_s must be finite"),
        ({"joins": np.array([0, 2, 0])}, "joins must be 0 or 1"),
        ({"due_s": np.array([1.0, 0.0, np.nan])}, "due_s must be > 0"),
        ({"labels": {"tenant": Labels.of(["a"])}}, "tenant must have one value"),
    ],
)
def test_impossible_tables_are_refused(change: dict[str, np.ndarray], says: str) -> None:
    columns = {
        "arrival_s": np.arange(3.0),
        "prompt_tokens": np.ones(3, np.int64),
        "output_tokens": np.ones(3, np.int64),
    }
    with pytest.raises(TraceError, match=says):
        RequestTable(**{**columns, **change})  # type: ignore[arg-type]
