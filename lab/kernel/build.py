"""Builds the kernel of the box into the cache that the Go parts are in: User-Mode Linux from Debian's newest source."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lab import debian, progress
from lab.build import BuildError, cache, only_one

SERIES = "6.12"
CONFIG = Path(__file__).parent / "uml.config"
NAME = "linux"
LONGEST = "about 5 minutes on two cores, the first time only"
WANTED = (
    "NETFILTER_EGRESS",
    "NF_TABLES_ARP",
    "NF_TABLES_IPV6",
    "IP_VS_RR",
    "WIREGUARD",
    "DUMMY",
    "HOSTFS",
    "OVERLAY_FS",
)

# Most of the source is drivers for machines that this kernel never meets; their Kconfig files must be there.
_NEVER_MET = (
    *("drivers/gpu", "drivers/media", "drivers/staging", "drivers/net/ethernet", "drivers/net/wireless"),
    *("drivers/scsi", "sound"),
)


def path() -> Path:
    """Where the kernel of exactly this configuration is, or will be."""
    digest = hashlib.sha256(SERIES.encode() + b"\0" + CONFIG.read_bytes())
    return cache() / f"kernel-{digest.hexdigest()[:16]}" / NAME


def ensure() -> Path:
    """Build the kernel if it is not there, and return its path. Raises BuildError.

    The packages are needed in any case: what runs in the box finds its programs on the machine.
    """
    try:
        debian.ensure()
    except debian.MissingError as error:
        raise BuildError(str(error)) from error
    final = path()
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with only_one(final.parent):
        if not final.exists():
            print(f"building the kernel of the box: {LONGEST}", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="building-", dir=final.parent) as place:
                _build(Path(place)).replace(final)
    return final


def _build(place: Path) -> Path:
    source, out = _unpacked(place), place / "out"
    out.mkdir()
    make = ["nice", "make", "-C", str(source), "ARCH=um", f"O={out}", f"-j{len(os.sched_getaffinity(0))}"]
    _run([*make, f"KCONFIG_ALLCONFIG={CONFIG}", "allnoconfig"], "configuring the kernel")
    chosen = (out / ".config").read_text().splitlines()
    if lost := [option for option in WANTED if f"CONFIG_{option}=y" not in chosen]:
        raise BuildError(f"these options did not get into the kernel's configuration: {' '.join(lost)}")
    _run([*make, NAME], "compiling the kernel")
    _run(["strip", str(out / NAME)], "stripping the kernel")
    return out / NAME


def _unpacked(place: Path) -> Path:
    """Debian's source of the kernel, below *place*."""
    package = f"linux-source-{SERIES}"
    _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], f"fetching {package}", place)
    (fetched,) = place.glob(f"{package}*.deb")
    _run(["dpkg-deb", "-x", str(fetched), "package"], f"unpacking {package}", place)
    (archive,) = (place / "package/usr/src").glob("*.tar.xz")
    never = [f"--exclude=*/{directory}/*.[ch]" for directory in _NEVER_MET]
    _run(["tar", "-xJf", str(archive), *never, "--exclude=*.rst", "--exclude=*.dts*"], "unpacking the source", place)
    return place / package


def _run(command: Sequence[str], what: str, where: Path | None = None) -> None:
    """Do *command* with progress. Raises BuildError with its last words."""
    with tempfile.TemporaryFile("w+") as output:
        try:
            process = subprocess.Popen(
                command, cwd=where, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except FileNotFoundError as error:
            raise BuildError(f"{what} needs the program {command[0]}, which is not installed") from error
        try:
            progress.show(process, what)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
        if process.returncode != 0:
            output.seek(0)
            raise BuildError(f"{what} failed ({' '.join(command)}):\n{output.read()[-4000:]}")
