"""The chart rendered by the real helm, and what the real API server makes of it."""

import base64
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import build
from lab.api import Api, ApiError
from lab.cluster import Lab
from lab.manifests import CHART
from tests.lab.policy_calls import eventually

Object = dict[str, Any]
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
KEY = "/api/v1/namespaces/roost-system/secrets/roost-segment-key"
CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "FlowSchema",
    "Namespace",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def helm(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(build.ensure() / "helm"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env or dict(os.environ))


def rendered(*values: str) -> list[Object]:
    done = helm("template", "roost", str(CHART), *(word for value in values for word in ("--set", value)))
    assert done.returncode == 0, done.stderr
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing]


def hooks(things: Iterable[Object]) -> list[Object]:
    """What helm makes and unmakes on the way out only."""
    return [thing for thing in things if "helm.sh/hook" in thing["metadata"].get("annotations", {})]


def of(kind: str, things: Iterable[Object]) -> list[Object]:
    return [thing for thing in things if thing["kind"] == kind]


def one(kind: str, things: Iterable[Object]) -> Object:
    (found,) = of(kind, things)
    return found


def test_every_object_is_cluster_scoped_or_says_its_namespace() -> None:
    things = rendered()
    lost = [t["metadata"]["name"] for t in things if ("namespace" in t["metadata"]) is (t["kind"] in CLUSTER_SCOPED)]
    assert lost == []
    made = {thing["metadata"]["name"] for thing in of("Namespace", things)}
    assert {thing["metadata"]["namespace"] for thing in things if "namespace" in thing["metadata"]} == made


def test_no_object_is_there_twice() -> None:
    names = Counter((t["kind"], t["metadata"].get("namespace"), t["metadata"]["name"]) for t in rendered())
    assert [name for name, times in names.items() if times > 1] == []


def test_namespaces_come_before_what_is_in_them() -> None:
    kinds = [thing["kind"] for thing in rendered()]
    assert kinds[:2] == ["Namespace", "Namespace"]
    assert kinds.count("Namespace") == 2


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet"])
def test_a_selector_matches_its_pods_and_survives_an_upgrade(kind: str) -> None:
    thing = one(kind, rendered())
    selector = thing["spec"]["selector"]["matchLabels"]
    assert selector.items() <= thing["spec"]["template"]["metadata"]["labels"].items()
    assert set(selector) == {f"app.kubernetes.io/{word}" for word in ("name", "instance", "component")}


def test_the_two_selectors_do_not_match_each_others_pods() -> None:
    things = rendered()
    agent, controller = (one(kind, things)["spec"] for kind in ("DaemonSet", "Deployment"))
    assert not agent["selector"]["matchLabels"].items() <= controller["template"]["metadata"]["labels"].items()
    assert not controller["selector"]["matchLabels"].items() <= agent["template"]["metadata"]["labels"].items()


def test_every_account_bound_or_used_is_made() -> None:
    things = rendered()
    made = {thing["metadata"]["name"] for thing in of("ServiceAccount", things)}
    bound = {
        s["name"] for kind in ("RoleBinding", "ClusterRoleBinding") for t in of(kind, things) for s in t["subjects"]
    }
    kinds = ("Deployment", "DaemonSet", "Job")
    used = {one(kind, things)["spec"]["template"]["spec"]["serviceAccountName"] for kind in kinds}
    assert bound == used == made


def test_every_binding_has_its_role() -> None:
    things = rendered()
    roles = {
        (t["kind"], t["metadata"].get("namespace"), t["metadata"]["name"]) for t in things if t["kind"].endswith("Role")
    }
    for binding in (t for t in things if t["kind"].endswith("RoleBinding")):
        ref = binding["roleRef"]
        where = binding["metadata"].get("namespace") if ref["kind"] == "Role" else None
        assert (ref["kind"], where, ref["name"]) in roles


def test_every_policy_is_bound_and_denies() -> None:
    things = rendered()
    policies = {thing["metadata"]["name"] for thing in of("ValidatingAdmissionPolicy", things)}
    bindings = of("ValidatingAdmissionPolicyBinding", things)
    assert {binding["spec"]["policyName"] for binding in bindings} == policies
    assert len(policies) == 5
    assert all("Deny" in binding["spec"]["validationActions"] for binding in bindings)
    assert all(policy["spec"]["failurePolicy"] == "Fail" for policy in of("ValidatingAdmissionPolicy", things))


