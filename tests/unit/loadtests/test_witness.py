"""The sleeper notes when it was kept from running."""

import time

import psutil

from loadtests.bench.witness import sleeping


def test_standing_still_is_noted_once() -> None:
    with sleeping() as witness:
        sleeper = psutil.Process(witness.pid)
        while not sleeper.cpu_times().user:
            time.sleep(0.01)
        sleeper.suspend()
        time.sleep(0.3)
        sleeper.resume()
        noted = 0.0
        while noted < 250:
            noted = witness.longest_ms()
        assert witness.longest_ms() < noted
