"""The calls that the policies and roles are tried with: who calls, what is changed, and the answer wanted."""

from tests.lab.policy_calls import (
    ALLOWED,
    LEASES,
    ROOST,
    SERVICE,
    Edit,
    Object,
    annotated,
    call,
    case,
    conflict,
    edited,
    ended,
    fields,
    holds,
    invalid,
    lease,
    meta,
    named,
    no_status,
    refused,
    row,
    seat,
    sits,
    spec,
    without,
)

OWN_SEAT = refused("may change its own seat; of another it may only say that it is gone")
NOT_BOUND = refused("is not bound to a node")
NOT_HERE = refused("may not announce on segment")
TRUE_ROW = refused("a row of ended is a copy of a seat whose tenure ends in this write, or was gone before")
EPOCH = invalid("epoch grows by one when, and only when, the holder changes")
ANEW = refused("a table is made anew with the writer's own seat, and groups that are vacant or its own")
OTHERS_LEASE = refused("may change nothing of another node's Lease but the mark roost.dev/ended")
MARK = refused("the mark roost.dev/ended names the tenure that the Lease carries")
MARKED = refused("this tenure was ended by a mark: write with a higher roost.dev/tenure and without roost.dev/ended")
NO_RIGHT = refused("is forbidden: User")
M2_GONE = sits("m2", state="Gone")
LATER = spec(renewTime="2026-01-01T00:00:02.000000Z")


def new_table(*edits: Edit, **more: object) -> Edit:
    """A table as node m1 makes it where there is none."""
    groups = [{"name": "b0", "tenure": 0, "epoch": 0}]
    start: Object = {"revision": 1, "nextTenure": 2, "seats": [seat("m1", 1)], "groups": groups}
    return fields(**edited(start | more, edits))


