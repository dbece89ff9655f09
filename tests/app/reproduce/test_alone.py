"""Measurements by the clock take turns."""

from __future__ import annotations

import threading

import pytest

from headway.app.reproduce.alone import alone

pytest.importorskip("fcntl")


def test_a_second_measurement_begins_when_the_first_ends() -> None:
    order: list[str] = []
    asked = threading.Event()

    def second() -> None:
        asked.set()
        with alone():
            order.append("second")

    with alone():
        thread = threading.Thread(target=second)
        thread.start()
        assert asked.wait(10)
        thread.join(0.05)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_one_that_fails_lets_the_next_begin() -> None:
    with pytest.raises(ZeroDivisionError), alone():
        raise ZeroDivisionError
    with alone():
        pass
