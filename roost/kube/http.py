"""The wire to the API server: ``kubernetes.aio`` finds the server and proves who we are, aiohttp carries the bytes.

Of ``kubernetes.aio`` only Configuration and ApiClient are used (addresses, TLS, tokens, their refresh), and only here:
its call internals are generated code that may change, hence the ceiling on its version in ``pyproject.toml``.
Importing it takes 0.35 s, so :meth:`roost.kube.client.Kube.connect` imports this module only when it is needed.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
from yarl import URL

from roost.kube.half import ApiClient, ConfigException, Configuration, load_incluster_config, load_kube_config
from roost.kube.transport import Broken, Disconnected, Request, Response, Turned
from roost.process import Unreachable

log = logging.getLogger(__name__)

CONNECTIONS = 32  # at once, without the watches
KEEPALIVE = 60.0  # seconds; the API server drops idle connections after 90 (Go's http.Server.IdleTimeout as it sets it)
BUFFER = 2**18


class Http:
    """A connection pool to one API server, with the credentials of one configuration."""

    def __init__(self, kubeconfig: str, user_agent: str) -> None:
        self._kubeconfig = kubeconfig
        self._user_agent = user_agent
        self._api: ApiClient
        self._calls: aiohttp.ClientSession
        self._watches: aiohttp.ClientSession
        self._proxy: str | None = None

    @classmethod
    async def open(cls, kubeconfig: str, user_agent: str) -> "Http":
        """Raises Unreachable if there is no usable configuration."""
        http = cls(kubeconfig, user_agent)
        await http._load()
        return http

    async def _load(self) -> None:
        """Read the configuration and build the pools from it."""
        self._api = await _client(self._kubeconfig, self._user_agent)
        context: ssl.SSLContext = self._api.rest_client.ssl_context
        self._proxy = self._api.configuration.proxy or _proxy(self._api.configuration.host)
        self._calls = _session(context, CONNECTIONS)
        self._watches = _session(context, 0)  # their own: a hundred watches must not starve one write

    async def close(self) -> None:
        await self._calls.close()
        await self._watches.close()
        await self._api.close()
        await asyncio.sleep(0)  # one turn of the loop, in which connections that were hung up are closed

    async def request(self, request: Request, seconds: float) -> Response:
        response = await self._request(request, seconds)
        if response.status == HTTPStatus.UNAUTHORIZED and await self._renew():
            response = await self._request(request, seconds)
        return response

    async def _request(self, request: Request, seconds: float) -> Response:
        async with self._answer(self._calls, request, seconds) as answer:
            return await _whole(answer)

    async def lines(self, request: Request, seconds: float, idle: float) -> AsyncGenerator[bytes, None]:
        rest = b""
        async with contextlib.AsyncExitStack() as stack:
            answer = await self._open_stream(stack, request, seconds)
            if answer.status == HTTPStatus.UNAUTHORIZED and await self._renew():
                answer = await self._open_stream(stack, request, seconds)
            if answer.status != HTTPStatus.OK:
                async with _broken(seconds):
                    raise Turned(await _whole(answer))
            stack.callback(_hang_up, answer)
            while chunk := await _chunk(answer, idle):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
        if rest:
            raise Broken("the answer ended in the middle of a line")

    async def _open_stream(
        self, stack: contextlib.AsyncExitStack, request: Request, seconds: float
    ) -> aiohttp.ClientResponse:
        async with _broken(seconds):
            return await stack.enter_async_context(await self._send(self._watches, request))

    @contextlib.asynccontextmanager
    async def _answer(
        self, session: aiohttp.ClientSession, request: Request, seconds: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with _broken(seconds), await self._send(session, request) as answer:
            yield answer

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"}
        method, url, headers, _, _ = await self._api.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query),
            header_params=headers,
            auth_settings=["BearerToken"],
        )
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if "authorization" in headers:  # a token file may end in a newline, which no header may hold
            headers["authorization"] = headers["authorization"].strip()
        try:
            return await session.request(
                method,
                URL(url, encoded=True),
                data=request.body,
                headers=headers,
                proxy=self._proxy,
                allow_redirects=False,
                server_hostname=self._api.configuration.tls_server_name,
            )
        except aiohttp.ClientConnectorCertificateError:
            await self._renew()  # the cluster's CA may have been changed: the next try knows the new one
            raise

    async def _renew(self) -> bool:
        """Read the credentials anew: tokens, certificates and CAs are rotated. False if there are none to read now."""
        try:
            fresh = await _client(self._kubeconfig, self._user_agent)
        except Unreachable as error:
            log.warning("credentials refused, and none to read anew: %s", error)
            return False
        await fresh.close()
        self._api.configuration = fresh.configuration
        context: ssl.SSLContext = self._api.rest_client.ssl_context  # the pools' own: it serves their next connections
        if fresh.configuration.ssl_ca_cert:
            context.load_verify_locations(cafile=fresh.configuration.ssl_ca_cert)
        if fresh.configuration.cert_file:
            context.load_cert_chain(fresh.configuration.cert_file, keyfile=fresh.configuration.key_file)
        return True


async def _client(kubeconfig: str, user_agent: str) -> ApiClient:
    """From *kubeconfig*; else in a Pod from its ServiceAccount; else from $KUBECONFIG or ~/.kube/config."""
    configuration = Configuration()
    # kubeadm and k3s made certificates without the extensions that OpenSSL's strict mode (Python 3.13's default) wants
    configuration.disable_strict_ssl_verification = True
    try:
        if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
            path = kubeconfig or os.environ.get("KUBECONFIG", "~/.kube/config")
            path = os.pathsep.join(str(Path(part).expanduser()) for part in path.split(os.pathsep))  # noqa: ASYNC240 - once, at start
            await load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)
        else:
            load_incluster_config(client_configuration=configuration)
        client = ApiClient(configuration)
    except (ConfigException, OSError, ssl.SSLError, ValueError) as error:
        raise Unreachable(f"no usable Kubernetes configuration ({kubeconfig or 'default'}): {error}") from error
    client.user_agent = user_agent
    return client


def _session(context: ssl.SSLContext, limit: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=context, limit=limit, keepalive_timeout=KEEPALIVE, socket_factory=_socket)
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # asyncio.timeout counts, and includes TLS
        read_bufsize=BUFFER,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},  # the servers are near: bytes are cheaper than two processors' time
    )
    # aiohttp sends a PUT or DELETE again by itself when a kept connection broke under it. The first may have been done:
    # the second would then be told "conflict", and we would believe that nothing was written.
    session._retry_connection = False  # there is no public switch; a test sees that it works
    return session


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A connection whose far side is silently gone is noticed within some 12 s, although a watch sends nothing."""
    sock = socket.socket(*address[:3])
    for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 12_000)  # ms; data that nobody acknowledges
    return sock


