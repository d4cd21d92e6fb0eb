"""The gate in a real kernel: every kind of claim is silent without permit, and ceases by itself when it runs out.

Run in network namespaces of the machine's own kernel (tests/lab), and in the kernel box (tests/kernel).
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from pyroute2 import netns

from nodeagent.gate import rules
from nodeagent.gate.apply import Gate, Gates
from nodeagent.gate.permits import Permits
from nodeagent.gate.plan import Have, KernelRefused, NoGate, Range, Unsupported, without
from nodeagent.gate.rules import EGRESS, FORMS, OUTPUT, Form
from roost.frames import Kind, arp, ndp
from tests.lab.pair import (
    CLIENT4,
    CLIENT6,
    CLIENT_MAC,
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
from tests.nodeagent.gate.contract import Devices, GateContract, GatesContract, PermitsContract, Stage

FENCED: frozenset[Address] = frozenset({VIP4, VIP6, OTHER4, OTHER6})
SECOND = "second"
ETH_P_ALL = 0x0003


@pytest.fixture
def segment() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def form(request: pytest.FixtureRequest) -> Form:
    """Both forms of the gate; tests that have no use for it get the best."""
    assert isinstance(request.param, Form)
    return request.param


@pytest.fixture
def gate(segment: Pair, request: pytest.FixtureRequest) -> Iterator[Gate]:
    """The gate stands, fences four VIPs, and the node has them all."""
    form = request.getfixturevalue("form") if "form" in request.fixturenames else EGRESS
    with Gates([UPLINK], forms=[form]) as gates:
        gate = OfItsOwn(UPLINK, gates)
        gate.install()
        gate.guard(FENCED)
        for vip in FENCED:
            ip("addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", UPLINK, "scope", "link", *nodad(vip))
        yield gate


def wait(seconds: float) -> None:
    until(_past(seconds), "time passes")


@pytest.fixture
def stage(segment: Pair, form: Form) -> Iterator[Stage]:
    with Gates([UPLINK], forms=[form]) as gates:
        gate = OfItsOwn(UPLINK, gates)
        gate.install()
        yield Stage(gate, time.monotonic, wait)


class OfItsOwn(Gate):
    """The only gate of a node, of whatever form: it takes the whole table away."""

    def __init__(self, device: str, gates: Gates) -> None:
        super().__init__(device, gates)
        self._shared = False


@pytest.fixture
def devices(segment: Pair, form: Form) -> Iterator[Devices]:
    make(SECOND)
    permits = Permits()
    with Gates([UPLINK, SECOND], forms=[form]) as gates:
        gates.install()
        yield Devices(gates, permits, time.monotonic, wait, make, lambda device: void(ip("link", "delete", device)))
    permits.close()


def make(device: str) -> None:
    ip("link", "add", device, "type", "veth", "peer", "name", f"{device}-peer")
    ip("link", "set", device, "up")


def void(_: object) -> None:
    pass


def _past(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


class TestGateInTheKernel(GateContract):
    pass


class TestPermitsInTheKernel(PermitsContract):
    pass


class TestGatesInTheKernel(GatesContract):
    pass


@dataclass(frozen=True)
class Way:
    """A way in which a claim for *vip* leaves the node, and whether it is by a packet socket of ours."""

    vip: Address
    kind: Kind
    provoke: Callable[[Pair], None]
    ours: bool = False


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
    "gratuitous ARP": Way(VIP4, Kind.ARP_REQUEST, lambda s: send(arp.announcement(VIP4, NODE_MAC)), ours=True),
    "gratuitous ARP as reply": Way(
        VIP4, Kind.ARP_REPLY, lambda s: send(arp.announcement_as_reply(VIP4, NODE_MAC)), ours=True
    ),
    "the kernel asks by ARP for the VIP": Way(VIP4, Kind.ARP_REQUEST, lambda s: s.send_from(VIP4, s.unknown(4))),
    "the kernel advertises": Way(VIP6, Kind.ADVERTISEMENT, lambda s: s.ask(VIP6)),
    "an unsolicited advertisement": Way(
        VIP6, Kind.ADVERTISEMENT, lambda s: send(ndp.announcement(VIP6, NODE_MAC)), ours=True
    ),
    "the kernel solicits for the VIP": Way(VIP6, Kind.SOLICITATION, lambda s: s.send_from(VIP6, s.unknown(6))),
}


def claims(segment: Pair, way: Way, gate: Gate | None = None) -> bool:
    """Whether the claim reaches the client; where *gate* is a weak one, its sender asks before."""
    segment.forget()
    if gate is None or not (way.ours and gate.weakness) or gate.may_claim(way.vip):
        way.provoke(segment)
    heard = segment.hears(way.vip, QUIET)
    assert heard is None or (heard.mac, heard.kind) == (NODE_MAC, way.kind)
    return heard is not None


def passes(segment: Pair, way: Way, gate: Gate | None = None, when: str = "") -> None:
    """The claim reaches the client, at the latest when its sender has tried for some time."""
    until(lambda: claims(segment, way, gate), f"a claim reaches the client {when}")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
class TestEveryWayToClaim:
    def test_passes_only_with_both_hold_and_permit(self, segment: Pair, gate: Gate, form: Form, way: Way) -> None:
        assert not claims(segment, way, gate), "neither"
        gate.hold({way.vip})
        assert not claims(segment, way, gate), "held only"
        gate.permit_create(60_000)
        passes(segment, way, gate, "held and permitted")
        gate.hold(set())
        assert not claims(segment, way, gate), "permitted only"
        gate.hold({OTHER4, OTHER6})
        assert not claims(segment, way, gate), "another is held"

    def test_ceases_by_itself_when_the_permit_runs_out(self, segment: Pair, gate: Gate, form: Form, way: Way) -> None:
        gate.hold({way.vip})
        gate.permit_create(60_000)
        passes(segment, way, gate)
        assert gate.feed(time.monotonic() + 0.15, time.monotonic)
        until(lambda: not claims(segment, way, gate), "the permit runs out")
        assert gate.read().permit_ms is None
        assert not claims(segment, way, gate)

    def test_passes_where_no_gate_fences_it(self, segment: Pair, gate: Gate, form: Form, way: Way) -> None:
        gate.guard(set())
        passes(segment, way, gate)


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


@pytest.mark.parametrize(
    "way", [way for way in WAYS.values() if not way.ours], ids=[n for n in WAYS if not WAYS[n].ours]
)
def test_every_address_of_a_pool_is_fenced_before_it_is_a_vip(segment: Pair, gate: Gate, form: Form, way: Way) -> None:
    gate.guard((), without([Range.parse("10.1.0.0/24"), Range.parse("fd01::/64")], [NODE4, NODE6]))
    assert not claims(segment, way)
    segment.ask(NODE4)
    assert segment.hears(NODE4) is not None
    gate.hold({way.vip})
    gate.permit_create(60_000)
    passes(segment, way)
    gate.hold(())
    gate.guard((), [Range.parse("10.1.0.0-10.1.0.99"), Range.parse("10.1.0.102/32"), Range.parse("fd01::-fd01::ff")])
    passes(segment, way, when="just outside of the pool")


@pytest.mark.parametrize("vip", [pytest.param(VIP4, id="ARP"), pytest.param(VIP6, id="Neighbour Discovery")])
def test_a_second_device_on_the_same_segment_is_fenced_too(segment: Pair, form: Form, vip: Address) -> None:
    with second_wire(segment) as other, Gates([UPLINK], forms=[form]) as gates:
        for device in (UPLINK, SECOND):
            ip("addr", "replace", f"{vip}/{vip.max_prefixlen}", "dev", device, *nodad(vip))
        gates.install()
        gates.guard({vip})
        gates.hold(UPLINK, {vip})
        gates.permits.create(UPLINK, 60_000)
        assert_answers(segment, vip)
        assert_answers(other, vip, "not fenced yet")
        gates.fence([UPLINK, SECOND])
        assert_answers(segment, vip)
        assert not answers(other, vip)
        gates.hold(SECOND, {vip})
        assert not answers(other, vip)
        gates.permits.create(SECOND, 60_000)
        assert_answers(other, vip)
        gates.permits.revoke(UPLINK)
        assert not answers(segment, vip)
        assert_answers(other, vip)


def answers(segment: Pair, vip: Address) -> bool:
    segment.forget()
    segment.ask(vip)
    return segment.hears(vip, QUIET) is not None


def assert_answers(segment: Pair, vip: Address, why: str = "") -> None:
    until(lambda: answers(segment, vip), f"{vip} answers {why}")


@contextmanager
def second_wire(segment: Pair) -> Iterator[Pair]:
    """The node's second device on the segment, seen from the client."""
    ip("link", "add", SECOND, "type", "veth", "peer", "name", SECOND, "netns", segment.client)
    ip("link", "set", SECOND, "address", str(NODE_MAC), "up")
    ip("-n", segment.client, "link", "set", SECOND, "address", str(CLIENT_MAC), "up")
    subprocess.run(
        ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", f"net.ipv4.conf.{SECOND}.rp_filter=0"], check=True
    )
    with there(segment.client):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with wire:
        wire.bind((SECOND, ETH_P_ALL))
        yield Pair(segment.node, segment.client, wire)


