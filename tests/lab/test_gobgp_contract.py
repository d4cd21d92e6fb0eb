"""The real daemons, of both versions of the API, keep the contract that the one in memory keeps."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab.pki import Pki
from lab.run import Process
from nodeagent.bgp.client import Client, Endpoint
from nodeagent.bgp.gobgp import connected
from nodeagent.bgp.steps import Have
from roost.process import Unreachable
from tests.lab.speakers import Machines, machines, program
from tests.nodeagent.bgp.contract import PATIENCE, GobgpdContract

PORT = 50050


class RealStage:
    def __init__(self, made: Machines, version: int) -> None:
        self._machines, self._version = made, version
        made.kill()
        made.start(version)

    def connect(self) -> AbstractAsyncContextManager[Client]:
        return self._machines.connect()

    async def die(self) -> None:
        self._machines.kill()

    async def come_back(self) -> None:
        self._machines.start(self._version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with machines(tmp_path_factory.mktemp("machines")) as machine:
        yield machine


class TestGobgpd(GobgpdContract):
    @pytest.fixture(params=[3, 4])
    def stage(self, made: Machines, request: pytest.FixtureRequest) -> RealStage:
        return RealStage(made, request.param)


# -- TCP and TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    pki = Pki(tmp_path_factory.mktemp("keys"), "")
    pki.make(["IP:127.0.0.1"])
    return pki


@contextmanager
def listening(version: int, work: Path, *flags: str) -> Iterator[str]:
    """A gobgpd that listens on a port; where."""
    target = f"127.0.0.1:{PORT + version}"
    command = [program(version), "--api-hosts", target, "--pprof-disable", "--log-plain", *flags]
    process = Process("gobgpd", command, work / "gobgpd.log", dict(os.environ))
    try:
        yield target
    finally:
        process.sigkill()


async def have(where: Endpoint) -> Have:
    """What the daemon there does, once it listens."""
    while True:
        try:
            async with connected(where) as client:
                return await client.have()
        except Unreachable:
            await asyncio.sleep(0.05)


async def refused(where: Endpoint) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        async with connected(where):
            pass


@pytest.mark.parametrize("version", [3, 4])
async def test_a_daemon_may_listen_on_a_port(version: int, tmp_path: Path) -> None:
    with listening(version, tmp_path) as target:
        assert await asyncio.wait_for(have(Endpoint(target)), PATIENCE) == Have()


@pytest.mark.parametrize("version", [3, 4])
async def test_there_it_may_ask_for_tls(version: int, tmp_path: Path, keys: Pki) -> None:
    flags = ["--tls", f"--tls-cert-file={keys.path('apiserver.crt')}", f"--tls-key-file={keys.path('apiserver.key')}"]
    with listening(version, tmp_path, *flags) as target:
        right = Endpoint(target, ca=str(keys.path("ca.crt")))
        assert await asyncio.wait_for(have(right), PATIENCE) == Have()
        await refused(Endpoint(target))
        await refused(replace(right, ca=str(keys.path("admin.crt"))))
        with pytest.raises(Unreachable, match=r"nothing\.crt"):
            async with connected(replace(right, ca=str(tmp_path / "nothing.crt"))):
                pass


async def test_version_4_may_ask_for_the_certificate_of_the_agent(tmp_path: Path, keys: Pki) -> None:
    flags = ["--tls", f"--tls-cert-file={keys.path('apiserver.crt')}", f"--tls-key-file={keys.path('apiserver.key')}"]
    ca = str(keys.path("ca.crt"))
    with listening(4, tmp_path, *flags, f"--tls-client-ca-file={ca}") as target:
        agent = Endpoint(target, ca, str(keys.path("admin.crt")), str(keys.path("admin.key")))
        assert await asyncio.wait_for(have(agent), PATIENCE) == Have()
        await refused(Endpoint(target, ca))
