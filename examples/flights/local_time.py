"""New York's clocks inside an ONNX graph, by the rule of the Energy Policy Act of 2005, in force since 2007.

Daylight time runs from the second Sunday of March to the first Sunday of November, each at 02:00 on the wall.
Holds from 2007 until the law changes, in whole microseconds since 1970 (UTC).
"""

from examples.flights.graph import Term

HOUR, DAY = 3_600, 86_400

_EPOCH_FROM_MARCH_0000 = 719_468
_DAYS_IN_400_YEARS = 146_097
_MARCH_TO_NOVEMBER_DAYS = 245


def new_york_seconds(microseconds: Term) -> Term:
    """Seconds since 1970 as New York's clocks show them."""
    seconds = microseconds // 1_000_000
    march = _first_of_march(seconds // DAY)
    november = march + _MARCH_TO_NOVEMBER_DAYS
    start = (_sunday_from(march) + 7) * DAY + 7 * HOUR  # 02:00 EST
    end = _sunday_from(november) * DAY + 6 * HOUR  # 02:00 EDT
    daylight = seconds.at_least(start) - seconds.at_least(end)
    return seconds - 5 * HOUR + daylight * HOUR


def hour_of_day(local_seconds: Term) -> Term:
    """Hours since midnight with their fraction, 0 up to 24."""
    return (local_seconds % DAY).floats(per=HOUR)


def weekday(local_seconds: Term) -> Term:
    """Day of the week, 1 (Monday) to 7 (Sunday)."""
    return ((local_seconds // DAY + 3) % 7 + 1).floats()


def _first_of_march(day: Term) -> Term:
    """The last 1 March up to *day*, in days since 1970.

    In January and February that is last year's, whose daylight time is over: the same answer.
    Howard Hinnant, https://howardhinnant.github.io/date_algorithms.html (civil_from_days).
    """
    shifted = day + _EPOCH_FROM_MARCH_0000
    of_era = shifted % _DAYS_IN_400_YEARS
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (year * 365 + year // 4 - year // 100)
    return day - of_year


def _sunday_from(day: Term) -> Term:
    """The first Sunday on or after *day*."""
    # Day 0 was a Thursday.
    return day + (day * 6 + 3) % 7
