"""A holder in another process: ``python -m headway.engines.llm.model.holder_wire FD ROOM_TOKENS``.

`RemoteHolder` is this side's end of the line, `answer_all` that of the other process. A frame is a length, a message
and the bytes of its tensors. While the other process attends, this one goes on with its own part.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from headway.core.errors import EngineError
from headway.engines.llm.model.holder import Answer, KvHolder
from headway.engines.llm.model.split_attention import Part

if TYPE_CHECKING:
    from torch import Tensor

PREFIX_BYTES = 4


class Call(Struct, frozen=True, array_like=True):
    """What is asked: the name of a method of `Holder`, and numbers; tensors follow as ``(type, shape)``."""

    what: str
    sequence: int
    layer: int = 0
    tokens: int = 0
    scale: float = 0.0
    softcap: float = 0.0
    tensors: tuple[tuple[str, tuple[int, ...]], ...] = ()


class Line:
    """Sends and receives calls with tensors over a socket.

    Attributes
    ----------
    sent_bytes, received_bytes : int
        What has gone over the line.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sent_bytes = self.received_bytes = 0
        self._sock = sock
        self._decode = msgspec.msgpack.Decoder(Call).decode

    def send(self, call: Call, tensors: Sequence[Tensor] = ()) -> None:
        """Send a call."""
        described = tuple((str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for tensor in tensors)
        head = msgspec.msgpack.encode(msgspec.structs.replace(call, tensors=described))
        frame = b"".join([len(head).to_bytes(PREFIX_BYTES, "big"), head, *map(_bytes_of, tensors)])
        self._sock.sendall(frame)
        self.sent_bytes += len(frame)

    def receive(self) -> tuple[Call, list[Tensor]]:
        """Wait for a call.

        Raises
        ------
        EngineError
            When the other end is gone.
        """
        call = self._decode(self._take(int.from_bytes(self._take(PREFIX_BYTES), "big")))
        return call, [self._tensor(dtype, shape) for dtype, shape in call.tensors]

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _tensor(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        import torch

        empty = torch.empty(shape, dtype=getattr(torch, dtype))
        if not empty.numel():
            return empty
        raw = self._take(empty.numel() * empty.element_size())
        return torch.frombuffer(raw, dtype=empty.dtype).view(shape)

    def _take(self, num_bytes: int) -> bytearray:
        taken = bytearray(num_bytes)
        view, have = memoryview(taken), 0
        while have < num_bytes:
            got = self._sock.recv_into(view[have:])
            if not got:
                raise EngineError("holder: the other process must be there, but it is gone. Begin its sequences anew.")
            have += got
        self.received_bytes += num_bytes
        return taken


def _bytes_of(tensor: Tensor) -> bytes:
    import torch

    return bytes(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data) if tensor.numel() else b""


class RemoteHolder:
    """A `Holder` in a process of its own, which ends when this object is closed or this process is gone.

    Parameters
    ----------
    room_tokens : int
        For how many tokens it has room, >= 0.
    num_threads : int
        With how many threads it computes, >= 1; 1.

    Attributes
    ----------
    line : Line
        Counts the bytes that have gone over it.
    """

    def __init__(self, room_tokens: int, *, num_threads: int = 1) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            module = "headway.engines.llm.model.holder_wire"
            command = [sys.executable, "-m", module, str(theirs.fileno()), str(room_tokens), str(num_threads)]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self.line = Line(ours)

    def reserve(self, sequence: int, tokens: int) -> bool:
        """Set room aside for more tokens of a sequence; says whether there is any."""
        self.line.send(Call("reserve", sequence, tokens=tokens))
        return self.line.receive()[0].tokens > 0

    def put(self, sequence: int, layer: int, keys: Tensor, values: Tensor) -> None:
        """Take more keys and values `[tokens, kv_heads, dim]` of a sequence, after those that are there."""
        self.line.send(Call("put", sequence, layer), (keys, values))

    def ask(self, sequence: int, layer: int, q: Tensor, scale: float, softcap: float) -> Answer:
        """Attend with `q [tokens, heads, dim]` over all that is there of a sequence in a layer.

        Answers come in the order in which they were asked for, and must be taken in that order.
        """
        self.line.send(Call("ask", sequence, layer, scale=scale, softcap=softcap), (q,))
        return lambda: Part(*cast(Any, self.line.receive()[1]))

    def drop(self, sequence: int) -> None:
        """Forget a sequence, and free its room."""
        self.line.send(Call("drop", sequence))

    def close(self) -> None:
        """End the process."""
        self.line.close()
        self._process.wait()


def answer_all(line: Line, holder: KvHolder) -> None:
    """Do what is asked until the other end is gone."""
    while True:
        try:
            call, tensors = line.receive()
        except (EngineError, ConnectionError):
            return
        if call.what == "reserve":
            line.send(Call("reserved", call.sequence, tokens=int(holder.reserve(call.sequence, call.tokens))))
        elif call.what == "put":
            holder.put(call.sequence, call.layer, *tensors)
        elif call.what == "ask":
            part = holder.ask(call.sequence, call.layer, tensors[0], call.scale, call.softcap)()
            line.send(Call("part", call.sequence, call.layer), part)
        else:
            holder.drop(call.sequence)


def main(arguments: Sequence[str]) -> None:
    """Hold parts of sequences for the process at the other end of the line."""
    import torch

    fd, room_tokens, num_threads = map(int, arguments)
    torch.set_num_threads(num_threads)
    answer_all(Line(socket.socket(fileno=fd)), KvHolder(room_tokens))


if __name__ == "__main__":
    main(sys.argv[1:])
