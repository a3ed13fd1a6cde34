import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from predmesh_rpc import context
from predmesh_rpc.logs import JsonFormatter, log_to, masked

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def lines() -> Iterator[Any]:
    stream = io.StringIO()
    log = logging.Logger("test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("features", "f-1"))
    log.addHandler(handler)
    yield log, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_extras(lines: Any) -> None:
    log, read = lines
    log.warning("store answered\nlate", extra={"seconds": 0.31})
    (line,) = read()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "test",
        "message": "store answered\nlate",
        "service": "features",
        "instance": "f-1",
        "seconds": 0.31,
    }


async def test_a_line_names_the_request_and_the_trace_at_hand(lines: Any) -> None:
    log, read = lines
    context.enter(context.Request((("x-request-id", "r-1"), ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"))))
    log.info("x")
    (line,) = read()
    assert (line["request_id"], line["trace_id"]) == ("r-1", TRACE)


def test_a_traceback_stays_on_the_line_and_holds_no_password(lines: Any) -> None:
    log, read = lines
    try:
        raise ConnectionError("redis://reader:hunter2@127.0.0.1:6379/0 refused")
    except ConnectionError:
        log.exception("down", extra={"redis_password": "hunter2", "api_key": "hunter2"})
    (line,) = read()
    assert "ConnectionError" in line["exception"]
    assert "hunter2" not in json.dumps(line)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("redis://user:pass@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:pass@host", "redis://:***@host"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("nothing", "nothing"),
    ],
)
def test_passwords_of_addresses_are_masked(text: str, safe: str) -> None:
    assert masked(text) == safe


def test_the_process_logs_to_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    try:
        log_to(stream, service="features", instance="f-1", level="WARNING")
        logging.getLogger("predmesh").info("not this")
        logging.getLogger("predmesh").warning("this")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["this"]
