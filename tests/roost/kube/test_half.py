"""What is imported of the distribution ``kubernetes``."""

import subprocess
import sys


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_half_with_threads_is_left_alone() -> None:
    program = "import sys, roost.kube.http; print({'requests', 'oauthlib', 'websocket'} & sys.modules.keys() or 'none')"
    assert said(program) == "none"


def test_whoever_wants_that_half_finds_it() -> None:
    program = "import roost.kube.http, kubernetes.client; print(kubernetes.client.Configuration.__name__)"
    assert said(program) == "Configuration"
