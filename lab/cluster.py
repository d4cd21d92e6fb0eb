"""The whole lab in one class: ``with Lab(nodes=3) as lab: …``."""

from collections.abc import Iterable

from lab.layer3 import Layer3
from lab.probes import AskProbe, ClaimProbe, ClientProbe, RequestMeter


class Lab(Layer3):
    """A rack in a box: cluster, backends, Roost's programs, faults, routers, and the probes that watch."""

    def client(self, address: str, port: int = 80, *, where: str = "client", every: float = 0.010) -> ClientProbe:
        """A client that connects every *every* seconds until stopped (a context manager)."""
        return ClientProbe(address, port, where=where, every=every)

    def claims(self, addresses: Iterable[str] = ()) -> ClaimProbe:
        """A listener for every claim frame of *addresses* (none: of all) on the data switch (a context manager)."""
        return ClaimProbe(addresses)

    def ask(self, *addresses: str, every: float = 0.020, segment: str = "data") -> AskProbe:
        """ARP and NDP questions for *addresses* on a data segment, over and over (a context manager)."""
        return AskProbe(addresses, every=every, segment=segment)

    def api_requests(self) -> RequestMeter:
        """Counts requests to the API server by user, verb and resource, from now on."""
        return RequestMeter(self.work / "audit.log")
