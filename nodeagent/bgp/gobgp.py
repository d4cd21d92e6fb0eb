"""A gobgpd over gRPC: speaks values, and hides which version of the API it is. Imported only where BGP is wanted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

import grpc
import grpc.aio

from nodeagent.bgp.client import Endpoint, NotAccepted, Status, Stopped
from nodeagent.bgp.dialect import EXPORT, GLOBAL_TABLE, IMPORT, STATES, Dialect
from nodeagent.bgp.gobgp3 import Gobgp3
from nodeagent.bgp.gobgp4 import Gobgp4
from nodeagent.bgp.rules import Rule
from nodeagent.bgp.schema import Message
from nodeagent.bgp.steps import Have
from nodeagent.bgp.values import Prefix, Session, Speaker
from roost.process import Unreachable

log = logging.getLogger(__name__)

TIMEOUT = 5.0  # seconds for a call that changes one thing
LIST_TIMEOUT = 30.0  # for one that reads or writes everything
BATCH = 1000  # paths in a message of a stream: 28,000 a second instead of 7,000 with one each
OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of our own, with no back-off from an earlier one
)
STOPPED = "server stopped"  # how all that GoBGP 4 says after StopBgp ends
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class Gobgpd:
    """One connection to a daemon. Calls raise Unreachable when it does not answer, NotAccepted when it says no."""

    def __init__(self, channel: grpc.aio.Channel, dialect: Dialect, where: Endpoint) -> None:
        self._channel, self._dialect, self._where = channel, dialect, where

    @property
    def restartable(self) -> bool:
        return self._dialect.RESTARTABLE

    # -- reading ------------------------------------------------------------------------------------------------------

    async def have(self, paths: Mapping[Prefix, str] | None = None) -> Have:
        """All that the daemon does now; *paths*, if given, are taken for what is in its table."""
        speaker = self._dialect.speaker(await self._call("GetBgp"))
        if speaker is None:
            return Have()
        rules = await self._rules()
        peers = {peer.key: peer for peer in [self._dialect.peer(m) async for m in self._peers()]}
        return Have(speaker, rules, peers, await self.paths() if paths is None else paths)

    async def paths(self) -> dict[Prefix, str]:
        """The tag of each path that is announced from here."""
        found: dict[Prefix, str] = {}
        for family in (4, 6):
            async for answer in self._stream("ListPath", self._dialect.list_paths(family)):
                path = self._dialect.path(answer)
                if path is not None:
                    found[path[0]] = path[1]
        return found

    async def statuses(self) -> tuple[Status, ...]:
        """How each session is."""
        found = []
        async for message in self._peers(advertised=True):
            peer = self._dialect.peer(message)
            found.append(
                Status(
                    key=peer.key,
                    state=STATES[message.state.session_state],
                    last_error=self._dialect.last_error(message.state),
                    advertised=self._dialect.advertised(message),
                    bfd=self._dialect.has_bfd(message),
                    asn=message.state.peer_asn,
                    address=peer.address,
                )
            )
        return tuple(found)

    async def watch(self) -> AsyncIterator[None]:
        """Something happened to a session, again and again. Ends with Unreachable when the daemon does."""
        request = self._dialect.schema.WatchEventRequest()
        request.peer.SetInParent()
        async for _ in self._stream("WatchEvent", request, timeout=None):
            yield
        raise Unreachable(f"{self._where}: gobgpd ended the watch of its sessions")

    # -- writing ------------------------------------------------------------------------------------------------------

    async def start(self, speaker: Speaker) -> None:
        await self._call("StartBgp", self._dialect.start(speaker))

    async def stop(self) -> None:
        """End every session with a NOTIFICATION, so that routers keep no path, and forget everything."""
        await self._call("StopBgp", timeout=LIST_TIMEOUT)

    async def set_rules(self, rules: Iterable[Rule]) -> None:
        await self._call("SetPolicies", self._dialect.set_policies(rules), timeout=LIST_TIMEOUT)
        for direction in (EXPORT, IMPORT):
            await self._call("SetPolicyAssignment", self._dialect.assign(direction))

    async def announce(self, paths: Iterable[tuple[Prefix, str]]) -> None:
        await self._send(paths, withdraw=False)

    async def withdraw(self, prefixes: Iterable[Prefix]) -> None:
        await self._send(((prefix, "") for prefix in prefixes), withdraw=True)

    async def add_peer(self, session: Session, address: str, *, restarting: bool) -> None:
        await self._call("AddPeer", self._dialect.add_peer(session, address, restarting=restarting))

    async def delete_peer(self, address: str) -> None:
        await self._call("DeletePeer", self._dialect.schema.DeletePeerRequest(address=address))

    async def enable_peer(self, address: str) -> None:
        await self._call("EnablePeer", self._dialect.schema.EnablePeerRequest(address=address))

    # -- calls --------------------------------------------------------------------------------------------------------

    async def _rules(self) -> frozenset[Rule] | None:
        schema, dialect = self._dialect.schema, self._dialect
        for direction in (EXPORT, IMPORT):
            request = schema.ListPolicyAssignmentRequest(name=GLOBAL_TABLE, direction=direction)
            if not dialect.assigned(direction, [a async for a in self._stream("ListPolicyAssignment", request)]):
                return None
        sets = {}
        for kind in (dialect.NEIGHBORS, dialect.LARGE_COMMUNITIES):
            request = schema.ListDefinedSetRequest(defined_type=kind)
            async for answer in self._stream("ListDefinedSet", request):
                sets[kind, answer.defined_set.name] = tuple(answer.defined_set.list)
        policies = [answer.policy async for answer in self._stream("ListPolicy")]
        return dialect.rules(policies, sets)

    async def _peers(self, *, advertised: bool = False) -> AsyncIterator[Message]:
        async for answer in self._stream("ListPeer", self._dialect.list_peers(advertised=advertised)):
            yield answer.peer

    async def _send(self, paths: Iterable[tuple[Prefix, str]], *, withdraw: bool) -> None:
        path, request, answer = self._dialect.schema.call("AddPathStream")
        call = self._channel.stream_unary(path, request.SerializeToString, answer.FromString)
        with self._errors():
            await call(self._messages(iter(paths), withdraw=withdraw), timeout=LIST_TIMEOUT)

    async def _messages(self, paths: Iterator[tuple[Prefix, str]], *, withdraw: bool) -> AsyncIterator[Message]:
        while batch := list(islice(paths, BATCH)):
            yield self._dialect.paths(batch, withdraw=withdraw)
            await asyncio.sleep(0)  # others have their turn

    async def _call(self, name: str, request: Message | None = None, timeout: float = TIMEOUT) -> Message:  # noqa: ASYNC109 - gRPC's own, which the daemon hears of
        path, kind, answer = self._dialect.schema.call(name)
        call = self._channel.unary_unary(path, kind.SerializeToString, answer.FromString)
        with self._errors():
            return await call(kind() if request is None else request, timeout=timeout)

    async def _stream(
        self,
        name: str,
        request: Message | None = None,
        timeout: float | None = LIST_TIMEOUT,  # noqa: ASYNC109 - as above
    ) -> AsyncIterator[Message]:
        path, kind, answer = self._dialect.schema.call(name)
        call = self._channel.unary_stream(path, kind.SerializeToString, answer.FromString)
        with self._errors():
            answers = call(kind() if request is None else request, timeout=timeout)
            try:
                async for message in answers:
                    yield message
            finally:
                answers.cancel()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise _translated(error, self._where) from error


def _translated(error: Any, where: Endpoint) -> Unreachable | NotAccepted:
    if error.code() in GONE:
        log.debug("%s: %s", where, error.details())
        if where.secure:
            return Unreachable(f"{where}: gobgpd does not answer through TLS: {str(error.details())[:200]}")
        return Unreachable(f"{where}: gobgpd does not answer; is it running, and without TLS?")
    said = str(error.details())
    return Stopped(STOPPED) if said.endswith(STOPPED) else NotAccepted(said)


@asynccontextmanager
async def connected(where: Endpoint) -> AsyncIterator[Gobgpd]:
    """A connection to the daemon at *where*, whichever version it speaks. Raises Unreachable."""
    async with _channel(where) as channel:
        yield Gobgpd(channel, await _dialect(channel, where), where)


def _channel(where: Endpoint) -> grpc.aio.Channel:
    if not where.secure:
        return grpc.aio.insecure_channel(where.target, options=OPTIONS)
    try:
        credentials = grpc.ssl_channel_credentials(*where.secrets())
    except OSError as error:
        raise Unreachable(f"{where}: {error}") from error
    return grpc.aio.secure_channel(where.target, credentials, options=OPTIONS)


async def _dialect(channel: grpc.aio.Channel, where: Endpoint) -> Dialect:
    """The newest that the daemon understands."""
    dialects: tuple[Callable[[], Dialect], ...] = (Gobgp4, Gobgp3)
    for make in dialects:
        dialect = make()
        path, request, answer = dialect.schema.call("GetBgp")
        call = channel.unary_unary(path, request.SerializeToString, answer.FromString)
        try:
            await call(request(), timeout=TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                problem = _translated(error, where)
                if isinstance(problem, Unreachable):
                    raise problem from error
                return dialect  # it knows the call, and will say no again to whoever asks
        else:
            return dialect
    raise Unreachable(f"{where}: what listens there is neither GoBGP 3 nor 4")
