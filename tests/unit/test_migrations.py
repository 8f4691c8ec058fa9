"""Migrations are numbered without a gap: two of one number would stop every start."""

import pytest

from perdure.stores.migrations import numbered


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_migrations_count_from_1_without_a_gap(store):
    numbers = [migration.number for migration in numbered(f"perdure.stores.{store}")]
    assert numbers == [*range(1, len(numbers) + 1)]
