"""What the headers of answers say of a version that will go."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from email.utils import format_datetime

from predmesh_bundle.schema import Bundle

Notices = tuple[tuple[str, str], ...]
"""Headers, names in lower case."""


def notices(bundle: Bundle) -> Notices:
    """`deprecation` (RFC 9745), `sunset` (RFC 8594) and a `link` to the successor; nothing for a version that stays."""
    told = bundle.deprecated
    if told is None:
        return ()
    headers = [("deprecation", f"@{int(_midnight(told.since).timestamp())}")]
    if told.sunset is not None:
        headers.append(("sunset", format_datetime(_midnight(told.sunset), usegmt=True)))
    if told.successor is not None:
        path = f"/v1/models/{bundle.name}/versions/{told.successor}"
        headers.append(("link", f'<{path}>; rel="successor-version"'))
    return tuple(headers)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
