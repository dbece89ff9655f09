from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headway.app.server.stops import StopScan

TEXT = st.text("abc", max_size=30)
STOPS = st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)


def shown(pieces: list[str], stops: list[str], keep: bool = False) -> tuple[str, str]:
    scan = StopScan(stops, keep)
    text = "".join(scan.push(piece) for piece in pieces)
    return (text if scan.found else text + scan.rest()), scan.found


@given(st.lists(TEXT, max_size=8), STOPS)
def test_the_cut_does_not_depend_on_the_pieces(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    ends = [end for end in range(len(whole) + 1) if any(whole[:end].endswith(stop) for stop in stops)]
    if not ends:
        assert shown(pieces, stops) == (whole, "")
        return
    longest = max((stop for stop in stops if whole[: ends[0]].endswith(stop)), key=len)
    assert shown(pieces, stops) == (whole[: ends[0] - len(longest)], longest)
    assert shown(pieces, stops, keep=True) == (whole[: ends[0]], longest)


@given(st.lists(TEXT, max_size=8), STOPS)
def test_no_more_is_held_back_than_could_become_a_stop_string(pieces: list[str], stops: list[str]) -> None:
    scan, whole, out = StopScan(stops), "", ""
    for piece in pieces:
        whole += piece
        out += scan.push(piece)
        if scan.found:
            return
        held = whole[len(out) :]
        assert whole.startswith(out)
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)
