"""A program that keeps routes as it is told on its standard input, until it is killed or its input ends.

python -m tests.lab.routes_writer TABLE      a line: the VIPs whose routes are wanted; answered when it is so
"""

import asyncio
import sys
from ipaddress import ip_address

from nodeagent.routes.apply import Routes
from nodeagent.routes.plan import Settings, wanted
from roost.process import RealClock
from tests.lab.pair import UPLINK


async def main(table: int) -> None:
    settings, told = Settings(routing_table=table), asyncio.Event()
    routes = Routes(settings, RealClock(), told.set)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(routes.run())
        while line := await asyncio.to_thread(sys.stdin.readline):
            want = wanted([ip_address(word) for word in line.split()], [], settings, UPLINK)
            routes.want(want, complete=True)
            while not routes.settled or routes.present() != want:
                told.clear()
                await told.wait()
            print(line, end="", flush=True)  # noqa: T201 - the answer
        running.cancel()
    await routes.clear()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
