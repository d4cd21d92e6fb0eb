"""The daemon in memory keeps the contract of the real ones."""

from contextlib import AbstractAsyncContextManager

import pytest

from nodeagent.bgp.client import Client, Endpoint
from nodeagent.bgp.fake import FakeGobgpd
from tests.nodeagent.bgp.contract import AWAY, GobgpdContract


class FakeStage:
    def __init__(self, version: int) -> None:
        self.gobgpd = FakeGobgpd(version=version)
        self.gobgpd.away.add(AWAY.key)

    def connect(self) -> AbstractAsyncContextManager[Client]:
        return self.gobgpd.connect(Endpoint())

    async def die(self) -> None:
        self.gobgpd.die()

    async def come_back(self) -> None:
        self.gobgpd.come_back()


class TestFake(GobgpdContract):
    @pytest.fixture(params=[3, 4])
    def stage(self, request: pytest.FixtureRequest) -> FakeStage:
        return FakeStage(request.param)
