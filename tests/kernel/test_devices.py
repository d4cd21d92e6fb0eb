"""On which devices a gate can stand, and that what a VLAN may claim leaves by the device it is made of."""

import socket
from collections.abc import Iterator

import pytest

from nodeagent.gate.apply import Gates
from tests.lab.gate_in_kernel import ETH_P_ALL, make, there
from tests.lab.pair import CLIENT_MAC, NODE_MAC, QUIET, UPLINK, VIP4, VIP6, Address, Pair, ip, nodad, pair, until

WITHOUT_A_GATE = {
    "lo": ([], "loopback"),
    "wg0": (["type", "wireguard"], "not Ethernet"),
    "ipip0": (["type", "ipip", "local", "10.1.0.1", "remote", "10.1.0.2"], "not Ethernet"),
    "nowhere": ([], "no such device"),
}
WITH_A_GATE = {
    "dummy": ["type", "dummy"],
    "a bridge": ["type", "bridge"],
    "a bond": ["type", "bond"],
    "a VLAN": ["link", UPLINK, "type", "vlan", "id", "100"],
    "a macvlan": ["link", UPLINK, "type", "macvlan", "mode", "bridge"],
    "a veth": ["type", "veth", "peer", "name", "elsewhere"],
}


@pytest.fixture
def segment() -> Iterator[Pair]:
    with pair() as made:
        yield made


@pytest.mark.parametrize("device", WITHOUT_A_GATE)
def test_a_device_without_claims_is_refused_with_the_reason(segment: Pair, device: str) -> None:
    how, why = WITHOUT_A_GATE[device]
    if how:
        ip("link", "add", device, *how)
    with Gates([UPLINK, device]) as gates:
        gates.install()
        assert gates.refused.keys() == {device}
        assert why in gates.refused[device]
        assert gates.standing()


@pytest.mark.parametrize("how", WITH_A_GATE.values(), ids=WITH_A_GATE.keys())
def test_a_device_with_claims_gets_its_gate(segment: Pair, how: list[str]) -> None:
    kind, *rest = ["made", *how]
    if rest[0] == "link":
        ip("link", "add", "link", rest[1], "name", kind, *rest[2:])
    else:
        ip("link", "add", kind, *rest)
    with Gates([UPLINK, kind]) as gates:
        gates.install()
        assert gates.refused == {}
        assert gates.standing()


def test_a_name_that_nft_cannot_write_is_refused_and_one_that_is_merely_odd_is_not(segment: Pair) -> None:
    make('quo"te')
    make("odd@ü")
    with Gates([UPLINK, 'quo"te', "odd@ü"]) as gates:
        gates.install()
        assert gates.refused.keys() == {'quo"te'}
        assert gates.standing()
        gates.fence(["odd@ü"])
        assert gates.standing()


@pytest.mark.parametrize("vip", [pytest.param(VIP4, id="ARP"), pytest.param(VIP6, id="Neighbour Discovery")])
def test_a_vlan_is_judged_by_its_own_gate_and_not_again_by_the_device_it_is_made_of(
    segment: Pair, vip: Address
) -> None:
    for namespace, mac in ((segment.node, NODE_MAC), (segment.client, CLIENT_MAC)):
        ip("-n", namespace, "link", "add", "link", UPLINK, "name", "vlan100", "type", "vlan", "id", "100")
        ip("-n", namespace, "link", "set", "vlan100", "address", str(mac), "up")
    ip("addr", "add", "10.1.0.3/24", "dev", "vlan100")
    ip("addr", "add", f"{vip}/{vip.max_prefixlen}", "dev", "vlan100", *nodad(vip))
    with there(segment.client):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with wire, Gates([UPLINK, "vlan100"]) as gates:
        wire.bind(("vlan100", ETH_P_ALL))
        tagged = Pair(segment.node, segment.client, wire)

        def answers() -> bool:
            tagged.forget()
            tagged.ask(vip)
            return tagged.hears(vip, QUIET) is not None

        until(answers, "the VLAN works")
        gates.install()
        gates.guard({vip})
        gates.hold("vlan100", {vip})
        assert not answers()
        gates.permits.create("vlan100", 60_000)
        until(answers, "held and permitted on the VLAN")
        gates.permits.create(UPLINK, 60_000)
        gates.hold(UPLINK, {vip})
        gates.hold("vlan100", ())
        assert not answers()
