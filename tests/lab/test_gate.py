"""The gate in a real kernel: every kind of claim is silent without permit, and ceases by itself when it runs out."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nodeagent.gate import plan
from nodeagent.gate.apply import Gate
from nodeagent.gate.plan import Have, KernelRefused, Unsupported, ruleset
from roost.frames import Kind, arp, ndp
from tests.lab.pair import (
    CLIENT4,
    CLIENT6,
    NODE4,
    NODE6,
    NODE_MAC,
    OTHER4,
    OTHER6,
    PATIENCE,
    QUIET,
    UPLINK,
    VIP4,
    VIP6,
    Address,
    Pair,
    ip,
    nodad,
    pair,
    until,
)
from tests.nodeagent.gate.contract import GateContract, Stage

FENCED: frozenset[Address] = frozenset({VIP4, VIP6, OTHER4, OTHER6})


@pytest.fixture
def segment() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture
def gate(segment: Pair) -> Iterator[Gate]:
    """The gate stands, fences four VIPs, and the node has them all."""
    with Gate(UPLINK) as gate:
        gate.install()
        gate.guard(FENCED)
        for vip in FENCED:
            ip("addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", UPLINK, "scope", "link", *nodad(vip))
        yield gate


@pytest.fixture
def stage(segment: Pair) -> Iterator[Stage]:
    with Gate(UPLINK) as gate:
        gate.install()
        yield Stage(gate, time.monotonic, lambda seconds: until(_past(seconds), "time passes"))


def _past(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


class TestGateInTheKernel(GateContract):
    pass


@dataclass(frozen=True)
class Way:
    """A way in which a claim for *vip* leaves the node."""

    vip: Address
    kind: Kind
    provoke: Callable[[Pair], None]


def send(frame: bytes) -> None:
    """By a packet socket, as an announcer does; a gate that is shut says so with ENOBUFS."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((UPLINK, 0))
        try:
            out.send(frame)
        except OSError as error:
            assert error.errno == errno.ENOBUFS  # noqa: PT017 - the other outcome is success


WAYS = {
    "the kernel answers ARP": Way(VIP4, Kind.ARP_REPLY, lambda s: s.ask(VIP4)),
    "gratuitous ARP": Way(VIP4, Kind.ARP_REQUEST, lambda s: send(arp.announcement(VIP4, NODE_MAC))),
    "gratuitous ARP as reply": Way(VIP4, Kind.ARP_REPLY, lambda s: send(arp.announcement_as_reply(VIP4, NODE_MAC))),
    "the kernel asks by ARP for the VIP": Way(VIP4, Kind.ARP_REQUEST, lambda s: s.send_from(VIP4, s.unknown(4))),
    "the kernel advertises": Way(VIP6, Kind.ADVERTISEMENT, lambda s: s.ask(VIP6)),
    "an unsolicited advertisement": Way(VIP6, Kind.ADVERTISEMENT, lambda s: send(ndp.announcement(VIP6, NODE_MAC))),
    "the kernel solicits for the VIP": Way(VIP6, Kind.SOLICITATION, lambda s: s.send_from(VIP6, s.unknown(6))),
}


def claims(segment: Pair, way: Way) -> bool:
    """Whether the claim reaches the client."""
    segment.forget()
    way.provoke(segment)
    heard = segment.hears(way.vip, QUIET)
    assert heard is None or (heard.mac, heard.kind) == (NODE_MAC, way.kind)
    return heard is not None


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
class TestEveryWayToClaim:
    def test_passes_only_with_both_hold_and_permit(self, segment: Pair, gate: Gate, way: Way) -> None:
        assert not claims(segment, way), "neither"
        gate.hold({way.vip})
        assert not claims(segment, way), "held only"
        gate.permit_create(60_000)
        assert claims(segment, way), "held and permitted"
        gate.hold(set())
        assert not claims(segment, way), "permitted only"
        gate.hold({OTHER4, OTHER6})
        assert not claims(segment, way), "another is held"

    def test_ceases_by_itself_when_the_permit_runs_out(self, segment: Pair, gate: Gate, way: Way) -> None:
        gate.hold({way.vip})
        gate.permit_create(60_000)
        assert claims(segment, way)
        assert gate.permit_refresh(100)
        until(lambda: not claims(segment, way), "the permit runs out")
        assert not gate.permit_refresh(60_000)
        assert not claims(segment, way)

    def test_passes_where_no_gate_fences_it(self, segment: Pair, gate: Gate, way: Way) -> None:
        gate.guard(set())
        assert claims(segment, way)


