"""A node as it announces on layer 3, and when it is calm enough to write what nodes say."""

import pytest

from cloudprovider.announcers import Announcer, announcer
from cloudprovider.quiet import Calm
from roost.kube.wire import Meta, Node, NodeAgent, NodeAgentSpec, NodeCondition, NodeSpec, NodeStatus, Taint
from tests.fakes.clock import FakeClock

AGENT = NodeAgent(metadata=Meta(name="n1"))


def node(ready: str = "True", *taints: str, **labels: str) -> Node:
    spec = NodeSpec(taints=tuple(Taint(key=key) for key in taints))
    status = NodeStatus(conditions=(NodeCondition(type="Ready", status=ready),))
    return Node(metadata=Meta(name="n1", labels=labels), spec=spec, status=status)


def seen(there: Node, agent: NodeAgent = AGENT, *, seated: bool | None = None) -> Announcer:
    found = announcer(there, agent, seated=seated)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("ready", "seated", "up"),
    [
        pytest.param("True", True, True, id="it sits"),
        pytest.param("True", False, False, id="its seat is gone, and kubelet has not been missed yet"),
        pytest.param("Unknown", True, True, id="it sits, and only its kubelet is missed"),
        pytest.param("True", None, True, id="it never sat, and kubelet is there"),
        pytest.param("False", None, True, id="it never sat, and kubelet is there but not ready"),
        pytest.param("Unknown", None, False, id="it never sat, and kubelet is missed"),
    ],
)
def test_whether_a_node_lives(ready: str, seated: bool | None, up: bool) -> None:
    assert seen(node(ready), seated=seated).up is up


def test_nodes_that_are_about_to_go() -> None:
    drained = NodeAgent(metadata=AGENT.metadata, spec=NodeAgentSpec(maintenance="Drain"))
    assert not seen(node()).leaving
    assert seen(node(), drained).leaving
    assert seen(node("True", "ToBeDeletedByClusterAutoscaler")).leaving


def test_without_node_or_agent_there_is_no_announcer() -> None:
    assert announcer(None, AGENT, seated=True) is None
    assert announcer(node(), None, seated=True) is None


async def test_it_is_calm_a_while_after_the_last_change() -> None:
    clock = FakeClock()
    calm = Calm(clock, quiet=3.0, longest=10.0)
    assert calm.remaining() <= 0
    calm.stir()
    assert calm.remaining() == 3.0
    await clock.advance(2.0)
    calm.stir()
    assert calm.remaining() == 3.0
    await clock.advance(3.0)
    assert calm.remaining() <= 0


async def test_no_unrest_is_waited_for_without_end() -> None:
    clock = FakeClock()
    calm = Calm(clock, quiet=3.0, longest=10.0)
    for _ in range(10):
        calm.stir()
        await clock.advance(1.0)
    assert calm.remaining() <= 0
    calm.stir()  # another time begins
    assert calm.remaining() == 3.0
