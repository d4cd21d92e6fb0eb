"""The lab itself: a cluster comes up, its faults are faults, and its probes see them."""

import sys
import time

import pytest

from lab import build
from lab.claims import Kind
from lab.cluster import Lab
from lab.programs import AGENT, NAMESPACE
from lab.run import LabError, Process, wait_for

CLUSTER_IP, PORT = "10.96.7.7", 80
VIP4 = "10.60.0.240"
DATA_OF_N1 = "10.60.0.11"

# Run on a node: say that VIP4 is here, as a node does that claims what it should not.
ANNOUNCE = """
import socket, sys
from lab.ask import arp_question
from ipaddress import ip_address
mac = bytes.fromhex(open("/sys/class/net/data/address").read().strip().replace(":", ""))
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind(("data", 0))
sender.send(arp_question(mac, ip_address(sys.argv[1]), ip_address(sys.argv[1])))
"""

REACHES_API = """
import socket
try: socket.create_connection(("10.50.0.10", 6443), 0.5).close(); print("yes")
except OSError: print("no")
"""


def service(name: str, address: str) -> dict[str, object]:
    spec = {"clusterIP": address, "selector": {"app": name}, "ports": [{"port": PORT, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def python(lab: Lab, where: str, program: str, *arguments: str) -> str:
    return lab.run_in(where, sys.executable, "-c", program, *arguments).strip()


def ready(lab: Lab, node: str) -> bool:
    conditions = lab.api("GET", f"/api/v1/nodes/{node}")["status"]["conditions"]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def ready_endpoints(lab: Lab, name: str) -> set[str]:
    """The pods that the real controllers call ready."""
    slices = lab.admin.items(
        f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name={name}"
    )
    endpoints = [endpoint for one in slices for endpoint in one["endpoints"] or []]
    return {endpoint["targetRef"]["name"] for endpoint in endpoints if endpoint["conditions"]["ready"]}


@pytest.fixture(scope="module")
def web(lab: Lab) -> Lab:
    """A Service with a backend on each node, which the client reaches through n1."""
    for number, node in enumerate(lab.nodes, 1):
        lab.add_backend(f"web-{number}", node)
    lab.apply(service("web", CLUSTER_IP))
    lab.run_in("client", "ip", "route", "add", "10.96.0.0/16", "via", DATA_OF_N1)
    with lab.client(CLUSTER_IP) as client:
        client.wait_for_success(count=20)
    return lab


def test_every_node_is_ready_and_kubectl_says_so(lab: Lab) -> None:
    assert lab.kubectl("get", "nodes", "--no-headers").count(" Ready ") == len(lab.nodes)


def test_the_server_calls_itself_by_the_version_that_was_built(lab: Lab) -> None:
    assert lab.api("GET", "/version")["gitVersion"] == build.KUBERNETES


def test_the_versions_in_flags_and_in_the_go_module_agree() -> None:
    assert f"k8s.io/kubernetes {build.KUBERNETES} " in (build.GO / "kube/go.mod").read_text()


@pytest.mark.parametrize("where", ["client", "n1", "n2", "n3"])
def test_a_cluster_ip_answers_from_all_backends(web: Lab, where: str) -> None:
    seen = set[str]()

    def all_seen() -> bool:
        seen.add(web.fetch(where, f"http://{CLUSTER_IP}").split()[0])
        return seen == {"web-1", "web-2", "web-3"}

    wait_for(f"all backends answer {where}", all_seen)


def test_backends_come_and_go(lab: Lab) -> None:
    lab.apply(service("late", "10.96.7.8"))
    lab.add_backend("late-1", "n2", port=8080)
    wait_for("the backend is an endpoint", lambda: ready_endpoints(lab, "late") == {"late-1"})
    lab.remove_backend("late-1")
    wait_for("no endpoint is left", lambda: not ready_endpoints(lab, "late"))
    lab.add_backend("late-1", "n2", port=8080)
    wait_for("it is an endpoint again", lambda: ready_endpoints(lab, "late") == {"late-1"})
    lab.remove_backend("late-1")


def test_a_client_that_hits_a_dead_link_reports_the_gap(web: Lab) -> None:
    with web.client(CLUSTER_IP) as client:
        client.wait_for_success(count=20)
        web.link_down("n1")
        down = time.time()
        wait_for("attempts fail", lambda: len(client.report().failures) > 20)
        web.link_up("n1")
        up = time.time()
        client.wait_for_success(count=20)
        report = client.report()
    assert report.gap(until=down) < up - down <= report.gap() + 0.1
    assert {why for _, why in report.failures} <= {"no answer", "No route to host"}


@pytest.mark.parametrize("side", ["switch", "node"])
def test_a_link_goes_down_and_up_on_either_side(lab: Lab, side: str) -> None:
    six = str(lab.nodes["n2"].leg("data").address6)
    with lab.ask(six) as questions:
        wait_for("the node answers", lambda: questions.report(six).answers)
        lab.link_down("n2", side=side)
        down = time.time()
        wait_for("the node is silent", lambda: questions.report(six).silence(since=down) > 0.3)
        assert "LOWER_UP" not in lab.run_in("n2", "ip", "link", "show", "data")
        lab.link_up("n2", side=side)
        up = time.time()
        wait_for("the node answers again", lambda: [t for t, _ in questions.report(six).answers if t > up])
        assert questions.report(six).macs == [lab.nodes["n2"].leg("data").mac]
    assert "default via" in lab.run_in("n2", "ip", "-6", "route")


def test_power_off_and_on(web: Lab) -> None:
    ids = [web.run_in("n3", "cat", "/etc/machine-id"), web.run_in("n3", "cat", "/proc/sys/kernel/random/boot_id")]
    web.run_in("n3", "ip", "address", "add", "192.0.2.1/32", "dev", "data")
    web.power_off("n3")
    with web.ask("10.60.0.13") as questions:
        wait_for("nobody answers for it", lambda: questions.report("10.60.0.13").silence() > 0.5)
        assert not questions.report("10.60.0.13").answers
        wait_for("the cluster notices", lambda: not ready(web, "n3"), 60, every=0.5)
        wait_for("its endpoint is not ready", lambda: ready_endpoints(web, "web") == {"web-1", "web-2"}, every=0.1)
        web.power_on("n3")
        web.wait_for_proxies("n3")
        wait_for("it answers", lambda: questions.report("10.60.0.13").answers)
    wait_for("the node is ready", lambda: ready(web, "n3"), every=0.1)
    wait_for("its endpoint is ready", lambda: "web-3" in ready_endpoints(web, "web"), every=0.1)
    assert web.run_in("n3", "cat", "/etc/machine-id") == ids[0]
    assert web.run_in("n3", "cat", "/proc/sys/kernel/random/boot_id") != ids[1]
    assert "192.0.2.1" not in web.run_in("n3", "ip", "address")
    wait_for("it serves", lambda: web.fetch("n3", f"http://{CLUSTER_IP}"))


def test_a_cut_node_alone_reaches_no_api(lab: Lab) -> None:
    lab.api_cut("n2")
    assert [python(lab, node, REACHES_API) for node in lab.nodes] == ["yes", "no", "yes"]
    wait_for("the cluster misses it", lambda: not ready(lab, "n2"), 60, every=0.5)
    lab.api_heal("n2")
    assert python(lab, "n2", REACHES_API) == "yes"
    wait_for("the node is ready again", lambda: ready(lab, "n2"), every=0.1)


@pytest.mark.parametrize("kill", [pytest.param(False, id="hangs"), pytest.param(True, id="refuses")])
def test_the_api_goes_and_comes_back(lab: Lab, kill: bool) -> None:
    before = lab.api("GET", "/api/v1/namespaces/default")["metadata"]["uid"]
    lab.api_outage(kill=kill)
    impatient = lab.client_api("nobody", timeout=0.3)
    assert not impatient.ready("/livez")
    lab.api_back()
    assert lab.api("GET", "/api/v1/namespaces/default")["metadata"]["uid"] == before


def test_a_double_claim_is_seen_and_counted(lab: Lab) -> None:
    with lab.claims([VIP4]) as listener:
        for node in ("n1", "n2"):
            python(lab, node, ANNOUNCE, VIP4)
        wait_for("both are heard", lambda: len(listener.recording().claims) == 2)
        assert listener.recording().seconds_with_two() == 0  # so far it is a hand-over
        assert listener.recording().holder(VIP4) == "n2-data"
        python(lab, "n1", ANNOUNCE, VIP4)
        wait_for("the third is heard", lambda: len(listener.recording().claims) == 3)
        recording = listener.recording()
    first, second, third = recording.claims
    assert [claim.port for claim in recording.claims] == ["n1-data", "n2-data", "n1-data"]
    assert {claim.kind for claim in recording.claims} == {Kind.GRATUITOUS_REQUEST}
    assert first.mac == third.mac == lab.nodes["n1"].leg("data").mac
    assert recording.seconds_with_two() == third.time - second.time > 0


def test_an_answer_to_one_station_alone_is_a_claim_that_is_heard(lab: Lab) -> None:
    six = str(lab.nodes["n1"].leg("data").address6)
    with lab.claims([DATA_OF_N1, six]) as listener, lab.ask(DATA_OF_N1, six):
        for address, kind in ((DATA_OF_N1, Kind.ARP_REPLY), (six, Kind.ADVERTISEMENT)):
            assert listener.wait_for_holder(address) == "n1"
            assert kind in {claim.kind for claim in listener.recording().of_vip(address).claims}


def test_an_agent_has_the_identity_of_its_node(lab: Lab) -> None:
    api = lab.client_api(lab.token(AGENT, node="n1"))
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    user = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)["status"]["userInfo"]
    assert user["username"] == f"system:serviceaccount:{NAMESPACE}:{AGENT}"
    assert user["extra"]["authentication.kubernetes.io/node-name"] == ["n1"]


def test_requests_are_counted_by_who_made_them(lab: Lab) -> None:
    meter = lab.api_requests()
    api = lab.client_api(lab.token(AGENT, node="n1"))
    for _ in range(3):
        api.request("GET", "/apis/roost.dev/v1alpha1/segments")
    counted = wait_for("the requests are in the log", lambda: meter.count(AGENT), every=0.1)
    assert {(r.verb, r.resource, r.node): n for r, n in counted.items()} == {("list", "segments", "n1"): 3}
    assert meter.rate(AGENT) > 0


def test_what_a_program_costs_is_known(lab: Lab) -> None:
    server = lab.control.processes["kube-apiserver"]
    assert server.cpu() > 0
    assert server.memory() > 100 << 20


def test_each_node_has_files_of_its_own_below_run(lab: Lab) -> None:
    lab.run_in("n1", "touch", "/run/here")
    assert "here" not in lab.run_in("n2", "ls", "/run")


def test_a_station_can_be_cut_off_too(lab: Lab) -> None:
    with lab.ask("10.60.0.1") as questions:
        wait_for("the gateway answers", lambda: questions.report("10.60.0.1").answers)
        lab.link_down("gateway")
        down = time.time()
        wait_for("it is silent", lambda: questions.report("10.60.0.1").silence(since=down) > 0.3)
        lab.link_up("gateway")


def test_a_program_that_ends_is_named_with_its_last_words(lab: Lab) -> None:
    process = Process("loser", ["sh", "-c", "echo out of luck; exit 3"], lab.work / "loser.log")
    with pytest.raises(LabError, match=r"loser ended \(3\) while the lab waited: luck\nout of luck"):
        wait_for("luck", lambda: False, alive=[process])
