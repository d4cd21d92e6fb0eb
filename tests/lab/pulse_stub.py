"""A pulse with an agent that does as a test says: it sends what is in the file `orders`, and writes news to `news`.

python -m tests.lab.pulse_stub DIRECTORY PATIENCE       the pulse (PATIENCE: seconds, in place of its 30)
python -m tests.lab.pulse_stub agent NUMBER DIRECTORY   its agent
"""

import select
import socket
import sys
from pathlib import Path

from nodeagent.pulse.ends import End, Ended
from nodeagent.pulse.packets import Alive, Begin, pack, unpack

BREATH = 0.05  # seconds between two looks at the file


def pulse(directory: str, patience: float) -> int:
    from nodeagent.pulse.process import Pulse  # noqa: PLC0415 - as nodeagent.__main__ does

    program = [sys.executable, "-m", "tests.lab.pulse_stub", "agent"]
    return Pulse(lambda number: [*program, str(number), directory], patience).run()


def agent(number: int, directory: Path) -> None:
    end = End(socket.socket(fileno=number))
    end.put(Begin())
    sent = 0
    with (directory / "news").open("ab") as news:
        while True:
            packets = (directory / "orders").read_bytes().splitlines()
            for packet in packets[sent:]:
                end.put(unpack(packet), packet)
            sent = len(packets)
            end.put(Alive())
            select.select([end], [], [], BREATH)
            for packet in _received(end):
                news.write(packet + b"\n")
            news.flush()


def _received(end: End) -> list[bytes]:
    try:
        return [pack(packet) for packet in end.receive()]
    except Ended:
        sys.exit(3)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["agent", given, where]:
            agent(int(given), Path(where))
        case [where, patience]:
            sys.exit(pulse(where, float(patience)))