@pytest.mark.parametrize(
    ("kind", "added"),
    [
        pytest.param("DaemonSet", ["NET_ADMIN", "NET_RAW", "SYS_NICE", "IPC_LOCK"], id="agent"),
        pytest.param("Deployment", [], id="controller"),
        pytest.param("Job", [], id="uninstall"),
    ],
)
def test_a_pod_has_no_right_that_it_does_not_need(kind: str, added: list[str]) -> None:
    spec = one(kind, rendered())["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    security = container["securityContext"]
    assert security["capabilities"]["drop"] == ["ALL"]
    assert security["capabilities"].get("add", []) == added
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert "privileged" not in security
    assert spec.get("hostNetwork", False) is (kind == "DaemonSet")
    assert "hostPID" not in spec


@pytest.mark.parametrize(
    ("kind", "host"),
    [
        pytest.param("Deployment", {}, id="the controller at its Pod's address"),
        pytest.param("DaemonSet", {"host": "127.0.0.1"}, id="the agent at the node's own, where alone it listens"),
    ],
)
def test_probes_and_flags_name_the_port_that_is_set(kind: str, host: Object) -> None:
    things = rendered("nodeagent.healthPort=12345", "cloudprovider.healthPort=12345")
    (container,) = one(kind, things)["spec"]["template"]["spec"]["containers"]
    assert "--health-port=12345" in container["args"]
    assert container["ports"][0] == {"name": "health", "containerPort": 12345, "protocol": "TCP"}
    probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness")}
    asked = {"port": "health"} | host
    assert probes == {"liveness": {"path": "/livez"} | asked, "readiness": {"path": "/readyz"} | asked}


def test_the_agent_runs_on_every_node_and_goes_last() -> None:
    daemonset = one("DaemonSet", rendered())["spec"]
    spec = daemonset["template"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["terminationGracePeriodSeconds"] == 20
    assert daemonset["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}
    annotations = daemonset["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/enable-ds-eviction"] == "true"


def test_the_agent_learns_its_node_and_its_interface() -> None:
    (container,) = one("DaemonSet", rendered("nodeagent.interface=bond0.20"))["spec"]["template"]["spec"]["containers"]
    assert {"--node-name=$(NODE_NAME)", "--interface=bond0.20"} <= set(container["args"])
    assert {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}} in container["env"]


@pytest.mark.parametrize(("kind", "program"), [("DaemonSet", "nodeagent"), ("Deployment", "cloudprovider")])
def test_settings_become_the_file_that_the_program_reads(kind: str, program: str) -> None:
    things = rendered(f"{program}.settings.logLevel=debug", f"{program}.settings.kube.timeout=3")
    settings = one("ConfigMap", things)
    pod = one(kind, things)["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert yaml.safe_load(settings["data"]["settings.yaml"]) == {"logLevel": "debug", "kube": {"timeout": 3}}
    assert {"name": "settings", "configMap": {"name": settings["metadata"]["name"]}} in pod["spec"]["volumes"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "settings"]
    assert f"--config={mount['mountPath']}/settings.yaml" in container["args"]
    other = one(kind, rendered(f"{program}.settings.logLevel=info"))["spec"]["template"]
    assert (
        other["metadata"]["annotations"]["roost.dev/settings"] != pod["metadata"]["annotations"]["roost.dev/settings"]
    )


def test_without_settings_there_is_no_file() -> None:
    things = rendered()
    assert of("ConfigMap", things) == []
    assert not any("--config" in str(one(kind, things)) for kind in ("DaemonSet", "Deployment"))


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), "localhost/roost-lb:0.1.0", id="the chart's version"),
        pytest.param(("image.tag=edge",), "localhost/roost-lb:edge", id="a tag"),
        pytest.param(
            ("image.tag=edge", f"image.digest=sha256:{'a' * 64}"),
            f"localhost/roost-lb@sha256:{'a' * 64}",
            id="a digest",
        ),
        pytest.param(("image.repository=r.example:5000/x/y",), "r.example:5000/x/y:0.1.0", id="another registry"),
    ],
)
def test_both_programs_run_the_same_image(values: tuple[str, ...], image: str) -> None:
    things = rendered(*values)
    pods = [one(kind, things)["spec"]["template"]["spec"] for kind in ("Deployment", "DaemonSet", "Job")]
    assert {pod["containers"][0]["image"] for pod in pods} == {image}


@pytest.mark.parametrize(
    ("value", "gone"),
    [
        ("namespaces.create=false", {"Namespace"}),
        ("crds.install=false", {"CustomResourceDefinition"}),
        ("policies.enabled=false", {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}),
        ("segmentKey.create=false", {"Secret"}),
        ("uninstall.cleanUp=false", {"Job"}),
    ],
)
def test_a_part_that_is_switched_off_is_not_there(value: str, gone: set[str]) -> None:
    everything = {thing["kind"] for thing in rendered()}
    assert everything - {thing["kind"] for thing in rendered(value)} == gone