# A case of TABLE changes policy_calls.table(), where m1 and m2 are live and m3 is gone, and PUTs it with revision + 1.
TABLE = [
    case("m1 takes a vacant group", "m1", ALLOWED, holds("b2", tenure=1, epoch=1)),
    case("m1 gives a group to m2", "m1", ALLOWED, holds("b1", tenure=2, epoch=3)),
    case(
        "m1 raises its version", "m1", ALLOWED, sits("m1", version=4, eligible=False, mode="Resting", witnesses=["m2"])
    ),
    case("a static Pod's certificate is the node too", "static m1", ALLOWED, sits("m1", version=4)),
    case("an unbound token changes m1's seat", "unbound", NOT_BOUND, sits("m1", version=4)),
    case("an account without the right to announce sits", "dmz@m1", NOT_HERE, sits("m1", version=4)),
    # seats of others
    case("m1 seats m4", "m1", OWN_SEAT, row("seats", seat("m4", 5)), fields(nextTenure=6)),
    case("m1 changes m2's mode", "m1", OWN_SEAT, sits("m2", mode="Resting")),
    case("m1 changes m2's witnesses", "m1", OWN_SEAT, sits("m2", witnesses=["m1"])),
    case("m1 takes m2's witnesses away", "m1", OWN_SEAT, sits("m2", witnesses=None)),
    case("m1 changes m2's mac", "m1", OWN_SEAT, sits("m2", mac="02:00:00:00:00:01")),
    case("m1 changes m2's addresses", "m1", OWN_SEAT, sits("m2", addresses=["10.60.0.9"])),
    case("m1 calls m2 not eligible", "m1", OWN_SEAT, sits("m2", eligible=False)),
    case("m1 raises m2's version", "m1", OWN_SEAT, sits("m2", version=4)),
    case("m1 changes m2's boot id", "m1", OWN_SEAT, sits("m2", bootID="boot-m1")),
    case("m1 changes m2's machine id", "m1", OWN_SEAT, sits("m2", machineID="machine-m1")),
    case("m1 gives m2 a new tenure", "m1", OWN_SEAT, sits("m2", tenure=5), fields(nextTenure=6)),
    case("m1 says m2 is gone, and other witnesses", "m1", OWN_SEAT, sits("m2", state="Gone", witnesses=["m1"])),
    case("m1 changes m3's gone seat", "m1", OWN_SEAT, sits("m3", mac="02:00:00:00:00:01")),
    case(
        "m1 removes m2's live seat", "m1", refused("may not remove the seat of another"), without("seats", "node", "m2")
    ),
    case("m1 empties all seats", "m1", refused("may not remove the seat of another"), fields(seats=[])),
    case("m1 takes the whole table away", "m1", refused("the table of a segment cannot be taken away"), no_status),
    # sitting down
    case("m4's tenure is nextTenure", "m3", ALLOWED, sits("m3", tenure=5, state="Live"), fields(nextTenure=6)),
    case(
        "m3 sits anew below nextTenure",
        "m3",
        refused("a new tenure is taken from nextTenure"),
        sits("m3", tenure=5, state="Live"),
        given=(fields(nextTenure=9),),
    ),
    case(
        "m3 sits and does not raise nextTenure",
        "m3",
        invalid("nextTenure is above every seat's tenure"),
        sits("m3", tenure=5, state="Live"),
    ),
    case("m3 undoes gone", "m3", invalid("gone stays gone: sit down with a new tenure"), sits("m3", state="Live")),
    case("m2 lowers its tenure", "m2", invalid("a seat's tenure only grows"), sits("m2", tenure=1)),
    case("m2 lowers its version", "m2", invalid("a tenure's version only grows"), sits("m2", version=2)),
    case("m1 has five addresses", "m1", invalid("at most 4"), sits("m1", addresses=[f"10.0.0.{i}" for i in range(5)])),
    case(
        "m2 takes out its own live seat", "m2", ALLOWED, without("seats", "node", "m2"), holds("b0", tenure=1, epoch=5)
    ),
    case(
        "m2 sits again with a tenure of the past",
        "m2",
        refused("a new tenure is taken from nextTenure"),
        row("seats", seat("m2", 2)),
        given=(without("seats", "node", "m2"), holds("b0", tenure=1, epoch=5)),
    ),
    # revision, tenures, epochs
    case("revision is not raised", "m1", invalid("every write raises revision by one"), fields(revision=7)),
    case("revision is raised by two", "m1", invalid("every write raises revision by one"), fields(revision=9)),
    case("nextTenure is lowered", "m1", invalid("tenures only grow"), fields(nextTenure=4)),
    case("epoch jumps", "m1", EPOCH, holds("b1", tenure=2, epoch=4)),
    case("epoch goes back", "m1", EPOCH, holds("b1", tenure=2, epoch=1)),
    case("epoch stays while the holder changes", "m1", EPOCH, holds("b1", tenure=2)),
    case("epoch grows while the holder stays", "m1", EPOCH, holds("b1", epoch=3)),
    case(
        "a group goes to a tenure not yet given out",
        "m1",
        invalid("nextTenure is above"),
        holds("b1", tenure=5, epoch=3),
    ),
    # saying that another is gone, and the rows of ended
    case(
        "m2 gone, a true row, its group with after",
        "m1",
        ALLOWED,
        M2_GONE,
        row("ended", ended(2, "m2")),
        holds("b0", tenure=1, epoch=5, after=[2]),
    ),
    case("m2 gone without a row: its mark is the proof", "m3", ALLOWED, M2_GONE, holds("b0", tenure=0, epoch=5)),
    case(
        "a row for m3, gone in an earlier write",
        "m1",
        ALLOWED,
        row("ended", ended(3, "m3")),
        given=(fields(ended=[]), holds("b3", after=[])),
    ),
    case("m1 removes m3's gone seat", "m1", ALLOWED, without("seats", "node", "m3")),
    case(
        "m2 after a new boot: new tenure, and a row of the old one",
        "m2",
        ALLOWED,
        sits("m2", tenure=5, version=1, bootID="boot-2"),
        fields(nextTenure=6),
        row("ended", ended(2, "m2")),
    ),
    case(
        "m2's new tenure with an untrue row of the old one",
        "m2",
        TRUE_ROW,
        sits("m2", tenure=5),
        fields(nextTenure=6),
        row("ended", ended(2, "m2", witnesses=["m1"])),
    ),
    case("a row of a live tenure", "m1", TRUE_ROW, row("ended", ended(2, "m2"))),
    case("a row of a tenure that nobody had", "m1", TRUE_ROW, row("ended", ended(4, "m2"))),
    case("a row that names another node", "m1", TRUE_ROW, M2_GONE, row("ended", ended(2, "m1"))),
    case("a row with other witnesses", "m1", TRUE_ROW, M2_GONE, row("ended", ended(2, "m2", witnesses=["m1"]))),
    case(
        "a row without the witnesses",
        "m1",
        TRUE_ROW,
        M2_GONE,
        row("ended", {"tenure": 2, "node": "m2", "mode": "Leased"}),
    ),
    case("a row with another mode", "m1", TRUE_ROW, M2_GONE, row("ended", ended(2, "m2", mode="Resting"))),
    case(
        "a row is changed",
        "m1",
        invalid("a row of ended never changes"),
        fields(ended=[ended(3, "m3", mode="Resting")]),
    ),
    case(
        "a row goes while after names it",
        "m1",
        refused("a row of ended stays while a group's after names it"),
        fields(ended=[]),
    ),
    case("after is waited for, its row goes with it", "m1", ALLOWED, fields(ended=[]), holds("b3", after=None)),
    # a table made anew
    case("new table: own seat and vacant groups", "m1", ALLOWED, new_table(), given=(no_status,)),
    case("new table: own group", "m1", ALLOWED, new_table(holds("b0", tenure=1, epoch=1)), given=(no_status,)),
    case(
        "new table: vacant groups that outwait their last holder",
        "m1",
        ALLOWED,
        new_table(holds("b0", epoch=9, after=[3]), ended=[ended(3, "m3")], nextTenure=4),
        given=(no_status,),
    ),
    case("new table: only m2's seat", "m1", OWN_SEAT, new_table(seats=[seat("m2", 1)]), given=(no_status,)),
    case(
        "new table: m2's seat beside the own",
        "m1",
        OWN_SEAT,
        new_table(row("seats", seat("m2", 2)), nextTenure=3),
        given=(no_status,),
    ),
    case("new table: no seat at all", "m1", ANEW, new_table(seats=[]), given=(no_status,)),
    case(
        "new table: a group of another's tenure",
        "m1",
        ANEW,
        new_table(holds("b0", tenure=2, epoch=1), nextTenure=3),
        given=(no_status,),
    ),
    case(
        "new table: nextTenure below an ended tenure",
        "m1",
        invalid("nextTenure is above every ended tenure"),
        new_table(ended=[ended(3, "m3")]),
        given=(no_status,),
    ),
    case("new table: an unbound token", "unbound", NOT_BOUND, new_table(), given=(no_status,)),
    # everybody else
    case("the controller writes a table", "controller", NO_RIGHT, sits("m1", version=4)),
    case("a Service author writes a table", "author", NO_RIGHT, sits("m1", version=4)),
]

