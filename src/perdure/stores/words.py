"""Texts as the words that search knows: without case and accents, whatever a server's locale."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterator

LONG = 20_000
"""Characters from which a text is better taken apart in a thread."""
WORD_CHARACTERS_MAX = 200
"""A longer word is cut, also in a query; PostgreSQL takes at most 2046 bytes."""
INDEX_BYTES_MAX = 900_000
"""Distinct words of one message; PostgreSQL takes at most a mebibyte."""

_WORD = re.compile(r"[^\W_]+")


def of(text: str) -> list[str]:
    """Return a text's distinct words, as many as an index entry holds."""
    room, kept = INDEX_BYTES_MAX, []
    for word in dict.fromkeys(_words(text)):
        room -= len(word.encode())
        if room < 0:
            break
        kept.append(word)
    return kept


async def apart(text: str) -> list[str]:
    """Return the same; long texts are taken apart off the loop."""
    return of(text) if len(text) < LONG else await asyncio.to_thread(of, text)


def _words(text: str) -> Iterator[str]:
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(sign for sign in folded if not unicodedata.combining(sign))
    return (found.group()[:WORD_CHARACTERS_MAX] for found in _WORD.finditer(plain))
