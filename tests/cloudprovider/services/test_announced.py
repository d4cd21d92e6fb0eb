from datetime import UTC, datetime

import msgspec
import pytest

from cloudprovider.services.announced import (
    Sight,
    Table,
    changed_groups,
    look,
    service_conditions,
    service_events,
    vip_event,
    vip_status,
)
from cloudprovider.services.reached import changed_vips, probing_changed
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
    VIPConflict,
    VIPException,
    VIPUnreachable,
    VirtualIP,
    VirtualIPSpec,
)
from roost.words import ANNOUNCED, CONFLICT, REACHABLE

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
    assert {item.type: item.status for item in status.conditions} == {
        "Announced": "True",
        "Ready": "True",
        "Reachable": "Unknown",
    }
    again = msgspec.structs.replace(VIP, status=status)
    assert vip_status(again, held, datetime(2027, 1, 1, tzinfo=UTC)) == status
    moved = Sight("True", "Announced", "told", "n2", 5, "n2", "")
    said = vip_event(again, moved)
    assert said is not None
    assert said.note == "n1 → n2, epoch 5"
    assert vip_event(VIP, held) is None
    assert vip_status(RESTING, Sight("False", "Releasing", "told"), NOW).services == "shop/web (resting)"


GOOD, BAD = Sight("True", "Announced", "good"), Sight("False", "NoEndpoints", "bad")
NOT_YET = Sight("Unknown", "NoHolder", "not yet")


@pytest.mark.parametrize(
    ("sights", "status", "reason", "message"),
    [
        pytest.param((GOOD, GOOD), "True", "Announced", "good; good", id="all of them"),
        pytest.param((GOOD, BAD), "False", "NoEndpoints", "bad", id="one is not"),
        pytest.param((NOT_YET, BAD), "False", "NoEndpoints", "bad", id="one is not, of another it is not known"),
        pytest.param((GOOD, NOT_YET), "Unknown", "NoHolder", "not yet", id="of one it is not known"),
    ],
)
def test_a_service_is_announced_when_all_its_addresses_are(
    sights: tuple[Sight, ...], status: str, reason: str, message: str
) -> None:
    said = {item.type: item for item in service_conditions((), sights, NOW)}
    assert set(said) == {ANNOUNCED, REACHABLE}
    assert (said[ANNOUNCED].status, said[ANNOUNCED].reason, said[ANNOUNCED].message) == (status, reason, message)


def test_of_a_service_without_addresses_nothing_is_said() -> None:
    foreign = condition("example.org/Kept", "True", "Kept")
    fought = Sight("True", "Announced", "good", conflict="192.0.2.7 is also claimed by 3c::1")
    said = service_conditions((foreign,), (fought,), NOW)
    assert {item.type for item in said} == {"example.org/Kept", ANNOUNCED, REACHABLE, CONFLICT}
    assert service_conditions(said, (), NOW) == (foreign,)


def condition(type_: str, status: str, reason: str, message: str = "told") -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message, last_transition_time="t")


def announced(status: str, reason: str, message: str = "told") -> Condition:
    return condition(ANNOUNCED, status, reason, message)


def reachable(status: str, reason: str) -> Condition:
    return condition(REACHABLE, status, reason)


def conflict(message: str) -> Condition:
    return condition(CONFLICT, "True", "AddressConflict", message)


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        pytest.param(None, announced("True", "Announced"), ["Announced"], id="answered for the first time"),
        pytest.param(announced("True", "Announced"), announced("True", "Announced"), [], id="nothing new"),
        pytest.param(announced("True", "Announced", "n1"), announced("True", "Announced"), ["Announced"], id="moved"),
        pytest.param(None, announced("Unknown", "NoHolder"), [], id="not known yet"),
        pytest.param(None, announced("False", "NoEndpoints"), ["NoEndpoints"], id="no endpoints"),
        pytest.param(None, announced("False", "NoEligibleNode"), ["UnAvailableLoadBalancer"], id="no node"),
        pytest.param(announced("False", "NoEligibleNode", "2"), announced("False", "NoEligibleNode"), [], id="still"),
        pytest.param(None, announced("False", "AddressConflict"), [], id="not taken: the conflict itself is told"),
        pytest.param(None, reachable("Unknown", "NotProbed"), [], id="nobody probes"),
        pytest.param(None, reachable("True", "ProbeAnswered"), [], id="reached from the first"),
        pytest.param(
            reachable("True", "ProbeAnswered"), reachable("False", "NotReachable"), ["NotReachable"], id="lost"
        ),
        pytest.param(reachable("False", "NotReachable"), reachable("False", "NotReachable"), [], id="still lost"),
        pytest.param(
            reachable("False", "NotReachable"),
            reachable("True", "ProbeAnswered"),
            ["ProbeAnswered"],
            id="reached again",
        ),
        pytest.param(reachable("False", "NotReachable"), reachable("Unknown", "NotProbed"), [], id="nobody probes now"),
        pytest.param(None, conflict("by 3c::1"), ["AddressConflict"], id="a stranger claims it"),
        pytest.param(conflict("by 3c::1"), conflict("by 3c::1"), [], id="the same stranger"),
        pytest.param(conflict("by 3c::1"), conflict("by 3c::2"), ["AddressConflict"], id="another stranger"),
        pytest.param(conflict("by 3c::1"), None, ["AddressConflictEnded"], id="nobody else any more"),
    ],
)
def test_events(have: Condition | None, want: Condition | None, expected: list[str]) -> None:
    service = Service(metadata=Meta(name="web"), status=ServiceStatus(conditions=(have,) if have else ()))
    assert [said.reason for said in service_events(service, (want,) if want else ())] == expected