# A case of LEASE changes the Lease of m2, whose tenure is 2, and PUTs it.
LEASE = [
    case("m2 renews its own", "m2", ALLOWED, LATER),
    case("m2's tenure is no number", "m2", invalid("roost.dev/tenure is a number above 0"), annotated(tenure="two")),
    case("m2's names another node", "m2", refused("names no other as its holder"), spec(holderIdentity="m1")),
    case("m2's names nobody", "m2", refused("names no other as its holder"), spec(holderIdentity=None)),
    case("m1 renews m2's", "m1", OTHERS_LEASE, LATER),
    case("m1 renews m2's as a segment's", "m1", OTHERS_LEASE, annotated(segment="rack-1"), LATER),
    case("m1 marks m2's", "m1", ALLOWED, annotated(ended="2")),
    case("m1 marks m2's and renews it", "m1", OTHERS_LEASE, annotated(ended="2"), LATER),
    case("m1 marks m2's under another tenure", "m1", OTHERS_LEASE, annotated(ended="2", tenure="3")),
    case("m1 marks m2's and adds an annotation", "m1", OTHERS_LEASE, annotated(ended="2", more="x")),
    case("m1 marks m2's and takes the tenure off", "m1", OTHERS_LEASE, annotated(ended="2", tenure=None)),
    case("m1 marks m2's and adds a label", "m1", OTHERS_LEASE, annotated(ended="2"), meta(labels={"a": "b"})),
    case(
        "m1 marks m2's and adds a finalizer",
        "m1",
        OTHERS_LEASE,
        annotated(ended="2"),
        meta(finalizers=["example.org/a"]),
    ),
    case(
        "m1 marks m2's and adds an owner",
        "m1",
        OTHERS_LEASE,
        annotated(ended="2"),
        meta(ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "m1", "uid": "0"}]),
    ),
    case("m1 marks a tenure that m2's does not carry", "m1", MARK, annotated(ended="3")),
    case("m1 writes m2's without a change", "m1", MARK),
    case("m1 takes m2's mark off", "m1", MARK, annotated(ended=None), given=(annotated(ended="2"),)),
    case("m1 marks what carries no tenure", "m1", MARK, annotated(ended="2"), given=(annotated(tenure=None),)),
    case("an unbound token marks m2's", "unbound", NOT_BOUND, annotated(ended="2")),
    case("m2 renews what was marked", "m2", MARKED, LATER, given=(annotated(ended="2"),)),
    case("m2 drops the mark and keeps its tenure", "m2", MARKED, annotated(ended=None), given=(annotated(ended="2"),)),
    case("m2 keeps the mark with a higher tenure", "m2", MARKED, annotated(tenure="3"), given=(annotated(ended="2"),)),
    case("m2 drops mark and tenure", "m2", MARKED, annotated(ended=None, tenure=None), given=(annotated(ended="2"),)),
    case(
        "m2 drops the mark with a higher tenure; 10 is more than 2",
        "m2",
        ALLOWED,
        annotated(ended=None, tenure="10"),
        given=(annotated(ended="2"),),
    ),
    case("the controller renews m2's", "controller", NO_RIGHT, LATER),
    case(
        "m1 marks m2's without a resourceVersion",
        "m1",
        invalid("must be specified"),
        annotated(ended="2"),
        meta(resourceVersion=""),
    ),
    case("m1 marks m2's as it was before", "m1", conflict("modified"), annotated(ended="2"), meta(resourceVersion="1")),
]


