"""Services whose VIPs are routes in the nodes' tables, as kube-vip's tests have them."""

import json
from collections.abc import Collection, Mapping

import pytest

from lab.cluster import Lab
from lab.run import wait_for
from tests.lab.kube_vip import FORCED, trust
from tests.lab.shop import REST, Shop, Wanted

ALL, HERE = ("n1", "n2", "n3"), ("n1", "n2")  # the nodes; those with a backend
TABLE, PROTOCOL = "198", "248"
HOLDER = {"roost.dev/announcers": "HolderOnly"}
ELECTIONS = [
    pytest.param({}, id="no election"),
    pytest.param(FORCED, id="services election"),
    pytest.param(HOLDER, id="global election"),
]
POOL = {
    "apiVersion": "roost.dev/v1alpha1",
    "kind": "AddressPool",
    "metadata": {"name": "far"},
    "spec": {"addresses": ["10.99.0.0/24", "fd99::/120"], "announce": {"protocols": ["RoutingTable"]}},
}


def open_shop(lab: Lab) -> Shop:
    """Start everything; the first two nodes have a backend."""
    lab.start_controller("a", REST)
    for node in lab.nodes:
        lab.start_agent(node, "--linger=0.5")
    lab.apply(POOL)
    for node in HERE:
        lab.add_backend(f"web-{node}", node)
    trust(lab)
    return Shop(lab)


def routed(lab: Lab, address: str) -> set[str]:
    """The nodes with a route to *address* in the table, with the right mark."""
    family = "-6" if ":" in address else "-4"
    found = set()
    for name in lab.nodes:
        shown = lab.run_in(name, "ip", "-j", "-N", family, "route", "show", "table", "all", "protocol", PROTOCOL)
        if any((route["dst"], route.get("table")) == (address, TABLE) for route in json.loads(shown or "[]")):
            found.add(name)
    return found


def wait_routed(shop: Shop, address: str, nodes: Collection[str]) -> None:
    where = " and ".join(nodes) or "no node"
    wait_for(f"{where} has a route to {address}", lambda: routed(shop.lab, address) == set(nodes), every=0.1)


def announcers(shop: Shop, address: str, traffic: str, annotations: Mapping[str, str]) -> tuple[str, ...]:
    """Who is to have the route: the holder alone, or all that may."""
    may = HERE if traffic == "Local" else ALL
    return (shop.wait_held(address, may),) if annotations else may


def serve(shop: Shop, wanted: Wanted) -> list[str]:
    """Make a Service, and wait until the right nodes have its routes, and nobody else."""
    shop.make(wanted)
    addresses = shop.wait_addresses(wanted.name, len(wanted.families))
    for address in addresses:
        wait_routed(shop, address, announcers(shop, address, wanted.traffic, wanted.annotations))
    return addresses


def withdraw(shop: Shop, names: Collection[str], addresses: Collection[str]) -> None:
    shop.delete(*names)
    for address in addresses:
        wait_routed(shop, address, ())
