"""The client against real sockets: servers that hang, break off, drip, lie, and rotate tokens."""

import asyncio
import contextlib
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from roost import metrics
from roost.kube import client
from roost.kube.client import Conflict, Denied, Expired, Kube, Ok, Settings, Unknown
from roost.kube.wire import LEASES, SERVICES, Lease, LeaseSpec, Meta, Service
from roost.process import Unreachable

LEASE = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "5", "uid": "u"}, "spec": {}}
MINE = Lease(metadata=Meta(name="a", namespace="ns", resource_version="5"), spec=LeaseSpec(holder_identity="me"))
BOUND = 0.15  # seconds a request may take where none is answered

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def kubeconfig(path: Path, url: str, token: str = "secret") -> Path:
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "k", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "current-context": "c",
            }
        )
    )
    return path


@contextlib.asynccontextmanager
async def connected(path: Path, url: str, seconds: float = 10.0) -> AsyncIterator[Kube]:
    kube = await Kube.connect(Settings(str(kubeconfig(path / "kubeconfig", url)), seconds), user_agent="roost-test/1")
    try:
        yield kube
    finally:
        await kube.close()


@contextlib.asynccontextmanager
async def sockets(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server of bare connections; the port."""
    open_ones: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.append(writer)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in open_ones:
            writer.transport.abort()
        await server.wait_closed()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if length:
        await reader.readexactly(int(length[0].split(b":")[1]))
    return head


def plain(body: bytes, code: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (code, len(body), extra, body)


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def read_and_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    await asyncio.Event().wait()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.close()


async def half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(plain(json.dumps(LEASE).encode())[:-10])
    await writer.drain()
    writer.close()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    for byte in plain(json.dumps(LEASE).encode()):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)


async def rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def broken_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(plain(b'{"metadata": {"na'))


async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(plain(b"", b"307 Temporary Redirect", b"Location: http://127.0.0.1:1/\r\n"))


async def a_proxys_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await request_of(reader)
    writer.write(plain(b"<html>bad gateway</html>", b"502 Bad Gateway"))


@pytest.mark.parametrize(
    ("serve", "scheme"),
    [
        pytest.param(hang, "http", id="accepts and says nothing"),
        pytest.param(hang, "https", id="never finishes the TLS handshake"),
        pytest.param(rubbish, "https", id="speaks no TLS"),
        pytest.param(read_and_hang, "http", id="reads the request and says nothing"),
        pytest.param(hang_up, "http", id="reads the request and hangs up"),
        pytest.param(half_a_body, "http", id="breaks off in the body"),
        pytest.param(drip, "http", id="drips"),
        pytest.param(rubbish, "http", id="speaks another protocol"),
        pytest.param(broken_json, "http", id="broken JSON"),
        pytest.param(moved, "http", id="redirects"),
        pytest.param(a_proxys_page, "http", id="a proxy's error page"),
    ],
)
async def test_no_good_answer(serve: Serve, scheme: str, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(30),
        sockets(serve) as port,
        connected(tmp_path, f"{scheme}://127.0.0.1:{port}", BOUND) as kube,
    ):
        with pytest.raises(Unreachable, match=r"lease|Lease"):
            await kube.get(LEASES, "a", namespace="ns")
        with pytest.raises(Unreachable):
            await kube.list(LEASES)
        with pytest.raises(Unreachable):
            await anext(kube.watch(LEASES, "5"))
        assert isinstance(await kube.put(LEASES, MINE), Unknown)
        assert isinstance(await kube.create(LEASES, MINE), Unknown)
        assert isinstance(await kube.patch(LEASES, "a", {}, namespace="ns"), Unknown)
        if serve is not broken_json:  # a DELETE needs nothing from the answer's body
            assert isinstance(await kube.delete(LEASES, "a", namespace="ns"), Unknown)


async def test_nobody_listens(tmp_path: Path) -> None:
    async with connected(tmp_path, "http://127.0.0.1:1") as kube:
        with pytest.raises(Unreachable):
            await kube.get(LEASES, "a", namespace="ns")
        assert isinstance(await kube.put(LEASES, MINE), Unknown)


async def test_within_bounds_each_request(tmp_path: Path) -> None:
    async with sockets(hang) as port, connected(tmp_path, f"http://127.0.0.1:{port}", 30) as kube:
        async with asyncio.timeout(5):
            with pytest.raises(Unreachable, match=r"no answer within 0.05 s"):
                await kube.within(0.05).get(LEASES, "a", namespace="ns")


async def test_a_write_is_never_sent_twice_by_itself(tmp_path: Path) -> None:
    """A kept connection that breaks under a PUT leaves it open whether it was done; a second try might hide that."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await request_of(reader)).split()[0])
        writer.write(plain(json.dumps(LEASE).encode()))
        seen.append((await request_of(reader)).split()[0])
        writer.close()

    async with sockets(serve) as port, connected(tmp_path, f"http://127.0.0.1:{port}") as kube:
        assert await kube.get(LEASES, "a", namespace="ns")
        assert isinstance(await kube.put(LEASES, MINE), Unknown)
        assert seen == [b"GET", b"PUT"]
        assert await kube.get(LEASES, "a", namespace="ns")
        assert await kube.get(LEASES, "a", namespace="ns")  # a read is asked again, on a fresh connection
        assert seen == [b"GET", b"PUT", b"GET", b"GET", b"GET"]


async def test_connections_are_kept_and_watches_do_not_take_them(tmp_path: Path) -> None:
    peers: set[Any] = set()
    watches = 0
    all_open, end = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            nonlocal watches
            watches += 1
            if watches == 50:
                all_open.set()
            await end.wait()
            return response
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.json_response(LEASE)

    async with answering(answer) as url, connected(tmp_path, url) as kube, asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(_first(kube))
        await all_open.wait()
        for _ in range(20):
            assert isinstance(await kube.put(LEASES, MINE), Ok)
        assert len(peers) == 1
        end.set()


async def _first(kube: Kube) -> None:
    async for _ in kube.watch(LEASES, "5"):
        break


async def test_who_we_are(tmp_path: Path) -> None:
    headers: list[Any] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        headers.append(request.headers)
        return web.json_response(LEASE)

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        await kube.get(LEASES, "a", namespace="ns")
    (seen,) = headers
    assert seen["User-Agent"] == "roost-test/1"
    assert seen["Authorization"] == "Bearer secret"
    assert seen["Accept"] == "application/json"


async def test_a_rotated_token_is_read_anew_once(tmp_path: Path) -> None:
    seen: list[str] = []
    valid = {"Bearer second"}

    async def answer(request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"]
        seen.append(token)
        if token not in valid:
            return web.json_response({"kind": "Status", "reason": "Unauthorized", "message": "no"}, status=401)
        return web.json_response(LEASE)

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        kubeconfig(tmp_path / "kubeconfig", url, "second\n")
        assert isinstance(await kube.put(LEASES, MINE), Ok)
        assert await kube.get(LEASES, "a", namespace="ns")
        assert seen == ["Bearer secret", "Bearer second", "Bearer second"]
        valid.clear()
        with pytest.raises(Denied, match="does not know us"):
            await kube.get(LEASES, "a", namespace="ns")
        assert len(seen) == 5
        assert isinstance(await kube.put(LEASES, MINE), Conflict)


async def test_a_server_that_asks_for_patience_gets_it_from_reads_only(tmp_path: Path) -> None:
    times: list[float] = []

    async def answer(_: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        if len(times) < 3:
            return web.json_response({"message": "slow down"}, status=429, headers={"Retry-After": "0.2"})
        return web.json_response(LEASE)

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        assert await kube.get(LEASES, "a", namespace="ns")
        assert times[2] - times[0] >= 0.4
        times.clear()
        outcome = await kube.put(LEASES, MINE)
        assert isinstance(outcome, Conflict)
        assert outcome.code == 429
        assert len(times) == 1


@pytest.mark.parametrize("code", [400, 403, 404, 405, 409, 410, 413, 415, 422, 429, 499])
async def test_every_refusal_of_a_write_is_a_conflict(code: int, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"reason": "Because", "message": "no"}, status=code)

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        outcome = await kube.put(LEASES, MINE)
        assert isinstance(outcome, Conflict)
        assert (outcome.code, outcome.reason) == (code, "Because")


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
async def test_every_other_answer_to_a_write_leaves_it_open(code: int, tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"message": "etcdserver: request timed out"}, status=code)

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        assert isinstance(await kube.put(LEASES, MINE), Unknown)


async def test_a_list_whose_continuation_expires_begins_anew(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("continue", "-") + "/" + request.query.get("limit", "-"))
        if "continue" in request.query:
            return web.json_response({"reason": "Expired", "message": "too old"}, status=410)
        following = {"continue": "next"} if "limit" in request.query else {}
        return web.json_response({"metadata": {"resourceVersion": "9"} | following, "items": [LEASE]})

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        listing = await kube.list(LEASES)
    assert len(listing.items) == 1
    assert asked == ["-/500", "next/500"] * 3 + ["-/-"]


async def test_a_list_may_be_null(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": None})

    async with answering(answer) as url, connected(tmp_path, url) as kube:
        assert (await kube.list(LEASES)).items == ()


def streaming(*chunks: bytes, pause: float = 0.0, open_end: bool = False) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause)
        if open_end:
            await asyncio.Event().wait()
        return response

    return answer


def line(type_: str, object_: Any) -> bytes:
    return json.dumps({"type": type_, "object": object_}).encode() + b"\n"


async def test_a_watch_reads_lines_however_they_are_cut(tmp_path: Path) -> None:
    big = {"metadata": {"name": "big", "annotations": {"a": "x" * 3_000_000}}}
    text = line("ADDED", LEASE) + line("MODIFIED", big) + line("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
    pieces = [text[:7], text[7:200], *(text[at : at + 100_000] for at in range(200, len(text), 100_000))]
    async with answering(streaming(*pieces)) as url, connected(tmp_path, url) as kube:
        changes = [change async for change in kube.watch(SERVICES, "5")]
    assert [change.type for change in changes] == ["ADDED", "MODIFIED", "BOOKMARK"]
    assert isinstance(changes[1].value, Service)
    assert changes[2].resource_version == "77"


async def test_a_watch_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "IDLE", 0.1)
    async with answering(streaming(line("ADDED", LEASE), open_end=True)) as url, connected(tmp_path, url) as kube:
        watch = kube.watch(LEASES, "5")
        assert (await anext(watch)).type == "ADDED"
        with pytest.raises(Unreachable, match=r"no answer within 0.1 s"):
            await anext(watch)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        pytest.param(line("ERROR", {"code": 410, "reason": "Expired"}), Expired, id="410 in the stream"),
        pytest.param(line("ERROR", {"code": 500, "message": "etcd"}), Unreachable, id="500 in the stream"),
        pytest.param(b'{"type": "ADDED", "obj\n', Unreachable, id="a broken line"),
    ],
)
async def test_a_watch_that_ends_badly(last: bytes, error: type[Exception], tmp_path: Path) -> None:
    async with answering(streaming(line("ADDED", LEASE), last)) as url, connected(tmp_path, url) as kube:
        watch = kube.watch(LEASES, "5")
        await anext(watch)
        with pytest.raises(error):
            await anext(watch)


