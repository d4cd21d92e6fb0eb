"""A lab where every node has two data networks, with a Service on each, and how they fare."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lab.api import Json
from lab.cluster import Lab
from lab.probes import ClaimProbe
from lab.run import wait_for
from tests.lab.shop import FOUR, POOL, ROOST, SIX, Shop, Wanted

T = TypeVar("T")

NODES = ("n1", "n2", "n3")
FIRST, SECOND = "data", "data2"
TABLES = {FIRST: "10.60.0.0-24", SECOND: "10.61.0.0-24"}
OTHERS = {"metadata": {"name": "second"}, "spec": {"addresses": ["10.61.0.200-10.61.0.239", "fd61::200-fd61::2ff"]}}


@dataclass
class World:
    """A Service on each segment; *claims* hears both wires, on which all VIPs are asked for all the time."""

    shop: Shop
    claims: ClaimProbe
    vips: dict[str, list[str]]  # by segment
    since: float = field(default_factory=time.time)

    def table(self, segment: str) -> Json:
        found = self.shop.lab.admin.find(f"{ROOST}/segments/{TABLES[segment]}") or {}
        status: Json = found.get("status", {})
        return status

    def modes(self, segment: str) -> dict[str, str]:
        """Of the live seats, by node."""
        return {row["node"]: row["mode"] for row in self.table(segment).get("seats", []) if row["state"] == "Live"}

    def former(self, table: str) -> list[str]:
        """Whose live seats are in a table that was left."""
        found = self.shop.lab.admin.find(f"{ROOST}/segments/{table}") or {}
        return [row["node"] for row in found.get("status", {}).get("seats", []) if row["state"] == "Live"]

    def holder(self, segment: str) -> str:
        return held_by(self.shop, segment, self.vips[segment][0])

    def answer_on(self, segment: str) -> str:
        """All VIPs of the segment answer from the one node that holds them, which is returned."""
        for vip in self.vips[segment]:
            self.shop.wait_answer(vip, by="web-")
        return wait_for(f"{self.vips[segment][0]} is held", lambda: self.holder(segment))

    def wait(self, what: str, condition: Callable[[], T], seconds: float = 30) -> T:
        """As wait_for; in vain, the agents' logs are shown."""
        lab = self.shop.lab
        agents = [agent for node, agent in lab.agents.items() if lab.nodes[node].powered]
        return wait_for(what, condition, seconds, alive=agents, every=0.05)

    def wait_seats(self, mode: str, *nodes: str) -> None:
        want = dict.fromkeys(nodes or NODES, mode)
        all_of_them = dict.fromkeys(TABLES, want)
        self.wait(f"{want} on both", lambda: {one: self.modes(one) for one in TABLES} == all_of_them)

    def wait_moved(self, segment: str, node: str) -> str:
        """Wait until another than *node* holds the VIPs of *segment*, and they answer there; that one."""
        self.wait(f"{segment} has moved", lambda: self.holder(segment) not in (node, ""))
        return self.answer_on(segment)

    def wait_summary(self, node: str, text: str) -> Json:
        """The status of a NodeAgent, once its summary is that."""

        def found() -> Json | None:
            status: Json = self.agent(node)["status"]
            return status if status["vips"]["summary"] == text else None

        return wait_for(f"{node} announces {text}", found, every=0.1)

    def never_two(self) -> None:
        """Since this was asked last no VIP had two claimants; a new life begins."""
        assert self.claims.recording(since=self.since).seconds_with_two() == 0
        self.since = time.time()

    def gather(self) -> str:
        """Drain every node but one until it holds both; that one."""
        self.never_two()
        keeper = self.holder(FIRST)
        for node in NODES:
            self.maintain(node, "None" if node == keeper else "Drain")
        self.wait(f"{keeper} holds both", lambda: {self.holder(one) for one in TABLES} == {keeper})
        for node in NODES:
            self.maintain(node, "None")
        self.wait("all may hold again", self.all_eligible)
        self.never_two()
        return keeper

    def power_off(self) -> str:
        """Both VIPs move from the node that had them, which is returned."""
        node = self.gather()
        self.shop.lab.power_off(node)
        for segment in TABLES:
            assert self.wait_moved(segment, node) != node
        self.never_two()
        return node

    def maintain(self, node: str, what: str) -> None:
        self.shop.lab.api("PATCH", f"{ROOST}/nodeagents/{node}", {"spec": {"maintenance": what}})

    def all_eligible(self) -> bool:
        return all(row.get("eligible") for one in TABLES for row in self.table(one)["seats"])

    def agent(self, node: str) -> Json:
        return self.shop.lab.api("GET", f"{ROOST}/nodeagents/{node}")


def held_by(shop: Shop, segment: str, vip: str) -> str:
    """The holder of a VIP in the table of *segment*; "" while there is none."""
    spec = (shop.vip(vip) or {"spec": {}})["spec"]
    table = (shop.lab.admin.find(f"{ROOST}/segments/{TABLES[segment]}") or {}).get("status", {})
    nodes = {row["tenure"]: row["node"] for row in table.get("seats", []) if row["state"] == "Live"}
    found = [group for group in table.get("groups", []) if group["name"] == spec.get("group")]
    return str(nodes.get(found[0]["tenure"], "")) if found else ""


def opened(lab: Lab) -> Iterator[World]:
    """Agents without a setting: VIPs say which interfaces are theirs."""
    shop = Shop(lab)
    lab.start_controller("a")
    lab.apply([POOL, POOL | OTHERS])
    for node in NODES:
        lab.add_backend(f"web-{node}", node)
        lab.start_agent(node, "--linger=0.5", interface="")
    vips = {}
    for segment, pool in ((FIRST, "prod"), (SECOND, "second")):
        shop.make(Wanted(segment, (FOUR, SIX), annotations={"roost.dev/pool": pool}))
        vips[segment] = shop.wait_addresses(segment, 2)
    with (
        lab.claims([vip for several in vips.values() for vip in several]) as claims,
        lab.ask(*vips[FIRST]),
        lab.ask(*vips[SECOND], segment=SECOND),
    ):
        world = World(shop, claims, vips)
        world.wait_seats(lab.mode)
        yield world
