import json
from dataclasses import replace

from kubectl_roost.columns import columns
from kubectl_roost.status.plan import Snapshot, report
from kubectl_roost.status.text import as_json, page
from roost.kube.wire import VIPException
from tests.kubectl_roost.cluster import agent, condition, group, seat, segment, service, vip, well

WELL = """\
VIPs
ADDRESS       SERVICES   POOL   ANNOUNCED-BY   EPOCH   READY   REASON
192.0.2.7     shop/web   prod   n1             7       True    Announced
2001:db8::7   shop/web   prod   n2             7       True    Announced

Segment 10.60.0.0-24: 2 of 2 seats live, 3 groups, revision 12
NODE   TENURE   STATE   MODE     ELIGIBLE   GROUPS
n1     1        Live    Leased   yes        2
n2     2        Live    Leased   yes        1

Nodes
NODE   READY   REASON    SEAT   MAINTENANCE   VIPS   EXCEPTIONS   VERSION
n1     True    Running   Live   None          2/2    0            0.1.0
n2     True    Running   Live   None          2/2    0            0.1.0

Pools
POOL   RANGES         USED   FREE   READY   REASON
prod   192.0.2.0/28   2      12     True    Parsed

Nothing needs attention."""

TROUBLED = """\
VIPs
ADDRESS     SERVICES   POOL   ANNOUNCED-BY   EPOCH   READY   REASON
192.0.2.7   shop/web   prod   -              -       False   NoHolder

Services that wait for an address
SERVICE    REASON          MESSAGE
shop/api   PoolExhausted   pool prod has no free IPv4 address (1 of 1 used)

Segment 10.60.0.0-24: 1 of 2 seats live, 2 groups, 1 of them vacant, revision 12
NODE   TENURE   STATE   MODE     ELIGIBLE   GROUPS
n1     1        Live    Leased   yes        1
n2     2        Gone    Leased   no         0

Nodes
NODE   READY   REASON    SEAT   MAINTENANCE   VIPS   EXCEPTIONS   VERSION
n1     True    Running   Live   None          1/2    1            0.1.0

Pools
AddressPool could not be read, see below

Needs attention
  AddressPool: list addresspools.roost.dev: forbidden
  Service shop/api: PoolExhausted: pool prod has no free IPv4 address (1 of 1 used)
  VIP 192.0.2.7: NoHolder: nobody holds group b-1-8
  node n1: does not announce 192.0.2.7: LinkDown: eth0 is down
  (to read everything takes the chart's ClusterRole roost-view)"""

NOTHING = """\
VIPs
no VirtualIP: no Service of type LoadBalancer has an address

Segments
no Segment: no agent has sat down yet

Nodes
no NodeAgent: no agent has run yet

Pools
no AddressPool: there is nothing to give out

Nothing needs attention."""


def troubled() -> Snapshot:
    full = condition(
        "roost.dev/Allocated", "False", "PoolExhausted", "pool prod has no free IPv4 address (1 of 1 used)"
    )
    groups = (group("b-1-7", 1), group("b-1-8", 0))
    return Snapshot(
        vips=(vip("192.0.2.7", "NoHolder", "nobody holds group b-1-8", holder=""),),
        segments=(segment(seat("n1", 1), seat("n2", 2, "Gone", eligible=False), groups=groups),),
        agents=(agent("n1", exceptions=(VIPException(vip="192.0.2.7", reason="LinkDown", message="eth0 is down"),)),),
        services=(service("api", said=full),),
        unread={"AddressPool": "list addresspools.roost.dev: forbidden"},
    )


def test_the_page_of_a_cluster_that_is_well() -> None:
    assert page(report(well())) == WELL


def test_the_page_of_a_cluster_in_trouble() -> None:
    assert page(report(troubled())) == TROUBLED


def test_the_page_of_a_cluster_without_anything() -> None:
    assert page(report(Snapshot())) == NOTHING


def test_json_says_the_same_and_more() -> None:
    found = json.loads(as_json(report(replace(troubled()))))
    assert list(found) == ["vips", "waiting", "segments", "nodes", "pools", "routers", "unread", "attention"]
    assert found["vips"][0]["message"] == "nobody holds group b-1-8"
    assert found["nodes"][0]["exceptions"] == [{"vip": "192.0.2.7", "reason": "LinkDown", "message": "eth0 is down"}]
    assert len(found["attention"]) == 4


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert columns([("A", "BB"), ("long", ""), ("", "x")]) == "A      BB\nlong   -\n-      x"