async def test_requests_are_counted(tmp_path: Path) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(LEASE)

    count = metrics.API_REQUESTS.labels("update", "leases", "200")
    before = count._value.get()
    async with answering(answer) as url, connected(tmp_path, url) as kube:
        await kube.put(LEASES, MINE)
    assert count._value.get() == before + 1


async def test_no_configuration_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no usable Kubernetes configuration"):
        await Kube.connect(Settings(str(tmp_path / "nowhere")), user_agent="roost-test/1")


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    crt, key = directory / f"{name}.crt", directory / f"{name}.key"
    subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", *subject,
            "-keyout", key, "-out", crt)  # fmt: skip
    return crt, key


async def test_a_rotated_authority_is_read_anew(tmp_path: Path) -> None:
    """The server shows a certificate of a new CA; the kubeconfig's CA file follows."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(plain(json.dumps(LEASE).encode()))

    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*new)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(old[0].read_bytes())
    async with sockets(serve, context) as port:
        config = json.loads(kubeconfig(tmp_path / "kubeconfig", f"https://127.0.0.1:{port}").read_text())
        config["clusters"][0]["cluster"] = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(ca)}
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        kube = await Kube.connect(Settings(str(tmp_path / "kubeconfig")), user_agent="roost-test/1")
        try:
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await kube.get(LEASES, "a", namespace="ns")
            ca.write_bytes(new[0].read_bytes())
            with contextlib.suppress(Unreachable):  # this one finds out
                await kube.get(LEASES, "a", namespace="ns")
            assert await kube.get(LEASES, "a", namespace="ns")
        finally:
            await kube.close()
