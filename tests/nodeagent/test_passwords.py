"""The passwords of BGP sessions, as Secrets come, change, go, and must not be read."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from nodeagent.passwords import Passwords
from roost.kube import wire
from roost.process import RealClock
from roost.words import NAMESPACE
from tests.fakes.api import FakeApi, Refuse


def secret(name: str, **data: bytes) -> wire.Secret:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return wire.Secret(metadata=wire.Meta(name=name, namespace=NAMESPACE), data=encoded)


@asynccontextmanager
async def following(api: FakeApi) -> AsyncIterator[Passwords]:
    passwords = Passwords(api.kube(), RealClock(), lambda: None)
    task = asyncio.create_task(passwords.run())
    try:
        yield passwords
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def test_only_what_is_named_is_read() -> None:
    api = FakeApi()
    api.put(wire.SECRETS, secret("tor-a", password=b"s3cret\n"))
    api.put(wire.SECRETS, secret("other", password=b"hidden"))
    async with following(api) as passwords:
        assert passwords.settled, "nothing is needed"
        passwords.follow(["tor-a"])
        assert not passwords.settled
        await until(lambda: passwords.settled)
        assert passwords.known() == {("tor-a", "password"): "s3cret"}
        assert not [request for request in api.requests if "tor-a" not in request.path + str(request.query)]


async def test_it_follows_changes_and_forgets_what_is_not_needed() -> None:
    api = FakeApi()
    async with following(api) as passwords:
        passwords.follow(["tor-a"])
        await until(lambda: passwords.settled)
        assert passwords.known() == {}, "it is not there, and that is known"
        api.put(wire.SECRETS, secret("tor-a", password=b"one"))
        await until(lambda: passwords.known() == {("tor-a", "password"): "one"})
        api.put(wire.SECRETS, secret("tor-a", password=b"two", other=b"\xff\xfe"))
        await until(lambda: passwords.known() == {("tor-a", "password"): "two"})
        passwords.follow([])
        assert passwords.known() == {}
        assert passwords.settled


async def test_a_secret_that_must_not_be_read_is_told_and_holds_nothing_up() -> None:
    api = FakeApi()
    api.fail(Refuse(403, "Forbidden", "secrets tor-a is forbidden"), "GET", wire.SECRETS, times=100)
    async with following(api) as passwords:
        passwords.follow(["tor-a"])
        await until(lambda: passwords.settled)
        assert "forbidden" in passwords.denied["tor-a"]
        assert passwords.known() == {}
