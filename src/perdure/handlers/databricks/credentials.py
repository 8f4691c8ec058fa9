"""Who the application is to a workspace: through databricks-sdk, which knows all ways to sign in.

A token (PAT), a service principal (OAuth M2M, also the one of Databricks Apps), a profile of the
command line's `~/.databrickscfg`, and whatever else the SDK finds. The SDK blocks, so it works in
threads; what it brings is kept until shortly before it ends.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from perdure.errors import UpstreamError
from perdure.handlers import failures

MARGIN_S = 60.0
"""How long before its end a token is no longer used, so that none ends on its way."""
UNDATED_S = 300.0
"""How long headers are kept whose end the SDK does not tell (a PAT, for one)."""
CONNECT_S = 20
"""How long the SDK may try; its own default blocks for five minutes."""
UNAUTHORIZED = "upstream_unauthorized"


class Signed(msgspec.Struct, frozen=True):
    """Where the workspace is, and the headers that say who asks.

    `headers` hold a token: they are never to be shown, logged or stored.
    """

    host: str
    headers: Mapping[str, str]
    until: float = 0.0

    def __repr__(self) -> str:
        return f"Signed(host={self.host!r})"


class Credentials:
    """The application's identity.

    Args:
        host: the workspace's address, with or without `https://`; "" = as the SDK finds it
            (`DATABRICKS_HOST`, the profile).
        profile: of `~/.databrickscfg`; "" = as the SDK finds it.
        token: a personal access token; None = as the SDK finds it.

    """

    def __init__(self, host: str = "", profile: str = "", token: str | None = None) -> None:
        self.host = address_of(host)
        self._given = {"host": self.host or None, "profile": profile or None, "token": token}
        self._config: Any = None
        self._signed: Signed | None = None
        self._lock: asyncio.Lock | None = None

    async def signed(self) -> Signed:
        """Return who we are now. Raises `UpstreamError` when we cannot be anybody."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        if self._fresh() is None:
            async with self._lock:  # one refresh at a time, whoever waits for it
                if self._fresh() is None:
                    self._signed = await asyncio.to_thread(self._sign, _now())
        assert self._signed is not None  # noqa: S101 - set above
        return self._signed

    def refused(self, signed: Signed) -> None:
        """Learn that the workspace did not take these headers: the next ones are new."""
        if self._signed is signed:
            self._signed = self._config = None

    def _fresh(self) -> Signed | None:
        signed = self._signed
        return signed if signed is not None and _now() < signed.until else None

    def _sign(self, now: float) -> Signed:
        """Let the SDK sign in, or refresh what it has; runs in a thread."""
        try:
            if self._config is None:
                self._config = _connect(self._given)
            headers = self._config.authenticate()
            left = _seconds_left(self._config)
        except Exception as error:  # noqa: BLE001  # each way of signing in has its own
            self._config = None
            raise self._failed(error) from None
        return Signed(address_of(self._config.host), headers, now + left)

    def _failed(self, error: Exception) -> UpstreamError:
        """Return what the SDK's failure means; its own classes differ by way of signing in."""
        reachable = not isinstance(error, OSError | TimeoutError)  # requests' errors are OSErrors
        said = failures.clean(str(error), self._given["token"] or "")
        return UpstreamError(
            f"Cannot sign in to Databricks: {said or type(error).__name__}",
            code=UNAUTHORIZED if reachable else "upstream_unreachable",
            retryable=not reachable,
        )


def address_of(host: str) -> str:
    """Return a workspace's address with its scheme and without a slash at its end."""
    host = host.strip().rstrip("/")
    return host if not host or "://" in host else f"https://{host}"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _connect(given: Mapping[str, Any]) -> Any:
    from databricks.sdk.core import Config  # noqa: PLC0415  # it comes with an extra

    return Config(
        **given,
        product="perdure",
        product_version=version("perdure"),
        http_timeout_seconds=CONNECT_S,
        retry_timeout_seconds=CONNECT_S,
    )


def _seconds_left(config: Any) -> float:
    """Return for how long what the SDK gave may be used without asking it again."""
    try:
        expiry = config.oauth_token().expiry
    except ValueError:  # not every way of signing in has such a token
        expiry = None
    if expiry is None:
        return UNDATED_S
    left = (expiry - dt.datetime.now(tz=expiry.tzinfo)).total_seconds()
    return float(max(0.0, left - MARGIN_S))