TWO = segment(seat("n1", 1), seat("n2", 2), holder=1)
SILENT = AgentVIPs(probed=1, unreachable=(VIPUnreachable(vip="192.0.2.7", message="no ARP reply on eth0"),))


@pytest.mark.parametrize(
    ("table", "said", "status", "reason"),
    [
        pytest.param(TWO, {"n2": AgentVIPs(probed=1)}, "True", "ProbeAnswered", id="the next in line misses nothing"),
        pytest.param(TWO, {"n2": AgentVIPs()}, "Unknown", "NotProbed", id="nobody probes"),
        pytest.param(TWO, {"n1": AgentVIPs(probed=1)}, "Unknown", "NotProbed", id="only the holder probes, others"),
        pytest.param(TWO, {"n2": SILENT}, "False", "NotReachable", id="the next in line gets no answer"),
        pytest.param(TWO, {"n1": SILENT}, "Unknown", "NotProbed", id="what the holder said before it held"),
        pytest.param(
            segment(seat("n1", 1), seat("n2", 2, state="Gone"), holder=1),
            {"n2": SILENT},
            "Unknown",
            "NotProbed",
            id="what a node said that is gone",
        ),
        pytest.param(
            segment(seat("n1", 1), seat("n2", 2)), {"n2": SILENT}, "Unknown", "NotProbed", id="nobody announces it"
        ),
    ],
)
def test_whether_it_is_reached(table: Segment, said: dict[str, AgentVIPs], status: str, reason: str) -> None:
    agents = {
        node: NodeAgent(metadata=Meta(name=node), status=NodeAgentStatus(vips=vips)) for node, vips in said.items()
    }
    reach = look(VIP, [Table.of(table)], agents).reach
    assert (reach.status, reach.reason) == (status, reason)


def test_who_asked_in_vain_is_named() -> None:
    agents = {"n2": NodeAgent(metadata=Meta(name="n2"), status=NodeAgentStatus(vips=SILENT))}
    told = "192.0.2.7 is announced by n1, but n2 gets no answer: no ARP reply on eth0"
    assert look(VIP, [Table.of(TWO)], agents).reach.message == told


TOLD = "192.0.2.7 is also claimed by 3c:ec:ef:12:34:56"


def test_a_stranger_is_named_whether_the_holder_defends_the_vip_or_does_not_take_it() -> None:
    defended = NodeAgentStatus(vips=AgentVIPs(conflicts=(VIPConflict(vip="192.0.2.7", mac="3c:ec:ef:12:34:56"),)))
    sight = look(VIP, [Table.of(TWO)], {"n1": NodeAgent(metadata=Meta(name="n1"), status=defended)})
    assert (sight.status, sight.conflict) == ("True", TOLD)
    sight = look(VIP, [Table.of(TWO)], {"n1": agent("n1", "AddressConflict", TOLD)})
    assert (sight.status, sight.reason, sight.conflict) == ("False", "AddressConflict", TOLD)
    types = {item.type for item in vip_status(VIP, sight, NOW).conditions}
    assert types == {"Announced", "Ready", "Reachable", "AddressConflict"}
    ended = look(VIP, [Table.of(TWO)], {"n1": agent("n1")})
    after = msgspec.structs.replace(VIP, status=vip_status(VIP, sight, NOW))
    assert {item.type for item in vip_status(after, ended, NOW).conditions} == types - {"AddressConflict"}


def test_only_what_changed_hands_is_looked_at() -> None:
    one, two = segment(seat("n1", 1), seat("n2", 2), holder=1), segment(seat("n1", 1), seat("n2", 2), holder=2, epoch=2)
    assert changed_groups(one, two) == {"b-1"}
    assert changed_groups(one, segment(seat("n1", 1), seat("n2", 2, eligible=False), holder=1)) == frozenset()
    assert changed_groups(one, segment(seat("n1", 1, state="Gone"), seat("n2", 2), holder=1)) == {"b-1"}
    assert changed_groups(None, one) == {"b-1"}
    assert changed_vips(agent("n1"), agent("n1", "LinkDown")) == {"192.0.2.7"}
    assert changed_vips(agent("n1", "LinkDown"), agent("n1", "LinkDown")) == frozenset()
    silent = NodeAgent(metadata=Meta(name="n1"), status=NodeAgentStatus(vips=SILENT))
    assert changed_vips(agent("n1"), silent) == {"192.0.2.7"}
    assert probing_changed(agent("n1"), silent)
    assert not probing_changed(silent, silent)
