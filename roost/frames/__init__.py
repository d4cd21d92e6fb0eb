"""Frames that teach neighbours where an address lives (ARP, Neighbour Discovery): bytes to values and back, no I/O."""

from roost.frames.arp import Arp
from roost.frames.claims import Claim, Kind, claim
from roost.frames.ethernet import BROADCAST, Frame, Mac, Malformed
from roost.frames.ndp import Advertisement, Solicitation

__all__ = [
    "BROADCAST",
    "Advertisement",
    "Arp",
    "Claim",
    "Frame",
    "Kind",
    "Mac",
    "Malformed",
    "Solicitation",
    "claim",
]
