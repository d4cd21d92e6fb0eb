"""The Debian packages that the lab uses: says which are missing, and as root installs them."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import progress

SYSTEM_PATH = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # users lack the sbin directories in theirs
)
POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True, slots=True)
class Package:
    """A package, the command that shows it is there, and why the lab wants it."""

    name: str
    command: str
    reason: str


PACKAGES = (
    Package("iproute2", "ip", "network namespaces, links, addresses and routes"),
    Package("nftables", "nft", "kube-proxy's nftables mode, the agents' gate, and the cut between a node and the API"),
    Package("iptables", "iptables", "kube-proxy's iptables mode"),
    Package("ipvsadm", "ipvsadm", "what the kernel says of its balancer, beside what we say"),
    Package("openssl", "openssl", "keys and certificates of the lab's users"),
    Package("spin", "spin", "every state of the models of who may claim (tests/simulation/spin)"),
    Package("keepalived", "keepalived", "the peer that the benchmarks run beside Roost"),
    Package("frr", "vtysh", "the router in front of the nodes"),
    Package("bird2", "birdc", "another router, of another make"),
    Package("gobgpd", "gobgpd", "the BGP speaker beside the agents, of version 3"),
    Package("gcc", "gcc", "the kernel box, as the others below"),
    Package("libc6-dev", "gencat", "C's headers"),
    Package("make", "make", "the kernel's makefiles"),
    Package("flex", "flex", "the kernel's configuration"),
    Package("bison", "bison", "the kernel's configuration"),
    Package("bc", "bc", "the kernel's headers"),
    Package("xz-utils", "xz", "the kernel's source"),
)


class MissingError(Exception):
    """Packages are missing and cannot be installed; the message names them and the remedy."""


def missing() -> list[Package]:
    path = os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH])
    return [package for package in PACKAGES if shutil.which(package.command, path=path) is None]


def ensure() -> None:
    """Install what is missing, and nothing else. Raises MissingError."""
    wanted = missing()
    if not wanted:
        return
    names = [package.name for package in wanted]
    listed = "\n".join(f"  {package.name}: {package.reason}" for package in wanted)
    if shutil.which("apt-get") is None:
        raise MissingError(
            f"the lab needs these programs, which are not installed (names of Debian's packages):\n{listed}"
        )
    if os.geteuid() != 0:
        raise MissingError(f"the lab needs these packages:\n{listed}\nsudo apt-get install {' '.join(names)}")
    with _no_daemons():
        if _apt_get("install", *names, quiet=True) != 0:  # the lists may be old or empty
            _apt_get("update")
            if _apt_get("install", *names) != 0:
                raise MissingError(f"apt-get cannot install {' '.join(names)}; what it said stands above")


def _apt_get(verb: str, *names: str, quiet: bool = False) -> int:
    """Run apt-get with progress, and return its status; show what it said if it failed."""
    options = ["-qq", "-o", "DPkg::Lock::Timeout=300", *(["-y", "--no-install-recommends"] if names else [])]
    command: Sequence[str] = ["apt-get", verb, *options, *names]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        progress.show(process, " ".join(["apt-get", verb, *names]))
        if process.returncode != 0 and not quiet:
            output.seek(0)
            print(output.read()[-4000:], file=sys.stderr)
    return process.returncode


@contextmanager
def _no_daemons() -> Iterator[None]:
    """Have no package start its service while it is installed (policy-rc.d, as Debian's policy manual describes it)."""
    if POLICY.exists():  # the administrator's own rule stands
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def main() -> None:
    """``python -m lab.debian``."""
    try:
        ensure()
    except MissingError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