@pytest.mark.parametrize(
    ("asked", "version"), [pytest.param(NODE4, 4, id="ARP"), pytest.param(NODE6, 6, id="Neighbour Discovery")]
)
def test_the_nodes_own_address_is_never_touched(segment: Pair, gate: Gate, asked: Address, version: int) -> None:
    segment.ask(asked)
    answered = segment.hears(asked)
    assert answered is not None
    assert answered.kind in {Kind.ARP_REPLY, Kind.ADVERTISEMENT}
    segment.send_from(asked, segment.unknown(version))
    question = segment.hears(asked)
    assert question is not None
    assert question.kind in {Kind.ARP_REQUEST, Kind.SOLICITATION}


@pytest.mark.parametrize(
    ("vip", "client"), [pytest.param(VIP4, CLIENT4, id="IPv4"), pytest.param(VIP6, CLIENT6, id="IPv6")]
)
def test_data_from_a_vip_is_no_claim(segment: Pair, gate: Gate, vip: Address, client: Address) -> None:
    ip("neigh", "replace", str(client), "lladdr", "02:00:00:00:00:02", "dev", UPLINK, "nud", "permanent")
    segment.forget()
    segment.send_from(vip, client)
    until(lambda: vip.packed + client.packed in segment.wire.recv(2048), "the datagram arrives")


@pytest.mark.parametrize("vip", [pytest.param(VIP4, id="ARP"), pytest.param(VIP6, id="Neighbour Discovery")])
def test_a_vip_on_another_device_is_fenced_too(segment: Pair, gate: Gate, vip: Address) -> None:
    """As kube-proxy in IPVS mode has it on kube-ipvs0: Linux answers for it on every device."""
    ip("addr", "del", f"{vip}/{vip.max_prefixlen}", "dev", UPLINK)
    ip("addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", "lo", *nodad(vip))
    if vip.version == 6:  # IPv6 answers for addresses of the device itself, and for those it is proxy of
        subprocess.run(
            ["sysctl", "-qw", f"net.ipv6.conf.{UPLINK}.proxy_ndp=1", "net.ipv6.conf.all.forwarding=1"], check=True
        )
        ip("-6", "neigh", "add", "proxy", str(vip), "dev", UPLINK)
    gate.hold({vip})
    segment.ask(vip)
    assert segment.hears(vip, QUIET) is None
    gate.permit_create(60_000)
    segment.ask(vip)
    assert segment.hears(vip) is not None


def test_no_answer_is_lost_while_the_permit_is_fed(segment: Pair, gate: Gate) -> None:
    gate.hold({VIP4})
    gate.feed(time.monotonic() + 5, time.monotonic)
    done = threading.Event()

    def feed() -> None:
        while not done.is_set():
            gate.feed(time.monotonic() + 5, time.monotonic)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        for _ in range(300):
            segment.forget()
            segment.ask(VIP4)
            assert segment.hears(VIP4) is not None
    finally:
        done.set()
        feeder.join()


def test_a_process_that_was_stopped_renews_nothing_when_it_wakes_up(segment: Pair, gate: Gate) -> None:
    """It goes on where it stopped: in the middle of feeding a permit whose time is over."""
    way = WAYS["the kernel answers ARP"]
    gate.remove()
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN, UPLINK, str(VIP4)], stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "fed\n"
        agent.send_signal(signal.SIGSTOP)
        until(lambda: not claims(segment, way), "the permit runs out")
        agent.send_signal(signal.SIGCONT)
        assert agent.wait(PATIENCE) == 0
    assert not claims(segment, way)


