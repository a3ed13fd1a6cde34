"""Requests of one row, which the rest of the service takes for the first of several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from predmesh_rpc.errors import InvalidInput

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
