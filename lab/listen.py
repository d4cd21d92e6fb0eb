"""Records every claim frame at the data ports of the switch, where each node's own frames come in (``python -m``).

Commands, one JSON value a line: N answers with all claims after the first N; null ends the program.
"""

import ctypes
import json
import select
import socket
import struct
import sys
import time

from lab.claims import Claim, read_claim

ETH_P_ALL = 3
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35  # asm-generic/socket.h
SOL_PACKET, PACKET_STATISTICS = 263, 6  # linux/if_packet.h
BUFFER = 64 << 20
SUFFIXES = ("-data", "-data2")  # the names of the ports, as lab.network.Leg makes them

# Classic BPF (linux/filter.h): ARP, and IPv6 that is neither TCP nor UDP; everything else never leaves the kernel.
LDH, LDB, JEQ, RET = 0x28, 0x30, 0x15, 0x06
FILTER = (
    (LDH, 0, 0, 12),  # EtherType
    (JEQ, 5, 0, 0x0806),
    (JEQ, 0, 3, 0x86DD),
    (LDB, 0, 0, 20),  # IPv6: next header
    (JEQ, 1, 0, socket.IPPROTO_TCP),
    (JEQ, 0, 1, socket.IPPROTO_UDP),
    (RET, 0, 0, 0),
    (RET, 0, 0, 0xFFFF),
)


class Listener:
    """One packet socket for all ports of this namespace, those that come later included, in the kernel's order."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in FILTER))
        attached = struct.pack("HP", len(FILTER), ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setblocking(False)

    def read(self) -> None:
        """Take all frames that wait."""
        while True:
            try:
                frame, extra, _, (port, _, direction, *_) = self.socket.recvmsg(2048, 64)
            except BlockingIOError:
                return
            except OSError:  # a port went away: the kernel says so once
                continue
            if direction == socket.PACKET_OUTGOING or not port.endswith(SUFFIXES):
                continue
            claim = read_claim(frame, _stamp(extra), port)
            if claim is not None:
                self.claims.append(claim)

    def lost(self) -> int:
        """Frames that found the buffer full since the last question: a recording with any is worth nothing."""
        _, dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return int(dropped)


def _stamp(extra: list[tuple[int, int, bytes]]) -> float:
    for level, kind, value in extra:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = struct.unpack("qq", value[:16])
            return float(seconds + nanoseconds / 1e9)
    return time.time()


def answer(listener: Listener, known: int) -> dict[str, object]:
    listener.read()
    if listener.lost():
        return {"error": "claim frames were lost: the recording cannot be trusted"}
    return {"claims": [[c.time, str(c.vip), c.mac, c.port, c.kind] for c in listener.claims[known:]]}


def main() -> None:
    listener = Listener()
    print(json.dumps({"ready": True}), flush=True)
    while True:
        readable, _, _ = select.select([listener.socket, sys.stdin], [], [])
        listener.read()
        if sys.stdin in readable:
            known = json.loads(sys.stdin.readline() or "null")
            if known is None:
                return
            print(json.dumps(answer(listener, known)), flush=True)


if __name__ == "__main__":
    main()
