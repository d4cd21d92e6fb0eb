"""One JSON object a line, with reason, object and epoch as keys."""

import json
import logging
import os
import signal
from collections.abc import Iterator

import pytest

from roost import logs
from roost.words import Reason


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, old = root.handlers[:], root.level, signal.getsignal(signal.SIGUSR2)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    signal.signal(signal.SIGUSR2, old)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_decision_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.Settings())
    log = logging.getLogger("nodeagent.segment")
    logs.decision(log, Reason.TAKEN, "10.60.0.0-24/b-1", 7, node="n2", message="taken\nfrom n1")
    (line,) = lines(capsys)
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "info",
        "logger": "nodeagent.segment",
        "message": "taken\nfrom n1",
        "reason": "Taken",
        "object": "10.60.0.0-24/b-1",
        "epoch": 7,
        "node": "n2",
    }


def test_a_traceback_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.Settings())
    try:
        int("bug")
    except ValueError:
        logging.getLogger("x").exception("oh")
    (line,) = lines(capsys)
    assert "ValueError: invalid literal" in json.loads(line)["traceback"]


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.Settings(log_format="text"))
    logs.decision(logging.getLogger("x"), Reason.TAKEN, "b-1")
    assert "I x: Taken  reason=Taken object=b-1" in lines(capsys)[0]


def test_the_level_can_be_switched_while_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(logs.Settings(log_level="warning"))
    log = logging.getLogger("x")
    for _ in range(2):
        log.debug("hidden, then shown")
        os.kill(os.getpid(), signal.SIGUSR2)
    assert len(lines(capsys)) == 1
    log.info("hidden again")
    assert not lines(capsys)
