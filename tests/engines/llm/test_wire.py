"""Both ends of the line, over a real socket pair."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from headway.core.errors import EngineError
from headway.engines.llm import wire as wire_module
from headway.engines.llm.messages import Cancel, Drain, FromEngine, Loading, Output, Outputs, Sampling, Submit, ToEngine
from headway.engines.llm.wire import Frames, Wire


def ends() -> tuple[Wire[FromEngine], Wire[ToEngine]]:
    api, engine = socket.socketpair()
    return Wire.of_api(api), Wire.of_engine(engine)


def submit(number: int, prompt_tokens: int = 3) -> Submit:
    return Submit(id=f"r{number}", prompt=[number] * prompt_tokens, sampling=Sampling(seed=number))


def test_what_is_sent_arrives_in_order() -> None:
    async def talk() -> None:
        api, engine = ends()
        sent = [submit(1), Cancel(id="r1", reason="stop"), Drain()]
        for message in sent:
            api.send(message)
        assert await engine.receive() == sent
        engine.send(Outputs(items=[Output(id="r1", tokens=[5])]))
        assert await api.receive() == [Outputs(items=[Output(id="r1", tokens=[5])])]
        assert api.ready() == []
        api.close()
        engine.close()

    asyncio.run(talk())


def test_more_than_the_socket_takes_is_kept_and_arrives_whole() -> None:
    async def talk() -> None:
        api, engine = ends()
        sent = [submit(number, prompt_tokens=200_000) for number in range(5)]
        for message in sent:
            api.send(message)
        assert api.unsent_bytes > 0
        got: list[ToEngine] = []
        while len(got) < len(sent):
            got += await engine.receive()
        assert got == sent
        await api.flush()
        assert api.unsent_bytes == 0
        api.close()
        engine.close()

    asyncio.run(talk())


def test_flush_waits_for_a_slow_reader() -> None:
    async def talk() -> None:
        api, engine = ends()
        api.send(submit(1, prompt_tokens=1_000_000))
        flushing = asyncio.create_task(api.flush())
        assert await engine.receive() == [submit(1, prompt_tokens=1_000_000)]
        await flushing
        api.send(Drain())
        assert await engine.receive() == [Drain()]
        api.close()
        engine.close()

    asyncio.run(talk())


def test_a_dead_peer_ends_receiving_and_sending_goes_nowhere() -> None:
    async def talk() -> None:
        api, engine = ends()
        api.send(Drain())
        api.close()
        assert await engine.receive() == [Drain()]
        assert await engine.receive() == []
        assert engine.closed
        engine.send(Loading(what="nobody hears this"))
        await engine.flush()
        engine.close()
        engine.close()

    asyncio.run(talk())


def test_a_cancelled_wait_loses_nothing() -> None:
    async def talk() -> None:
        api, engine = ends()
        waiting = asyncio.create_task(engine.receive())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        api.send(Drain())
        assert await engine.receive() == [Drain()]
        api.close()
        engine.close()

    asyncio.run(talk())


def test_frames_may_come_in_any_portions() -> None:
    messages: list[ToEngine] = [submit(7), Cancel(id="x"), Drain()]
    stream = b""
    for message in messages:
        body = msgspec.msgpack.encode(message)
        stream += len(body).to_bytes(4, "big") + body
    for portion in (1, 2, 3, 7, len(stream)):
        frames = Frames[ToEngine](msgspec.msgpack.Decoder(ToEngine))
        got: list[ToEngine] = []
        for start in range(0, len(stream), portion):
            got += frames.feed(stream[start : start + portion])
        assert got == messages


def test_nonsense_and_oversize_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames[ToEngine](msgspec.msgpack.Decoder(ToEngine))
    with pytest.raises(EngineError, match="known message"):
        frames.feed((3).to_bytes(4, "big") + b"\xc1\xc1\xc1")
    with pytest.raises(EngineError, match="at most"):
        Frames[ToEngine](msgspec.msgpack.Decoder(ToEngine)).feed(b"\xff\xff\xff\xff")
    monkeypatch.setattr(wire_module, "MAX_FRAME_BYTES", 100)
    api, engine = ends()
    with pytest.raises(EngineError, match="at most"):
        api.send(submit(1, prompt_tokens=1000))
    assert engine.ready() == []
    api.close()
    engine.close()


def test_last_words_are_heard_after_a_write_to_a_dead_peer_failed() -> None:
    async def talk() -> None:
        api, engine = ends()
        engine.send(Loading(what="the end"))
        await engine.flush()
        engine.close()
        api.send(Cancel(id="r1"))
        api.send(Cancel(id="r2"))
        assert await api.receive() == [Loading(what="the end")]
        assert await api.receive() == []
        assert api.closed
        api.close()

    asyncio.run(talk())
