"""The real daemons, of both versions of the API, keep the contract that the one in memory keeps."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from nodeagent.bgp.client import Client
from tests.lab.speakers import Machines, machines
from tests.nodeagent.bgp.contract import GobgpdContract


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
