"""What a request to the API server is, and what may come of it: the seam between the client and the wire."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    retry_after: float = 0.0  # seconds; 0: the server named no time


class Broken(Exception):
    """No complete answer: refused, timed out, torn down. Whether the server acted on the request is not known."""


class Disconnected(Broken):
    """The far side closed the connection instead of answering: mostly one that was kept open for too long."""


class Turned(Exception):
    """A watch was answered by something else than a stream."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Transport(Protocol):
    """One API server. *seconds* bounds all up to the answer: the wait for a connection, TCP, TLS, the headers."""

    async def request(self, request: Request, seconds: float) -> Response:
        """The answer with its whole body. Raises Broken."""
        ...

    def lines(self, request: Request, seconds: float, idle: float) -> AsyncGenerator[bytes, None]:
        """The lines of an endless answer, as they come. Raises Turned; Broken also after *idle* s of silence."""
        ...

    async def close(self) -> None: ...
