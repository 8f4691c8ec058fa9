"""One line of `perdure check`."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; `hint` says what to do when it is wrong."""

    verdict: Literal["ok", "note", "wrong"]
    about: str
    detail: str
    hint: str = ""