def further(node: str, segment: str, said: str = "") -> Object:
    """A node's Lease for one segment more; *said*: the segment that it names, if another."""
    more = lease(node)
    more["metadata"]["name"] = f"{node}.{segment}"
    more["metadata"]["annotations"]["roost.dev/segment"] = said or segment
    return more


# A case of FURTHER changes the Lease of m1 for a further segment, rack-1, whose tenure is 2, and PUTs it.
FURTHER = [
    case("m1 renews it", "m1", ALLOWED, LATER),
    case("m1 says that it is another segment's", "m1", OTHERS_LEASE, annotated(segment="rack-2")),
    case("m1 says that it is no segment's", "m1", OTHERS_LEASE, annotated(segment=None)),
    case("m1 names another as its holder", "m1", refused("names no other as its holder"), spec(holderIdentity="m2")),
    case("m2 renews it", "m2", OTHERS_LEASE, LATER),
    case("m2 marks it", "m2", ALLOWED, annotated(ended="2")),
    case("m2 marks it with another tenure", "m2", MARK, annotated(ended="1")),
    case("m1 drops a mark with the same tenure", "m1", MARKED, annotated(ended=None), given=(annotated(ended="2"),)),
]


AGENTS = f"{ROOST}/nodeagents"
SEGMENTS = f"{ROOST}/segments"
VIPS = f"{ROOST}/virtualips"
POOLS = f"{ROOST}/addresspools"
POOL = named("policies", spec={"addresses": ["192.0.2.0/28"]})
VIP = named("192.0.2.7", spec={"address": "192.0.2.7", "claims": [{"namespace": "a", "name": "web", "uid": "1"}]})
APPLIED: Object = {"status": {"applied": {"resourceVersion": "7"}}}
EVENT = {
    "metadata": {"generateName": "policies-", "namespace": "default"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "roost.dev/nodeagent",
    "reportingInstance": "policies",
    "action": "Try",
    "reason": "Tried",
    "type": "Normal",
    "regarding": {"apiVersion": "v1", "kind": "Node", "name": "m1"},
}
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
STOP = named("policies-1", spec={"whenCutOff": "Stop"})
BOUND = named("policies-2", spec={"interfaces": ["eth0"]})
HELD = {"metadata": {"name": "policies-3", "finalizers": ["example.org/a"]}}
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "m1", "uid": "0"}
OWNED = {"metadata": {"name": "policies-4", "ownerReferences": [OWNER]}}
TABLE_PATH = f"{SEGMENTS}/policies-there"
HELD_BY_M2 = lease("m2")["spec"]
NOT_OWN = refused("node m1 may make only its own Lease")
KEYS = "/api/v1/namespaces/roost-system/secrets"
KEY = f"{KEYS}/roost-segment-key"
PEERS = f"{ROOST}/bgppeers"
ADVERTISEMENTS = f"{ROOST}/bgpadvertisements"
ENDS: Object = {"local": {"asn": 64512}, "remote": {"address": "10.0.0.1", "asn": 64513}}
TOR = named("policies-tor", spec=ENDS)
SESSIONS: Object = {
    "status": {"bgp": {"summary": "1/1", "sessions": [{"peer": "tor-a", "remote": "10.0.0.1", "state": "Idle"}]}}
}