def test_a_killed_process_leaves_the_gate_standing_and_the_permit_running_out(segment: Pair, gate: Gate) -> None:
    gate.remove()
    gate.close()
    agent = subprocess.Popen([sys.executable, "-c", AGENT, UPLINK, str(VIP4)], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    assert agent.stdout.readline() == "fed\n"
    way = WAYS["the kernel answers ARP"]
    assert claims(segment, way)
    agent.send_signal(signal.SIGSTOP)
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    assert claims(segment, way), "the kernel answers on while the permit lasts"
    until(lambda: not claims(segment, way), "the permit runs out")
    with Gate(UPLINK) as heir:
        assert heir.standing()
        have = heir.install()
        assert have == Have(frozenset({VIP4}), frozenset({VIP4}), None)
        heir.remove()
    assert "roost" not in subprocess.check_output(["nft", "list", "ruleset"], text=True)


STUBBORN = """
import ipaddress, sys, time
from nodeagent.gate.apply import Gate
gate, vip = Gate(sys.argv[1]), ipaddress.ip_address(sys.argv[2])
gate.install()
gate.guard({vip})
gate.hold({vip})
deadline = time.monotonic() + 0.6
fed = gate.feed(deadline, time.monotonic)
print("fed", flush=True)
while gate.feed(deadline, time.monotonic):
    pass
"""

AGENT = """
import ipaddress, sys, time
from nodeagent.gate.apply import Gate
gate, vip = Gate(sys.argv[1]), ipaddress.ip_address(sys.argv[2])
gate.install()
gate.guard({vip})
gate.hold({vip})
while True:
    assert gate.feed(time.monotonic() + 1.0, time.monotonic)
    print("fed", flush=True)
    time.sleep(0.2)
"""


class TestATableOfAnotherShape:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param("delete chain netdev roost out", id="the chain is gone"),
            pytest.param("insert rule netdev roost out accept", id="a rule too many"),
            pytest.param("flush chain netdev roost out", id="no rule left"),
        ],
    )
    def test_is_replaced_and_fences_the_same_vips(self, segment: Pair, gate: Gate, change: str) -> None:
        gate.hold({VIP4, VIP6})
        gate.permit_create(60_000)
        nft(change)
        assert not gate.standing()
        have = gate.install()
        assert have == Have(FENCED, frozenset(), None)
        assert not claims(segment, WAYS["the kernel answers ARP"])
        assert not claims(segment, WAYS["the kernel advertises"])

    def test_is_replaced_where_it_has_nothing_of_ours_but_the_name(self, segment: Pair, gate: Gate) -> None:
        gate.remove()
        nft("table netdev roost {\n set held4 {\n type inet_service\n elements = { 80 }\n }\n}")
        have = gate.install()
        assert have == Have(frozenset(), frozenset(), None)
        assert gate.standing()

    def test_the_gate_of_another_device_is_replaced(self, segment: Pair, gate: Gate) -> None:
        ip("link", "add", "second", "type", "veth", "peer", "name", "third")
        with Gate("second") as second:
            assert not second.standing()
            have = second.install()
            assert second.standing()
            assert have.vips == FENCED
        assert not gate.standing()

    def test_the_words_of_nft_are_in_the_error(self, segment: Pair) -> None:
        with Gate('no"device') as gate, pytest.raises(KernelRefused, match="syntax error"):
            gate.install()


class TestAMachineWithoutWhatAGateNeeds:
    """The message names what is missing."""

    def test_nft(self, segment: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with Gate(UPLINK) as gate, pytest.raises(Unsupported, match="package nftables"):
            gate.install()

    def test_a_kernel(self, segment: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(plan, "OLDEST_KERNEL", (99, 1))
        with Gate(UPLINK) as gate, pytest.raises(Unsupported, match=r"99\.1 or newer"):
            gate.install()

    def test_rights(self, segment: Pair) -> None:
        program = "from nodeagent.gate.apply import Gate; Gate('uplink')"
        without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
        done = subprocess.run([*without, sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "the gate needs the capability NET_ADMIN" in done.stderr


def test_sets_that_another_changed_are_read_again(segment: Pair, gate: Gate) -> None:
    gate.hold({VIP4, OTHER4})
    nft("flush set netdev roost held4")
    gate.hold({OTHER4})
    nft("flush set netdev roost vips4")
    gate.guard({OTHER4})
    assert gate.read() == Have(frozenset({OTHER4}), frozenset({OTHER4}), None)


def test_a_flushed_ruleset_is_noticed_at_the_next_meal(segment: Pair, gate: Gate) -> None:
    assert gate.feed(time.monotonic() + 5, time.monotonic)
    nft("flush ruleset")
    assert not gate.standing()
    with pytest.raises(KernelRefused) as refused:
        gate.feed(time.monotonic() + 5, time.monotonic)
    assert refused.value.errno == errno.ENOENT


def test_the_gate_returns_with_a_device_that_was_replaced(segment: Pair, gate: Gate) -> None:
    ip("link", "delete", UPLINK)
    ip("link", "add", UPLINK, "type", "veth", "peer", "name", "far")
    gate.install()
    assert gate.standing()
    assert gate.read().vips == FENCED


def nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def test_nft_takes_the_rules_with_vips_in_them(segment: Pair) -> None:
    nft(ruleset(UPLINK, {VIP4, VIP6}))
    with Gate(UPLINK) as gate:
        assert gate.standing()
        assert gate.read().vips == {VIP4, VIP6}
