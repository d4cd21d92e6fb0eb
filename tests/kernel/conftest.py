"""The tests here need the kernel of the box: asked for by name, pytest starts itself again in there."""

import os
import sys

import pytest

from lab.kernel.__main__ import INSIDE, LIMIT, run

collect_ignore_glob = [] if INSIDE in os.environ else ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Run the same command again in the box, if it names tests of this directory."""
    if INSIDE in os.environ or not any("tests/kernel" in argument for argument in config.args):
        return
    if os.geteuid() != 0:
        raise pytest.UsageError("tests/kernel needs root: run it with sudo, or leave it out (make unit)")
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.stop_global_capturing()  # the second pytest needs the real output
    run([sys.executable, *sys.orig_argv[1:]], LIMIT, [])