@pytest.mark.parametrize(
    ("values", "port"), [pytest.param((), 10262, id="as it comes"), (("nodeagent.settings.pulsePort=4000",), 4000)]
)
def test_the_port_of_hellos_is_shown(values: tuple[str, ...], port: int) -> None:
    (container,) = one("DaemonSet", rendered(*values))["spec"]["template"]["spec"]["containers"]
    assert {"name": "pulse", "containerPort": port, "protocol": "UDP"} in container["ports"]


def agents_pod(*values: str) -> Object:
    return dict(one("DaemonSet", rendered(*values))["spec"]["template"]["spec"])


def test_gobgpd_runs_beside_the_agent_and_shares_a_directory_with_it_alone() -> None:
    spec = agents_pod("bgp.enabled=true")
    agent, gobgpd = spec["containers"]
    assert (gobgpd["command"], gobgpd["image"]) == (["roost-gobgpd"], agent["image"])
    shared = {"name": "run", "mountPath": "/run/roost"}
    assert shared in agent["volumeMounts"]
    assert gobgpd["volumeMounts"] == [shared]
    assert [volume["name"] for volume in spec["volumes"] if "emptyDir" in volume] == ["run"]
    assert gobgpd["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert gobgpd["securityContext"]["readOnlyRootFilesystem"] is True


def test_gobgpd_may_have_an_image_of_its_own() -> None:
    _, gobgpd = agents_pod("bgp.enabled=true", "bgp.image=r.example:5000/gobgpd:3.36")["containers"]
    assert gobgpd["image"] == "r.example:5000/gobgpd:3.36"


def test_without_bgp_there_is_no_gobgpd() -> None:
    assert len(agents_pod()["containers"]) == 1
    assert not any("emptyDir" in volume for volume in agents_pod()["volumes"])


def test_agents_read_the_passwords_that_are_named_and_no_others() -> None:
    things = rendered("bgp.passwordSecrets={tor-a,tor-b}")
    (role,) = [thing for thing in of("Role", things) if thing["metadata"]["name"] == "roost-nodeagent-passwords"]
    assert role["metadata"]["namespace"] == "roost-system"
    (rule,) = role["rules"]
    assert (rule["resources"], rule["resourceNames"]) == (["secrets"], ["tor-a", "tor-b"])
    assert "roost-nodeagent-passwords" not in str(rendered())


def test_the_key_of_hellos_is_random_and_long_enough() -> None:
    keys = [base64.b64decode(one("Secret", rendered())["data"]["key"]) for _ in range(2)]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_what_uninstalls_is_not_there_before() -> None:
    """Rights included; and all of it is in order: what a Job needs is made before it."""
    things = hooks(rendered())
    assert {thing["metadata"]["name"] for thing in things} == {"roost-uninstall"}
    assert {thing["metadata"]["annotations"]["helm.sh/hook"] for thing in things} == {"pre-delete"}
    weights = {thing["kind"]: int(thing["metadata"]["annotations"]["helm.sh/hook-weight"]) for thing in things}
    assert weights["ServiceAccount"] == weights["ClusterRole"] == weights["Role"] < weights["RoleBinding"]
    assert weights["ClusterRoleBinding"] == weights["RoleBinding"] < weights["Job"]
    assert "roost-uninstall" not in str([thing for thing in rendered() if thing not in things])


def test_roles_of_people_can_be_left_out() -> None:
    names = [thing["metadata"]["name"] for thing in of("ClusterRole", rendered("people.roles=false"))]
    assert not {"roost-view", "roost-admin"} & set(names)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        pytest.param("image.tga=edge", "additional properties 'tga' not allowed", id="a key misspelt"),
        pytest.param("nodeagnet.interface=eth0", "additional properties 'nodeagnet' not allowed", id="a part misspelt"),
        pytest.param("nodeagent.interface=eth0/1", "does not match pattern", id="a name that no interface can have"),
        pytest.param("nodeagent.interface=averylonginterface", "maxLength", id="a name too long for an interface"),
        pytest.param("nodeagent.healthAddress=10.0.0.1", "value must be one of", id="where the kubelet does not ask"),
        pytest.param("nodeagent.healthPort=80", "minimum", id="a port that needs another right"),
        pytest.param("nodeagent.healthPort=http", "want integer", id="a port by name"),
        pytest.param("cloudprovider.replicas=-1", "minimum", id="fewer than no replicas"),
        pytest.param("image.pullPolicy=Sometimes", "value must be one of", id="a pull policy that does not exist"),
        pytest.param("image.digest=sha256:12", "does not match pattern", id="a digest cut short"),
        pytest.param("image.repository=", "does not match pattern", id="no image"),
        pytest.param("policies.enabled=yes-please", "want boolean", id="a switch that is no switch"),
        pytest.param(
            "nodeagent.settings.healthPort=1", "invalid propertyName", id="a setting that has a value of its own"
        ),
        pytest.param("nodeagent.settings.log-level=debug", "invalid propertyName", id="a setting not in camel case"),
        pytest.param("nodeagent.resources.limit.memory=1Gi", "not allowed", id="resources misspelt"),
        pytest.param("bgp.passwordSecrets={*}", "does not match pattern", id="every Secret there is"),
        pytest.param("bgp.image=Gobgpd", "does not match pattern", id="an image that cannot be"),
    ],
)
def test_the_schema_refuses_rubbish(value: str, says: str) -> None:
    done = helm("template", "roost", str(CHART), "--set", value)
    assert done.returncode != 0
    assert says in done.stderr


