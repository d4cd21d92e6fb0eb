"""Starts the controller: settings, logs, the API server, health endpoints, and then :mod:`cloudprovider.flow`."""

import asyncio
import sys
from collections.abc import Sequence

from cloudprovider.flow import Controller
from cloudprovider.model import MANAGER
from cloudprovider.settings import Settings, identity
from roost import logs
from roost.health import Heartbeat, serving
from roost.kube.client import Kube
from roost.kube.events import Events
from roost.options import load
from roost.process import RealClock, keep, run
from roost.words import CONTROLLER, VERSION


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    settings = load(Settings, program=MANAGER, argv=argv)
    logs.setup(settings.logs)
    return run(lambda stop: control(settings, stop))


async def control(settings: Settings, stop: asyncio.Event) -> None:
    """Run until *stop* is set. Raises Unreachable if there is no usable configuration or the port is taken."""
    clock, name = RealClock(), identity(settings.leader)
    kube = await Kube.connect(settings.kube, user_agent=f"{MANAGER}/{VERSION}")
    try:
        events = Events(kube, clock, CONTROLLER, name)
        controller = Controller(kube, settings, name, clock, events)
        heart = Heartbeat(clock)
        live = {"event loop": heart.check}
        ready = {"lists": lambda: None if controller.ready() else "not everything has been listed yet"}
        async with serving(settings.health.served, live=live, ready=ready), asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(keep("heartbeat", heart.run, clock)),
                tasks.create_task(keep("events", events.run, clock)),
            ]
            await controller.run(stop)
            for task in beside:
                task.cancel()
    finally:
        await kube.close()


if __name__ == "__main__":
    sys.exit(main())
