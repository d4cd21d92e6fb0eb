"""Builds the Go parts of the lab (etcd, Kubernetes, helm, GoBGP) into a cache that all checkouts share."""

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import progress

GO = Path(__file__).parent / "go"
OLDEST_GO = (1, 26)
ELSEWHERE = "/usr/local/go/bin/go"  # where go.dev says to put it, though it is in nobody's PATH
KUBERNETES = "v1.36.3"  # as in go/kube/go.mod; a test compares the two

# Without these the API server calls itself v0.0.0-master, and clients that look at its version are led astray.
_VERSION = (
    f"-X k8s.io/component-base/version.gitVersion={KUBERNETES}"
    f" -X k8s.io/component-base/version.gitMajor={KUBERNETES[1:].split('.', maxsplit=1)[0]}"
    f" -X k8s.io/component-base/version.gitMinor={KUBERNETES[1:].split('.')[1]}"
    " -X k8s.io/component-base/version.gitTreeState=clean"
    f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One program: its name, the Go module below lab/go that pins its version, its package and its linker flags."""

    name: str
    module: str
    package: str
    ldflags: str = "-s -w"

    @property
    def path(self) -> Path:
        """Where the program of exactly this version and these flags is, or will be."""
        return cache() / f"{self.module}-{_digest(self.module)}" / self.name


def _kube(name: str) -> Part:
    return Part(name, "kube", f"k8s.io/kubernetes/cmd/{name}", f"-s -w {_VERSION}")


PARTS = (
    Part("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _kube("kube-apiserver"),
    _kube("kube-controller-manager"),
    _kube("kube-proxy"),
    _kube("kubectl"),
    Part("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
    Part("gobgpd-v4", "gobgp", "github.com/osrg/gobgp/v4/cmd/gobgpd"),  # plain gobgpd is Debian's, of version 3
    Part("gobgp-v4", "gobgp", "github.com/osrg/gobgp/v4/cmd/gobgp"),
)
LONGEST = "about 10 minutes in all on two cores, the first time only"


class BuildError(Exception):
    """A part cannot be built; the message says what is missing and what to do about it."""


def directory() -> Path:
    """Where links to all programs of exactly these versions and flags are, or will be."""
    digest = hashlib.sha256("\0".join(str(part.path) for part in PARTS).encode())
    return cache() / f"bin-{digest.hexdigest()[:16]}"


def _digest(module: str) -> str:
    """Of all that decides what comes out for *module*: what is changed in another one builds nothing of it anew."""
    digest = hashlib.sha256()
    for part in PARTS:
        if part.module == module:
            digest.update(repr(part).encode())
    for file in sorted((GO / module).glob("go.*")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def cache() -> Path:
    """Where all that is built for the lab is kept, for all checkouts."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roost-lab"


def missing() -> list[Part]:
    """The parts that are not built yet."""
    return [part for part in PARTS if not part.path.exists()]


def ensure() -> Path:
    """Build what is missing and return the directory with links to all. Raises BuildError."""
    if missing():
        go = find_go()
        cache().mkdir(parents=True, exist_ok=True)
        with only_one(cache()):
            todo = missing()
            for number, part in enumerate(todo, 1):
                _build(go, part, f"({number} of {len(todo)})")
    for part in PARTS:
        _link(part)
    return directory()


def _link(part: Part) -> None:
    """Have the program in the common directory, whoever else is at it now."""
    link = directory() / part.name
    if link.is_symlink() and link.readlink() == part.path:
        return
    link.parent.mkdir(exist_ok=True)
    fresh = link.with_name(f".{part.name}-{os.getpid()}")
    fresh.symlink_to(part.path)
    fresh.replace(link)


def find_go() -> str:
    """The path of a Go that is new enough. Raises BuildError with the remedy."""
    remedy = (
        f"the lab builds its Kubernetes with Go {_dotted(OLDEST_GO)} or newer (Debian 12's own is too old): install it"
        " as https://go.dev/doc/install says, and have its bin directory in PATH (/usr/local/go/bin is found without)"
    )
    found = []
    for path in (shutil.which("go"), ELSEWHERE):
        if path and os.access(path, os.X_OK):
            version = _go_version(path)
            if version >= OLDEST_GO:
                return path
            found.append(f"{path} is Go {_dotted(version)}")
    raise BuildError(f"{'; '.join(found) or 'Go is not installed'}: {remedy}")


def _go_version(path: str) -> tuple[int, ...]:
    answer = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, env=_environment(), check=False)
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _environment() -> dict[str, str]:
    return os.environ | {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}


def _build(go: str, part: Part, which: str) -> None:
    """Build into a temporary directory and rename: whoever finds the program finds a whole one."""
    part.path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache()) as temporary:
        built = Path(temporary) / part.name
        command = [go, "build", "-trimpath", "-ldflags", part.ldflags, "-o", str(built), part.package]
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(command, cwd=GO / part.module, env=_environment(), stdout=output, stderr=output)
            try:
                progress.show(process, f"building {part.name} {which}")
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            if process.returncode != 0:
                output.seek(0)
                raise BuildError(f"{part.name} could not be built ({' '.join(command)}):\n{output.read()[-4000:]}")
        built.replace(part.path)


@contextmanager
def only_one(place: Path) -> Iterator[None]:
    """Let one build at a time into *place*; the second waits, and then finds everything done."""
    with (place / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build of the same parts is under way; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        for remains in place.glob("building-*"):  # of a build that was killed: we hold the lock, so nobody is at it
            shutil.rmtree(remains)
        yield


def main() -> None:
    """``python -m lab.build [--print]``."""
    parser = argparse.ArgumentParser(prog="python -m lab.build", description=f"{__doc__} ({LONGEST})")
    parser.add_argument("--print", action="store_true", help="print the directory of the programs, and build nothing")
    if parser.parse_args().print:
        print(directory())
        return
    if missing():
        print(f"building the Go parts of the lab: {LONGEST}", file=sys.stderr)
    try:
        print(f"the programs of the lab are in {ensure()}", file=sys.stderr)
    except BuildError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; what is built stays, and the next run goes on from there")


if __name__ == "__main__":
    main()
