"""One JSON object a line on stderr; for a person at a terminal, text."""

import json
import logging
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

# What every record has of itself; all else came from ``extra``.
OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class Settings:
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged. SIGUSR2 switches to debug and back."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """json: one object a line; text: for people; auto: text if stderr is a terminal."""


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{key}={value}" for key, value in _extra(record).items())
        line = f"{_time(record)[11:23]} {record.levelname[0]} {record.name}: {record.getMessage()}"
        line += f"  {extra}" if extra else ""
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


def setup(settings: Settings) -> None:
    """Log to stderr from now on, as *settings* say; nothing else writes there."""
    text = settings.log_format == "text" or (settings.log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Text() if text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = getattr(logging, settings.log_level.upper())
    root.setLevel(level)
    for noisy in ("asyncio", "aiohttp", "kubernetes", "pyroute2", "urllib3"):  # theirs, at their most talkative
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    signal.signal(signal.SIGUSR2, lambda *_: root.setLevel(level if root.level == logging.DEBUG else logging.DEBUG))


def decision(log: logging.Logger, reason: StrEnum | str, object_: str, epoch: int | None = None, **more: Any) -> None:
    """The one line that a decision gets: why, about what, and at which epoch. ``message=`` says it in words."""
    message = more.pop("message", str(reason))
    extra: dict[str, Any] = {"reason": str(reason), "object": object_}
    if epoch is not None:
        extra["epoch"] = epoch
    log.info(message, extra=extra | {key: value for key, value in more.items() if key not in OWN})


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in OWN}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
