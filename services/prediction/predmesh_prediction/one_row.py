"""Requests of one row, which the rest of the service takes for the first of several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from predmesh_rpc.errors import InvalidInput

from predmesh_prediction.inputs import MISSING
from predmesh_prediction.violations import Violations

ROW = "instance"
"""What the row is called in such a request."""

_FIRST = "instances[0]"


@contextmanager
def of_one_row(place: str = ROW) -> Iterator[None]:
    """Lets what is wrong with the first of several rows be said of the only one, which is called *place*."""
    try:
        yield
    except InvalidInput as error:
        violations = [replace(each, field=each.field.replace(_FIRST, place, 1)) for each in error.violations]
        told = InvalidInput(error.reason, error.message.replace(_FIRST, place, 1), violations)
        told.metadata |= error.metadata
        raise told from None


def check_row(given: bool, model: str) -> None:
    """Raise InvalidInput unless the row was *given*."""
    if not given:
        violations = Violations()
        violations.add(ROW, MISSING)
        violations.check(model)
