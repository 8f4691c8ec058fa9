"""The table of all settings, generated from `settings.Settings`, for docs/settings.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from perdure.settings import PREFIX, Settings

HEAD = "| setting | default | meaning | variable |\n|---|---|---|---|"


def table() -> str:
    """Return one Markdown table per section: the top level first, then each nested one."""
    return "\n\n".join(_tables(Settings, ""))


def _tables(model: type[BaseModel], path: str) -> Iterator[str]:
    nested = {name: _nested(field) for name, field in model.model_fields.items()}
    rows = [
        _row(f"{path}{name}", field)
        for name, field in model.model_fields.items()
        if nested[name] is None
    ]
    intro = "" if not path else f"## `[{path.rstrip('.')}]`\n\n{_summary(model)}\n\n"
    yield f"{intro}{HEAD}\n" + "\n".join(rows)
    for name, inner in nested.items():
        if inner is not None:
            part = f"{name}.ID" if _keyed(model.model_fields[name]) else name
            yield from _tables(inner, f"{path}{part}.")


def _row(name: str, field: FieldInfo) -> str:
    variable = f"{PREFIX}{name.upper().replace('.', '__')}"
    return f"| `{name}` | {_default(field.default)} | {field.description or ''} | `{variable}` |"


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if value == "":
        return "empty"
    shown = str(value) if isinstance(value, Path) else value
    return f"`{json.dumps(shown)}`" if not isinstance(shown, str) else f"`{shown}`"


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    """Return the section a field holds, also as values of a table keyed by id."""
    kind = get_args(field.annotation)[-1] if _keyed(field) else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _keyed(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]
