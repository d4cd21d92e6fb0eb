"""Claims addresses that belong to others, over and over, as a machine that is broken or hostile does (``python -m``).

Arguments: interface, MAC, period in seconds, addresses. Each period it says that every address is at its MAC, in all
forms. It says {"ready": true} after the first time; each line of input is answered with how often it did so; it ends
with its input.
"""

import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from lab.ask import BROADCAST, arp_question, checksum
from lab.claims import ADVERTISEMENT, ARP_ETHERNET_IPV4, ICMPV6, TARGET_MAC

OVERRIDE = 0x20
ALL_NODES = IPv6Address("ff02::1")


def gratuitous_reply(mac: bytes, address: IPv4Address) -> bytes:
    """An ARP reply for *address* to everybody (RFC 5227 §3)."""
    return BROADCAST + mac + b"\x08\x06" + ARP_ETHERNET_IPV4 + b"\0\2" + 2 * (mac + address.packed)


def advertisement(mac: bytes, address: IPv6Address) -> bytes:
    """An unsolicited neighbour advertisement that overrides (RFC 4861 §7.2.6)."""
    message = bytes([ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0]) + address.packed + bytes([TARGET_MAC, 1]) + mac
    pseudo = address.packed + ALL_NODES.packed + len(message).to_bytes(4, "big") + bytes([0, 0, 0, ICMPV6])
    message = message[:2] + checksum(pseudo + message) + message[4:]
    header = b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes([ICMPV6, 255]) + address.packed
    return b"\x33\x33\0\0\0\1" + mac + b"\x86\xdd" + header + ALL_NODES.packed + message


def forgeries(mac: bytes, address: IPv4Address | IPv6Address) -> Iterator[bytes]:
    """Every form of the claim."""
    if isinstance(address, IPv4Address):
        yield arp_question(mac, address, address)
        yield gratuitous_reply(mac, address)
    else:
        yield advertisement(mac, address)


def main() -> None:
    interface, mac, period, *addresses = sys.argv[1:]
    frames = [
        frame for address in addresses for frame in forgeries(bytes.fromhex(mac.replace(":", "")), ip_address(address))
    ]
    rounds, due = 0, time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        while True:
            for frame in frames:
                wire.send(frame)
            rounds, due = rounds + 1, max(due + float(period), time.monotonic())
            if rounds == 1:
                print(json.dumps({"ready": True}), flush=True)
            while select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
                if not sys.stdin.readline():
                    return
                print(json.dumps(rounds), flush=True)


if __name__ == "__main__":
    main()
