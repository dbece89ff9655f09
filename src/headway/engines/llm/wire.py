"""The line between the API process and the engine process: length-prefixed msgpack frames over a socket pair.

A frame is four bytes (the length of the rest, big end first) and one tagged message. Both processes use `Wire`::

    api, engine = socket.socketpair()
    wire = Wire.of_api(api)  # in the API process
    wire = Wire.of_engine(engine)  # in the engine process

`Wire.send` and `Wire.ready` never wait, so an engine can call them between two steps; `Wire.receive` and `Wire.flush`
wait in the event loop.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Generic, TypeVar

import msgspec

from headway.core.errors import EngineError
from headway.engines.llm.messages import FromEngine, Message, ToEngine

MAX_FRAME_BYTES = 1 << 26
"""The longest message either side sends or accepts; a prompt of ten million tokens fits."""

PREFIX_BYTES = 4
READ_BYTES = 1 << 18

H = TypeVar("H")


class Frames(Generic[H]):
    """Cuts a stream of bytes into messages.

    Parameters
    ----------
    decoder : msgspec.msgpack.Decoder
        Of the messages that may come.
    """

    def __init__(self, decoder: msgspec.msgpack.Decoder[H]) -> None:
        self._decode = decoder.decode
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[H]:
        """Take the next bytes; return the messages that are complete now.

        Raises
        ------
        EngineError
            When a frame is too long or is no message of this side; the stream cannot be used after that.
        """
        self._bytes += data
        found: list[H] = []
        start, size = 0, len(self._bytes)
        with memoryview(self._bytes) as view:
            while size - start >= PREFIX_BYTES:
                end = start + PREFIX_BYTES + _checked(int.from_bytes(view[start : start + PREFIX_BYTES], "big"))
                if end > size:
                    break
                found.append(self._message(view[start + PREFIX_BYTES : end]))
                start = end
        del self._bytes[:start]
        return found

    def _message(self, frame: memoryview) -> H:
        with frame:
            try:
                return self._decode(frame)
            except msgspec.DecodeError as error:
                raise EngineError(f"wire: a frame must hold a known message ({error}).") from error


class Wire(Generic[H]):
    """One end of the line; it belongs to one event loop and closes its socket.

    Use `of_api` or `of_engine`.

    Parameters
    ----------
    sock : socket
        One end of a connected stream socket; made non-blocking here.
    decoder : msgspec.msgpack.Decoder
        Of the messages the other end sends.

    Attributes
    ----------
    closed : bool
        Whether the other end is gone or `close` was called; then nothing is sent or received any more.
    """

    def __init__(self, sock: socket.socket, decoder: msgspec.msgpack.Decoder[H]) -> None:
        sock.setblocking(False)
        self.closed = False
        self._sock = sock
        self._frames = Frames(decoder)
        self._encoder = msgspec.msgpack.Encoder()
        self._frame = bytearray()
        self._unsent = bytearray()
        self._writing = False
        self._broken = False
        self._written = asyncio.Event()

    @staticmethod
    def of_api(sock: socket.socket) -> Wire[FromEngine]:
        """Return the API process's end: it sends `ToEngine` and receives `FromEngine` messages."""
        return Wire(sock, msgspec.msgpack.Decoder(FromEngine))

    @staticmethod
    def of_engine(sock: socket.socket) -> Wire[ToEngine]:
        """Return the engine process's end: it sends `FromEngine` and receives `ToEngine` messages."""
        return Wire(sock, msgspec.msgpack.Decoder(ToEngine))

    @property
    def unsent_bytes(self) -> int:
        """How much of what was sent the socket has not taken yet."""
        return len(self._unsent)

    def send(self, message: Message) -> None:
        """Send one message without waiting; what the socket does not take now follows when it can.

        Sending on a closed line does nothing: `closed` and the end of `receive` tell.

        Raises
        ------
        EngineError
            When the message is longer than `MAX_FRAME_BYTES`; nothing of it is sent then.
        """
        frame = self._frame
        self._encoder.encode_into(message, frame, PREFIX_BYTES)
        frame[:PREFIX_BYTES] = _checked(len(frame) - PREFIX_BYTES).to_bytes(PREFIX_BYTES, "big")
        if self._unsent:
            self._unsent += frame
            self._write()
        else:
            self._unsent += memoryview(frame)[self._write_some(frame) :]
        self._watch_writable()

    def ready(self) -> list[H]:
        """Return the messages that are here now, without waiting."""
        found: list[H] = []
        while not self.closed:
            try:
                data = self._sock.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                data = b""
            self.closed = not data
            found += self._frames.feed(data)
            if len(data) < READ_BYTES:
                break
        return found

    async def receive(self) -> list[H]:
        """Wait for messages and return all that are here; an empty list says that the other end is gone.

        Cancelling the wait loses nothing.
        """
        while not (found := self.ready()) and not self.closed:
            await self._readable()
        return found

    async def flush(self) -> None:
        """Wait until the socket has taken everything that was sent, or the other end is gone."""
        while self._unsent:
            self._written.clear()
            await self._written.wait()

    def close(self) -> None:
        """Hang up; what is not sent yet is lost. May be called twice."""
        self._unsent.clear()
        self._stop_writing()
        self.closed = True
        self._sock.close()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def _readable(self) -> None:
        here = asyncio.Event()
        self._loop.add_reader(self._sock, here.set)
        try:
            await here.wait()
        finally:
            self._loop.remove_reader(self._sock)

    def _write_some(self, data: bytearray) -> int:
        """Offer bytes to the socket; returns how many need not be offered again."""
        if self.closed or self._broken:
            return len(data)
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except ConnectionError:
            self._broken = True  # what the other end said before is still to be read; then comes the end
            return len(data)

    def _write(self) -> None:
        del self._unsent[: self._write_some(self._unsent)]
        if not self._unsent:
            self._stop_writing()

    def _stop_writing(self) -> None:
        self._written.set()
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._writing = False

    def _watch_writable(self) -> None:
        """Let the event loop write the rest whenever the socket has room."""
        if self._unsent and not self._writing:
            self._loop.add_writer(self._sock, self._write)
            self._writing = True


def _checked(size_bytes: int) -> int:
    if size_bytes > MAX_FRAME_BYTES:
        raise EngineError(f"wire: a message must have at most {MAX_FRAME_BYTES} bytes, got {size_bytes}.")
    return size_bytes
