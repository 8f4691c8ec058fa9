"""Where a page of a list ends, as opaque text: sort keys and an id, not a row that must stay."""

from __future__ import annotations

import math

from perdure.errors import Invalid


def write(*place: float | str) -> str:
    """Return the cursor of a place: its sort keys, then the id that breaks ties."""
    return ":".join(key if isinstance(key, str) else repr(float(key)) for key in place)


def read(cursor: str, keys: int) -> list[float | str]:
    """Return the place that a cursor names: `keys` numbers and an id; raises `Invalid`."""
    *told, object_id = cursor.split(":", keys)
    try:
        place = [float(key) for key in told]
    except ValueError:
        place = []
    if len(place) != keys or not all(map(math.isfinite, place)):
        detail = "This cursor is not one that this list returned."
        raise Invalid(detail, code="invalid_cursor")
    return [*place, object_id]
