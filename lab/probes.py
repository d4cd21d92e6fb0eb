"""What is watched during a fault: a client's connections, claims on the wire, answers to ARP and NDP, API requests."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Self

from lab.claims import Claim, Kind, Recording
from lab.network import OBSERVER, Leg
from lab.probe import Companion
from lab.run import wait_for

CONNECT_EVERY, CONNECT_PATIENCE, ASK_EVERY = 0.010, 0.200, 0.020  # seconds


def longest_gap(moments: Sequence[float], start: float, end: float) -> float:
    """The longest time between two of *moments* (sorted), the time before the first and after the last included."""
    return max(later - earlier for earlier, later in pairwise([start, *moments, max(end, start)]))


@dataclass(frozen=True, slots=True)
class Connections:
    """What a client saw; all times in seconds since 1970."""

    started: float
    now: float
    successes: tuple[float, ...]
    failures: tuple[tuple[float, str], ...]  # when the attempt began, and why it failed
    late: float  # seconds by which the client itself was late at worst: below that, a gap says nothing

    def gap(self, since: float | None = None, until: float | None = None) -> float:
        """The longest time between two successful connections, from *since* (start) until *until* (now)."""
        start, end = since if since is not None else self.started, until if until is not None else self.now
        return longest_gap([moment for moment in self.successes if start <= moment <= end], start, end)


@dataclass(frozen=True, slots=True)
class Answers:
    """Who answered ARP or NDP questions for an address: (seconds since 1970, MAC)."""

    started: float
    now: float
    answers: tuple[tuple[float, str], ...]

    @property
    def macs(self) -> list[str]:
        """In the order in which each answered first."""
        return list(dict.fromkeys(mac for _, mac in self.answers))

    def silence(self, since: float | None = None, until: float | None = None) -> float:
        """The longest time without any answer: what a client without a neighbour entry waits."""
        start, end = since if since is not None else self.started, until if until is not None else self.now
        return longest_gap([moment for moment, _ in self.answers if start <= moment <= end], start, end)


class _Probe:
    """A companion that ends with the `with` block."""

    def __init__(self, companion: Companion) -> None:
        self._companion = companion

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._companion.close()


class ClientProbe(_Probe):
    """Connects to *address*:*port* from the namespace *where* every 10 ms; the kernel keeps the neighbour entry."""

    def __init__(
        self,
        address: str,
        port: int,
        *,
        where: str = "client",
        every: float = CONNECT_EVERY,
        patience: float = CONNECT_PATIENCE,
    ) -> None:
        super().__init__(
            Companion("lab.connect", str(ip_address(address)), str(port), str(every), str(patience), netns=where)
        )

    def report(self) -> Connections:
        """All so far; it goes on."""
        said = self._companion.ask("report")
        failures = tuple((moment, why) for moment, why in said["failures"])
        return Connections(said["started"], said["now"], tuple(said["successes"]), failures, said["late"])

    def wait_for_success(self, seconds: float = 30, *, count: int = 1) -> None:
        """Return after *count* more connections have succeeded. Raises LabError after *seconds*."""
        enough = len(self.report().successes) + count
        wait_for(f"{count} connections succeed", lambda: len(self.report().successes) >= enough, seconds, every=0.05)


class ClaimProbe(_Probe):
    """Hears every claim frame at every port of the data switch, at the port of its origin."""

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        """*addresses*: what the recordings are about; none: every address that is claimed, the stations' own too."""
        super().__init__(Companion("lab.listen", netns="switch"))
        self._companion.read()  # it listens
        self._claims: list[Claim] = []
        self.addresses = frozenset(ip_address(address) for address in addresses)

    def recording(self, since: float = 0, until: float | None = None) -> Recording:
        """The claims so far. Raises LabError if the kernel had to drop a frame."""
        said = self._companion.ask(len(self._claims))["claims"]
        self._claims += [Claim(when, ip_address(vip), mac, port, Kind(kind)) for when, vip, mac, port, kind in said]
        found = Recording.of(claim for claim in self._claims if not self.addresses or claim.vip in self.addresses)
        return found.between(since, time.time() if until is None else until)

    def wait_for_holder(self, address: str, other_than: str = "", seconds: float = 30) -> str:
        """Wait until a node that is not *other_than* made the last claim of *address*; return the node."""

        def holder() -> str:
            node = self.recording().holder(address).removesuffix("-data")
            return node if node != other_than else ""

        return wait_for(f"{address} is claimed by another than {other_than or 'nobody'}", holder, seconds, every=0.05)


class AskProbe(_Probe):
    """Asks for *addresses* every 20 ms from a station of its own, so that holders claim and silence shows."""

    def __init__(self, addresses: Iterable[str], *, every: float = ASK_EVERY, segment: str = "data") -> None:
        leg = Leg("observer", segment, OBSERVER)
        own = (leg.mac, str(leg.address4), str(leg.address6))
        super().__init__(Companion("lab.ask", leg.segment, *own, str(every), *addresses, netns="observer"))

    def report(self, address: str) -> Answers:
        said = self._companion.ask("report")
        wanted = str(ip_address(address))
        return Answers(
            said["started"], said["now"], tuple((t, mac) for t, vip, mac in said["answers"] if vip == wanted)
        )


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked of the API server: by *user*, *verb* of *resource* (with its subresource), on behalf of *node*."""

    user: str
    verb: str
    resource: str
    node: str = ""  # from a node-bound token


class RequestMeter:
    """Counts the requests of the API server's audit log from its making on. Watches count when they begin."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0
        self._rest = b""
        self._counted: Counter[Request] = Counter()
        self.started = time.monotonic()

    def count(self, user: str = "") -> Counter[Request]:
        """The requests so far, of users whose name ends with *user*. The log is some tenths of a second behind."""
        self._counted.update(request for _, request in self._read())
        return Counter({request: n for request, n in self._counted.items() if request.user.endswith(user)})

    def rate(self, user: str = "") -> float:
        """Requests per second since the beginning."""
        return self.count(user).total() / (time.monotonic() - self.started)

    def log(self, user: str = "") -> list[tuple[float, Request]]:
        """The requests so far and when each came (seconds since 1970), instead of their count."""
        return [(moment, request) for moment, request in self._read() if request.user.endswith(user)]

    def _read(self) -> Iterator[tuple[float, Request]]:
        if not self._log.exists():
            return
        with self._log.open("rb") as file:
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["stage"] == ("ResponseStarted" if event["verb"] == "watch" else "ResponseComplete"):
                yield _moment(event), _request(event)


def _moment(event: dict[str, object]) -> float:
    return datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp()


def _request(event: dict[str, object]) -> Request:
    match event:
        case {"user": {"extra": {"authentication.kubernetes.io/node-name": [str(node)]}}}:
            pass
        case _:
            node = ""
    match event:
        case {"objectRef": {"resource": str(resource), "subresource": str(part)}}:
            resource = f"{resource}/{part}"
        case {"objectRef": {"resource": str(resource)}}:
            pass
        case _:
            resource = str(event.get("requestURI", "")).partition("?")[0]
    user = event.get("user")
    return Request(str(user["username"]) if isinstance(user, dict) else "", str(event["verb"]), resource, node)
