"""The command line of `roost` and `kubectl roost`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter, validators

from roost.words import VERSION

if TYPE_CHECKING:
    from roost.kube.client import Kube

EPILOGUE = "Exit status: 0 all is well, 1 something needs attention or cannot be read, 2 the command line is wrong."


Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0))]


class Exit(IntEnum):
    WELL = 0
    ATTENTION = 1
    USAGE = 2


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


Shown = Annotated[Output, Parameter(name=["--output", "-o"])]

app = App(
    name="roost",
    help="Roost: virtual IPs for bare-metal Kubernetes. What is where, and what waits for what.",
    help_epilogue=EPILOGUE,
    version=VERSION,
    help_format="plaintext",
    result_action="return_value",
)


@app.command(help_epilogue=EPILOGUE)
def status(*, output: Shown = Output.TEXT, kubeconfig: str = "", timeout: Seconds = 5.0) -> Exit:
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

    async def work(kube: Kube) -> Exit:
        found = report(await read(kube))
        print(as_json(found) if output is Output.JSON else page(found))
        return Exit.ATTENTION if found.attention else Exit.WELL

    return await _with_api(kubeconfig, seconds, work)


@app.command(help_epilogue=EPILOGUE)
def segment(
    name: str = "",
    /,
    *,
    vip: str = "",
    group: str = "",
    output: Shown = Output.TEXT,
    kubeconfig: str = "",
    timeout: Seconds = 5.0,
) -> Exit:
    """Draw the tables of layer-2 segments: seats, witnesses, who holds what, who would get it next, who waits for whom.

    Parameters
    ----------
    name
        One segment; without it all of them.
    vip
        Only the group of the VIP with this address.
    group
        Only the group of this name.
    output
        A page for people (text), or a JSON list for programs (json).
    kubeconfig
        File that says how to reach the API server; without it $KUBECONFIG, then ~/.kube/config.
    timeout
        Seconds that one request to the API server may take.
    """
    return asyncio.run(_segment((name, vip, group), output, kubeconfig, timeout))


async def _segment(wanted: tuple[str, str, str], output: Output, kubeconfig: str, seconds: float) -> Exit:
    from kubectl_roost.segment.apply import read  # noqa: PLC0415
    from kubectl_roost.segment.plan import NotThere, Wanted, find  # noqa: PLC0415
    from kubectl_roost.segment.text import as_json, page  # noqa: PLC0415

    async def work(kube: Kube) -> Exit:
        now = await read(kube)
        for kind, why in now.unread.items():
            print(f"error: {kind}: {why}", file=sys.stderr)
        found = find(now, Wanted(*wanted))
        if isinstance(found, NotThere):
            print(f"error: {found.message}", file=sys.stderr)
            return Exit.ATTENTION
        print(as_json(found) if output is Output.JSON else page(found, datetime.now(UTC)))
        return Exit.ATTENTION if now.unread else Exit.WELL

    return await _with_api(kubeconfig, seconds, work)


@app.command(help_epilogue=EPILOGUE)
def bgp(node: str = "", /, *, output: Shown = Output.TEXT, kubeconfig: str = "", timeout: Seconds = 5.0) -> Exit:
    """Show the BGP sessions of the nodes with their routers: state, since when, how many prefixes, the last error.

    Parameters
    ----------
    node
        One node, with the VIPs that it is to announce; without it the sessions of all.
    output
        A page for people (text), or one JSON object for programs (json).
    kubeconfig
        File that says how to reach the API server; without it $KUBECONFIG, then ~/.kube/config.
    timeout
        Seconds that one request to the API server may take.
    """
    return asyncio.run(_bgp(node, output, kubeconfig, timeout))


async def _bgp(node: str, output: Output, kubeconfig: str, seconds: float) -> Exit:
    from kubectl_roost.bgp.apply import read  # noqa: PLC0415
    from kubectl_roost.bgp.plan import NotThere, find  # noqa: PLC0415
    from kubectl_roost.bgp.text import as_json, page  # noqa: PLC0415

    async def work(kube: Kube) -> Exit:
        now = await read(kube)
        for kind, why in now.unread.items():
            print(f"error: {kind}: {why}", file=sys.stderr)
        found = find(now, node)
        if isinstance(found, NotThere):
            print(f"error: {found.message}", file=sys.stderr)
            return Exit.ATTENTION
        print(as_json(found) if output is Output.JSON else page(found, datetime.now(UTC)))
        return Exit.ATTENTION if now.unread or not found.well else Exit.WELL

    return await _with_api(kubeconfig, seconds, work)


@app.command(help_epilogue=EPILOGUE)
def uninstall(*, patience: Seconds = 60.0, kubeconfig: str = "", timeout: Seconds = 5.0) -> Exit:
    """Have every node give its VIPs away and clean up, and end the agents: the chart's last step before it is deleted.

    Parameters
    ----------
    patience
        Seconds to wait for the agents: first until they know, then until they have left.
    kubeconfig
        File that says how to reach the API server; without it the Pod's account, $KUBECONFIG, then ~/.kube/config.
    timeout
        Seconds that one request to the API server may take.
    """
    return asyncio.run(_uninstall(patience, kubeconfig, timeout))


async def _uninstall(patience: float, kubeconfig: str, seconds: float) -> Exit:
    from kubectl_roost.uninstall.apply import Uninstall  # noqa: PLC0415
    from roost.process import RealClock  # noqa: PLC0415

    async def work(kube: Kube) -> Exit:
        left = await Uninstall(kube, RealClock(), patience, print).run()
        return Exit.ATTENTION if left else Exit.WELL

    return await _with_api(kubeconfig, seconds, work)


async def _with_api(kubeconfig: str, seconds: float, work: Callable[[Kube], Awaitable[Exit]]) -> Exit:
    """Do *work* with a client of the API server; what cannot be reached is one line."""
    from roost.kube.client import Denied, Kube, Settings  # noqa: PLC0415
    from roost.process import Unreachable  # noqa: PLC0415

    try:
        kube = await Kube.connect(Settings(kubeconfig=kubeconfig, timeout=seconds), user_agent=f"roost/{VERSION}")
        try:
            return await work(kube)
        finally:
            await kube.close()
    except (Unreachable, Denied) as error:
        print(f"error: {error}", file=sys.stderr)
        return Exit.ATTENTION


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
