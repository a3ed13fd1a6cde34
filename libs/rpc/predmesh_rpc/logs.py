"""Logs of one JSON object a line, with the ids of the request at hand; passwords in addresses are masked."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from predmesh_rpc import context
from predmesh_rpc.tracing import active_trace_id

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PASSWORD = re.compile(r"(\w+://[^\s/@:\"']*):[^\s/@\"']+@")
_SECRET_KEY = re.compile(r"password|secret|token|authorization|api_?key|credential", re.IGNORECASE)
_MASK = "***"


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, who, which request, and the extras."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._who = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        """The line of *record*."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._who,
        }
        if request_id := context.request_id():
            line["request_id"] = request_id
        if trace_id := active_trace_id() or context.trace_id():
            line["trace_id"] = trace_id
        line.update(_extras(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return masked(json.dumps(line, default=str, ensure_ascii=False))


def masked(text: str) -> str:
    """The text without the passwords of the addresses in it."""
    return _PASSWORD.sub(rf"\1:{_MASK}@", text)


def log_to(stream: TextIO | None = None, *, service: str, instance: str, level: str = "INFO") -> None:
    """Let the process log JSON to *stream* (stderr by default), in place of whatever it logged to before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {
        key: _MASK if _SECRET_KEY.search(key) else value for key, value in vars(record).items() if key not in _STANDARD
    }
