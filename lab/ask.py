"""Asks for addresses on the data segment, over and over, and notes who answers (``python -m``).

Arguments: interface, own MAC, own IPv4 address, own IPv6 address, period in seconds, and the addresses to ask for.
The questions are frames of its own, so the kernel's neighbour table is not involved. Commands, one JSON value a line:
"report" answers with the book so far; anything else ends the program.
"""

import json
import select
import socket
import sys
import time
from ipaddress import IPv4Address, IPv6Address, ip_address

from lab.claims import ARP_ETHERNET_IPV4, ICMPV6, SOLICITATION, SOURCE_MAC, Address, Kind, read_claim

ETH_P_ALL = 3
BROADCAST = b"\xff" * 6
ANSWERS = (Kind.ARP_REPLY, Kind.ADVERTISEMENT)


def arp_question(mac: bytes, own: IPv4Address, wanted: IPv4Address) -> bytes:
    """Who has *wanted*? (RFC 826)"""
    request = ARP_ETHERNET_IPV4 + b"\0\1" + mac + own.packed + b"\0" * 6 + wanted.packed
    return BROADCAST + mac + b"\x08\x06" + request


def nd_question(mac: bytes, own: IPv6Address, wanted: IPv6Address) -> bytes:
    """A neighbour solicitation to the solicited-node group of *wanted* (RFC 4861 §7.2.2, RFC 4291 §2.7.1)."""
    group = bytes.fromhex("ff0200000000000000000001ff") + wanted.packed[13:]
    message = bytes([SOLICITATION, 0, 0, 0, 0, 0, 0, 0]) + wanted.packed + bytes([SOURCE_MAC, 1]) + mac
    pseudo = own.packed + group + len(message).to_bytes(4, "big") + bytes([0, 0, 0, ICMPV6])
    message = message[:2] + checksum(pseudo + message) + message[4:]
    header = b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes([ICMPV6, 255]) + own.packed + group
    return b"\x33\x33" + group[12:] + mac + b"\x86\xdd" + header + message


def checksum(data: bytes) -> bytes:
    """Of the Internet (RFC 1071); *data* has an even length here."""
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2, "big")


class Questioner:
    """Sends all questions each *period* and collects the answers."""

    def __init__(self, interface: str, questions: dict[Address, bytes], period: float) -> None:
        self.questions, self.period = questions, period
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        self.answers: list[tuple[float, str, str]] = []  # time, address, MAC
        self.started = time.time()
        self.next = time.monotonic()

    def tick(self) -> float:
        """Ask if it is time, and return when to come again."""
        now = time.monotonic()
        if now >= self.next:
            for question in self.questions.values():
                try:
                    self.socket.send(question)
                except OSError:  # the interface is down, or its queue full: the next question comes soon
                    continue
            self.next = max(self.next + self.period, now)
        return self.next

    def read(self) -> None:
        while True:
            try:
                frame, (_, _, direction, *_) = self.socket.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            if direction != socket.PACKET_HOST:
                continue
            claim = read_claim(frame, time.time(), "")
            if claim is not None and claim.kind in ANSWERS and claim.vip in self.questions:
                self.answers.append((claim.time, str(claim.vip), claim.mac))

    def report(self) -> dict[str, object]:
        return {"started": self.started, "now": time.time(), "answers": self.answers}


def main() -> None:
    interface, mac_text, own4, own6, period, *wanted = sys.argv[1:]
    mac = bytes.fromhex(mac_text.replace(":", ""))
    questions: dict[Address, bytes] = {}
    for address in map(ip_address, wanted):
        match address:
            case IPv4Address():
                questions[address] = arp_question(mac, IPv4Address(own4), address)
            case IPv6Address():
                questions[address] = nd_question(mac, IPv6Address(own6), address)
    questioner = Questioner(interface, questions, float(period))
    while True:
        due = questioner.tick()
        readable, _, _ = select.select([questioner.socket, sys.stdin], [], [], max(0.0, due - time.monotonic()))
        questioner.read()
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line or json.loads(line) != "report":
                return
            print(json.dumps(questioner.report()), flush=True)


if __name__ == "__main__":
    main()
