"""The main job of Roost, shown live: an address that answers, and moves when its node dies (``make demo``)."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import isolate
from lab.cluster import Lab
from lab.run import LabError, wait_for

ADDRESS = "10.60.0.200"
POOL = {
    "apiVersion": "roost.dev/v1alpha1",
    "kind": "AddressPool",
    "metadata": {"name": "demo"},
    "spec": {"addresses": ["10.60.0.200-10.60.0.219"]},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
}
CLAIM_DEADLINE = 30.0


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is done, and how long it took."""
    print(f"\n\033[1m▸ {what}\033[0m" if sys.stdout.isatty() else f"\n> {what}", flush=True)
    began = time.monotonic()
    yield
    print(f"  ({time.monotonic() - began:.1f} s)", flush=True)


def show(lab: Lab, *arguments: str) -> str:
    """Run kubectl and print what a person would see."""
    text = lab.kubectl(*arguments)
    print("  $ kubectl " + " ".join(arguments))
    print("\n".join(f"    {line}" for line in text.rstrip().splitlines()), flush=True)
    return text


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def start(lab: Lab) -> None:
    lab.install()
    lab.start_controller()
    for node in lab.nodes:
        lab.start_agent(node)
    for number, node in enumerate(lab.nodes, 1):
        lab.add_backend(f"web-{number}", node)
    lab.apply(POOL)


def give_address(lab: Lab) -> None:
    lab.apply(SERVICE)
    wait_for("the Service has its address", lambda: ADDRESS in lab.kubectl("get", "svc", "web"), 20)
    wait_for("its VirtualIP is announced", lambda: "True" in lab.kubectl("get", "rvip", "--no-headers"), 20)
    show(lab, "get", "nodes")
    show(lab, "get", "svc")
    show(lab, "get", "rvip")


def ask(lab: Lab) -> None:
    url = f"http://{ADDRESS}/"
    say(f"client: GET {url}")

    def answered() -> str:
        return lab.fetch("client", url)

    say(f"    answer of {_patient(answered).strip()}")


def _patient(ask_once: Callable[[], str]) -> str:
    """The answer, as soon as kube-proxy has its rules (it syncs once a second)."""
    answers: list[str] = []

    def once() -> bool:
        try:
            answers.append(ask_once())
        except OSError:  # the pod of a dead node stays an endpoint until Kubernetes notices
            return False
        return True

    wait_for("the VIP answers HTTP", once, 15)
    return answers[-1]


def power_off(lab: Lab) -> bool:
    """Cut the holder's power while a client connects every 10 ms; whether all was as promised."""
    with lab.claims([ADDRESS]) as claims, lab.client(ADDRESS) as client:
        lab.run_in("client", "ip", "neigh", "flush", "all")
        client.wait_for_success(100)
        first = lab.kubectl("get", "rvip", ADDRESS, "-o", "jsonpath={.status.holder}")
        say(f"a client connects every 10 ms; {first} holds {ADDRESS}; {first} loses power now")
        before = time.time()
        lab.power_off(first)
        second = claims.wait_for_holder(ADDRESS, other_than=first)
        back = time.time()
        wait_for("the client connects again", lambda: client.report().successes[-1] > back + 1, CLAIM_DEADLINE)
        gap = client.report().gap(before - 1, time.time())
        two = claims.recording(since=before - 1).seconds_with_two()
    say(f"the client's gap: {gap:.2f} s      new holder: {second}      seconds with two claimants: {two:g}")
    wait_for("the cluster knows it", lambda: second in lab.kubectl("get", "rvip"), 20)
    show(lab, "get", "rvip", "-o", "wide")
    show(lab, "get", "rseg")
    return two == 0 and second != first


def main() -> None:
    isolate.enter()
    began = time.monotonic()
    try:
        print("Roost on a real Kubernetes, in network namespaces: three nodes, a switch, a client.")
        with Lab(nodes=3) as lab:
            with step(
                "etcd, kube-apiserver, kube-controller-manager and three kube-proxies are up; Roost starts on them"
            ):
                start(lab)
            with step("a Service of type LoadBalancer gets an address"):
                give_address(lab)
            with step("a client on the segment reaches it"):
                ask(lab)
            with step("the node that holds the address loses power"):
                good = power_off(lab)
            with step("a request through the same address, another node answers"):
                ask(lab)
            print("\ncleaning up …")
    except LabError as error:
        sys.exit(f"error: {error}")
    print(f"nothing is left behind. {time.monotonic() - began:.0f} s in all")
    sys.exit(not good)


if __name__ == "__main__":
    main()
