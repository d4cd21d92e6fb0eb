"""``roost-nodeagent``, or ``python -m nodeagent``: the pulse, which starts the agent (``… agent NUMBER``) as its child.

The pulse is to stay small: whatever only the agent needs is imported where the agent begins.
"""

import sys

AGENT = "agent"


def main() -> None:
    """Be the pulse until the agent has ended; or, as its child, be the agent."""
    match sys.argv[1:]:
        case [word, number, *arguments] if word == AGENT and number.isdigit():
            agent(int(number), arguments)
        case arguments:
            pulse(arguments)


def pulse(arguments: list[str]) -> None:
    from nodeagent.pulse.process import Pulse  # noqa: PLC0415 - the agent does not need it

    # Found as this program was found: only -m takes the working directory for a place of modules.
    safe = [] if getattr(sys.modules["__main__"], "__spec__", None) is not None else ["-P"]
    program = [sys.executable, *safe, "-m", "nodeagent", AGENT]
    sys.exit(Pulse(lambda end: [*program, str(end), *arguments]).run())


def agent(end: int, arguments: list[str]) -> None:
    """Read the settings, then work until SIGTERM; *end* is the number of a socket to the pulse."""
    import asyncio  # noqa: PLC0415

    from nodeagent.settings import Settings  # noqa: PLC0415
    from roost import logs, options  # noqa: PLC0415
    from roost.process import run  # noqa: PLC0415

    settings = options.load(Settings, program="roost-nodeagent", argv=arguments)
    logs.setup(settings.logs)

    async def work(stop: asyncio.Event) -> None:
        from nodeagent.flow import serve  # noqa: PLC0415 - --help need not load the client and the kernel's libraries
        from nodeagent.pulse.link import PulseLink  # noqa: PLC0415

        await serve(settings, PulseLink(end), stop)

    sys.exit(run(work))


if __name__ == "__main__":
    main()
