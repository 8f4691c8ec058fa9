"""The mark of routes that anybody may call; every other one asks who is calling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

MARK = "perdure_public"


def public(endpoint: Endpoint) -> Endpoint:
    """Mark a route that shows nothing of anybody and changes nothing of anybody's."""
    setattr(endpoint, MARK, True)
    return endpoint


def is_public(endpoint: Callable[..., Any]) -> bool:
    """Tell whether a route has the mark."""
    return getattr(endpoint, MARK, False) is True