def peer(**spec: object) -> Object:
    return named("policies-peer", spec=ENDS | spec)


def advertisement(**spec: object) -> Object:
    return named("policies-advertisement", spec=spec)


# What the schema says of routers and of what they are told, each tried by whoever may make them.
BGP = [
    call("a router by its address", "keeper", ALLOWED, "POST", PEERS, TOR),
    call(
        "a router by its interface, of any other AS",
        "keeper",
        ALLOWED,
        "POST",
        PEERS,
        peer(remote={"interface": "eth1", "asnType": "External"}),
    ),
    call(
        "a router by address and interface",
        "keeper",
        invalid("exactly one of remote.address and remote.interface"),
        "POST",
        PEERS,
        peer(remote={"address": "10.0.0.1", "interface": "eth1", "asn": 64513}),
    ),
    call(
        "a router without an AS",
        "keeper",
        invalid("exactly one of remote.asn and remote.asnType"),
        "POST",
        PEERS,
        peer(remote={"address": "10.0.0.1"}),
    ),
    call(
        "a hold time of two keepalives",
        "keeper",
        invalid("at least three keepalives long"),
        "POST",
        PEERS,
        peer(timers={"holdSeconds": 9, "keepaliveSeconds": 4, "connectRetrySeconds": 10}),
    ),
    call(
        "a fixed next hop that is not there",
        "keeper",
        invalid("mode Fixed needs ipv4 or ipv6"),
        "POST",
        PEERS,
        peer(nextHop={"mode": "Fixed"}),
    ),
    call(
        "communities of every kind",
        "keeper",
        ALLOWED,
        "POST",
        ADVERTISEMENTS,
        advertisement(communities=["65000:100", "65000:1:2", "no-export"]),
    ),
    call(
        "a community out of range",
        "keeper",
        invalid("must be N:N (each up to 65535)"),
        "POST",
        ADVERTISEMENTS,
        advertisement(communities=["65000:65536"]),
    ),
    call(
        "an aggregate of some Services",
        "keeper",
        invalid("cannot be combined with serviceSelector"),
        "POST",
        ADVERTISEMENTS,
        advertisement(serviceSelector={"matchLabels": {"a": "b"}}, aggregation={"ipv4": 24}),
    ),
    call("a viewer reads routers", "viewer", ALLOWED, "GET", PEERS),
    call("a viewer makes a router", "viewer", NO_RIGHT, "POST", PEERS, TOR),
    call("m1 reads routers", "m1", ALLOWED, "GET", PEERS),
    call("m1 reads advertisements", "m1", ALLOWED, "GET", ADVERTISEMENTS),
    call("m1 makes a router", "m1", NO_RIGHT, "POST", PEERS, TOR),
    call("m1 changes what routers are told", "m1", NO_RIGHT, "POST", ADVERTISEMENTS, advertisement()),
    call("m1 writes a router's status", "m1", NO_RIGHT, "PATCH", f"{PEERS}/policies-tor/status", {"status": {}}),
    call("m1 says how its own sessions are", "m1", ALLOWED, "PATCH", f"{AGENTS}/m1/status", SESSIONS),
    call(
        "m1 says how m2's sessions are",
        "m1",
        refused("may write only its own"),
        "PATCH",
        f"{AGENTS}/m2/status",
        SESSIONS,
    ),
    call(
        "the controller writes a router's status",
        "controller",
        ALLOWED,
        "PATCH",
        f"{PEERS}/policies-tor/status",
        {"status": {"established": "1/2", "sessions": {"desired": 2, "established": 1}}},
    ),
    call("the controller makes a router", "controller", NO_RIGHT, "POST", PEERS, TOR),
    call("m1 reads a password that agents are not meant to read", "m1", NO_RIGHT, "GET", f"{KEYS}/tor-a"),
]
# NodeAgents m1 and m2, Segment policies-there, VirtualIP 192.0.2.7 and the Lease of m2 are there.
CALLS = [
    call("m1 writes its own NodeAgent.status", "m1", ALLOWED, "PATCH", f"{AGENTS}/m1/status", APPLIED),
    call(
        "m1 writes m2's NodeAgent.status",
        "m1",
        refused("may write only its own"),
        "PATCH",
        f"{AGENTS}/m2/status",
        APPLIED,
    ),
    call("an unbound token writes a NodeAgent.status", "unbound", NOT_BOUND, "PATCH", f"{AGENTS}/m1/status", APPLIED),
    call("a static Pod's certificate: own status", "static m1", ALLOWED, "PATCH", f"{AGENTS}/m1/status", APPLIED),
    call(
        "a static Pod's certificate: m2's",
        "static m1",
        refused("only its own"),
        "PATCH",
        f"{AGENTS}/m2/status",
        APPLIED,
    ),
    call(
        "m1 makes m3's NodeAgent",
        "m1",
        refused("node m1 may write only its own nodeagents"),
        "POST",
        AGENTS,
        named("m3"),
    ),
    call("m3 makes its NodeAgent", "m3", ALLOWED, "POST", AGENTS, named("m3")),
    call("m1 writes its drain switch", "m1", NO_RIGHT, "PATCH", f"{AGENTS}/m1", {"spec": {"maintenance": "Drain"}}),
    call("m1 deletes its NodeAgent", "m1", NO_RIGHT, "DELETE", f"{AGENTS}/m1"),
    call("the controller writes a NodeAgent.status", "controller", NO_RIGHT, "PATCH", f"{AGENTS}/m1/status", APPLIED),
    call("m1 makes a Segment without a spec", "m1", ALLOWED, "POST", SEGMENTS, named("policies-5")),
    call("m1 makes a Segment with an empty spec", "m1", ALLOWED, "POST", SEGMENTS, named("policies-6", spec={})),
    call("m1 makes a Segment that stops when cut off", "m1", refused("with the defaults only"), "POST", SEGMENTS, STOP),
    call("m1 makes a Segment with interfaces", "m1", refused("with the defaults only"), "POST", SEGMENTS, BOUND),
    call("m1 makes a Segment with a finalizer", "m1", refused("no owner and no finalizer"), "POST", SEGMENTS, HELD),
    call("m1 makes a Segment with an owner", "m1", refused("no owner and no finalizer"), "POST", SEGMENTS, OWNED),
    call("an unbound token makes a Segment", "unbound", NOT_BOUND, "POST", SEGMENTS, named("policies-7")),
    call("a zone's agent makes its Segment", "dmz@m1", ALLOWED, "POST", SEGMENTS, named("dmz")),
    call("a zone's agent makes another", "dmz@m1", NOT_HERE, "POST", SEGMENTS, named("policies-8")),
    call("m1 writes a Segment's spec", "m1", NO_RIGHT, "PATCH", TABLE_PATH, {"spec": {"profile": "Fast"}}),
    call("m1 patches a table", "m1", NO_RIGHT, "PATCH", f"{TABLE_PATH}/status", {"status": {"revision": 8}}),
    call("m1 deletes a Segment", "m1", NO_RIGHT, "DELETE", TABLE_PATH),
    call("m1 makes m3's Lease", "m1", refused("node m1 may make only its own Lease"), "POST", LEASES, lease("m3")),
    call("an unbound token makes a Lease", "unbound", NOT_BOUND, "POST", LEASES, lease("m3")),
    call("m1 makes its own Lease", "m1", ALLOWED, "POST", LEASES, lease("m1")),
    call("m1 makes its Lease for a further segment", "m1", ALLOWED, "POST", LEASES, further("m1", "rack-1")),
    call("m1 makes m2's for a further segment", "m1", NOT_OWN, "POST", LEASES, further("m2", "rack-1")),
    call("m1 makes one that names another segment", "m1", NOT_OWN, "POST", LEASES, further("m1", "rack-2", "rack-1")),
    call(
        "m1 makes its own, held by m2",
        "m1",
        refused("names no other"),
        "POST",
        LEASES,
        lease("m1") | {"spec": HELD_BY_M2},
    ),
    call("m1 patches m2's Lease", "m1", NO_RIGHT, "PATCH", f"{LEASES}/m2", {"metadata": {"annotations": {}}}),
    call("m1 deletes m2's Lease", "m1", NO_RIGHT, "DELETE", f"{LEASES}/m2"),
    call("m1 makes a kubelet's Lease", "m1", NO_RIGHT, "POST", LEASES.replace("roost-", "kube-"), lease("m1")),
    call("m1 takes the controller's Lease", "m1", NO_RIGHT, "POST", LEASES.replace("node-lease", "system"), lease("x")),
    call("m1 reads AddressPools", "m1", ALLOWED, "GET", POOLS),
    call("m1 reads VirtualIPs", "m1", ALLOWED, "GET", VIPS),
    call("m1 reads EndpointSlices", "m1", ALLOWED, "GET", "/apis/discovery.k8s.io/v1/endpointslices"),
    call("m1 reads Services", "m1", NO_RIGHT, "GET", "/api/v1/services"),
    call("m1 reads Secrets", "m1", NO_RIGHT, "GET", "/api/v1/secrets"),
    call("m1 reads the key of hellos", "m1", ALLOWED, "GET", KEY),
    call("m1 lists the key of hellos", "m1", ALLOWED, "GET", f"{KEYS}?fieldSelector=metadata.name%3Droost-segment-key"),
    call("m1 lists Roost's Secrets", "m1", NO_RIGHT, "GET", KEYS),
    call("m1 changes the key of hellos", "m1", NO_RIGHT, "PATCH", KEY, {"data": {"key": "AAAA"}}),
    call("the controller reads the key of hellos", "controller", NO_RIGHT, "GET", KEY),
    call("m1 reads ConfigMaps", "m1", NO_RIGHT, "GET", "/api/v1/configmaps"),
    call("m1 reads Pods", "m1", NO_RIGHT, "GET", "/api/v1/pods"),
    call("m1 changes a Node", "m1", NO_RIGHT, "PATCH", "/api/v1/nodes/m1", {"metadata": {"labels": {"a": "b"}}}),
    call("m1 claims a VirtualIP", "m1", NO_RIGHT, "POST", VIPS, VIP),
    call(
        "m1 writes a VirtualIP's status", "m1", NO_RIGHT, "PATCH", f"{VIPS}/192.0.2.7/status", {"status": {"epoch": 9}}
    ),
    call("m1 writes an Event", "m1", ALLOWED, "POST", EVENTS, EVENT),
    call("the controller writes an Event", "controller", ALLOWED, "POST", EVENTS, EVENT),
    call("the controller reads Segments", "controller", ALLOWED, "GET", SEGMENTS),
    call("the controller reads Secrets", "controller", NO_RIGHT, "GET", "/api/v1/secrets"),
    call("the controller makes an AddressPool", "controller", NO_RIGHT, "POST", POOLS, named("a")),
    call(
        "the controller makes a Lease in kube-system",
        "controller",
        NO_RIGHT,
        "POST",
        LEASES.replace("roost-node-lease", "kube-system"),
        lease("x"),
    ),
    call("the controller claims an address twice", "controller", conflict("already exists"), "POST", VIPS, VIP),
    call(
        "the controller's name is not the address",
        "controller",
        invalid("the name must be the address itself"),
        "POST",
        VIPS,
        VIP | named("192.0.2.8"),
    ),
    call(
        "the controller hands a claim to another",
        "controller",
        invalid("a claim cannot be handed to another Service"),
        "PATCH",
        f"{VIPS}/192.0.2.7",
        {"spec": {"claims": [{"namespace": "a", "name": "web", "uid": "2"}]}},
    ),
    call("the controller deletes all VirtualIPs at once", "controller", NO_RIGHT, "DELETE", VIPS),
    call("the controller deletes a Service", "controller", NO_RIGHT, "DELETE", SERVICE),
    call("the controller removes a dead node's Lease", "controller", ALLOWED, "DELETE", f"{LEASES}/m2"),
    call("a viewer reads VirtualIPs", "viewer", ALLOWED, "GET", VIPS),
    call("a viewer reads Services", "viewer", ALLOWED, "GET", "/api/v1/services"),
    call("a viewer makes an AddressPool", "viewer", NO_RIGHT, "POST", POOLS, POOL),
    call("a viewer reads Secrets", "viewer", NO_RIGHT, "GET", "/api/v1/secrets"),
    call("whoever may view may read Segments", "onlooker", ALLOWED, "GET", SEGMENTS),
    call("a keeper makes an AddressPool", "keeper", ALLOWED, "POST", POOLS, POOL),
    call("a keeper drains a node", "keeper", ALLOWED, "PATCH", f"{AGENTS}/m1", {"spec": {"maintenance": "Drain"}}),
    call("a keeper makes a Segment that stops when cut off", "keeper", ALLOWED, "POST", SEGMENTS, STOP),
    call("a keeper claims a VirtualIP", "keeper", NO_RIGHT, "POST", VIPS, VIP),
    call("a keeper writes a table", "keeper", NO_RIGHT, "PATCH", f"{TABLE_PATH}/status", {"status": {"revision": 8}}),
    call("a keeper writes a NodeAgent.status", "keeper", NO_RIGHT, "PATCH", f"{AGENTS}/m1/status", APPLIED),
]
