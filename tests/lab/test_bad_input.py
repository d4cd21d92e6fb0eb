"""What users and admins get wrong: one clear Event and condition each, and everything beside it goes on answering."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from lab.api import Json
from lab.cluster import Lab
from lab.network import ip
from lab.probes import ClientProbe, Request
from lab.run import LabError, wait_for
from tests.lab.shop import FOUR, POOL, REST, ROOST, SIX, Shop, Wanted, open_shop, seats

ADDRESSES = "roost.dev/addresses"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PROGRAMS = ("roost-cloudprovider", "roost-nodeagent")
CALM = 3.0  # seconds in which a program that is refused asks nothing
LONGEST_NAME = "n" + 61 * "x" + "9"


@pytest.fixture(scope="module")
def shop(lab: Lab) -> Shop:
    return open_shop(lab)


@pytest.fixture(scope="module")
def good(shop: Shop) -> Iterator[ClientProbe]:
    """A Service that nothing is wrong with, and a client that keeps asking it."""
    shop.make(Wanted("good"))
    (address,) = shop.wait_addresses("good")
    shop.wait_answer(address)
    with shop.lab.client(address, every=0.05) as probe:
        probe.wait_for_success()
        yield probe


@contextmanager
def undisturbed(good: ClientProbe) -> Iterator[None]:
    """No connection to the good Service fails meanwhile."""
    began = time.time()
    yield
    good.wait_for_success()
    assert [(at - began, why) for at, why in good.report().failures if at >= began] == []


def pool(name: str, *addresses: str) -> Json:
    return {**POOL, "metadata": {"name": name}, "spec": {"addresses": list(addresses)}}


# -- Services

REFUSED = [
    pytest.param("rubbish", {ADDRESSES: "rub;bish"}, "InvalidRequest", id="rubbish where addresses should be"),
    pytest.param("two", {ADDRESSES: "10.60.0.201,10.60.0.202"}, "InvalidRequest", id="two of one family"),
    pytest.param("six", {ADDRESSES: "fd60::201"}, "InvalidRequest", id="IPv6 for a Service that has none"),
    pytest.param("outside", {ADDRESSES: "192.0.2.1"}, "AddressNotInPool", id="an address outside every pool"),
    pytest.param("lost", {"roost.dev/pool": "lost"}, "NoMatchingPool", id="a pool that is not there"),
]


@pytest.mark.parametrize(("name", "annotations", "reason"), REFUSED)
def test_a_bad_wish_is_refused_in_one_event_and_one_condition(
    shop: Shop, good: ClientProbe, name: str, annotations: dict[str, str], reason: str
) -> None:
    with undisturbed(good):
        shop.make(Wanted(name, annotations=annotations))
        said = shop.wait_condition(name, "Allocated", "False", reason)
        (event,) = wait_for("an Event", lambda: shop.events(name))
        assert event["note"] == f"{reason}: {said['message']}"


def test_and_nobody_tries_again_until_something_changes(shop: Shop, good: ClientProbe) -> None:
    names: list[str] = [str(case.values[0]) for case in REFUSED]
    with undisturbed(good):
        assert_calm(shop.lab)
        for name in names:
            assert len(shop.events(name)) == 1
            assert shop.addresses(name) == []
        shop.change("outside", {}, {ADDRESSES: "10.60.0.210"})
        assert shop.wait_addresses("outside") == ["10.60.0.210"]
        shop.wait_answer("10.60.0.210")
        shop.delete(*names)


def assert_calm(lab: Lab) -> None:
    """It soon comes to rest: some seconds in which nothing is asked but Leases, and watches that begin anew.

    Mirrors and Events of what went before follow by and by; whoever tried again and again would never rest.
    """
    seen: list[dict[Request, int]] = []

    def calm() -> bool:
        meter = lab.api_requests()
        wait_for("some seconds go by", lambda: time.monotonic() - meter.started > CALM, every=0.2)
        seen.append(
            {
                request: count
                for program in PROGRAMS
                for request, count in meter.count(program).items()
                if request.resource != "leases" and request.verb != "watch"
            }
        )
        return sum(seen[-1].values()) <= 3

    wait_for("nobody asks for anything", calm, 10 * CALM)


def test_a_service_that_flips_its_type_100_times_ends_as_it_was_last_asked_for(shop: Shop, good: ClientProbe) -> None:
    with undisturbed(good):
        meter = shop.lab.api_requests()
        shop.make(Wanted("flips", (FOUR, SIX)))
        for turn in range(100):
            shop.change("flips", {"type": "LoadBalancer" if turn % 2 else "ClusterIP", "externalTrafficPolicy": None})
        for address in shop.wait_addresses("flips", 2):
            shop.wait_answer(address)
            shop.wait_carried(address)
        requests = sum(meter.count(program).total() for program in PROGRAMS)
        assert requests < 100 * 20, "a flip costs a few requests"
        addresses = shop.addresses("flips")
        assert shop.events("flips") == []
        shop.delete("flips")
        for address in addresses:
            shop.wait_free(address)
        shop.wait_gone(*addresses)


def test_a_name_of_63_characters_and_300_ports(shop: Shop, good: ClientProbe) -> None:
    with undisturbed(good):
        shop.make(Wanted(LONGEST_NAME, ports=range(8000, 8300), spec={"allocateLoadBalancerNodePorts": False}))
        (address,) = shop.wait_addresses(LONGEST_NAME)
        for port in (8000, 8150, 8299):
            shop.wait_answer(address, port)
        assert shop.events(LONGEST_NAME) == []
        shop.delete(LONGEST_NAME)


# -- pools


def test_a_range_that_runs_backwards_costs_nothing_but_itself(shop: Shop, good: ClientProbe) -> None:
    with undisturbed(good):
        shop.lab.apply(pool("backwards", "10.60.0.250-10.60.0.240", "10.60.0.241"))

        def ready() -> dict[str, str]:
            found = shop.lab.api("GET", f"{ROOST}/addresspools/backwards").get("status", {}).get("conditions", [])
            return next((item for item in found if item["type"] == "Ready"), {})

        wait_for("the pool says so", lambda: ready().get("reason") == "InvalidRange")
        assert ready()["status"] == "False"
        assert "10.60.0.250-10.60.0.240" in ready()["message"]
        (event,) = wait_for("an Event", lambda: shop.events("backwards", "AddressPool"))
        assert "10.60.0.250-10.60.0.240" in event["note"]
        shop.make(Wanted("rest", annotations={"roost.dev/pool": "backwards"}))
        assert shop.wait_addresses("rest") == ["10.60.0.241"]
        shop.wait_answer("10.60.0.241")
        shop.delete("rest")
        shop.wait_free("10.60.0.241")
        shop.lab.kubectl("delete", "addresspool", "backwards")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("10.60.0.5/28", "host bits are set: write the network", id="host bits"),
        pytest.param("all of them", "must be an address, a CIDR, or first-last", id="rubbish"),
    ],
)
def test_the_server_refuses_a_pool_with_our_words(shop: Shop, good: ClientProbe, text: str, words: str) -> None:
    with undisturbed(good), pytest.raises(LabError, match=words):
        shop.lab.apply(pool("bad", text))


# -- nodes


def test_an_interface_that_is_not_there_is_said_once_and_waited_for(shop: Shop, good: ClientProbe) -> None:
    """n3 loses the interface it was told to use, and gets it under that name in the end; and so once more."""
    lab = shop.lab
    lab.add_backend("late-0", "n3")
    shop.make(Wanted("late", (FOUR, SIX), "Local", app="late"))
    addresses = shop.wait_addresses("late", 2)
    lab.agents["n3"].sigterm()
    lab.agents["n3"].wait()
    good.wait_for_success()
    with undisturbed(good):
        agent = lab.start_agent("n3", "--linger=0.5", interface="late")
        wait_for_node(lab, "n3", "NoSuchInterface", "False")
        said = node_condition(lab, "n3")["message"]
        assert "interface late is not there (there are: data, mgmt)" in said
        (event,) = wait_for("an Event", lambda: shop.events("n3", "NodeAgent"))
        assert (event["reason"], event["note"]) == ("NoSuchInterface", said)
        assert event["regarding"]["uid"], "describe finds an Event by it"
        assert_calm(lab)
        assert len(shop.events("n3", "NodeAgent")) == 1
        ip(["link set data down"], "n3")
        for _ in range(2):
            plug_late()
            for address in addresses:
                # The new link may answer while the drain of the old one is still being written: then it holds it anew.
                wait_for(f"n3 holds {address}", partial(is_held, shop, address))
                shop.wait_answer(address, by="late-0")
            wait_for_node(lab, "n3", "Running", "True")
            ip(["link delete late"], "n3")
            wait_for_node(lab, "n3", "LinkDown", "False")
        assert agent.running
    ip(["link set data up"], "n3")
    agent.sigterm()
    assert agent.wait() == 0
    shop.delete("late")
    lab.remove_backend("late-0")


def is_held(shop: Shop, address: str) -> bool:
    return shop.holder(address) == "n3"


def plug_late() -> None:
    """Give n3 an interface called late, on the data segment."""
    ip(["link add late netns n3 type veth peer name n3-late netns switch"])
    ip(["link set n3-late master data up"], "switch")
    ip(["address add 10.60.0.43/24 dev late", "address add fd60::43/64 dev late nodad", "link set late up"], "n3")


def node_condition(lab: Lab, node: str) -> dict[str, str]:
    found = (lab.admin.find(f"{ROOST}/nodeagents/{node}") or {}).get("status", {}).get("conditions", [])
    return next((item for item in found if item["type"] == "Ready"), {})


def wait_for_node(lab: Lab, node: str, reason: str, status: str) -> None:
    def found() -> bool:
        condition = node_condition(lab, node)
        return (condition.get("reason"), condition.get("status")) == (reason, status)

    wait_for(f"NodeAgent {node} is {reason}", found, every=0.05)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_missing_right_is_named_with_its_remedy_and_waited_for(shop: Shop, good: ClientProbe, program: str) -> None:
    """A program that starts without its role says so; as soon as the role is bound it works."""
    lab = shop.lab
    path = f"{RBAC}/clusterrolebindings/{program}"
    running = lab.controllers["a"] if program == PROGRAMS[0] else lab.agents["n2"]
    running.sigterm()
    running.wait()
    good.wait_for_success()
    with undisturbed(good):
        binding = lab.api("GET", path)
        lab.api("DELETE", path)
        began = len(running.log())
        again = lab.start_controller("a", REST) if program == PROGRAMS[0] else lab.start_agent("n2", "--linger=0.5")
        wait_for("the log names the right", lambda: "apply the chart's roles" in again.log()[began:], alive=[again])
        # Whichever it asks for first: all of them are forbidden.
        assert re.search(r"list [a-z.]+: forbidden", again.log()[began:])
        assert len(again.log()[began:].splitlines()) < 30, "it is not said over and over"
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        lab.api("POST", f"{RBAC}/clusterrolebindings", binding)
        if program == PROGRAMS[1]:
            wait_for("n2 has its seat", lambda: "n2" in seats(lab), alive=[again], seconds=40)
        shop.make(Wanted("after"))
        (address,) = wait_for("the new Service has its address", lambda: shop.addresses("after"), 40, alive=[again])
        shop.wait_answer(address)
        shop.delete("after")
