"""A routing daemon as the lab sees it: set up from values, asked over its own socket, killed like any program."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path as File

from lab.routers.values import Path, Prefix, Session, Setup
from lab.run import Process, wait_for


class Daemon(ABC):
    """One of FRR or BIRD. *where*: the command that leads into its namespaces; *run*: how the driver sees its /run."""

    place = ""  # below /run

    def __init__(self, name: str, where: Sequence[str], run: File, logs: File, setup: Setup) -> None:
        self.name = name
        self.where = tuple(where)
        self.setup = setup
        self.inside = File("/run") / self.place / name
        self.outside = run / self.place / name
        self.logs = logs
        self.processes: list[Process] = []

    # -- life

    def start(self) -> None:
        """Start it with its setup, and return when it answers."""
        self._prepare()
        self.processes = self._launch()
        wait_for(f"{self.name} answers", self.answers, 15, alive=self.processes)

    def stop(self) -> None:
        """End it as an administrator does: neighbours are told, routes go from the kernel."""
        for process in reversed(self.processes):
            process.stop()

    def sigkill(self) -> None:
        """Kill it; what is in the kernel stays there."""
        for process in self.processes:
            process.sigkill()

    def sigstop(self) -> None:
        for process in self.processes:
            process.sigstop()

    def sigcont(self) -> None:
        for process in self.processes:
            process.sigcont()

    @property
    def running(self) -> bool:
        return bool(self.processes) and all(process.running for process in self.processes)

    def _run(self, program: str, *arguments: str) -> Process:
        log = self.logs / f"{self.name}-{File(program).name}.log"
        return Process(f"{self.name}/{File(program).name}", [*self.where, program, *arguments], log)

    @abstractmethod
    def _prepare(self) -> None:
        """Write its configuration."""

    @abstractmethod
    def _launch(self) -> list[Process]:
        """Start its programs."""

    # -- what it says

    def answers(self) -> bool:
        try:
            return bool(self.sessions() or True)
        except OSError:
            return False

    @property
    def updates(self) -> File:
        """Where it writes every message of its neighbours (MRT, RFC 6396)."""
        return self.outside / "updates.mrt"

    @abstractmethod
    def ask(self, command: str) -> str:
        """What it answers to a command of its own language. Raises OSError while it is not there."""

    @abstractmethod
    def routes(self, prefix: Prefix) -> list[Path]:
        """Every path of *prefix* that it has, whether it uses it or not."""

    @abstractmethod
    def rib(self) -> list[Path]:
        """Every path that it has of its neighbours."""

    @abstractmethod
    def sessions(self) -> list[Session]:
        """Every session, of both families; such as it only waits for are left out."""