def test_a_kubernetes_too_old_is_refused() -> None:
    done = helm("template", "roost", str(CHART), "--kube-version=1.31.0")
    assert "incompatible with Kubernetes" in done.stderr


def test_the_chart_has_no_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_helm_upgrades_and_what_was_claimed_outlives_an_uninstall(lab: Lab) -> None:
    """The lab has applied the chart already, as `kubectl apply` does; helm takes it over."""
    env = lab.environment()
    record = ("--namespace", "kube-system")
    key = lab.api("GET", KEY)["data"]["key"]
    taken = helm("install", "roost", str(CHART), *record, "--take-ownership", "--force-conflicts", env=env)
    assert taken.returncode == 0, taken.stderr
    assert lab.api("GET", KEY)["data"]["key"] == key, "agents with different keys do not hear each other"
    pool = {"apiVersion": "roost.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "kept"}}
    lab.apply({**pool, "spec": {"addresses": ["192.0.2.0/28"]}})
    upgraded = helm(
        "upgrade", "roost", str(CHART), *record, "--set", "cloudprovider.replicas=3", "--force-conflicts", env=env
    )
    assert upgraded.returncode == 0, upgraded.stderr
    assert (
        lab.api("GET", "/apis/apps/v1/namespaces/roost-system/deployments/roost-cloudprovider")["spec"]["replicas"] == 3
    )
    assert lab.api("GET", KEY)["data"]["key"] == key
    gone = helm("uninstall", "roost", *record, "--wait", "--no-hooks", env=env)  # here is no node to run the Job
    assert gone.returncode == 0, gone.stderr
    assert lab.api("GET", "/apis/roost.dev/v1alpha1/addresspools/kept")["spec"]["addresses"] == ["192.0.2.0/28"]
    again = helm("install", "roost", str(CHART), *record, env=env)
    assert again.returncode == 0, again.stderr


ROOST = "/apis/roost.dev/v1alpha1"
SEATED = {
    "node": "gone",
    "tenure": 1,
    "version": 1,
    "bootID": "b",
    "mode": "Leased",
    "state": "Live",
}


def test_the_hook_has_the_rights_to_empty_every_node_and_no_others(lab: Lab) -> None:
    """As the Job runs it, with the Job's account; of the two nodes with an agent one knows, the other is dead."""
    for thing in hooks(rendered()):
        if thing["kind"] != "Job":
            lab.apply(thing)
    of_roost = {"apiVersion": "roost.dev/v1alpha1"}
    for node in ("knows", "gone"):
        lab.apply(of_roost | {"kind": "NodeAgent", "metadata": {"name": node}})
    lab.apply(of_roost | {"kind": "Segment", "metadata": {"name": "uninstall"}})
    seats = [SEATED, SEATED | {"node": "knows", "tenure": 2}]
    table = {"revision": 1, "nextTenure": 3, "seats": seats}
    lab.api("PATCH", f"{ROOST}/segments/uninstall/status", {"status": table})
    draining = {
        "type": "Ready",
        "status": "False",
        "reason": "Draining",
        "message": "spec.maintenance is Exclude",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    lab.api("PATCH", f"{ROOST}/nodeagents/knows/status", {"status": {"conditions": [draining]}})
    token = lab.token("roost-uninstall")
    config = lab.control.pki.kubeconfig("uninstall", {"token": token})
    done = roost("uninstall", "--patience", "1", "--kubeconfig", str(config))
    assert done.stdout.splitlines()[-2:] == ["the agents are told to stop", "still seated: gone, knows"], done.stderr
    assert done.returncode == 1
    left = {thing["metadata"]["name"] for thing in lab.admin.items(f"{ROOST}/nodeagents")}
    assert not {"knows", "gone"} & left
    assert roost("status", "--kubeconfig", str(config)).stdout.count("could not be read") > 0


def roost(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_roost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])


def test_the_server_shows_agents_the_passwords_that_are_named_and_no_others(lab: Lab) -> None:
    secrets = "/api/v1/namespaces/roost-system/secrets"
    for name in ("tor-a", "tor-b"):
        meta = {"name": name, "namespace": "roost-system"}
        lab.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"password": "x"}})
    for thing in rendered("bgp.passwordSecrets={tor-a}"):
        if thing["metadata"]["name"] == "roost-nodeagent-passwords":
            lab.apply(thing)
    with closing(lab.client_api(lab.token("roost-nodeagent"))) as agent:
        eventually("the role is in force", lambda: may_list(agent, f"{secrets}?fieldSelector=metadata.name%3Dtor-a"))
        for path in (f"{secrets}/tor-b", f"{secrets}?fieldSelector=metadata.name%3Dtor-b", secrets):
            with pytest.raises(ApiError, match="forbidden"):
                agent.request("GET", path)


