"""Frames that a stranger forges are claims, and a slow way is slow one way and loses nothing."""

import asyncio
import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest

from lab import delay
from lab.claims import Kind, read_claim
from lab.forge import forgeries

MAC = bytes.fromhex("02000a3c0066")


@pytest.mark.parametrize(
    ("address", "kinds"),
    [
        (IPv4Address("10.60.0.200"), [Kind.GRATUITOUS_REQUEST, Kind.GRATUITOUS_REPLY]),
        (IPv6Address("fd60::200"), [Kind.ADVERTISEMENT]),
    ],
)
def test_forged_frames_are_claims_of_the_address(address: IPv4Address | IPv6Address, kinds: list[Kind]) -> None:
    claims = [read_claim(frame, 1.0, "stranger-data") for frame in forgeries(MAC, address)]
    assert [claim.kind for claim in claims if claim] == kinds
    assert {(claim.vip, claim.mac) for claim in claims if claim} == {(address, MAC.hex(":"))}


class Writer:
    """Where pieces go; notes when each came."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        self.closed = False

    def write(self, piece: bytes) -> None:
        self.pieces.append((asyncio.get_running_loop().time(), piece))

    async def drain(self) -> None:
        """There is always room."""

    def close(self) -> None:
        self.closed = True


async def test_every_piece_comes_in_order_and_late_and_then_the_end() -> None:
    reader, writer, began = asyncio.StreamReader(), Writer(), asyncio.get_running_loop().time()
    reader.feed_data(b"one")
    passing = asyncio.ensure_future(delay.pass_on(reader, writer, 0.05))  # type: ignore[arg-type]  # as much of it as is used
    await asyncio.sleep(0)
    reader.feed_data(b"two")
    reader.feed_eof()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(passing, 5)
    assert b"".join(piece for _, piece in writer.pieces) == b"onetwo"
    assert writer.pieces[0][0] >= began + 0.05
    assert writer.closed
