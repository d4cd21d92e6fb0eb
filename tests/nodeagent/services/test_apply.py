"""What kube-proxy answers at a healthCheckNodePort, how it is read, and when it is asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from nodeagent.services import apply
from nodeagent.services.apply import HealthChecks, ask, read
from nodeagent.services.plan import Check
from tests.fakes.clock import FakeClock, settle

WEB = ("shop", "web")
HERE, ELSEWHERE = ip_address("127.0.0.1"), ip_address("127.0.0.2")


def said(status: str, name: str = "web", endpoints: int = 1) -> bytes:
    """As kube-proxy of Kubernetes 1.36 writes it."""
    body = (
        f'{{\n\t"service": {{\n\t\t"namespace": "shop",\n\t\t"name": "{name}"\n\t}},\n\t"localEndpoints": {endpoints},'
    )
    body += '\n\t"serviceProxyHealthy": true\n}'
    head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nX-Load-Balancing-Endpoint-Weight: {endpoints}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


YES, NO = said("200 OK"), said("503 Service Unavailable", endpoints=0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(YES, True, id="200 is yes"),
        pytest.param(NO, False, id="503 is no"),
        pytest.param(said("200 OK", "api"), None, id="about another Service: it is none"),
        pytest.param(said("404 Not Found"), None, id="any other code is none"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", None, id="kube-proxy that has just closed the check says nothing"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nok", None, id="somebody else listens there"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n[1]", None, id="somebody else who speaks JSON"),
        pytest.param(YES[:-20], None, id="half an answer"),
        pytest.param(b"", None, id="silence"),
        pytest.param(b"SSH-2.0-x\r\n", None, id="another protocol"),
    ],
)
def test_an_answer_is_read(answer: bytes, expected: bool | None) -> None:
    assert read(answer, WEB) is expected


@asynccontextmanager
async def proxy(answer: bytes | None, address: str = str(HERE)) -> AsyncIterator[int]:
    """Something that answers *answer* (None: never) to everybody; its port."""
    asked: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        assert (await reader.readline()).startswith(b"GET /healthz HTTP/1.")
        if answer is not None:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, address)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in asked:
            writer.close()


@pytest.mark.parametrize(("answer", "expected"), [pytest.param(YES, True, id="yes"), pytest.param(NO, False, id="no")])
async def test_the_first_address_that_listens_answers(answer: bytes, expected: bool) -> None:
    async with proxy(answer, str(ELSEWHERE)) as port:
        assert await ask(Check(WEB, 4, port, (HERE, ELSEWHERE))) is expected


async def test_nobody_listens() -> None:
    async with proxy(YES) as port:
        pass
    assert await ask(Check(WEB, 4, port, (HERE,))) is None


async def test_who_does_not_speak_in_time_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "TIMEOUT", 0.05)
    async with proxy(None) as port:
        assert await ask(Check(WEB, 4, port, (HERE, ELSEWHERE))) is None


class Proxies:
    """What is to be asked, what would be answered, and what came of it."""

    def __init__(self) -> None:
        self.wanted: tuple[Check, ...] = ()
        self.answers: dict[str, bool | None] = {}
        self.asked: list[str] = []
        self.told: list[tuple[str, int, bool | None]] = []
        self.under_way = self.most = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, check: Check) -> bool | None:
        self.asked.append(check.service[1])
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.gate.wait()
        self.under_way -= 1
        return self.answers.get(check.service[1])

    def seen(self, service: tuple[str, str], version: int, answer: bool | None) -> None:
        self.told.append((service[1], version, answer))


@asynccontextmanager
async def running(proxies: Proxies) -> AsyncIterator[Callable[[float], Awaitable[None]]]:
    clock = FakeClock()
    task = asyncio.create_task(HealthChecks(lambda: proxies.wanted, proxies.seen, clock, proxies.ask).run())
    try:
        await settle()
        yield clock.advance
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def check(name: str) -> Check:
    return Check(("shop", name), 4, 30_000, (HERE,))


async def test_a_new_check_is_put_at_once_then_ever_more_seldom_down_to_once_a_second() -> None:
    proxies = Proxies()
    proxies.wanted, proxies.answers = (check("web"),), {"web": True}
    async with running(proxies) as advance:
        assert proxies.told == [("web", 4, True)]
        await advance(2)
        early = len(proxies.asked)
        await advance(20)
        later = len(proxies.asked) - early
    assert 4 <= early <= 7
    assert 16 <= later <= 26
    assert set(proxies.told) == {("web", 4, True)}


async def test_what_is_no_longer_asked_is_told_as_unknown() -> None:
    proxies = Proxies()
    proxies.wanted, proxies.answers = (check("web"), check("api")), {"web": True, "api": True}
    async with running(proxies) as advance:
        proxies.wanted = (check("api"),)
        proxies.told.clear()
        await advance(1)
        assert proxies.told.count(("web", 4, None)) == 1
        assert {told for told in proxies.told if told[0] == "api"} == {("api", 4, True)}


async def test_no_about_a_new_endpoint_counts_only_once_kube_proxy_had_time_to_learn_of_it() -> None:
    proxies = Proxies()
    proxies.wanted, proxies.answers = (check("web"),), {"web": False}
    async with running(proxies) as advance:
        await advance(1.2)
        assert set(proxies.told) == {("web", 4, None)}
        await advance(1.5)
        assert proxies.told[-1] == ("web", 4, False)


async def test_no_after_a_yes_counts_at_once() -> None:
    proxies = Proxies()
    proxies.wanted, proxies.answers = (check("web"),), {"web": True}
    async with running(proxies) as advance:
        proxies.answers = {"web": False}
        await advance(0.3)
        assert proxies.told[-1] == ("web", 4, False)


async def test_no_more_than_a_few_questions_are_under_way_at_a_time() -> None:
    proxies = Proxies()
    proxies.wanted = tuple(check(f"s{number}") for number in range(30))
    proxies.gate.clear()
    async with running(proxies):
        assert proxies.most == apply.AT_ONCE
        proxies.gate.set()
        await settle()
        assert proxies.most == apply.AT_ONCE
        assert set(proxies.asked) == {f"s{number}" for number in range(30)}
