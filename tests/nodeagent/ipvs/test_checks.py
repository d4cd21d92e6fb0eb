"""API servers are asked over real connections, each by itself."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from nodeagent.ipvs.checks import Checked, Checks, Prober
from nodeagent.ipvs.health import State, Verdict
from nodeagent.ipvs.settings import Check, Settings
from nodeagent.ipvs.values import Place
from roost.process import RealClock

LOOPBACK = ip_address("127.0.0.1")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is its own CA, for the name that every API server's bears; and a CA that is another."""
    directory = tmp_path_factory.mktemp("pki")
    for name in ("ca", "other"):
        key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
        made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        named = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:kubernetes.default.svc"]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(["openssl", *made, *named, *files], check=True, capture_output=True)
    return directory


@asynccontextmanager
async def serving(answer: bytes | None, tls: Path | None) -> AsyncIterator[Place]:
    """An API server that gives everybody *answer*; None: none at all, and it keeps the connection."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if tls else None
    if context and tls:
        context.load_cert_chain(tls / "ca.crt", tls / "ca.key")
    handlers = set[asyncio.Task[object]]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        handlers.add(task)
        try:
            if answer is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
            await reader.read()
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(handle, str(LOOPBACK), 0, ssl=context)
    yield Place(LOOPBACK, server.sockets[0].getsockname()[1])
    server.close()
    if handlers:
        await asyncio.wait(handlers)


ANSWERS = {
    "ready": (b"HTTP/1.1 200 OK\r\n\r\nok", Verdict.WELL, ""),
    "not ready": (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", Verdict.FAILED, "500 Internal Server Error"),
    "it does not speak to strangers": (b"HTTP/1.1 401 Unauthorized\r\n\r\n", Verdict.WELL, ""),
    "it forbids it": (b"HTTP/1.1 403 Forbidden\r\n\r\n", Verdict.WELL, ""),
    "no HTTP": (b"SSH-2.0-OpenSSH_9\r\n", Verdict.FAILED, ""),
}


def settings(ca: Path | None = None, check: Check = Check.READYZ) -> Settings:
    return Settings(lb_check=check, lb_check_ca=ca, lb_check_period=0.1, lb_check_timeout=0.3)


@pytest.mark.parametrize(("answer", "verdict", "why"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_answers(pki: Path, answer: bytes, verdict: Verdict, why: str) -> None:
    async with serving(answer, pki) as place:
        checked = await Prober(settings(pki / "ca.crt")).ask(place)
    assert checked.verdict == verdict
    assert why in checked.why


async def test_a_server_with_another_cas_certificate_is_none(pki: Path) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nok", pki) as place:
        checked = await Prober(settings(pki / "other.crt")).ask(place)
        assert checked.verdict == Verdict.FAILED
        assert "certificate verify failed" in checked.why
        assert (await Prober(settings()).ask(place)).verdict == Verdict.WELL  # nobody said which CA it should be


async def test_a_certificate_for_another_name_is_none(pki: Path) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nok", pki) as place:
        strict = replace(settings(pki / "ca.crt"), lb_check_name="elsewhere")
        assert (await Prober(strict).ask(place)).verdict == Verdict.FAILED


async def test_a_ca_that_is_written_anew_is_read_anew(pki: Path, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    prober = Prober(settings(ca))
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nok", pki) as place:
        assert "lb-check-ca" in (await prober.ask(place)).why
        ca.write_bytes((pki / "other.crt").read_bytes())
        assert (await prober.ask(place)).verdict == Verdict.FAILED
        fresh = tmp_path / "fresh"
        fresh.write_bytes((pki / "ca.crt").read_bytes())
        fresh.replace(ca)
        assert (await prober.ask(place)).verdict == Verdict.WELL


async def test_where_nobody_listens_it_is_refused(pki: Path) -> None:
    async with serving(None, None) as place:
        pass
    for check in Check:
        assert await Prober(settings(check=check)).ask(place) == Checked(Verdict.REFUSED, "connection refused")


async def test_tcp_asks_for_a_connection_only() -> None:
    async with serving(None, None) as place:
        assert await Prober(settings(check=Check.TCP)).ask(place) == Checked(Verdict.WELL)


class Watched:
    """Checks, and waiting for what they say."""

    def __init__(self, settings: Settings, ask: Callable[[Place], object] | None = None) -> None:
        self.woken = asyncio.Event()
        self.checks = Checks(settings, RealClock(), self.woken.set, ask)  # type: ignore[arg-type]

    async def when(self, **states: Place) -> None:
        async with asyncio.timeout(10):
            while any(self.state(place) != State[name.upper()] for name, place in states.items()):
                self.woken.clear()
                await self.woken.wait()

    def state(self, place: Place) -> State:
        return self.checks.healths[place].state if place in self.checks.healths else State.UNKNOWN


async def test_one_that_hangs_keeps_nobody_waiting(pki: Path) -> None:
    async with serving(None, pki) as hanging, serving(ANSWERS["ready"][0], pki) as well:
        watched = Watched(settings(pki / "ca.crt"))
        watched.checks.follow([hanging, well])
        await watched.when(up=well)
        await watched.when(down=hanging)
        assert "no answer within 0.3 s" in watched.checks.healths[hanging].why
        watched.checks.follow([well])
        assert watched.checks.healths.keys() == {well}
        await watched.checks.stop()


async def test_a_bug_in_a_check_is_not_swallowed() -> None:
    place = Place(LOOPBACK, 1)

    async def ask(_: Place) -> Checked:
        raise ZeroDivisionError

    watched = Watched(settings(), ask)
    watched.checks.follow([place])
    await watched.woken.wait()
    with pytest.raises(ZeroDivisionError):
        watched.checks.follow([place])
    await watched.checks.stop()
