"""Numbered, expand-only changes of a schema, as files of an adapter: which are due."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources

import msgspec

from perdure.errors import Unavailable


class Migration(msgspec.Struct, frozen=True):
    """One file: its number, its name and its statements."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells that an applied migration was changed afterwards."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def numbered(package: str) -> list[Migration]:
    """Return the migrations in a package's folder `schema`, in order."""
    folder = resources.files(package) / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [
        Migration(int(name.split("_")[0]), name, (folder / name).read_text("utf-8"))
        for name in names
    ]


def due(known: list[Migration], applied: Mapping[int, str]) -> Iterator[Migration]:
    """Yield what is to be applied beside `applied`, which are checksums by number.

    Raises:
        Unavailable: an applied migration was changed.

    """
    for migration in known:
        if migration.number not in applied:
            yield migration
        elif applied[migration.number] != migration.checksum:
            detail = f"The applied migration {migration.name} differs from this program's."
            raise Unavailable(detail, code="schema_changed")
