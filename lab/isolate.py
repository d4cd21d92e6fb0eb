"""Runs a program where a lab may be opened: in network, mount and process namespaces that vanish together with it."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

# linux/sched.h, linux/mount.h, linux/prctl.h
CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x0002_0000, 0x2000_0000, 0x4000_0000
MS_REC, MS_PRIVATE = 0x4000, 0x4_0000
PR_SET_PDEATHSIG = 1

INSIDE = Path("/run/roost-lab")  # only inside: /run is a tmpfs of our own there

_libc = ctypes.CDLL(None, use_errno=True)


def inside() -> bool:
    """Whether this process is already isolated."""
    return INSIDE.is_dir()


def enter() -> None:
    """Return if isolated already; otherwise run this very program again, isolated, and exit with its status."""
    if not inside():
        run([sys.executable, *sys.orig_argv[1:]])


def run(command: Sequence[str]) -> NoReturn:
    """Run *command* isolated and exit with its status (128 + n for signal n).

    Everything it starts dies with this process, also by SIGKILL: the first process of the new process namespace asks
    the kernel to be killed when its parent dies, and the kernel kills all others of the namespace with it.
    """
    if os.geteuid() != 0:
        sys.exit("the lab opens network namespaces and needs root: run it again with sudo")
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        _call("unshare", CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID)
    except PermissionError as error:
        sys.exit(f"{error}: root may make no namespaces here; in a container, run that one privileged")
    child = os.fork()
    if child == 0:
        _first(command)
    _forward(child)
    _, status = os.waitpid(child, 0)
    os._exit(_code(status))


def _first(command: Sequence[str]) -> NoReturn:
    """Be process 1 of the new namespaces: mount what must be their own, start *command*, bury the orphans."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("proc", "/proc", "proc")
    _mount("sysfs", "/sys", "sysfs")
    _mount("tmpfs", "/run", "tmpfs", data="mode=755")
    _mount("tmpfs", "/var/tmp", "tmpfs", data="mode=1777")  # FRR leaves a directory there for each of its processes
    Path("/run/netns").mkdir()
    INSIDE.mkdir()
    if not Path("/etc/machine-id").exists():  # containers have none, and each node needs a place for its own
        _overlay_etc()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    program = os.posix_spawnp(command[0], [*command], os.environ)
    _forward(program)
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(_code(status))


def _overlay_etc() -> None:
    upper, work = Path("/run/etc/upper"), Path("/run/etc/work")
    upper.mkdir(parents=True)
    work.mkdir()
    _mount("overlay", "/etc", "overlay", data=f"lowerdir=/etc,upperdir={upper},workdir={work}")
    Path("/etc/machine-id").touch()


def _forward(child: int) -> None:
    """Pass SIGTERM and SIGHUP on to *child*; a terminal sends SIGINT to both, and the child decides about it."""

    def forward(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which the child would inherit


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    _call("mount", source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def main() -> NoReturn:
    """``python -m lab.isolate COMMAND…``."""
    command = sys.argv[1:]
    if not command:
        sys.exit("usage: python -m lab.isolate COMMAND [ARGUMENT…]")
    if inside():
        os.execvp(command[0], command)
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]}: not found")
    run(command)


if __name__ == "__main__":
    main()
