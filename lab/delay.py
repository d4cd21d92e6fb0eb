"""Passes connections on, each piece that a client sends some time after it came (``python -m``).

Arguments: where to listen and where to connect to, both ADDRESS:PORT, and the delay in seconds. It says {"ready": true}
once it listens, and ends with its input.
"""

import asyncio
import json
import sys
from contextlib import suppress

PIECE = 1 << 16


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """All that *reader* has to *writer*, in order, each piece *delay* seconds late; then close it."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    async def read() -> None:
        while piece := await reader.read(PIECE):
            pieces.put_nowait((loop.time() + delay, piece))
        pieces.put_nowait((loop.time() + delay, b""))

    with suppress(OSError):
        await asyncio.gather(read(), write())
    writer.close()


async def serve(listen: str, target: str, delay: float) -> None:
    address, _, port = target.rpartition(":")
    tasks = set[asyncio.Task[None]]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(address, int(port))
        except OSError:
            writer.close()
            return
        for task in (pass_on(reader, far_writer, delay), pass_on(far_reader, writer, 0)):
            tasks.add(asyncio.ensure_future(task))

    own, _, own_port = listen.rpartition(":")
    async with await asyncio.start_server(connected, own, int(own_port)):
        print(json.dumps({"ready": True}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], float(sys.argv[3])))
