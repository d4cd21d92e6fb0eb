"""What takes a node's VIPs away, what keeps new ones off it, and what does neither."""

import pytest

from nodeagent.services.drain import Fitness, fitness
from roost.kube.wire import Meta, Node, NodeAgentSpec, NodeCondition, NodeSpec, NodeStatus, Taint
from roost.nodes import SHUTTING_DOWN, excluded
from roost.words import EXCLUDE_LABEL, Reason


def node(taint: str = "", *, cordoned: bool = False, deleted: bool = False, ready: NodeCondition | None = None) -> Node:
    meta = Meta(name="n1", deletion_timestamp="2026-11-01T00:00:00Z" if deleted else None)
    spec = NodeSpec(taints=(Taint(key=taint, effect="NoSchedule"),) if taint else (), unschedulable=cordoned)
    conditions = (NodeCondition(type="MemoryPressure", status="False"), *([ready] if ready else []))
    return Node(metadata=meta, spec=spec, status=NodeStatus(conditions=conditions))


def not_ready(message: str, status: str = "False") -> NodeCondition:
    return NodeCondition(type="Ready", status=status, message=message)


@pytest.mark.parametrize(
    ("given", "agent", "expected"),
    [
        pytest.param(node(), None, Fitness(), id="nothing of the kind"),
        pytest.param(node(), NodeAgentSpec(), Fitness(), id="no maintenance"),
        pytest.param(
            node(),
            NodeAgentSpec(maintenance="Drain"),
            Fitness((Reason.DRAINING, "spec.maintenance is Drain")),
            id="maintenance Drain",
        ),
        pytest.param(
            node(),
            NodeAgentSpec(maintenance="Exclude", reason="new disks"),
            Fitness((Reason.EXCLUDED, "spec.maintenance is Exclude: new disks")),
            id="maintenance Exclude, with the reason somebody gave",
        ),
        pytest.param(
            node("ToBeDeletedByClusterAutoscaler"),
            None,
            Fitness((Reason.DRAINING, "taint ToBeDeletedByClusterAutoscaler")),
            id="the autoscaler takes it away",
        ),
        pytest.param(
            node("karpenter.sh/disrupted"),
            None,
            Fitness((Reason.DRAINING, "taint karpenter.sh/disrupted")),
            id="karpenter takes it away",
        ),
        pytest.param(
            node("node.kubernetes.io/out-of-service"),
            None,
            Fitness((Reason.DRAINING, "taint node.kubernetes.io/out-of-service")),
            id="somebody says that it is out of service",
        ),
        pytest.param(
            node(deleted=True), None, Fitness((Reason.DRAINING, "its Node object is being deleted")), id="being deleted"
        ),
        pytest.param(None, None, Fitness((Reason.DRAINING, "its Node object is gone")), id="its Node object is gone"),
        pytest.param(
            node(ready=not_ready(f"container runtime is up, {SHUTTING_DOWN}")),
            None,
            Fitness((Reason.DRAINING, SHUTTING_DOWN)),
            id="kubelet says that it shuts down",
        ),
        pytest.param(
            node(ready=not_ready("PLEG is not healthy")), None, Fitness(), id="not ready for another reason: it stays"
        ),
        pytest.param(
            node(ready=not_ready("Kubelet stopped posting node status.", "Unknown")),
            None,
            Fitness(),
            id="kubelet is not heard of: it stays, others judge that",
        ),
        pytest.param(
            node(ready=NodeCondition(type="NetworkUnavailable", status="True")),
            None,
            Fitness((Reason.DRAINING, "condition NetworkUnavailable")),
            id="its network is not there: Pods elsewhere are out of its reach",
        ),
        pytest.param(
            node(ready=NodeCondition(type="NetworkUnavailable", status="False")),
            None,
            Fitness(),
            id="its network is there",
        ),
        pytest.param(node(cordoned=True), None, Fitness(last=True), id="cordoned: it is chosen last, no more"),
        pytest.param(
            node("node.kubernetes.io/unschedulable", cordoned=True),
            None,
            Fitness(last=True),
            id="and its taint as well",
        ),
        pytest.param(
            node("karpenter.sh/disrupted", cordoned=True),
            NodeAgentSpec(maintenance="Drain"),
            Fitness((Reason.DRAINING, "spec.maintenance is Drain"), last=True),
            id="of several reasons the switch that a person turned",
        ),
    ],
)
def test_fitness(given: Node | None, agent: NodeAgentSpec | None, expected: Fitness) -> None:
    assert fitness(given, agent) == expected


@pytest.mark.parametrize(
    ("found", "eligible", "why"),
    [
        pytest.param(Fitness(), True, None, id="like any other"),
        pytest.param(Fitness(last=True), True, None, id="cordoned: nothing to report"),
        pytest.param(
            Fitness(excluded=True), True, (Reason.EXCLUDED, f"label {EXCLUDE_LABEL}"), id="excluded, but for some pools"
        ),
        pytest.param(
            Fitness((Reason.DRAINING, "taint x"), excluded=True), False, (Reason.DRAINING, "taint x"), id="draining"
        ),
    ],
)
def test_what_there_is_to_report(found: Fitness, eligible: bool, why: tuple[Reason, str] | None) -> None:
    assert (found.eligible, found.why) == (eligible, why)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({}, False, id="no label"),
        pytest.param({EXCLUDE_LABEL: ""}, True, id="a label without a value"),
        pytest.param({EXCLUDE_LABEL: "true"}, True, id="true"),
        pytest.param({EXCLUDE_LABEL: "perhaps"}, True, id="what is no boolean"),
        pytest.param({EXCLUDE_LABEL: "false"}, False, id="false"),
    ],
)
def test_excluded_nodes(labels: dict[str, str], expected: bool) -> None:
    assert excluded(labels) is expected
