"""The chat page: what `web/` was built into, served from memory.

Built files are named by their content and kept for ever; the page itself is asked for each time,
with a policy that lets only our own scripts run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import mimetypes
import re
from pathlib import Path

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from perdure.errors import NotFound
from perdure.routers import dialects
from perdure.routers.agents import LOGO_PATH
from perdure.routers.given import Running, placed
from perdure.routers.public import public
from perdure.settings import Settings

FOLDER = Path(__file__).parent.parent / "static"
ASSETS = "/assets/"
NOT_SENT = {"/index.html", "/manifest.json"}
FROM_HERE = '="./'
"""How the built page begins the addresses of its files: it is shown under many paths."""
TITLE = "<title>Perdure</title>"
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"
LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}

POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:{images}; font-src 'self'; connect-src 'self'; manifest-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

FRAME_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'sha256-{digest}'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of the page in which diagrams are drawn: no origin, no network, no script but its own."""


class Built(msgspec.Struct, frozen=True):
    """A file of the built page."""

    body: bytes
    zipped: bytes | None
    media_type: str
    headers: dict[str, str]


def is_built(folder: Path = FOLDER) -> bool:
    """Tell whether the page was built into this installation."""
    return (folder / "index.html").is_file()


def router(folder: Path = FOLDER) -> APIRouter:
    """Return the routes of the page; the files are read once, now."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    built = files(folder)
    routes = APIRouter(include_in_schema=False)

    async def show(core: Running, request: Request) -> Response:
        """Show the chat page; which chat is up to the page."""
        return _page(page, placed(request, ""), core.settings)

    async def send(request: Request) -> Response:
        """Send a built file."""
        file = built.get(dialects.path_of(request.scope))
        if file is None:
            raise NotFound("There is no such file.", code="not_found")
        return _sent(file, request.headers.get("accept-encoding", ""))

    async def logo(core: Running) -> Response:
        """Send the picture that the settings name."""
        return _logo(core.settings.ui.logo)

    for path in ("/", "/c/{chat_id}", "/operator"):
        routes.add_api_route(path, public(show))
    routes.add_api_route(LOGO_PATH, public(logo))
    for path in (f"{ASSETS}{{name}}", *(path for path in built if not path.startswith(ASSETS))):
        routes.add_api_route(path, public(send))
    return routes


def files(folder: Path) -> dict[str, Built]:
    """Return the built files by their path on the server, the page itself left out."""
    found = {}
    for file in sorted(folder.rglob("*")):
        path = f"/{file.relative_to(folder).as_posix()}"
        if file.is_file() and file.suffix != ".gz" and path not in NOT_SENT:
            zipped = file.with_name(f"{file.name}.gz")
            media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            body, packed = file.read_bytes(), zipped.read_bytes() if zipped.is_file() else None
            found[path] = Built(body, packed, media_type, _headers(path, body))
    return found


def _headers(path: str, body: bytes) -> dict[str, str]:
    """Return what a built file is sent with."""
    cache = FOR_EVER if path.startswith(ASSETS) else ASK_FIRST
    headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"}
    script = re.search(rb"<script>(.*)</script>", body, re.DOTALL)
    if path.endswith(".html") and script:
        digest = base64.b64encode(hashlib.sha256(script.group(1)).digest()).decode()
        headers["Content-Security-Policy"] = FRAME_POLICY.format(digest=digest)
        headers["X-Frame-Options"] = "SAMEORIGIN"
    return headers


def _page(page: str, root: str, settings: Settings) -> Response:
    """Return the page with its place, its name and its colour, which nothing may cache."""
    ui = settings.ui
    head = (
        f'<meta name="root" content="{root}">'
        f'<meta name="accent" content="{html.escape(ui.accent)}">'
        f'<meta name="auth-mode" content="{settings.auth.mode}">'
        f"<title>{html.escape(ui.name)}</title>"
    )
    text = page.replace(FROM_HERE, f'="{root}/').replace(TITLE, head, 1)
    policy = POLICY.format(images=" https:" if ui.remote_images else "")
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)


def _sent(file: Built, accept_encoding: str) -> Response:
    headers = dict(file.headers)
    if file.zipped is not None and "gzip" in accept_encoding:
        headers["Content-Encoding"] = "gzip"
        return Response(file.zipped, headers=headers, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)


def _logo(path: Path | None) -> Response:
    media_type = LOGO_TYPES.get(path.suffix.lower()) if path else None
    if path is None or media_type is None or not path.is_file():
        raise NotFound("There is no logo.", code="not_found")
    headers = {"Cache-Control": "max-age=3600", "Content-Security-Policy": "default-src 'none'"}
    return Response(path.read_bytes(), headers=headers, media_type=media_type)