@contextmanager
def there(namespace: str) -> Iterator[None]:
    """This thread is in another network namespace."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


def test_a_vip_on_every_nodes_kube_ipvs0_is_answered_by_its_holder_alone(segment: Pair, dummy: str, form: Form) -> None:
    """kube-proxy in IPVS mode has every VIP on a device of every node, and Linux answers for it on any other."""
    with second_wire(segment) as other, ExitStack() as stack:
        ip("netns", "add", "other-node")
        stack.callback(ip, "netns", "delete", "other-node")
        ip("link", "set", SECOND, "netns", "other-node")
        ip("-n", "other-node", "link", "set", SECOND, "up")
        ip("-n", "other-node", "addr", "add", "10.1.0.3/24", "dev", SECOND)
        nodes = [(segment.node, segment, UPLINK), ("other-node", other, SECOND)]
        gates = dict[str, Gates]()
        for node, wire, device in nodes:
            with there(node):
                ip("link", "add", "kube-ipvs0", "type", dummy)
                ip("addr", "add", f"{VIP4}/32", "dev", "kube-ipvs0")
                ip("link", "set", "kube-ipvs0", "up")
                assert_answers(wire, VIP4, "arp_ignore is 0")
                gates[node] = stack.enter_context(Gates([device], forms=[form]))
                gates[node].install()
                gates[node].guard((), [Range.parse("10.1.0.64/26")])
                assert not answers(wire, VIP4)
        for holder, _, device in nodes:
            gates[holder].hold(device, {VIP4})
            gates[holder].permits.create(device, 60_000)
            assert [node for node, wire, _ in nodes if answers(wire, VIP4)] == [holder]
            gates[holder].permits.revoke(device)


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
    passes(segment, way)
    agent.send_signal(signal.SIGSTOP)
    os.kill(agent.pid, signal.SIGKILL)
    agent.wait()
    agent.stdout.close()
    passes(segment, way, when="the kernel answers on while the permit lasts")
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
            pytest.param("flush chain netdev roost out-uplink; delete chain netdev roost out-uplink", id="no chain"),
            pytest.param("insert rule netdev roost out-uplink accept", id="a rule too many in a device's chain"),
            pytest.param("flush chain netdev roost out-uplink", id="no rule left in a device's chain"),
        ],
    )
    def test_a_devices_chain_is_made_anew_and_all_else_stays(self, segment: Pair, gate: Gate, change: str) -> None:
        gate.hold({VIP4, VIP6})
        gate.permit_create(60_000)
        nft(change)
        assert not gate.standing()
        have = gate.install()
        assert gate.standing()
        assert (have.vips, have.held) == (FENCED, frozenset[Address]({VIP4, VIP6}))
        assert have.permit_ms is not None

    @pytest.mark.parametrize(
        ("form", "change"),
        [
            pytest.param(EGRESS, "flush chain netdev roost sender", id="nothing drops what a sender claims"),
            pytest.param(EGRESS, "insert rule netdev roost targets accept", id="a rule too many"),
            pytest.param(OUTPUT, "insert rule arp roost out accept", id="a rule too many in family arp"),
            pytest.param(OUTPUT, "delete table ip6 roost", id="a table is gone"),
        ],
        indirect=["form"],
    )
    def test_is_replaced_and_fences_the_same(self, segment: Pair, gate: Gate, form: Form, change: str) -> None:
        gate.guard(FENCED, [Range.parse("10.9.0.0/24")])
        gate.hold({VIP4})
        gate.permit_create(60_000)
        nft(change)
        assert not gate.standing()
        have = gate.install()
        assert {vip for vip in FENCED if vip.version == 4} <= have.vips, "those of a table that is gone are not known"
        assert (have.held, have.permit_ms) == (frozenset(), None)
        assert not claims(segment, WAYS["the kernel answers ARP"], gate)
        gate.guard(FENCED)
        assert not claims(segment, WAYS["the kernel advertises"], gate)

    def test_is_replaced_where_it_has_nothing_of_ours_but_the_name(self, segment: Pair, gate: Gate) -> None:
        nft(
            "delete table netdev roost\n"
            "table netdev roost {\n set held4 {\n type inet_service\n elements = { 80 }\n }\n}"
        )
        have = gate.install()
        assert have == Have(frozenset(), frozenset(), None)
        assert gate.standing()

    def test_a_gate_of_the_other_form_is_replaced(self, segment: Pair, gate: Gate) -> None:
        gate.guard(FENCED, [Range.parse("10.9.0.0/24")])
        for form in (OUTPUT, EGRESS):
            with Gates([UPLINK], forms=[form]) as another:
                another.install()
                assert another.standing()
                assert another.read(UPLINK).vips == FENCED
                assert another.read_ranges() == (Range.parse("10.9.0.0/24"),)
                assert gate.standing() == (form is EGRESS)
        assert "table arp roost" not in subprocess.check_output(["nft", "list", "ruleset"], text=True)

    def test_the_gate_of_another_device_is_no_ones_any_more(self, segment: Pair, gate: Gate) -> None:
        make(SECOND)
        with Gate(SECOND) as second:
            assert not second.standing()
            have = second.install()
            assert second.standing()
            assert have.vips == FENCED
        assert not gate.standing()

    def test_no_device_no_gate(self, segment: Pair) -> None:
        with Gate("no-such") as gate, pytest.raises(KernelRefused, match="no such device"):
            gate.install()


class TestAMachineWithoutWhatAGateNeeds:
    """The message names what is missing."""

    def test_nft(self, segment: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with Gate(UPLINK) as gate, pytest.raises(Unsupported, match="package nftables"):
            gate.install()

    def test_a_kernel(self, segment: Pair) -> None:
        none = [IMPOSSIBLE, IMPOSSIBLE]
        with Gates([UPLINK], forms=none) as gates, pytest.raises(Unsupported, match=r"5\.16 or newer .* arp and ip6"):
            gates.install()

    def test_a_kernel_that_is_good_for_a_weaker_gate(self, segment: Pair) -> None:
        with Gates([UPLINK], forms=[IMPOSSIBLE, OUTPUT]) as gates:
            gates.install()
            assert gates.standing()
            assert "packet sockets" in gates.weakness

    def test_rights(self, segment: Pair) -> None:
        program = "from nodeagent.gate.apply import Gate; Gate('uplink')"
        without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
        done = subprocess.run([*without, sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "the gate needs the capability NET_ADMIN" in done.stderr


IMPOSSIBLE = Form(
    "what no kernel has", (replace(OUTPUT.tables[0], hooks={"out": "type filter hook nowhere priority 0"}),), False
)


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
    with pytest.raises(NoGate):
        gate.feed(time.monotonic() + 5, time.monotonic)


def test_the_gate_returns_with_a_device_that_was_replaced(segment: Pair, gate: Gate) -> None:
    ip("link", "delete", UPLINK)
    ip("link", "add", UPLINK, "type", "veth", "peer", "name", "far")
    gate.install()
    assert gate.standing()
    assert gate.read().vips == FENCED


def nft(text: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def test_an_heir_knows_at_once_what_may_not_be_claimed(segment: Pair, gate: Gate, form: Form) -> None:
    gate.guard({VIP4}, [Range.parse("10.9.0.0/24")])
    gate.hold({VIP4, VIP6})
    gate.permit_create(60_000)
    with Gates([UPLINK], forms=[form]) as heir:
        heir.install()
        assert heir.may_claim(VIP4, UPLINK)
        assert not heir.may_claim(VIP4, SECOND)
        assert not heir.may_claim(ip_address("10.9.0.9"), UPLINK)
        assert heir.may_claim(OTHER4, UPLINK)


def test_nft_takes_the_rules_with_what_they_fence_in_them(segment: Pair, form: Form) -> None:
    ranges = (Range.parse("10.9.0.0/24"), Range.parse("fd09::7"))
    nft(rules.replacement(form, (), {VIP4, VIP6}, ranges, [UPLINK]))
    with Gates([UPLINK], forms=[form]) as gates:
        assert gates.standing()
        assert gates.read(UPLINK).vips == {VIP4, VIP6}
        assert gates.read_ranges() == ranges
