from datetime import UTC, datetime

import msgspec
import pytest

from cloudprovider.services.announced import (
    Sight,
    Table,
    changed_groups,
    changed_vips,
    look,
    service_condition,
    service_event,
    vip_event,
    vip_status,
)
from roost.kube.wire import (
    AgentLink,
    AgentVIPs,
    Claim,
    Condition,
    Group,
    Meta,
    NodeAgent,
    NodeAgentStatus,
    Seat,
    Segment,
    SegmentStatus,
    Service,
    ServiceStatus,
    VIPException,
    VirtualIP,
    VirtualIPSpec,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VIP = VirtualIP(
    metadata=Meta(name="192.0.2.7", generation=3),
    spec=VirtualIPSpec(address="192.0.2.7", group="b-1", claims=(Claim(namespace="shop", name="web", uid="u"),)),
)
RESTING = msgspec.structs.replace(
    VIP,
    spec=msgspec.structs.replace(
        VIP.spec, claims=(Claim(namespace="shop", name="web"),), retain_until="2026-11-23T12:01:00Z"
    ),
)


def seat(node: str, tenure: int, *, state: str = "Live", eligible: bool = True) -> Seat:
    return Seat(
        node=node,
        tenure=tenure,
        version=1,
        boot_id="b",
        mode="Leased",
        state=state,
        mac=f"02::{tenure}",
        eligible=eligible,
    )


def segment(*seats: Seat, holder: int = 0, epoch: int = 1) -> Segment:
    group = Group(name="b-1", tenure=holder, epoch=epoch)
    return Segment(
        metadata=Meta(name="10.60.0.0-24"),
        status=SegmentStatus(revision=1, next_tenure=9, seats=seats, groups=(group,)),
    )


def agent(node: str, reason: str = "", message: str = "") -> NodeAgent:
    said = (VIPException(vip="192.0.2.7", reason=reason, message=message),) if reason else ()
    links = (AgentLink(name="eth0", mac="02::1"),)
    return NodeAgent(metadata=Meta(name=node), status=NodeAgentStatus(vips=AgentVIPs(exceptions=said), links=links))


@pytest.mark.parametrize(
    ("vip", "table", "agents", "status", "reason", "message"),
    [
        pytest.param(
            VIP,
            segment(seat("n1", 1), holder=1),
            [agent("n1")],
            "True",
            "Announced",
            "192.0.2.7 is answered by n1 (eth0, 02::1)",
            id="the holder answers",
        ),
        pytest.param(
            VIP,
            segment(seat("n1", 1), holder=1),
            [agent("n1", "NoEndpoints", "no ready endpoint")],
            "False",
            "NoEndpoints",
            "no ready endpoint",
            id="the holder says why it does not",
        ),
        pytest.param(
            VIP,
            segment(seat("n1", 1, state="Gone"), seat("n2", 2), holder=1),
            [],
            "Unknown",
            "NoHolder",
            "no node has taken 192.0.2.7 yet",
            id="the holder is gone, another may take it",
        ),
        pytest.param(
            VIP,
            segment(seat("n1", 1), seat("n2", 2)),
            [agent("n1", "Excluded"), agent("n2", "LinkDown")],
            "False",
            "NoEligibleNode",
            "none of 2 nodes may announce 192.0.2.7: 1 excluded by label, 1 link down",
            id="each node has its reason",
        ),
        pytest.param(
            VIP,
            segment(seat("n1", 1), seat("n2", 2)),
            [agent("n1", "NoLocalEndpoint"), agent("n2", "NoLocalEndpoint")],
            "False",
            "NoEndpoints",
            "no ready endpoint (policy Cluster)",
            id="no node has an endpoint",
        ),
        pytest.param(
            VIP,
            segment(seat("n1", 1, eligible=False)),
            [],
            "False",
            "NoEligibleNode",
            "none of 1 nodes may announce 192.0.2.7: 1 NotEligible",
            id="the only node is not eligible",
        ),
        pytest.param(
            VIP,
            segment(),
            [],
            "False",
            "NoEligibleNode",
            "no node is there to announce 192.0.2.7: no agent is seated",
            id="no agent at all",
        ),
        pytest.param(
            RESTING,
            segment(seat("n1", 1), holder=1),
            [],
            "False",
            "Releasing",
            "192.0.2.7 is kept until 2026-11-23T12:01:00Z; nobody announces it",
            id="it rests",
        ),
    ],
)
def test_look(vip: VirtualIP, table: Segment, agents: list[NodeAgent], status: str, reason: str, message: str) -> None:
    sight = look(vip, [Table.of(table)], {item.metadata.name: item for item in agents})
    assert (sight.status, sight.reason, sight.message) == (status, reason, message)


def test_the_mirror_is_written_once_and_keeps_since_when() -> None:
    held = Sight("True", "Announced", "told", "n1", 4, "n1", "Layer2 eth0 02::1")
    status = vip_status(VIP, held, NOW)
    assert (status.holder, status.epoch, status.services, status.holder_since) == (
        "n1",
        4,
        "shop/web",
        "2026-11-23T12:00:00Z",
    )
    assert {item.type: item.status for item in status.conditions} == {"Announced": "True", "Ready": "True"}
    again = msgspec.structs.replace(VIP, status=status)
    assert vip_status(again, held, datetime(2027, 1, 1, tzinfo=UTC)) == status
    moved = Sight("True", "Announced", "told", "n2", 5, "n2", "")
    said = vip_event(again, moved)
    assert said is not None
    assert said.note == "n1 → n2, epoch 5"
    assert vip_event(VIP, held) is None
    assert vip_status(RESTING, Sight("False", "Releasing", "told"), NOW).services == "shop/web (resting)"


def test_a_service_is_announced_when_all_its_addresses_are() -> None:
    good, bad = Sight("True", "Announced", "good"), Sight("False", "NoEndpoints", "bad")
    assert service_condition((), NOW) is None
    whole, half = service_condition((good, good), NOW), service_condition((good, bad), NOW)
    assert whole is not None
    assert half is not None
    assert (whole.status, whole.message) == ("True", "good; good")
    assert (half.status, half.reason, half.message) == ("False", "NoEndpoints", "bad")


def condition(status: str, reason: str, message: str = "told") -> Condition:
    return Condition(
        type="roost.dev/Announced", status=status, reason=reason, message=message, last_transition_time="t"
    )


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        pytest.param(None, condition("True", "Announced"), "Announced", id="answered for the first time"),
        pytest.param(condition("True", "Announced"), condition("True", "Announced"), None, id="nothing new"),
        pytest.param(condition("True", "Announced", "n1"), condition("True", "Announced"), "Announced", id="moved"),
        pytest.param(None, condition("Unknown", "NoHolder"), None, id="not known yet"),
        pytest.param(None, condition("False", "NoEndpoints"), "NoEndpoints", id="no endpoints"),
        pytest.param(None, condition("False", "NoEligibleNode"), "UnAvailableLoadBalancer", id="no node"),
        pytest.param(condition("False", "NoEligibleNode", "2"), condition("False", "NoEligibleNode"), None, id="still"),
        pytest.param(None, condition("False", "AddressConflict"), "AddressConflict", id="a conflict"),
    ],
)
def test_events(have: Condition | None, want: Condition, expected: str | None) -> None:
    service = Service(metadata=Meta(name="web"), status=ServiceStatus(conditions=(have,) if have else ()))
    said = service_event(service, want)
    assert (said.reason if said else None) == expected


def test_only_what_changed_hands_is_looked_at() -> None:
    one, two = segment(seat("n1", 1), seat("n2", 2), holder=1), segment(seat("n1", 1), seat("n2", 2), holder=2, epoch=2)
    assert changed_groups(one, two) == {"b-1"}
    assert changed_groups(one, segment(seat("n1", 1), seat("n2", 2, eligible=False), holder=1)) == frozenset()
    assert changed_groups(one, segment(seat("n1", 1, state="Gone"), seat("n2", 2), holder=1)) == {"b-1"}
    assert changed_groups(None, one) == {"b-1"}
    assert changed_vips(agent("n1"), agent("n1", "LinkDown")) == {"192.0.2.7"}
    assert changed_vips(agent("n1", "LinkDown"), agent("n1", "LinkDown")) == frozenset()
