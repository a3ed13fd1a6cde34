"""The flights of 2013, which take seconds to read."""

import polars as pl
import pytest

from examples.flights import raw


@pytest.fixture(scope="session")
def flights() -> pl.DataFrame:
    return raw.read_flights(raw.data_folder())
