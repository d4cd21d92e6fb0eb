"""``roost-nodeagent``, or ``python -m nodeagent``."""

import asyncio
import sys

from nodeagent.settings import Settings
from roost import logs, options
from roost.process import run


def main() -> None:
    """Read the settings, then work until SIGTERM."""
    settings = options.load(Settings, program="roost-nodeagent")
    logs.setup(settings.logs)

    async def work(stop: asyncio.Event) -> None:
        from nodeagent.flow import serve  # noqa: PLC0415 - --help need not load the client and the kernel's libraries

        await serve(settings, stop)

    sys.exit(run(work))


if __name__ == "__main__":
    main()
