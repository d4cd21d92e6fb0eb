"""`roost status` as people run it: with the role that the chart makes for them, and without."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cluster import Lab

ROOST = "/apis/roost.dev/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
WHEN = "2026-01-01T00:00:00Z"


def roost(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubectl_roost", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def kubeconfig(lab: Lab, person: str, *roles: str) -> Path:
    """Of a service account with these cluster roles."""
    lab.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": person, "namespace": "default"}})
    for role in roles:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{person}-{role}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": person, "namespace": "default"}],
        }
        lab.apply(binding)
    return lab.control.pki.kubeconfig(person, {"token": lab.token(person, namespace="default")})


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Lab:
    """A pool that was read, a VIP that is announced, and a Service that waits."""
    ready = {"type": "Ready", "status": "True", "message": "", "lastTransitionTime": WHEN}
    of = {"apiVersion": "roost.dev/v1alpha1"}
    lab.apply(of | {"kind": "AddressPool", "metadata": {"name": "prod"}, "spec": {"addresses": ["192.0.2.0/28"]}})
    lab.apply(of | {"kind": "VirtualIP", "metadata": {"name": "192.0.2.7"}, "spec": {"address": "192.0.2.7"}})
    said = {"ranges": "192.0.2.0/28", "used": "1", "free": "13", "conditions": [ready | {"reason": "Parsed"}]}
    lab.api("PATCH", f"{ROOST}/addresspools/prod/status", {"status": said})
    held = {"holder": "n1", "epoch": 3, "services": "shop/web", "conditions": [ready | {"reason": "Announced"}]}
    lab.api("PATCH", f"{ROOST}/virtualips/192.0.2.7/status", {"status": held})
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    lab.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "waits"}, "spec": spec})
    return lab


def test_the_viewers_role_is_all_that_status_needs(cluster: Lab) -> None:
    done = roost("status", "--kubeconfig", str(kubeconfig(cluster, "viewer", "roost-view")), "--output", "json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found["unread"] == {}
    assert [(vip["address"], vip["holder"], vip["reason"]) for vip in found["vips"]] == [
        ("192.0.2.7", "n1", "Announced")
    ]
    assert [(pool["name"], pool["free"]) for pool in found["pools"]] == [("prod", "13")]
    assert [waiting["service"] for waiting in found["waiting"]] == ["default/waits"]
    assert done.returncode == 1


def test_the_viewers_role_is_all_that_segment_needs(cluster: Lab) -> None:
    seat = {"node": "n1", "tenure": 4, "version": 1, "bootID": "b", "mode": "Witnessed", "state": "Live"}
    groups = [{"name": "b-1-7", "tenure": 4, "epoch": 3}]
    table = {"revision": 1, "nextTenure": 5, "seats": [seat], "groups": groups}
    cluster.apply({"apiVersion": "roost.dev/v1alpha1", "kind": "Segment", "metadata": {"name": "rack-1"}})
    cluster.api("PATCH", f"{ROOST}/segments/rack-1/status", {"status": table})
    config = str(kubeconfig(cluster, "onlooker", "roost-view"))
    done = roost("segment", "rack-1", "--kubeconfig", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Segment rack-1: profile Default, when cut off Hold, revision 1\n")
    done = roost("segment", "--group", "b-1-7", "-o", "json", "--kubeconfig", config)
    assert [(one["holder"], one["epoch"]) for one in json.loads(done.stdout)] == [("n1", 3)]


def test_who_has_no_rights_is_told_so(cluster: Lab) -> None:
    done = roost("status", "--kubeconfig", str(kubeconfig(cluster, "nobody")))
    assert done.returncode == 1
    assert "VirtualIP could not be read, see below" in done.stdout
    assert "VirtualIP: list virtualips.roost.dev: forbidden" in done.stdout


def test_a_server_that_is_not_there_is_one_line(cluster: Lab) -> None:
    config = json.loads(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://10.50.0.250:6443"
    elsewhere = cluster.kubeconfig.with_name("elsewhere.kubeconfig")
    elsewhere.write_text(json.dumps(config))
    done = roost("status", "--kubeconfig", str(elsewhere), "--timeout", "0.5")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
