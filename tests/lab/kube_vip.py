"""What kube-vip's own tests do over and over, on the lab: its four combinations of families, its service election."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest

from lab.api import ApiError, Json
from lab.cluster import Lab
from lab.probes import ClaimProbe
from lab.run import wait_for
from tests.lab.shop import FOUR, ROOST, SIX, Shop, Wanted, path, seats

FAMILIES = [
    pytest.param((FOUR,), id="IPv4"),
    pytest.param((SIX,), id="IPv6"),
    pytest.param((FOUR, SIX), id="DualStack - IPv4 primary"),
    pytest.param((SIX, FOUR), id="DualStack - IPv6 primary"),
]
THREE_FAMILIES = FAMILIES[:3]  # of its tests with a DaemonSet
POLICIES = [pytest.param("Cluster", id="policy Cluster"), pytest.param("Local", id="policy Local")]
FORCED = {"kube-vip.io/forcePerServiceElection": "true"}
ELECTIONS = [pytest.param({}, id="svc_election=false"), pytest.param(FORCED, id="svc_election=true")]


def trust(lab: Lab) -> None:
    """Let the Services of namespace default say what changes nodes: leaseName, serviceInterface."""
    lab.api("PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"roost.dev/service-authors": "trusted"}}})

    def allowed() -> bool:
        wanted = Wanted("allowed", annotations=lease("allowed"))
        try:
            lab.api("POST", "/api/v1/namespaces/default/services?dryRun=All", wanted.object())
        except ApiError as refused:
            if "service-authors" not in refused.message:
                raise
            return False
        return True

    wait_for("the namespace is trusted", allowed)


def lease(name: str) -> Mapping[str, str]:
    return {"kube-vip.io/leaseName": name}


def serve(shop: Shop, wanted: Wanted) -> list[str]:
    """Make a Service and wait until it answers at all its addresses, from one node each; returns them."""
    shop.make(wanted)
    addresses = shop.wait_addresses(wanted.name, len(wanted.families))
    for address in addresses:
        for port in wanted.ports:
            shop.wait_answer(address, port)
        shop.wait_carried(address)
    return addresses


def group(shop: Shop, address: str) -> str:
    vip = shop.vip(address)
    return str(vip["spec"]["group"]) if vip else ""


def maintain(lab: Lab, node: str, what: str) -> None:
    """Turn the switch of a node: None, Drain, Exclude."""
    lab.api("PATCH", f"{ROOST}/nodeagents/{node}", {"spec": {"maintenance": what}})


def stop_for_good(lab: Lab) -> None:
    """End every agent as an uninstall does: nothing is to stay for a successor. Each ends well."""
    for node in lab.agents:
        maintain(lab, node, "Exclude")
    for node in lab.agents:
        wait_for(f"{node} knows that it is excluded", partial(_is_excluded, lab, node))
    for agent in lab.agents.values():
        agent.sigterm()
    for agent in lab.agents.values():
        assert agent.wait() == 0


def _is_excluded(lab: Lab, node: str) -> bool:
    status = lab.api("GET", f"{ROOST}/nodeagents/{node}").get("status", {})
    return any(item["reason"] == "Excluded" for item in status.get("conditions", []))


def start_again(lab: Lab, *flags: str) -> None:
    """Start every agent that :func:`stop_for_good` ended, and wait until all sit."""
    for node in lab.agents:
        maintain(lab, node, "None")
        lab.start_agent(node, *flags)
    wait_for("every agent has its seat", lambda: sorted(set(seats(lab))) == sorted(lab.agents))


@dataclass
class Watch:
    """Every claim of some addresses, which are asked for all the time."""

    claims: ClaimProbe
    began: float = field(default_factory=time.time)

    def check(self) -> None:
        """Since the last check nobody claimed who had given to another; check after each hand-over."""
        now = time.time()
        assert self.claims.recording(self.began, now).seconds_with_two() == 0
        self.began = now


@contextmanager
def one_claimant(shop: Shop, *addresses: str) -> Iterator[Watch]:
    """No two nodes claim one of *addresses* meanwhile. Where they move and move back, check in between."""
    with shop.lab.claims(addresses) as claims, shop.lab.ask(*addresses):
        watch = Watch(claims)
        wait_for("every address is claimed", lambda: len(claims.recording(watch.began).vips) == len(addresses))
        yield watch
        watch.check()


def annotate(shop: Shop, name: str, **annotations: str) -> Json:
    return shop.lab.api("PATCH", path(name), {"metadata": {"annotations": annotations}})