def _proxy(host: str) -> str | None:
    """The proxy of the environment, as client-go takes it."""
    parts = urllib.parse.urlsplit(host)
    found = urllib.request.getproxies().get(parts.scheme)
    return None if found is None or urllib.request.proxy_bypass(parts.hostname or "") else found


@contextlib.asynccontextmanager
async def _broken(seconds: float) -> AsyncIterator[None]:
    """Whatever goes wrong on the way becomes Broken, with words for a log."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except aiohttp.ServerDisconnectedError as error:
        raise Disconnected("the server closed the connection") from error
    except TimeoutError as error:
        raise Broken(f"no answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError, ConfigException, ValueError) as error:
        raise Broken(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error


async def _chunk(answer: aiohttp.ClientResponse, idle: float) -> bytes:
    """The next bytes of a stream; none at its end."""
    async with _broken(idle):
        return await answer.content.readany()


def _hang_up(answer: aiohttp.ClientResponse) -> None:
    """End a stream that we leave. Without TLS's farewell: a server that hangs would never answer it."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()


async def _whole(answer: aiohttp.ClientResponse) -> Response:
    if answer.status == HTTPStatus.UNAUTHORIZED and answer.connection and answer.connection.protocol:
        answer.connection.protocol.force_close()  # a client certificate is the connection's: begin a new one
    try:
        retry_after = float(answer.headers.get("Retry-After", 0))
    except ValueError:  # it may be a date, which the API server never sends
        retry_after = 1.0
    return Response(answer.status, await answer.read(), retry_after)
