"""Keys, certificates and kubeconfig files of the lab's users and of its API server."""

import http.client
import json
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lab.run import LabError

USERS = {  # file name → subject: the names that Kubernetes' own roles are bound to
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-proxy": "/CN=system:kube-proxy",
    "apiserver": "/CN=kube-apiserver",
}
_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")


@dataclass(frozen=True, slots=True)
class Pki:
    """The files below *directory*, and the API server they are for."""

    directory: Path
    server: str

    def path(self, name: str) -> Path:
        return self.directory / name

    def make(self, names: Sequence[str]) -> None:
        """Make a certificate authority, a certificate per user, and the key of service-account tokens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        sa_key = self._openssl("genrsa", "-out", self.path("sa.key"), "2048")
        self._done(self._openssl("req", "-x509", *_EC, "-subj", "/CN=lab", *self._keys("ca")))
        issued = [self._issue(user, subject, names) for user, subject in USERS.items()]
        for process in (sa_key, *issued):
            self._done(process)
        for user in USERS:
            self.kubeconfig(
                user, {"client-certificate": f"{self.path(user)}.crt", "client-key": f"{self.path(user)}.key"}
            )

    def kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        """Write the kubeconfig *name* with the credentials *user* (fields of a kubeconfig's user)."""
        file = self.path(f"{name}.kubeconfig")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [
                {"name": "lab", "cluster": {"server": self.server, "certificate-authority": f"{self.path('ca.crt')}"}}
            ],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        }
        file.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return file

    def connection(self, seconds: float) -> http.client.HTTPSConnection:
        """A connection to the API server as its administrator, which waits *seconds* for an answer: for a watch."""
        tls = ssl.create_default_context(cafile=str(self.path("ca.crt")))
        tls.load_cert_chain(self.path("admin.crt"), self.path("admin.key"))
        address = urlsplit(self.server)
        return http.client.HTTPSConnection(str(address.hostname), address.port, timeout=seconds, context=tls)

    def _keys(self, name: str) -> list[str]:
        return ["-keyout", f"{self.path(name)}.key", "-out", f"{self.path(name)}.crt"]

    def _issue(self, user: str, subject: str, names: Sequence[str]) -> subprocess.Popen[str]:
        usage = ["-addext", "extendedKeyUsage=serverAuth,clientAuth"]
        alternatives = ["-addext", f"subjectAltName={','.join(names)}"] if user == "apiserver" else []
        by = ["-CA", f"{self.path('ca.crt')}", "-CAkey", f"{self.path('ca.key')}"]
        return self._openssl("req", "-x509", *_EC, *by, "-subj", subject, *self._keys(user), *usage, *alternatives)

    @staticmethod
    def _openssl(*arguments: str | Path) -> subprocess.Popen[str]:
        command = ["openssl", *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def _done(process: subprocess.Popen[str]) -> None:
        _, errors = process.communicate()
        if process.returncode != 0:
            raise LabError(f"openssl: {errors}")
