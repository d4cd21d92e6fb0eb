"""The tests here open network namespaces: pytest starts itself again, isolated, before it collects them."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from lab import isolate
from lab.cluster import Lab
from lab.run import Process

TAIL = 40  # lines of each program's log that a failure shows


def pytest_configure(config: pytest.Config) -> None:
    """Run the same command again where nothing can leave this machine, and nothing is left behind."""
    if isolate.inside():
        return
    if os.geteuid() != 0:
        raise pytest.UsageError("tests/lab needs root: run it with sudo, or leave it out (make unit)")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()  # the second pytest needs the real output
    isolate.enter()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Three nodes with Roost's manifests in effect, and none of its programs running; one lab at a time."""
    with Lab(nodes=3) as opened:
        opened.install()
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show with a failure what the programs of its lab said last."""
    report = yield
    assert isinstance(report, pytest.TestReport)
    if report.failed:
        labs = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Lab)]
        for process in [process for opened in labs for process in programs(opened)]:
            with contextlib.suppress(OSError):  # a lab that closed has taken its logs along
                report.sections.append((f"log of {process.name}", process.tail(TAIL)))
    return report


def programs(lab: Lab) -> list[Process]:
    """Those whose words help: Roost's own, and whatever ended though nobody asked it to."""
    ours = [*lab.agents.values(), *lab.controllers.values()]
    return ours + [process for process in lab.processes() if process not in ours and not process.running]
