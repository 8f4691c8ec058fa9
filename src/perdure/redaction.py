"""Secrets in texts for people: in logs and errors they are dots, whoever put them there."""

from __future__ import annotations

import re

SHOWN = "…"
SECRETS = re.compile(
    r"\b(?:Bearer|Basic)\s+[\w.~+/=-]{4,}"  # an Authorization header
    r"|\bperdure_(?:tok|ses)_[0-9a-f]{24,32}_[\w-]+|\bwhsec_[\w+/=-]{6,}"  # ours
    r"|\b(?:sk|pk|rk)-[\w-]{6,}|\bdapi\w{6,}|\beyJ[\w-]+\.[\w.-]+"  # of model servers; JWTs
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # name and password in an address
    r"|(?<=\bcode=)[\w.~-]{16,}|(?<=\bstate=)[\w.~-]{16,}|(?<=\bclient_secret=)[^&\s]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Return a text without what looks like a secret."""
    return SECRETS.sub(SHOWN, text)
