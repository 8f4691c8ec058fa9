"""How long stores keep what nobody sets a time for, and how much they remove at once."""

from __future__ import annotations

ROWS_PER_STEP = 200
SESSION_S = 86_400.0
"""How long a session that is over stays, for looking at."""
TOMBSTONE_S = 86_400.0
"""How long a deleted chat is told to live lists, and a removed request's key asks nobody again."""
TRANSIENT_S = 60.0
"""How long a transient request stays for who reads its end just now."""
UNANSWERED_S = 900.0
"""How long a note of an unanswered call outlives its making where it would have no other owner."""
WEBHOOK_S = 30 * 86_400.0
"""How long a delivered or dead webhook is kept for looking at."""
