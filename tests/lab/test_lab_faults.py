"""The lab's faults of the segment and of the way to the API are what they are called."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.agent import Agent
from lab.claims import Kind
from lab.cluster import Lab
from lab.probes import Answers, AskProbe
from lab.run import children, wait_for
from tests.lab.hearing import heard

N1, N2, STRANGE4, STRANGE6 = "10.60.0.11", "10.60.0.12", "10.60.0.245", "fd60::245"
QUIET = 0.4  # seconds without an answer, asked for every 20 ms


@pytest.fixture
def asks(lab: Lab) -> Iterator[AskProbe]:
    """The observer asks for two nodes, over and over, and both answer."""
    with lab.ask(N1, N2) as questions:
        for address in (N1, N2):
            wait_for(f"{address} answers", partial(_answered, questions, address))
        yield questions


def silent(asks: AskProbe, address: str) -> None:
    since = time.time()
    wait_for(f"{address} is silent", lambda: _silence(asks.report(address), since) > QUIET, 5)


def answers(asks: AskProbe, address: str) -> None:
    since = time.time()
    wait_for(f"{address} answers", lambda: [t for t, _ in asks.report(address).answers if t > since], 5)


def _answered(asks: AskProbe, address: str) -> bool:
    return bool(asks.report(address).answers)


def _silence(found: Answers, since: float) -> float:
    return found.silence(since)


@pytest.mark.parametrize("way", ["sent", "received"])
def test_one_way_of_a_link_is_lost_and_the_other_is_not(lab: Lab, asks: AskProbe, way: str) -> None:
    lab.lose("n1", way)
    silent(asks, N1)
    answers(asks, N2)
    before = int(lab.run_in("n1", "cat", "/sys/class/net/data/statistics/rx_packets"))
    answers(asks, N2)
    after = int(lab.run_in("n1", "cat", "/sys/class/net/data/statistics/rx_packets"))
    assert (after > before) is (way == "sent")  # the questions go to everybody
    assert "LOWER_UP" in lab.run_in("n1", "ip", "link", "show", "data")
    lab.lose_nothing("n1")
    answers(asks, N1)


def test_what_a_node_sends_in_vain_is_heard_as_a_claim_all_the_same(lab: Lab) -> None:
    with lab.claims([N1]) as listener, lab.ask(N1):
        lab.lose("n1", "sent")
        since = time.time()
        wait_for("n1 claims", lambda: listener.recording(since).claims)
        lab.lose_nothing("n1")


def test_a_split_segment_is_two_and_all_links_have_their_carrier(lab: Lab, asks: AskProbe) -> None:
    lab.split("n1", "n3")
    silent(asks, N1)
    answers(asks, N2)
    for node in lab.nodes:
        assert "LOWER_UP" in lab.run_in(node, "ip", "link", "show", "data")
    assert heard(lab, "n1", "n3") == "hello"  # they reach each other
    assert heard(lab, "n1", "n2") == "nothing"
    lab.heal_split()
    answers(asks, N1)
    lab.heal_split()  # nothing to heal is no error


@pytest.mark.parametrize("address", [STRANGE4, STRANGE6])
def test_a_stranger_has_addresses_and_takes_them_along(lab: Lab, address: str) -> None:
    lab.stranger_comes(STRANGE4, STRANGE6)
    with lab.ask(address) as questions, lab.claims([address]) as listener:
        wait_for("it answers", lambda: questions.report(address).answers)
        assert listener.wait_for_holder(address) == "stranger"
        lab.stranger_goes()
        silent(questions, address)
    lab.stranger_goes()  # none is no error


def test_a_stranger_forges_claims_in_all_forms(lab: Lab) -> None:
    lab.stranger_comes()
    with lab.claims([STRANGE4, STRANGE6]) as listener:
        lab.stranger_forges(STRANGE4, STRANGE6, every=0.01)
        wait_for("it claims many times", lambda: len(listener.recording().claims) > 30)
        kinds = {claim.kind for claim in listener.recording().claims}
        assert kinds == {Kind.GRATUITOUS_REQUEST, Kind.GRATUITOUS_REPLY, Kind.ADVERTISEMENT}
        assert {claim.port for claim in listener.recording().claims} == {"stranger-data"}
    lab.stranger_goes()


CONNECT = """
import http.client, ssl, time
began = time.monotonic()
connection = http.client.HTTPSConnection("10.50.0.10", 6443, timeout=5, context=ssl._create_unverified_context())
connection.connect()
for _ in range(2):
    began = time.monotonic()
    connection.request("GET", "/version")
    connection.getresponse().read()
print(time.monotonic() - began)
"""


def request_seconds(lab: Lab, node: str) -> float:
    return float(lab.run_in(node, sys.executable, "-c", CONNECT))


def test_requests_of_nodes_take_longer_and_those_of_others_do_not(lab: Lab) -> None:
    lab.api_slow("n1", delay=0.3)
    assert request_seconds(lab, "n1") > 0.3
    assert min(request_seconds(lab, "n2") for _ in range(5)) < 0.3
    lab.api_prompt()
    assert min(request_seconds(lab, "n1") for _ in range(5)) < 0.3


def test_connections_from_before_do_not_stay_prompt(lab: Lab) -> None:
    """As the agents' watches: broken by the next thing that is sent on them."""
    program = CONNECT.replace("for _ in range(2):", "print('open', flush=True); input()\nfor _ in range(1):")
    process = lab.nodes["n1"].start("held", "sh", "-c", f'(sleep 2; echo) | {sys.executable} -c "$0"', program)
    wait_for("it is connected", lambda: "open" in process.log())
    lab.api_slow(delay=0.3)
    assert process.wait() != 0 or float(process.log().split()[-1]) > 0.3
    lab.api_prompt()


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(600)
"""


def test_a_container_of_two_processes_is_stopped_and_killed_as_a_whole(lab: Lab) -> None:
    two = Agent("two", [sys.executable, "-c", PARENT], lab.work / "two.log")
    child = wait_for("it has a child", lambda: two.agent)
    assert two.pids() == [two.pulse, child]

    def states(*wanted: str) -> Callable[[], bool]:
        return lambda: [state(pid) for pid in (two.pulse, child)] == [*wanted]

    two.sigstop()
    wait_for("both are frozen", states("T", "T"))
    two.sigcont()
    wait_for("both go on", states("S", "S"))
    assert two.memory() > 0
    two.sigkill()
    wait_for("both are gone", lambda: not alive(child))
    assert children(two.pulse) == []


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    try:
        return state(pid) != "Z"
    except OSError:
        return False


def test_another_machine_has_another_id(lab: Lab) -> None:
    before = lab.run_in("n3", "cat", "/etc/machine-id")
    lab.power_off("n3")
    lab.another_machine("n3")
    lab.power_on("n3")
    assert lab.run_in("n3", "cat", "/etc/machine-id") != before
