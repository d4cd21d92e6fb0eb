"""VirtualIPs, EndpointSlices and Nodes, made in one line."""

from ipaddress import ip_address

from roost.kube.wire import (
    Claim,
    Endpoint,
    EndpointConditions,
    EndpointSlice,
    Meta,
    Node,
    NodeSpec,
    Selector,
    Taint,
    VirtualIP,
    VirtualIPAnnounce,
    VirtualIPSpec,
)
from roost.words import SERVICE_NAME_LABEL, vip_name

UPLINK = {"data"}
SSD = Selector(match_labels={"disk": "ssd"})


def vip(address: str, group: str, *services: str, announce: VirtualIPAnnounce | None = None) -> VirtualIP:
    claims = tuple(Claim(namespace="shop", name=name, uid=f"uid of {name}") for name in services)
    spec = VirtualIPSpec(address=address, group=group, claims=claims, announce=announce or VirtualIPAnnounce())
    return VirtualIP(metadata=Meta(name=vip_name(ip_address(address))), spec=spec)


def piece(service: str, *nodes: str, version: int = 4, ready: bool | None = None) -> EndpointSlice:
    ends = tuple(Endpoint(node_name=node, conditions=EndpointConditions(ready=ready)) for node in nodes)
    labels = {SERVICE_NAME_LABEL: service}
    meta = Meta(name=f"{service}-x", namespace="shop", labels=labels)
    return EndpointSlice(metadata=meta, address_type=f"IPv{version}", endpoints=ends)


def node(name: str, taint: str = "", *, cordoned: bool = False, **labels: str) -> Node:
    spec = NodeSpec(taints=(Taint(key=taint),) if taint else (), unschedulable=cordoned)
    meta = Meta(name=name, labels={key.replace("_", "-"): value for key, value in labels.items()})
    return Node(metadata=meta, spec=spec)


LOCAL = VirtualIPAnnounce(traffic_policy="Local", health_check_node_port=30_000)
WEB = ("shop", "web")
GOING = "karpenter.sh/disrupted"
