from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from examples.flights import local_time
from examples.flights.graph import Graph

NEW_YORK = ZoneInfo("America/New_York")


@pytest.fixture(scope="module")
def clocks() -> onnxruntime.InferenceSession:
    graph = Graph()
    local = local_time.new_york_seconds(graph.input("time", TensorProto.INT64))
    graph.columns([local_time.hour_of_day(local), local_time.weekday(local)], "x")
    return onnxruntime.InferenceSession(graph.model("clocks").SerializeToString(), providers=["CPUExecutionProvider"])


def shown(clocks: onnxruntime.InferenceSession, times: list[datetime]) -> np.ndarray:
    microseconds = np.array([round(time.timestamp() * 1_000_000) for time in times], np.int64)
    return np.asarray(clocks.run(["x"], {"time": microseconds})[0])


def expected(times: list[datetime]) -> np.ndarray:
    local = [time.astimezone(NEW_YORK) for time in times]
    hours = [time.hour + time.minute / 60 + time.second / 3600 for time in local]
    return np.array([hours, [time.isoweekday() for time in local]], np.float32).T


def test_every_hour_from_2007_to_2037_is_the_hour_of_new_york(clocks: onnxruntime.InferenceSession) -> None:
    first, last = datetime(2007, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
    times = [first + timedelta(hours=hour) for hour in range(int((last - first) / timedelta(hours=1)))]
    np.testing.assert_array_equal(shown(clocks, times), expected(times))


def test_the_seconds_around_every_change_of_the_clocks_are_right(clocks: onnxruntime.InferenceSession) -> None:
    days = [
        datetime(year, month, day, tzinfo=UTC)
        for year in range(2007, 2038)
        for month in (3, 11)
        for day in range(1, 15)
    ]
    times = [day + timedelta(hours=hour, seconds=second) for day in days for hour in (6, 7) for second in (-1, 0, 1)]
    np.testing.assert_allclose(shown(clocks, times), expected(times), rtol=0, atol=2e-6)


def test_fractions_of_a_second_are_cut_off(clocks: onnxruntime.InferenceSession) -> None:
    time = datetime(2013, 7, 1, 12, 0, 0, 999_999, tzinfo=UTC)
    assert shown(clocks, [time]).tolist() == [[8.0, 1.0]]
