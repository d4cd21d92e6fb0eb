"""What is shipped of GoBGP's API is what proto/ says, and both dialects say the same things with it."""

from importlib.resources import files
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from nodeagent.bgp.dialect import EXPORT, IMPORT, Dialect
from nodeagent.bgp.gobgp3 import Gobgp3
from nodeagent.bgp.gobgp4 import Gobgp4
from nodeagent.bgp.rules import Rule
from nodeagent.bgp.schema import Message
from nodeagent.bgp.steps import describe, digest
from nodeagent.bgp.values import Bfd, Session, Speaker, Timers

ROOT = Path(__file__).parents[3]
SESSION = Session(
    "one", ip_address("10.0.0.2"), 65002, 65001, password="s3cret", graceful_restart=30, bfd=Bfd(50, 60, 4)
)
TAG = "0:1:2"
RULES = frozenset(
    {
        Rule(TAG, "10.0.0.2", 0, ("65000:1", "65535:65281"), ("65000:1:2",), 200, 0, (65001, 2)),
        Rule("0:3:4", "10.0.0.2"),
        Rule("0:3:4", "fd00::2", med=7),
        Rule(session="fd00::2", family=4, next_hop="10.0.0.1"),
    }
)


@pytest.fixture(params=[Gobgp3, Gobgp4])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    made = request.param()
    assert isinstance(made, Dialect)
    return made


@pytest.mark.parametrize("version", [3, 4])
def test_the_descriptors_are_those_of_the_proto_files(version: int, tmp_path: Path) -> None:
    made = tmp_path / "made.binpb"
    arguments = [f"-I{ROOT}/proto", "--include_imports", f"--descriptor_set_out={made}", f"gobgp{version}.proto"]
    assert protoc.main(["protoc", f"-I{files('grpc_tools').joinpath('_proto')}", *arguments]) == 0
    shipped = files("nodeagent.bgp").joinpath(f"gobgp{version}.binpb").read_bytes()
    assert ours(made.read_bytes()) == ours(shipped), "run make proto"


def ours(data: bytes) -> list[Message]:
    """Without the files of protobuf itself, which differ between its versions."""
    found = descriptor_pb2.FileDescriptorSet.FromString(data)
    return [file for file in found.file if not file.name.startswith("google/")]


def test_paths_keep_prefix_and_tag(dialect: Dialect) -> None:
    paths = [(ip_network("192.0.2.1/32"), TAG), (ip_network("2001:db8::/64"), TAG), (ip_network("192.0.2.0/24"), "")]
    request = dialect.paths(paths, withdraw=False)
    assert [dialect.tag(path) for path in request.paths] == [TAG, TAG, ""]
    answers = []
    for path, (prefix, _) in zip(request.paths, paths, strict=True):
        answer = dialect.schema.ListPathResponse()
        answer.destination.prefix = str(prefix)
        answer.destination.paths.add().CopyFrom(path)
        answers.append(dialect.path(answer))
    assert answers == paths


def test_paths_of_others_are_not_ours(dialect: Dialect) -> None:
    answer = dialect.schema.ListPathResponse()
    answer.destination.prefix = "192.0.2.1/32"
    answer.destination.paths.add(neighbor_ip="10.0.0.2")
    assert dialect.path(answer) is None


def test_a_withdrawal_says_that_it_is_one(dialect: Dialect) -> None:
    request = dialect.paths([(ip_network("192.0.2.1/32"), "")], withdraw=True)
    assert [path.is_withdraw for path in request.paths] == [True]


def test_policies_are_read_as_they_were_written(dialect: Dialect) -> None:
    request = dialect.set_policies(RULES)
    sets = {(one.defined_type, one.name): tuple(one.list) for one in request.defined_sets}
    assert dialect.rules(request.policies, sets) == RULES


@pytest.mark.parametrize("meddled", ["a policy more", "a statement less", "an import of everything", "a lost set"])
def test_meddled_policies_are_seen(dialect: Dialect, meddled: str) -> None:
    request = dialect.set_policies(RULES)
    sets = {(one.defined_type, one.name): tuple(one.list) for one in request.defined_sets}
    match meddled:
        case "a policy more":
            request.policies.add(name="more")
        case "a statement less":
            del request.policies[0].statements[0]
        case "an import of everything":
            request.policies[1].statements[0].conditions.Clear()
        case _:
            sets.popitem()
    assert dialect.rules(request.policies, sets) != RULES


@pytest.mark.parametrize("direction", [EXPORT, IMPORT])
def test_assignments_reject_by_default(dialect: Dialect, direction: int) -> None:
    answer = dialect.schema.ListPolicyAssignmentResponse(assignment=dialect.assign(direction).assignment)
    assert dialect.assigned(direction, [answer])
    answer.assignment.default_action = 1
    assert not dialect.assigned(direction, [answer])
    assert not dialect.assigned(direction, [])


def test_a_session_is_known_again(dialect: Dialect) -> None:
    message = dialect.add_peer(SESSION, "10.0.0.2", restarting=True).peer
    peer = dialect.peer(message)
    assert (peer.key, peer.address, peer.digest) == ("10.0.0.2", "10.0.0.2", digest(SESSION, "10.0.0.2"))
    assert (peer.asn, peer.password) == (65002, "s3cret")
    assert message.graceful_restart.local_restarting
    assert message.conf.description == describe(SESSION, "10.0.0.2")


def test_bfd_is_asked_for_where_it_exists() -> None:
    bfd = Gobgp4().add_peer(SESSION, "10.0.0.2", restarting=False).peer.bfd
    assert (bfd.required_minimum_receive, bfd.desired_minimum_tx_interval) == (50_000, 60_000)  # microseconds
    assert bfd.detection_multiplier == 4
    assert not Gobgp3().has_bfd(Gobgp3().add_peer(SESSION, "10.0.0.2", restarting=False).peer)


def test_no_hold_time_is_the_longest_there_is(dialect: Dialect) -> None:
    endless = Session("one", ip_address("10.0.0.2"), 65002, 65001, timers=Timers(hold=0))
    assert dialect.add_peer(endless, "10.0.0.2", restarting=False).peer.timers.config.hold_time == 65535


def test_a_daemon_that_was_not_told_to_speak_has_no_speaker(dialect: Dialect) -> None:
    assert dialect.speaker(dialect.schema.GetBgpResponse()) is None
    speaker = Speaker(65001, ip_address("10.0.0.1"))  # type: ignore[arg-type]
    request = dialect.start(speaker)
    assert dialect.speaker(request) == speaker
    assert getattr(request, "global").listen_port == -1
