"""How long stores keep what nobody sets a time for, and how much they remove at once."""

from __future__ import annotations

ROWS_PER_STEP = 200
SESSION_S = 86_400.0
"""How long a session that is over stays, for looking at."""
TOMBSTONE_S = 86_400.0
"""How long live lists can still learn that a chat was deleted."""
TRANSIENT_S = 60.0
"""How long a transient request stays for who reads its end just now."""
WEBHOOK_S = 30 * 86_400.0
"""How long a delivered or dead webhook is kept for looking at."""
