"""BGPPeer and BGPAdvertisement as the API server has them become values, and values become that JSON again."""

import json

import msgspec
import pytest

from roost.kube.wire import Meta, Requirement, Selector
from roost.kube.wire_bgp import (
    BGPADVERTISEMENTS,
    BGPPEERS,
    Aggregation,
    BGPAdvertisement,
    BGPAdvertisementSpec,
    BGPAdvertisementStatus,
    BGPPeer,
    BGPPeerSpec,
    BGPPeerStatus,
    LocalEnd,
    NextHop,
    PeerBfd,
    PeerException,
    PeerSessions,
    PeerTimers,
    RemoteEnd,
    SecretKey,
)

PEER = {
    "metadata": {"name": "tor"},
    "spec": {
        "nodeSelector": {"matchExpressions": [{"key": "rack", "operator": "In", "values": ["a", "b"]}]},
        "local": {"asn": 65001, "interface": "eth1", "routerID": "10.0.0.1"},
        "remote": {"address": "10.0.0.254", "asnType": "External", "port": 1179},
        "ebgpMultihopTTL": 5,
        "passwordSecret": {"name": "tor-password", "key": "md5"},
        "timers": {"holdSeconds": 9, "keepaliveSeconds": 3, "connectRetrySeconds": 1},
        "families": ["IPv4", "IPv6"],
        "nextHop": {"mode": "Fixed", "ipv4": "10.0.0.9", "ipv6": "fd00::9"},
        "bfd": {"receiveMilliseconds": 50, "transmitMilliseconds": 60, "detectMultiplier": 5},
        "gracefulRestartSeconds": 60,
        "drainSeconds": 20,
    },
    "status": {
        "established": "1/2",
        "sessions": {"desired": 2, "established": 1},
        "exceptions": [{"node": "n2", "reason": "SecretMissing", "message": "no Secret tor-password"}],
    },
}
PEER_VALUE = BGPPeer(
    metadata=Meta(name="tor"),
    spec=BGPPeerSpec(
        node_selector=Selector(match_expressions=(Requirement(key="rack", operator="In", values=("a", "b")),)),
        local=LocalEnd(asn=65001, interface="eth1", router_id="10.0.0.1"),
        remote=RemoteEnd(address="10.0.0.254", asn_type="External", port=1179),
        ebgp_multihop_ttl=5,
        password_secret=SecretKey(name="tor-password", key="md5"),
        timers=PeerTimers(hold_seconds=9, keepalive_seconds=3, connect_retry_seconds=1),
        families=("IPv4", "IPv6"),
        next_hop=NextHop(mode="Fixed", ipv4="10.0.0.9", ipv6="fd00::9"),
        bfd=PeerBfd(receive_milliseconds=50, transmit_milliseconds=60, detect_multiplier=5),
        graceful_restart_seconds=60,
        drain_seconds=20,
    ),
    status=BGPPeerStatus(
        established="1/2",
        sessions=PeerSessions(desired=2, established=1),
        exceptions=(PeerException(node="n2", reason="SecretMissing", message="no Secret tor-password"),),
    ),
)
ADVERTISEMENT = {
    "metadata": {"name": "public"},
    "spec": {
        "poolNames": ["public"],
        "peerNames": ["tor"],
        "serviceSelector": {"matchLabels": {"public": "yes"}},
        "nodeSelector": {"matchLabels": {"edge": "yes"}},
        "announcers": "HolderOnly",
        "aggregation": {"ipv4": 24, "ipv6": 64},
        "communities": ["65000:100", "no-export"],
        "localPreference": 200,
        "med": 0,
        "prependASPath": 2,
    },
    "status": {"matchedVIPs": 3, "matchedPeers": 2, "matchedNodes": 1},
}
ADVERTISEMENT_VALUE = BGPAdvertisement(
    metadata=Meta(name="public"),
    spec=BGPAdvertisementSpec(
        pool_names=("public",),
        peer_names=("tor",),
        service_selector=Selector(match_labels={"public": "yes"}),
        node_selector=Selector(match_labels={"edge": "yes"}),
        announcers="HolderOnly",
        aggregation=Aggregation(ipv4=24, ipv6=64),
        communities=("65000:100", "no-export"),
        local_preference=200,
        med=0,
        prepend_as_path=2,
    ),
    status=BGPAdvertisementStatus(matched_vips=3, matched_peers=2, matched_nodes=1),
)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        pytest.param(PEER, PEER_VALUE, id="a peer with all that can be said of it"),
        pytest.param(ADVERTISEMENT, ADVERTISEMENT_VALUE, id="an advertisement with all that can be said of it"),
        pytest.param(
            {"metadata": {"name": "x"}, "spec": {"local": {"asn": 65001}, "remote": {"interface": "eth1", "asn": 1}}},
            BGPPeer(
                metadata=Meta(name="x"),
                spec=BGPPeerSpec(local=LocalEnd(asn=65001), remote=RemoteEnd(interface="eth1", asn=1)),
            ),
            id="the least that a peer must say",
        ),
    ],
)
def test_json_becomes_a_value_and_the_value_that_json(form: object, value: BGPPeer | BGPAdvertisement) -> None:
    assert msgspec.json.decode(json.dumps(form).encode(), type=type(value)) == value
    assert json.loads(msgspec.json.encode(value)) == form


def test_both_kinds_live_in_the_cluster_not_in_a_namespace() -> None:
    assert BGPPEERS.path(name="tor") == "/apis/roost.dev/v1alpha1/bgppeers/tor"
    assert BGPADVERTISEMENTS.path() == "/apis/roost.dev/v1alpha1/bgpadvertisements"
