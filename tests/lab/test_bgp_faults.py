"""Connections through a router while something of BGP breaks, and what stands in the router's table all the while."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import routed
from lab.routed import FAULTS, VIPS, Scene, Way
from lab.run import wait_for

UNHURT = ["gobgpd-sigkill", "agent-sigkill", "agent-for-good", "pod-restart", "drain", "api-outage"]
HURT = ["link-down", "power-off", "router-restart"]


@pytest.fixture(scope="module")
def lasting() -> Iterator[Scene]:
    """GoBGP 4, graceful restart, BFD."""
    with routed.scene(Way(version=4, restart=30, bfd=True)) as scene:
        yield scene


@pytest.mark.parametrize("name", UNHURT)
def test_no_connection_fails(lasting: Scene, name: str) -> None:
    """With graceful restart neither daemon, agent, node agent's Pod, a drain nor the API server is missed."""
    seen = routed.run_once(lasting, FAULTS[name])
    assert seen.wrong == ()
    assert seen.failed == 0, seen
    if name in {"agent-sigkill", "api-outage", "drain"}:
        assert seen.resets == 0


@pytest.mark.parametrize("name", HURT)
def test_others_go_on(lasting: Scene, name: str) -> None:
    """Who is cut off is noticed by BFD, and the rest of the connections never stop."""
    seen = routed.run_once(lasting, FAULTS[name])
    assert seen.wrong == ()
    if name != "router-restart":
        assert seen.resets > 0


def test_nothing_is_left_behind(lasting: Scene) -> None:
    """A node whose agent leaves for good is in no router's table, and its gobgpd ends with its keeper."""
    lab, node = lasting.lab, "n3"
    lasting.maintain(node, "Exclude")
    lasting.wait(node)
    agent, keeper = lab.agents[node], lab.speakers[node]
    agent.sigterm()
    assert agent.wait() == 0
    daemon = Path(f"/proc/{keeper.gobgpd}")
    assert daemon.exists()
    keeper.sigkill()
    wait_for("its gobgpd is gone", lambda: not daemon.exists())
    for vip in VIPS:
        assert not [path for path in lasting.router.routes(vip) if path.neighbour in _legs(lasting, node)]


def _legs(scene: Scene, node: str) -> set[str]:
    leg = scene.lab.nodes[node].leg("data")
    return {str(leg.address4), str(leg.address6)}
