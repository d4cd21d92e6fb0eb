import json
from datetime import UTC, datetime

from kubectl_roost.bgp.plan import Snapshot, View, find
from kubectl_roost.bgp.text import WIDE, as_json, page
from tests.kubectl_roost.bgp.routers import agent, cluster, session

NOW = datetime(2026, 1, 1, 0, 3, tzinfo=UTC)

ALL = """\
NODE   PEER    REMOTE     ASN     STATE           SINCE   PREFIXES   LAST ERROR
n1     tor-a   10.0.0.1   64513   Established     3m      2          -
n1     tor-b   10.0.0.1   64513   Established     3m      2          -
n2     tor-a   10.0.0.1   64513   Idle            3m      -          hold timer expired
n2     tor-b   eth1       -       SecretMissing   -       -          no Secret tor-b

2 of 4 sessions established"""

ONE = """\
NODE   PEER    REMOTE     ASN     STATE           SINCE   PREFIXES   LAST ERROR
n2     tor-a   10.0.0.1   64513   Idle            3m      -          hold timer expired
n2     tor-b   eth1       -       SecretMissing   -       -          no Secret tor-b

0 of 2 sessions established

VIPs that it is to announce
ADDRESS     SERVICES   ANNOUNCED   REASON     MESSAGE
192.0.2.7   shop/web   no          PeerDown   so"""


def view(now: Snapshot, node: str = "") -> View:
    found = find(now, node)
    assert isinstance(found, View)
    return found


def test_all_sessions() -> None:
    assert page(view(cluster()), NOW) == ALL


def test_one_node() -> None:
    assert page(view(cluster(), "n2"), NOW) == ONE


def test_nothing_is_said_in_words() -> None:
    assert page(view(Snapshot()), NOW) == "no session: no BGPPeer, setting or annotation asks for one"
    alone = page(view(Snapshot((agent("n1", session("tor-a")),)), "n1"), NOW)
    assert alone.endswith("no VIP that it is to announce by BGP")


def test_a_long_error_is_cut() -> None:
    long = page(view(Snapshot((agent("n1", session("tor-a", "Idle", error="x" * 300)),))), NOW)
    assert max(map(len, long.splitlines())) == WIDE


def test_json_says_the_same() -> None:
    found = json.loads(as_json(view(cluster(), "n1")))
    assert [one["state"] for one in found["sessions"]] == ["Established", "Established"]
    assert [one["address"] for one in found["paths"]] == ["192.0.2.7", "192.0.2.8"]
