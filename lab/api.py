"""A direct client of the lab's API server, for tests: JSON over one kept TLS connection per thread."""

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"


class ApiError(Exception):
    """The API server refused, or did not answer (*status* 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """Requests as one user; safe to use from several threads."""

    def __init__(
        self, server: str, ca: Path, *, certificate: Path | None = None, token: str = "", timeout: float = 10
    ) -> None:
        """*certificate* NAME.crt has its key beside it in NAME.key; *timeout* in seconds per request."""
        address = urlsplit(server)
        self._host, self._port = str(address.hostname), address.port or 443
        self._tls = ssl.create_default_context(cafile=str(ca))
        if certificate:
            self._tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout
        self._local = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []

    def request(
        self, method: str, path: str, body: object = None, *, kind: str = "", headers: Mapping[str, str] | None = None
    ) -> Json:
        """Return the decoded answer ({"text": …} if it is no JSON object). Raises ApiError.

        *kind* is the content type of a patch; PATCH without it is a merge patch.
        """
        data = None if body is None else json.dumps(body).encode()
        content = kind or (MERGE if method == "PATCH" else "application/json")
        sent = self._headers | {"Content-Type": content, "Accept": "application/json"} | {**(headers or {})}
        status, answer = self._exchange(method, path, data, sent)
        try:
            decoded = json.loads(answer)
        except ValueError:
            decoded = None
        if status >= http.client.BAD_REQUEST:
            message = decoded.get("message", "") if isinstance(decoded, dict) else answer.decode(errors="replace")
            raise ApiError(status, message)
        return decoded if isinstance(decoded, dict) else {"text": answer.decode(errors="replace")}

    def find(self, path: str) -> Json | None:
        """The object at *path*, or None if there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise

    def items(self, path: str) -> list[Json]:
        """The objects of the list at *path*."""
        found: list[Json] = self.request("GET", path)["items"]
        return found

    def ready(self, path: str = "/readyz") -> bool:
        """Whether the server answers, and well."""
        try:
            self.request("GET", path)
        except ApiError:
            return False
        return True

    def _exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        kept: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if kept is not None:
            try:
                return self._once(kept, method, path, data, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                self.hang_up()  # the server closed it while nothing was asked: nothing was done, ask anew
            except (OSError, http.client.HTTPException) as error:
                self.hang_up()
                raise ApiError(0, f"{method} {path}: {error}") from error
        fresh = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)
        try:
            answer = self._once(fresh, method, path, data, headers)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise ApiError(0, f"{method} {path}: {error}") from error
        self._local.connection = fresh
        self._connections.append(fresh)
        return answer

    @staticmethod
    def _once(
        connection: http.client.HTTPSConnection, method: str, path: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        connection.request(method, path, data, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()

    def hang_up(self) -> None:
        """Close this thread's connection; the next request opens another."""
        kept = getattr(self._local, "connection", None)
        if kept is not None:
            kept.close()
            self._connections.remove(kept)
            self._local.connection = None

    def close(self) -> None:
        """Close the connections of all threads, at the end."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()
