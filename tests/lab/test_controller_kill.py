"""The leader killed over and over while a burst of Services comes in: no address twice, none changed, nothing left."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.cluster import Lab
from lab.run import LabError, Process, wait_for

SERVICES, KILLS, CONNECTIONS = 1_000, 10, 8
REST = 10.0  # seconds
QUICK = ("--lease-seconds", "3", "--renew-deadline-seconds", "2", "--retry-seconds", "0.5")
LEASE = "/apis/coordination.k8s.io/v1/namespaces/roost-system/leases/roost-cloud-controller"
ALL = "/api/v1/namespaces/default/services"
VIPS = "/apis/roost.dev/v1alpha1/virtualips"


class Controllers:
    """Two of them at any time; the one that leads can be killed, and another is born in its place."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.alive: dict[str, Process] = {}
        for _ in range(2):
            self.bear()

    def bear(self) -> None:
        name = f"k{len(self.lab.controllers)}"
        self.alive[name] = self.lab.start_controller(name, "--identity", name, "--rest-seconds", str(REST), *QUICK)

    def kill_the_leader(self) -> None:
        def leader() -> bool:
            return self.lab.api("GET", LEASE)["spec"].get("holderIdentity") in self.alive

        wait_for("one of them leads", leader, 20, every=0.05)
        name = self.lab.api("GET", LEASE)["spec"]["holderIdentity"]
        self.alive.pop(name).sigkill()
        self.bear()


class Watcher:
    """Looks at all Services all the time: who shows what, and whether it ever changes."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.shown: dict[str, str] = {}
        self.changed: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, enough: int) -> None:
        wait_for(f"{enough} Services have addresses", lambda: len(self.shown) >= enough, 90, every=0.02)

    def _watch(self) -> None:
        while not self._stop.wait(0.3):
            self.look()

    def look(self) -> None:
        for service in self.lab.admin.items(ALL):
            name, address = service["metadata"]["name"], _address(service)
            before = self.shown.get(name)
            if before and before != address:
                self.changed.append(f"{name}: {before} → {address}")
            if address:
                self.shown[name] = address


def _address(service: dict[str, Any]) -> str:
    ingress = service["status"].get("loadBalancer", {}).get("ingress", [])
    return ",".join(item["ip"] for item in ingress)


def _make(lab: Lab, name: str) -> None:
    spec = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 80}]}
    lab.api("POST", ALL, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture
def burst(lab: Lab) -> Iterator[ThreadPoolExecutor]:
    pool = {"addresses": ["10.61.0.0/16"]}
    lab.apply({"apiVersion": "roost.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "prod"}, "spec": pool})
    with ThreadPoolExecutor(CONNECTIONS) as executor:
        yield executor


@pytest.mark.timeout(500)
def test_killed_ten_times_in_a_burst(lab: Lab, burst: ThreadPoolExecutor) -> None:
    controllers = Controllers(lab)
    names = [f"s{number}" for number in range(SERVICES)]
    with Watcher(lab) as watcher:
        made = [burst.submit(_make, lab, name) for name in names]
        for kill in range(1, KILLS + 1):
            watcher.wait(kill * SERVICES // (KILLS + 2))
            controllers.kill_the_leader()
        for future in made:
            future.result()
        watcher.wait(SERVICES)
        wait_for("nothing rests", lambda: len(lab.admin.items(VIPS)) == SERVICES, REST + 30, every=0.5)
        watcher.look()
    addresses = list(watcher.shown.values())
    claims = {
        vip["spec"]["address"]: [claim["name"] for claim in vip["spec"]["claims"]] for vip in lab.admin.items(VIPS)
    }
    assert len(set(addresses)) == SERVICES
    assert watcher.changed == []
    assert claims == {address: [name] for name, address in watcher.shown.items()}

    for deleted in [burst.submit(lab.api, "DELETE", f"{ALL}/{name}") for name in names]:
        deleted.result()
    wait_for("no Service hangs on its finalizer", lambda: set(_names(lab)).isdisjoint(names), 90, every=0.5)
    wait_for("no VirtualIP is left", lambda: not lab.admin.items(VIPS), REST + 60, every=0.5)
    for process in controllers.alive.values():
        if not process.running:
            raise LabError(f"{process.name} ended by itself:\n{process.tail()}")


def _names(lab: Lab) -> list[str]:
    return [service["metadata"]["name"] for service in lab.admin.items(ALL)]
