"""Settings: file below environment below flags, and every mistake said at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

import pytest

from roost.options import describe, load
from roost.values import also
from roost.words import Address


@dataclass(frozen=True, slots=True)
class Gate:
    timeout: float = 3.0
    """Seconds until it shuts."""
    when_cut_off: Literal["Hold", "Stop"] = "Stop"  # what to do
    strict: bool = True
    """Whether it is strict."""
    ports: tuple[int, ...] = (1, 2)
    """Ports."""

    def __post_init__(self) -> None:
        if self.timeout < 0:
            raise ValueError("timeout must not be negative")


@dataclass(frozen=True, slots=True)
class Kube:
    timeout: float = 5.0
    """Seconds
    a request may take."""
    kubeconfig: str = ""
    """A file."""


@dataclass(frozen=True, slots=True)
class Settings:
    node_name: str
    """Name of this node."""
    interfaces: tuple[str, ...] = ()
    """Interfaces that may be used."""
    gateway: Address | None = None
    """The anchor."""
    kube: Kube = field(default_factory=Kube)
    gate: Gate = Gate()


def settings(*argv: str, **environ: str) -> Settings:
    return load(Settings, program="agent", argv=argv, environ=environ)


def mistakes(capsys: pytest.CaptureFixture[str], *argv: str, **environ: str) -> list[str]:
    with pytest.raises(SystemExit) as caught:
        settings(*argv, **environ)
    assert caught.value.code == 2
    return [line.removeprefix("agent: ") for line in capsys.readouterr().err.splitlines()[:-1]]


def test_defaults() -> None:
    assert settings("--node-name", "n1") == Settings("n1")


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        pytest.param(["--interfaces", "a,b", "--interfaces=c"], {}, Settings("n1", ("a", "b", "c")), id="lists add up"),
        pytest.param([], {"ROOST_INTERFACES": "a, b,"}, Settings("n1", ("a", "b")), id="lists split on commas"),
        pytest.param(["--no-strict"], {}, Settings("n1", gate=Gate(strict=False)), id="a flag switched off"),
        pytest.param([], {"ROOST_STRICT": "No"}, Settings("n1", gate=Gate(strict=False)), id="a word switched off"),
        pytest.param([], {"ROOST_STRICT": ""}, Settings("n1"), id="empty is unset"),
        pytest.param(["--gate-timeout", "1"], {}, Settings("n1", gate=Gate(1)), id="room in front where two share it"),
        pytest.param([], {"ROOST_KUBE_TIMEOUT": "1"}, Settings("n1", kube=Kube(1)), id="the same in the environment"),
        pytest.param(["--when-cut-off=hold"], {}, Settings("n1", gate=Gate(when_cut_off="Hold")), id="a choice"),
        pytest.param(["--gateway=fe80::1"], {}, Settings("n1", gateway=ip_address("fe80::1")), id="an address"),
        pytest.param(["--ports", "5"], {"ROOST_PORTS": "6"}, Settings("n1", gate=Gate(ports=(5,))), id="flag over env"),
    ],
)
def test_sources(argv: list[str], environ: Mapping[str, str], expected: Settings) -> None:
    assert settings("--node-name", "n1", *argv, **environ) == expected


def test_the_file_is_below_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "roost.yaml"
    file.write_text("nodeName: n1\nkube: {timeout: 7, kubeconfig: k}\nports: [1, '2', 3]\nwhen-cut-off: Hold\n")
    expected = Settings("n1", kube=Kube(7, "other"), gate=Gate(when_cut_off="Hold", ports=(1, 2, 3)))
    assert settings(f"--config={file}", ROOST_KUBECONFIG="other") == expected
    assert settings(ROOST_KUBECONFIG="other", ROOST_CONFIG=str(file)) == expected


def test_all_mistakes_are_said_at_once_with_their_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "roost.yaml"
    file.write_text("gate: {timeout: soon}\nnodeName: [a]\n")
    found = mistakes(capsys, f"--config={file}", "--gateway=1.2.3", "--ports=1,x", ROOST_STRICT="perhaps")
    assert found == [
        f"nodeName in {file}: ['a'] is not one value",
        "--gateway: '1.2.3' is not an IP address ('1.2.3' does not appear to be an IPv4 or IPv6 address)",
        f"gate.timeout in {file}: 'soon' is not a number",
        "ROOST_STRICT: 'perhaps' is not true or false",
        "--ports: 'x' is not a whole number",
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param([], "--node-name (ROOST_NODE_NAME) must be given", id="missing"),
        pytest.param(
            ["--node-name=a", "--gate-timeout=-1"], "gate: timeout must not be negative", id="the room's check"
        ),
        pytest.param(["--node-name=a", "--nod-name=b"], "--nod-name", id="unknown flag"),
        pytest.param(["--node-name=a", "--when-cut-off=no"], "'no' is not one of Hold, Stop", id="no such choice"),
        pytest.param(["--config=/nowhere"], "file /nowhere: [Errno 2] No such file", id="no such file"),
        pytest.param(["--node-name=a", "--ports"], "--ports", id="a flag without its value"),
    ],
)
def test_one_mistake(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert any(said in line for line in mistakes(capsys, *argv))


def test_unknown_names_get_a_warning_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "roost.yaml"
    file.write_text("nodeName: n1\nkube: {kubconfig: x}\ninterfacse: [a]\n")
    kubernetes_own = {"ROOST_API_SERVICE_HOST": "1", "ROOST_API_PORT_443_TCP_ADDR": "1", "ROOST_API_PORT": "1"}
    assert settings(f"--config={file}", ROOST_NODENAME="x", **kubernetes_own) == Settings("n1")
    assert capsys.readouterr().err.splitlines() == [
        f"agent: warning: kube.kubconfig in {file} is no setting; the nearest is kubeconfig",
        f"agent: warning: interfacse in {file} is no setting; the nearest is interfaces",
        "agent: warning: ROOST_NODENAME in the environment is no setting; the nearest is ROOST_NODE_NAME",
    ]


def test_help_names_flag_environment_and_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as caught:
        settings("--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in (
        "--kube-timeout",
        "Seconds a request may take. [env: ROOST_KUBE_TIMEOUT] [default: 5.0]",
        "what to do [env: ROOST_WHEN_CUT_OFF] [default: Stop]",
        "[env: ROOST_NODE_NAME] [required]",
        "[env: ROOST_PORTS] [default: 1,2]",
        "--no-strict",
    ):
        assert part in text


def test_every_option_is_described() -> None:
    assert [option.flag for option in describe(Settings)] == [
        "--node-name",
        "--interfaces",
        "--gateway",
        "--kube-timeout",
        "--kubeconfig",
        "--gate-timeout",
        "--when-cut-off",
        "--strict",
        "--ports",
    ]
    assert all(option.help for option in describe(Settings))


def test_a_program_may_give_a_room_other_defaults() -> None:
    @dataclass(frozen=True, slots=True)
    class Other:
        gate: Gate = Gate(timeout=9)

    assert load(Other, program="other", argv=["--no-strict"], environ={}) == Other(Gate(timeout=9, strict=False))


@dataclass(frozen=True, slots=True)
class Pair:
    """Two numbers, as people write them."""

    left: int
    right: int

    @classmethod
    def from_text(cls, text: str) -> "Pair":
        left, _, right = text.partition("=")
        if not (left.isdigit() and right.isdigit()):
            raise ValueError(f"{left} is no half of a pair")
        return cls(int(left), int(right))


@dataclass(frozen=True, slots=True)
class Speaker:
    asn: int = field(default=65000, metadata=also("bgp_as", "AS"))
    """Our number."""
    password: str = field(default="", repr=False)
    """A secret."""
    pin: int = field(default=0, repr=False)
    """Another."""
    pairs: tuple[Pair, ...] = ()
    """Pairs."""


def speaker(*argv: str, **environ: str) -> Speaker:
    return load(Speaker, program="agent", argv=argv, environ=environ)


@pytest.mark.parametrize(
    ("environ", "asn", "warned"),
    [
        pytest.param({"bgp_as": "1"}, 1, [], id="another program's name will do"),
        pytest.param({"AS": "2"}, 2, [], id="and so will each of them"),
        pytest.param({"bgp_as": ""}, 65000, [], id="empty is unset there too"),
        pytest.param(
            {"bgp_as": "1", "ROOST_ASN": "3"},
            3,
            ["agent: warning: bgp_as in the environment is not used: ROOST_ASN is there"],
            id="our own name wins, and that is said",
        ),
        pytest.param({"bgp_as": "3", "ROOST_ASN": "3"}, 3, [], id="two names that agree are nothing to speak of"),
        pytest.param({"BGP_AS": "1"}, 65000, [], id="case matters, as it does to that program"),
    ],
)
def test_a_setting_with_other_names(
    environ: Mapping[str, str], asn: int, warned: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert speaker(**environ).asn == asn
    assert capsys.readouterr().err.splitlines() == warned


def test_a_flag_wins_over_another_programs_name() -> None:
    assert speaker("--asn=9", bgp_as="1").asn == 9


def test_a_wrong_value_is_told_by_the_name_it_was_found_under(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speaker(bgp_as="x")
    assert "agent: bgp_as: 'x' is not a whole number" in capsys.readouterr().err


def test_the_help_shows_the_other_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        speaker("--help")
    assert "[env: ROOST_ASN, bgp_as, AS]" in capsys.readouterr().out


def test_a_secret_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hush" not in repr(speaker(ROOST_PASSWORD="hush"))
    with pytest.raises(SystemExit):
        speaker(ROOST_PIN="hush")
    said = capsys.readouterr().err
    assert "agent: ROOST_PIN: it is not NUMBER (what was given is not shown)" in said
    assert "hush" not in said


def test_a_type_with_a_notation_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speaker(ROOST_PAIRS="1=2, 3=4").pairs == (Pair(1, 2), Pair(3, 4))
    with pytest.raises(SystemExit):
        speaker(ROOST_PAIRS="a=2,1=1,b=3")
    assert "agent: ROOST_PAIRS: a is no half of a pair; b is no half of a pair" in capsys.readouterr().err
    file = tmp_path / "roost.yaml"
    file.write_text("pairs: [[1=2]]\n")
    with pytest.raises(SystemExit):
        speaker(f"--config={file}")
    assert f"agent: pairs in {file}: it must be text" in capsys.readouterr().err
