"""The mesh's clock: the system's, one that stands still, or one that is shifted."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_SHIFT = re.compile(r"(?P<seconds>[+-]\d+(?:\.\d+)?)s")


class ClockError(ValueError):
    """A clock that cannot be read; the message says how to write one."""


class Clock:
    """Tells the time by which ages are judged; by itself the system's."""

    def now(self) -> datetime:
        """The time, aware, in UTC."""
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class FixedClock(Clock):
    """Stands still."""

    time: datetime
    """The time that it shows, aware."""

    def now(self) -> datetime:
        """The time that it shows, in UTC."""
        return self.time.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class ShiftedClock(Clock):
    """Runs beside the system's clock."""

    seconds: float
    """How far it is ahead; negative where it is behind."""

    def now(self) -> datetime:
        """The system's time, shifted, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


class FollowedClock(Clock):
    """Shows what another clock shows, which can be changed while it is used."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()

    def follow(self, clock: Clock) -> None:
        """Show *clock*'s time from now on."""
        self._clock = clock

    def now(self) -> datetime:
        """The followed clock's time."""
        return self._clock.now()


def parse_clock(text: str) -> Clock:
    """The clock that a person named: `system`, an RFC 3339 time, or a shift such as `+3600s`.

    Raises:
        ClockError: it is none of these.
    """
    if text == "system":
        return Clock()
    if match := _SHIFT.fullmatch(text):
        return _shifted(float(match["seconds"]))
    return FixedClock(_time(text))


def clock_from_json(text: str | bytes) -> Clock:
    """The clock that a `clock.json` describes.

    Raises:
        ClockError: it describes none.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ClockError(f"clock.json is no JSON: {error}") from error
    match document:
        case {"mode": "system"}:
            return Clock()
        case {"mode": "fixed", "time": str(time)}:
            return FixedClock(_time(time))
        case {"mode": "shifted", "seconds": int() | float() as shift}:
            return _shifted(float(shift))
    raise ClockError(f"clock.json says {document!r}: set it anew with `predmesh clock system`")


def clock_to_json(clock: Clock) -> str:
    """The `clock.json` that describes *clock*."""
    return json.dumps(_document(clock))


def clock_to_text(clock: Clock) -> str:
    """What `parse_clock` reads as *clock*."""
    match clock:
        case FixedClock(time):
            return _rfc3339(time)
        case ShiftedClock(shift):
            return f"{shift:+.6f}".rstrip("0").rstrip(".") + "s"
    return "system"


def _document(clock: Clock) -> dict[str, Any]:
    match clock:
        case FixedClock(time):
            return {"mode": "fixed", "time": _rfc3339(time)}
        case ShiftedClock(shift):
            return {"mode": "shifted", "seconds": shift}
    return {"mode": "system"}


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shifted(shift: float) -> Clock:
    try:
        ShiftedClock(shift).now()
    except OverflowError as error:
        raise ClockError(f"a shift of {shift:g} s leaves the calendar: years run from 1 to 9999") from error
    return ShiftedClock(shift)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ClockError(
            f"{text!r} is no clock: write `system`, a time such as 2013-12-31T23:59:00Z, or a shift such as +3600s"
        ) from error
    if time.tzinfo is None:
        raise ClockError(f"{text!r} names no time zone: add Z for UTC, as in 2013-12-31T23:59:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ClockError(f"{text!r} leaves the calendar in UTC") from error
