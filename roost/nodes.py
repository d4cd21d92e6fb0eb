"""What a Node object says of taking part in load balancing: excluded by label, about to go, lost."""

from collections.abc import Mapping

from roost.kube.wire import Node
from roost.words import AUTOSCALER_TAINT, EXCLUDE_LABEL, KARPENTER_TAINT, OUT_OF_SERVICE_TAINT

LEAVING_TAINTS = (AUTOSCALER_TAINT, KARPENTER_TAINT, OUT_OF_SERVICE_TAINT)
SHUTTING_DOWN = "node is shutting down"  # kubelet says so in condition Ready (pkg/kubelet/nodeshutdown)

NETWORK = (
    "NetworkUnavailable"  # its network plugin or the cloud's routes are not there: Pods elsewhere are out of reach
)


def excluded(labels: Mapping[str, str]) -> bool:
    """The label that keeps load balancers off a node; any value but a plain false counts (k8s.io/cloud-provider)."""
    value = labels.get(EXCLUDE_LABEL)
    return value is not None and value not in {"false", "False", "FALSE", "f", "F", "0"}


def leaving(node: Node | None) -> str:
    """Why a node (None: there is no such object) is about to go; "" if it stays.

    Cordoned (kubectl cordon) is not drained: it is about new Pods, and must not take a VIP away.
    """
    if node is None:
        return "its Node object is gone"
    taints = {taint.key for taint in node.spec.taints}
    if taint := next((key for key in LEAVING_TAINTS if key in taints), ""):
        return f"taint {taint}"
    if node.metadata.deletion_timestamp:
        return "its Node object is being deleted"
    ready = next((condition for condition in node.status.conditions if condition.type == "Ready"), None)
    if ready is not None and ready.status != "True" and SHUTTING_DOWN in ready.message:
        return SHUTTING_DOWN
    if any(condition.type == NETWORK and condition.status == "True" for condition in node.status.conditions):
        return f"condition {NETWORK}"
    return ""


def lost(node: Node) -> bool:
    """Whether kubelet there has not been heard of for long (condition Ready is Unknown)."""
    return any(condition.type == "Ready" and condition.status == "Unknown" for condition in node.status.conditions)
