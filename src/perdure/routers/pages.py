"""Small pages without scripts: one style, light and dark, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import html
import re

from fastapi.responses import HTMLResponse

STYLE = """
:root{color-scheme:light dark;--ink:#1c1f24;--soft:#5b6470;--line:#dfe3e8;--paper:#fff;
--field:#f5f6f8;--link:#0b57d0}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa4b0;--line:#33393f;
--paper:#16181b;--field:#1f2327;--link:#8ab4f8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2.5rem 1.25rem 5rem;background:var(--paper);
color:var(--ink);font:16px/1.55 system-ui,sans-serif}
h1{font-size:1.8rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.2rem 0 .4rem}p{margin:.4rem 0}a{color:var(--link)}
small,.soft{color:var(--soft)}
code,pre{font:.86em/1.5 ui-monospace,monospace;background:var(--field);border-radius:4px}
code{padding:.1em .3em;overflow-wrap:anywhere}pre{padding:.8rem;overflow:auto}
table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.4rem .6rem .4rem 0;text-align:left;
vertical-align:top;font-weight:400}th{color:var(--soft)}
details{border:1px solid var(--line);border-radius:8px;margin:.5rem 0;padding:.2rem .9rem}
summary{cursor:pointer;padding:.35rem 0}summary b{display:inline-block;min-width:4.2rem;
font:600 .8rem ui-monospace,monospace}
nav{display:flex;gap:1.2rem;flex-wrap:wrap;margin:1rem 0}
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def page(title: str, body: str) -> HTMLResponse:
    """Return a page; `body` is HTML whose texts are escaped."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>"
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return HTMLResponse(text, headers=headers)


def prose(text: str) -> str:
    """Return plain text as HTML paragraphs, its `code` marked."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text.strip()))
    return "".join(f"<p>{paragraph}</p>" for paragraph in marked.split("\n\n"))
