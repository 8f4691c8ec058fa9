"""A worker process whose start fails."""

from __future__ import annotations

from typing import Any

import pytest

from perdure import worker
from perdure.errors import Unavailable


class Host(worker.Host):
    """A host that cannot start."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def start(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("The store is away."), "perdure: The store is away."),
        (TimeoutError(), worker.LATE_EXIT),
        (ZeroDivisionError(), worker.LATE_EXIT),
    ],
)
def test_a_worker_that_cannot_start_leaves_whatever_the_reason(error: Exception, code: Any):
    """Guard: `_start`; else it would take deliveries, and each of them would be lost."""
    with pytest.raises(SystemExit) as left:
        worker._start(Host(error))
    assert left.value.code == code
