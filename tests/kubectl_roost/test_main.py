import json
import subprocess
import sys
from pathlib import Path

import pytest

from kubectl_roost.__main__ import Exit, main
from roost.kube.client import Kube, Settings
from roost.kube.wire import NODEAGENTS, SEGMENTS, VIRTUALIPS
from roost.process import Unreachable
from tests.fakes.api import FakeApi, Refuse
from tests.kubectl_roost.bgp.routers import cluster
from tests.kubectl_roost.cluster import agent, group, seat, segment, vip


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """The API server that the command reaches."""
    far = FakeApi()

    async def connect(settings: Settings, *, user_agent: str) -> Kube:
        assert user_agent.startswith("roost/")
        if settings.kubeconfig == "nowhere":
            raise Unreachable("no usable configuration (nowhere)")
        return far.kube()

    monkeypatch.setattr(Kube, "connect", connect)
    return far


def test_all_is_well(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.put(VIRTUALIPS, vip("192.0.2.7"))
    assert main(["status"]) == Exit.WELL
    assert "192.0.2.7   shop/web" in capsys.readouterr().out


def test_something_needs_attention(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.put(VIRTUALIPS, vip("192.0.2.7", "NoHolder", "nobody holds its group"))
    assert main(["status"]) == Exit.ATTENTION
    assert "VIP 192.0.2.7: NoHolder: nobody holds its group" in capsys.readouterr().out


def test_json_is_one_object(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.put(VIRTUALIPS, vip("192.0.2.7"))
    assert main(["status", "--output", "json"]) == Exit.WELL
    assert json.loads(capsys.readouterr().out)["vips"][0]["address"] == "192.0.2.7"


@pytest.fixture
def seated(api: FakeApi) -> FakeApi:
    """A segment with two seats, one group, and its VIP."""
    api.put(VIRTUALIPS, vip("192.0.2.7"))
    api.put(SEGMENTS, segment(seat("n1", 1), seat("n2", 2), groups=(group("b-1-7", 1),)))
    return api


@pytest.mark.usefixtures("seated")
@pytest.mark.parametrize(
    ("argv", "shows"),
    [
        pytest.param(["segment"], "Segment 10.60.0.0-24: profile Default", id="all"),
        pytest.param(["segment", "10.60.0.0-24"], "n1       1        1        1      n2 1", id="one, by its name"),
        pytest.param(["segment", "--group", "b-1-7"], "Holder    n1, tenure 1, epoch 1", id="one group"),
        pytest.param(["segment", "--vip", "192.0.2.7"], "Group b-1-7 on segment", id="the group of a VIP"),
        pytest.param(["segment", "-o", "json", "--vip", "192.0.2.7"], '"next": [\n      "n2"\n    ]', id="as JSON"),
    ],
)
def test_a_segment_is_drawn(argv: list[str], shows: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == Exit.WELL
    assert shows in capsys.readouterr().out


@pytest.mark.usefixtures("seated")
def test_a_segment_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "elsewhere"]) == Exit.ATTENTION
    assert capsys.readouterr().err == "error: there is no Segment elsewhere\n"


def test_what_cannot_be_read_is_said_beside_what_can(seated: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    seated.fail(Refuse(403, "Forbidden"), "GET", VIRTUALIPS)
    assert main(["segment"]) == Exit.ATTENTION
    said = capsys.readouterr()
    assert said.err.startswith("error: VirtualIP: ")
    assert "Segment 10.60.0.0-24" in said.out


def test_a_cluster_without_seats_is_uninstalled_at_once(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.put(NODEAGENTS, agent("n1"))
    assert main(["uninstall"]) == Exit.WELL
    assert api.all(NODEAGENTS) == {}
    assert capsys.readouterr().out.splitlines()[0] == "1 nodes are excluded"


@pytest.mark.usefixtures("api")
def test_a_server_out_of_reach_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--kubeconfig", "nowhere"]) == Exit.ATTENTION
    assert capsys.readouterr().err == "error: no usable configuration (nowhere)\n"


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["statsu"], id="no such command"),
        pytest.param(["status", "--outptu", "json"], id="no such option"),
        pytest.param(["status", "--output", "yaml"], id="no such output"),
        pytest.param(["status", "--timeout", "0"], id="no time at all"),
        pytest.param(["status", "here"], id="an argument too many"),
    ],
)
def test_a_wrong_command_line_is_2(argv: list[str]) -> None:
    assert main(argv) == Exit.USAGE


@pytest.mark.parametrize("argv", [["--help"], ["status", "--help"], ["segment", "--help"], ["--version"], []])
def test_help_is_no_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == Exit.WELL
    assert capsys.readouterr().out


def test_help_does_not_wait_for_the_client_of_the_api() -> None:
    program = "import sys, kubectl_roost.__main__ as m; m.main(['--help']); sys.exit('kubernetes' in sys.modules)"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=root)


def test_sessions_are_shown(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    now = cluster()
    for one in now.agents:
        api.put(NODEAGENTS, one)
    assert main(["bgp", "n1"]) == Exit.WELL
    assert "2 of 2 sessions established" in capsys.readouterr().out
    assert main(["bgp"]) == Exit.ATTENTION
    assert "hold timer expired" in capsys.readouterr().out
    assert main(["bgp", "n9"]) == Exit.ATTENTION
    assert "there is no NodeAgent n9" in capsys.readouterr().err
