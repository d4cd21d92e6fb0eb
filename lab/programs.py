"""Roost in the lab: what it needs from the cluster, its identities, and its programs as plain processes."""

import sys
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from secrets import token_bytes

from lab import manifests
from lab.agent import Agent
from lab.api import ApiError, Json
from lab.probe import python_environment
from lab.rack import Rack
from lab.run import Process, wait_for

NAMESPACE = "roost-system"
CONTROLLER_PORTS = (10258, *range(10300, 10400))  # the first is the default
SECOND_PORT = 10299  # of an agent beside the first
KEY = "roost-segment-key"  # the Secret that signs what agents say to each other
KEY_BYTES = 32
SEGMENT = "/apis/roost.dev/v1alpha1/segments/10.60.0.0-24"  # the lab's data segment
SEGMENTS = SEGMENT.rpartition("/")[0]
AGENT, CONTROLLER = "roost-nodeagent", "roost-cloudprovider"  # their service accounts, also in the audit log

# An admission policy that refuses one ConfigMap name. Made after the real ones: when it refuses, they do.
_MARKER = "lab-policies-in-effect"
_MARKER_POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": _MARKER},
    "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
            ]
        },
        "validations": [{"expression": f"object.metadata.name != '{_MARKER}'", "message": _MARKER}],
    },
}
_MARKER_BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": _MARKER},
    "spec": {"policyName": _MARKER, "validationActions": ["Deny"]},
}
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Programs(Rack):
    """A cluster that Roost can be installed in and started on."""

    def start(self) -> None:
        self.controllers: dict[str, Process] = {}
        self.agents: dict[str, Agent] = {}
        self._controller_ports: dict[str, int] = {}
        self._agent_settings: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        super().start()

    def close(self) -> None:
        for process in self.controllers.values():
            process.sigkill()
        super().close()

    def install(self, path: Path | None = None, *, values: Sequence[str] = ()) -> None:
        """Apply Roost's manifests (None: the chart, rendered) and wait until all of it is in effect.

        *values*: of the chart, as helm's --set takes them: ``bgp.passwordSecrets={tor}``.
        """
        if path is None:
            path = manifests.render(values, self.work / "roost.yaml") if values else manifests.render()
        self.kubectl("apply", "--server-side", "-f", str(path))
        wait_for("Roost's resource types are served", self._types_established, 20, every=0.05)
        self._make_key()
        self.wait_for_policies()

    def _make_key(self) -> None:
        """Make the Secret, unless the manifests had it."""
        secrets = f"/api/v1/namespaces/{NAMESPACE}/secrets"
        if self.admin.find(f"{secrets}/{KEY}") is None:
            data = {"key": b64encode(token_bytes(KEY_BYTES)).decode()}
            self.api("POST", secrets, {"metadata": {"name": KEY}, "data": data})

    def _types_established(self) -> bool:
        kinds = [crd for crd in self.admin.items(_CRDS) if crd["spec"]["group"] == "roost.dev"]
        return bool(kinds) and all(
            any(
                c["type"] == "Established" and c["status"] == "True"
                for c in crd.get("status", {}).get("conditions", [])
            )
            for crd in kinds
        )

    def wait_for_policies(self) -> None:
        """Wait until all admission policies made so far are in effect (the API server takes 1 to 5 s)."""
        for kind, thing in (
            ("validatingadmissionpolicies", _MARKER_POLICY),
            ("validatingadmissionpolicybindings", _MARKER_BINDING),
        ):
            self.api("POST", f"{_ADMISSION}/{kind}", thing)
        wait_for("the admission policies are in effect", self._refused, 20, every=0.05)
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            self.api("DELETE", f"{_ADMISSION}/{kind}/{_MARKER}")

    def _refused(self) -> bool:
        marker = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _MARKER}}
        try:
            self.api("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", marker)
        except ApiError as error:
            if _MARKER not in error.message:
                raise
            return True
        return False

    # -- identities ---------------------------------------------------------------------------------------------------

    def token(self, account: str, *, node: str = "", namespace: str = NAMESPACE) -> str:
        """A token of a service account, bound to *node* if one is named, as a pod there would get it."""
        spec: Json = {"expirationSeconds": 24 * 3600}
        if node:
            spec["boundObjectRef"] = {"kind": "Node", "apiVersion": "v1", "name": node}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.api("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
        return str(answer["status"]["token"])

    def agent_kubeconfig(self, node: str) -> Path:
        """The kubeconfig of the agent on *node*: a token bound to the node, with the rights that are shipped."""
        return self.control.pki.kubeconfig(f"{AGENT}-{node}", {"token": self.token(AGENT, node=node)})

    def controller_kubeconfig(self) -> Path:
        return self.control.pki.kubeconfig(CONTROLLER, {"token": self.token(CONTROLLER)})

    # -- programs -----------------------------------------------------------------------------------------------------

    def start_agent(self, node: str, *flags: str, interface: str = "data", env: dict[str, str] | None = None) -> Agent:
        """Start ``python -m nodeagent`` on *node*, in its namespaces, after a former one ended."""
        self._agent_settings[node] = (("--interface", interface, *flags), env or {})
        return self._start_agent(node)

    def _start_agent(self, node: str) -> Agent:
        flags, env = self._agent_settings[node]
        former = self.agents.get(node)
        if former is not None and former.running:
            raise ValueError(f"the agent on {node} runs already")
        self.agents[node] = self.nodes[node].start_agent(
            *self._agent_command(node, *flags), env=python_environment() | env
        )
        return self.agents[node]

    def _agent_command(self, node: str, *flags: str) -> list[str]:
        config = str(self.agent_kubeconfig(node))
        return [sys.executable, "-m", "nodeagent", "--kubeconfig", config, "--node-name", node, *flags]

    def second_agent(self, node: str) -> Process:
        """Start another agent on *node*, whatever runs there: as a Pod that was deleted by force, and still runs."""
        flags, env = self._agent_settings[node]
        flags = (*flags, f"--health-port={SECOND_PORT}")
        return self.nodes[node].start("second", *self._agent_command(node, *flags), env=python_environment() | env)

    def start_controller(self, name: str = "a", *flags: str, env: dict[str, str] | None = None) -> Process:
        """Start ``python -m cloudprovider`` beside the control plane; *name* tells several of them apart.

        They share a namespace there, so each but the first gets a health port of its own (`health_port`).
        """
        if name not in self._controller_ports:
            self._controller_ports[name] = CONTROLLER_PORTS[len(self._controller_ports)]
        port = f"--health-port={self._controller_ports[name]}"
        command = [
            *("ip", "netns", "exec", "control"),
            *(sys.executable, "-m", "cloudprovider", "--kubeconfig", str(self.controller_kubeconfig())),
            *(port, *flags),
        ]
        log = self.work / f"cloudprovider-{name}.log"
        self.controllers[name] = Process(f"cloudprovider-{name}", command, log, python_environment() | (env or {}))
        return self.controllers[name]

    def health_port(self, name: str = "a") -> int:
        """Where the controller *name* answers /metrics, /livez and /readyz, in namespace control."""
        return self._controller_ports[name]

    # -- the table ----------------------------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """What feeds the permits here, once all is calm: a lone node has no witness."""
        return "Witnessed" if self.witnesses and len(self.nodes) > 1 else "Leased"

    def seats(self) -> list[Json]:
        """The live seats of the data segment's table; none before there is one."""
        table = self.admin.find(SEGMENT) or {}
        return [seat for seat in table.get("status", {}).get("seats", []) if seat["state"] == "Live"]

    def all_in_mode(self) -> bool:
        """Whether every node is seated, and fed as it should be."""
        seats = self.seats()
        return len(seats) == len(self.nodes) and {seat["mode"] for seat in seats} == {self.mode}

    def wait_for_mode(self, seconds: float = 30) -> None:
        """Wait until every seat is Witnessed (or Leased, in a lab without witnesses)."""
        what = f"all {len(self.nodes)} seats are {self.mode}"
        wait_for(what, self.all_in_mode, seconds, alive=self.agents.values(), every=0.1)

    def profile(self, name: str) -> None:
        """Choose the timers of the data segment: Default, Fast or Relaxed; made if no agent has yet."""
        spec = {"profile": name}
        if self.admin.find(SEGMENT) is None:
            body = {"apiVersion": "roost.dev/v1alpha1", "kind": "Segment", "spec": spec}
            self.api("POST", SEGMENTS, body | {"metadata": {"name": SEGMENT.rpartition("/")[2]}})
        else:
            self.api("PATCH", SEGMENT, {"spec": spec})
