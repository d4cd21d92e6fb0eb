"""The NodeAgent's status: what is said, since when, and as which change."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.status.plan import LONGEST, MOST, Facts, conflict, patch, status
from roost.kube.wire import AgentBGP, AgentLink, AgentProblem, AgentSegment, AgentSession, Condition, NodeAgentStatus
from roost.words import Reason

THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
LINK = AgentLink(name="data", mac="02:00:00:00:00:01", mtu=1500, up=True, subnets=("10.60.0.0/24",))
WELL = Facts("boot", "17", 2, 2, {}, (LINK,), Reason.RUNNING, "segment 10.60.0.0-24 on data")


def facts(**changed: Any) -> Facts:
    fields = {name: getattr(WELL, name) for name in Facts.__slots__} | changed
    return Facts(**fields)


def test_what_is_said_of_a_node_that_is_well() -> None:
    said = status(WELL, NodeAgentStatus(), NOW)
    assert said.vips is not None
    assert (said.vips.summary, said.vips.desired, said.vips.announced) == ("2/2", 2, 2)
    assert said.applied is not None
    assert said.applied.resource_version == "17"
    ready, _ = said.conditions
    assert (ready.type, ready.status, ready.reason, ready.last_transition_time) == ("Ready", "True", "Running", NOW)


def test_the_same_facts_later_are_the_same_status() -> None:
    odd = facts(announced=1, exceptions={"10.60.0.200": (Reason.NO_ENDPOINTS, "no ready endpoint")})
    once = status(odd, NodeAgentStatus(), THEN)
    assert status(odd, once, NOW) == once


@pytest.mark.parametrize(
    ("changed", "moved"),
    [
        pytest.param({"ready": Reason.LINK_DOWN}, True, id="ready no more: a new time"),
        pytest.param({"message": "segment rack-1 on data"}, False, id="another message: the time stays"),
    ],
)
def test_time_of_the_condition(changed: dict[str, object], moved: bool) -> None:
    ready, _ = status(facts(**changed), status(WELL, NodeAgentStatus(), THEN), NOW).conditions
    assert ready.last_transition_time == (NOW if moved else THEN)


@pytest.mark.parametrize(
    ("reason", "since"),
    [
        pytest.param(Reason.NO_ENDPOINTS, THEN, id="the same reason: since then"),
        pytest.param(Reason.NOT_IN_SUBNET, NOW, id="another reason: since now"),
    ],
)
def test_since_when_a_vip_is_not_announced(reason: Reason, since: str) -> None:
    before = status(facts(exceptions={"fd60::200": (Reason.NO_ENDPOINTS, "")}), NodeAgentStatus(), THEN)
    after = status(facts(exceptions={"fd60::200": (reason, "")}), before, NOW)
    assert after.vips is not None
    (row,) = after.vips.exceptions
    assert (row.vip, row.since) == ("fd60::200", since)


def test_more_exceptions_than_the_server_takes_are_counted() -> None:
    many = {f"10.60.1.{number}": (Reason.NO_ENDPOINTS, "") for number in range(MOST + 3)}
    said = status(facts(exceptions=many), NodeAgentStatus(), NOW).vips
    assert said is not None
    assert (len(said.exceptions), said.more_exceptions) == (MOST, 3)


def test_what_is_no_longer_so_is_taken_back() -> None:
    """Defaults are left out on the wire, and what a merge patch leaves out stays."""
    odd = status(facts(announced=0, exceptions={"10.60.0.200": (Reason.NO_ENDPOINTS, "")}), NodeAgentStatus(), THEN)
    well = status(facts(desired=0, announced=0, links=()), odd, NOW)
    change = patch(msgspec.to_builtins(odd), msgspec.to_builtins(well))
    assert change["vips"] == {"summary": "0/0", "desired": None, "exceptions": None}
    assert change["links"] is None


values = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(objects, objects)
def test_the_patch_makes_the_one_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert without_empty(merged(before, patch(before, after))) == without_empty(after)


def merged(target: Any, change: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(change, dict):
        return change
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def without_empty(value: Any) -> Any:
    """Objects without a field may come or stay: nobody reads them otherwise than as none."""
    if not isinstance(value, dict):
        return value
    inner = {key: without_empty(item) for key, item in value.items()}
    return {key: item for key, item in inner.items() if item != {}}


SEAT = AgentSegment(name="10.60.0.0-24", interface="data", mode="Witnessed", tenure=7, witnesses=("n2", "n3"))
STRANGER = "3c:ec:ef:12:34:56"


def test_a_seat_is_said_with_what_its_gate_cannot_keep_back() -> None:
    weak = msgspec.structs.replace(SEAT, fence="kernel before 5.16: own frames are checked by the sender only")
    assert status(facts(segments=(weak,)), NodeAgentStatus(), NOW).segments == (weak,)


def conflicting(said: NodeAgentStatus) -> Condition:
    (found,) = (one for one in said.conditions if one.type == "AddressConflict")
    return found


@pytest.mark.parametrize(
    ("changed", "value", "message"),
    [
        pytest.param({}, "False", "", id="nobody else claims anything"),
        pytest.param(
            {"conflicts": {"10.60.0.200": STRANGER}},
            "True",
            f"10.60.0.200 is also claimed by {STRANGER}",
            id="a VIP held here and defended",
        ),
        pytest.param(
            {"exceptions": {"10.60.0.200": (Reason.ADDRESS_CONFLICT, conflict("10.60.0.200", STRANGER))}},
            "True",
            f"10.60.0.200 is also claimed by {STRANGER}",
            id="a VIP that is not taken because of it",
        ),
        pytest.param(
            {"conflicts": {f"10.60.0.{number}": STRANGER for number in range(200, 206)}},
            "True",
            "; ".join(f"10.60.0.{number} is also claimed by {STRANGER}" for number in range(200, 204)) + "; and 2 more",
            id="more than are named",
        ),
    ],
)
def test_a_conflict_is_named(changed: dict[str, object], value: str, message: str) -> None:
    said = conflicting(status(facts(**changed), NodeAgentStatus(), NOW))
    assert (said.status, said.message) == (value, message)


def test_since_when_a_stranger_claims_a_vip() -> None:
    once = status(facts(conflicts={"10.60.0.200": STRANGER}), NodeAgentStatus(), THEN)
    assert status(facts(conflicts={"10.60.0.200": STRANGER}), once, NOW) == once
    other = status(facts(conflicts={"10.60.0.200": "02:00:00:00:00:99"}), once, NOW)
    assert other.vips is not None
    assert [(row.mac, row.since) for row in other.vips.conflicts] == [("02:00:00:00:00:99", NOW)]
    assert conflicting(other).last_transition_time == THEN


def test_only_what_does_not_answer_is_listed() -> None:
    once = status(facts(probed=3, unreachable={"10.60.0.200": "no ARP reply on data"}), NodeAgentStatus(), THEN)
    assert once.vips is not None
    assert (once.vips.probed, [(row.vip, row.since) for row in once.vips.unreachable]) == (3, [("10.60.0.200", THEN)])
    again = status(facts(probed=3, unreachable={"10.60.0.200": "no ARP reply on data"}), once, NOW)
    assert again == once
    well = status(facts(probed=3), once, NOW)
    assert patch(msgspec.to_builtins(once), msgspec.to_builtins(well)) == {"vips": {"unreachable": None}}


def test_no_list_is_longer_than_the_server_takes() -> None:
    many = {f"10.60.1.{number}": STRANGER for number in range(MOST + 3)}
    said = status(facts(conflicts=many, unreachable=many), NodeAgentStatus(), NOW).vips
    assert said is not None
    assert (len(said.conflicts), len(said.unreachable)) == (MOST, MOST)


def speaking(advertised: int, state: str = "Established") -> AgentBGP:
    return AgentBGP(summary="1/1", sessions=(AgentSession(peer="tor", state=state, advertised=advertised),))


def test_sessions_since_when_and_how_many_paths() -> None:
    first = status(facts(bgp=speaking(0)), NodeAgentStatus(), THEN)
    assert status(facts(bgp=speaking(7)), first, NOW) == first, "a count alone is not written"
    with_news = status(facts(bgp=speaking(7), announced=1), first, NOW)
    assert with_news.bgp is not None
    (session,) = with_news.bgp.sessions
    assert (session.advertised, session.since) == (7, THEN)
    down = status(facts(bgp=speaking(0, "Idle")), with_news, NOW)
    assert down.bgp is not None
    assert down.bgp.sessions[0].since == NOW
    assert status(WELL, down, NOW).bgp is None


def test_a_session_on_its_way_is_no_news_until_it_is_there() -> None:
    idle = status(facts(bgp=speaking(0, "Idle")), NodeAgentStatus(), THEN)
    for state in ("Connect", "Active", "OpenSent", "Idle"):
        assert status(facts(bgp=speaking(0, state)), idle, NOW) == idle
    assert status(facts(bgp=speaking(0)), idle, NOW) != idle


def test_no_message_is_longer_than_the_server_takes() -> None:
    problem = AgentProblem(reason="SecretMissing", peer="tor", message="x" * 2000)
    odd = facts(
        bgp=AgentBGP(summary="0/1", problems=(problem,)), exceptions={"10.60.0.200": (Reason.PEER_DOWN, "y" * 2000)}
    )
    said = status(odd, NodeAgentStatus(), NOW)
    assert said.bgp is not None
    assert said.vips is not None
    assert [len(one.message) for one in said.bgp.problems] == [LONGEST]
    assert [len(one.message) for one in said.vips.exceptions] == [LONGEST]