def may_list(agent: Api, path: str) -> bool:
    try:
        return agent.items(path) != []
    except ApiError:
        return False


def test_a_table_and_leases_do_not_queue_behind_pods(lab: Lab) -> None:
    """Where the server does not have the priority level that a schema names, it says that the schema dangles."""
    eventually(
        "the server has the schema's priority level",
        lambda: (
            [
                one["status"]
                for one in lab.api("GET", f"{FLOWS}/roost").get("status", {}).get("conditions", [])
                if one["type"] == "Dangling"
            ]
            == ["False"]
        ),
    )


SEAT = {"node": "n1", "tenure": 4, "version": 1, "bootID": "b", "mode": "Witnessed", "state": "Live"}
SAID = {
    "segments": [{"name": "columns", "interface": "eth0", "mode": "Witnessed", "tenure": 4, "fence": "weak"}],
    "vips": {"summary": "3/4", "conflicts": [{"vip": "192.0.2.7", "mac": "3c:ec:ef:12:34:56"}], "probed": 2},
}


def test_what_kubectl_shows(lab: Lab) -> None:
    of_roost = {"apiVersion": "roost.dev/v1alpha1"}
    lab.apply(of_roost | {"kind": "NodeAgent", "metadata": {"name": "columns"}})
    lab.apply(of_roost | {"kind": "Segment", "metadata": {"name": "columns"}, "spec": {"profile": "Fast"}})
    summary = {"live": "1/1", "groups": "0/0", "modes": "1 witnessed"}
    table = {"revision": 1, "nextTenure": 5, "seats": [SEAT], "summary": summary}
    lab.api("PATCH", f"{ROOST}/segments/columns/status", {"status": table})
    lab.api("PATCH", f"{ROOST}/nodeagents/columns/status", {"status": SAID})
    assert shown(lab, "segments", "LIVE", "GROUPS", "MODES", "REVISION", "PROFILE") == [
        "1/1",
        "0/0",
        "1 witnessed",
        "1",
        "Fast",
    ]
    assert shown(lab, "nodeagents", "SEGMENT", "MODE", "VIPS", "FENCE") == ["columns", "Witnessed", "3/4", "weak"]


def shown(lab: Lab, kind: str, *columns: str) -> list[str]:
    """The cells below these heads in `kubectl get KIND columns -o wide`."""
    head, row = lab.kubectl("get", kind, "columns", "-o", "wide").splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", head)]
    ends = [*starts[1:], len(row)]
    cells = {head[a:b].strip(): row[a:b].strip() for a, b in zip(starts, ends, strict=True)}
    return [cells[column] for column in columns]


def test_a_second_apply_changes_nothing(lab: Lab) -> None:
    done = helm("template", "roost", str(CHART), "--no-hooks")
    lab.apply(done.stdout)
    before = versions(lab)
    lab.apply(done.stdout)
    assert versions(lab) == before


def versions(lab: Lab) -> dict[str, int]:
    """Generations of what has one, which a write that changes the spec raises."""
    paths = (
        "/apis/apps/v1/namespaces/roost-system/daemonsets",
        "/apis/apps/v1/namespaces/roost-system/deployments",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    )
    return {t["metadata"]["name"]: t["metadata"]["generation"] for path in paths for t in lab.admin.items(path)}
