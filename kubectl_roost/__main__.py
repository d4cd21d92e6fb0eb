"""The command line of `roost` and `kubectl roost`."""

import asyncio
import sys
from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, validators

from roost.words import VERSION

EPILOGUE = "Exit status: 0 all is well, 1 something needs attention or cannot be read, 2 the command line is wrong."


Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0))]


class Exit(IntEnum):
    WELL = 0
    ATTENTION = 1
    USAGE = 2


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


app = App(
    name="roost",
    help="Roost: virtual IPs for bare-metal Kubernetes. What is where, and what waits for what.",
    help_epilogue=EPILOGUE,
    version=VERSION,
    help_format="plaintext",
    result_action="return_value",
)


@app.command(help_epilogue=EPILOGUE)
def status(*, output: Output = Output.TEXT, kubeconfig: str = "", timeout: Seconds = 5.0) -> Exit:
    """Show VIPs, segments, nodes, pools, Services that wait for an address, and what needs attention.

    Parameters
    ----------
    output
        A page for people (text), or one JSON object for programs (json).
    kubeconfig
        File that says how to reach the API server; without it $KUBECONFIG, then ~/.kube/config.
    timeout
        Seconds that one request to the API server may take.
    """
    return asyncio.run(_status(output, kubeconfig, timeout))


async def _status(output: Output, kubeconfig: str, seconds: float) -> Exit:
    # What talks to the API server takes a third of a second to import; --help need not wait for it.
    from kubectl_roost.status.apply import read  # noqa: PLC0415
    from kubectl_roost.status.plan import report  # noqa: PLC0415
    from kubectl_roost.status.text import as_json, page  # noqa: PLC0415
    from roost.kube.client import Kube, Settings  # noqa: PLC0415
    from roost.process import Unreachable  # noqa: PLC0415

    try:
        kube = await Kube.connect(Settings(kubeconfig=kubeconfig, timeout=seconds), user_agent=f"roost/{VERSION}")
        try:
            found = report(await read(kube))
        finally:
            await kube.close()
    except Unreachable as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.ATTENTION
    print(as_json(found) if output is Output.JSON else page(found))
    return Exit.ATTENTION if found.attention else Exit.WELL


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; *argv* without the program's name, by default that of the process."""
    try:
        code = app(None if argv is None else list(argv), exit_on_error=False)
    except CycloptsError:  # it has said what is wrong
        return Exit.USAGE
    except BrokenPipeError:  # the reader, `head` perhaps, has enough
        sys.stderr.close()
        return Exit.WELL
    return Exit.WELL if code is None else Exit(code)


if __name__ == "__main__":
    sys.exit(main())
