"""Telling the end of requests by webhook: signed, at least once, from the store's outbox.

The body holds the id only; the receiver asks for the response. It stays the same over all tries, as
does the webhook's id; time and signature are new each time. Source: Standard Webhooks.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import random
import socket
import time
from collections.abc import Sequence

from perdure import chores
from perdure.errors import PerdureError
from perdure.http import ConnectFailed, HttpClient, HttpError
from perdure.metrics import Metrics
from perdure.model import JSON, Webhook
from perdure.outage import Outage
from perdure.ports import Outbox
from perdure.settings import Webhooks
from perdure.wire import encode

log = logging.getLogger("perdure.webhooks")

LOOK_S = 1.0
HIDE_MARGIN_S = 30.0
OK = range(200, 300)
UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out; the rest is local, multicast, or a form of something else."""
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
FIRST_S, FACTOR, LONGEST_S = 5.0, 2.0, 6 * 3600.0


class Delivery:
    """Delivers what is due, again and again until it is taken or too old.

    Args:
        outbox: what waits.
        settings: where to, and with which secrets.
        metrics: where tries are counted.

    """

    look_s = LOOK_S
    """How often to look for what is due."""
    first_s = FIRST_S
    """How long to wait after the first try; twice as long after each further one."""

    def __init__(self, outbox: Outbox, settings: Webhooks, metrics: Metrics | None = None) -> None:
        self._metrics = metrics or Metrics()
        self._outbox = outbox
        self._settings = settings
        self._client = HttpClient(
            connect_timeout_s=settings.timeout_s,
            pool_size=0,
            resolve=None if settings.allow_private else public_addresses,
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if there is an address to deliver to."""
        if self._settings.url:
            self._task = chores.begin(self._rounds, "webhooks")

    async def close(self) -> None:
        """Stop; what was not delivered waits in the store."""
        if self._task is not None:
            await chores.end([self._task])
        await self._client.close()

    async def _rounds(self) -> None:
        hide_s = self._settings.timeout_s + HIDE_MARGIN_S
        taking = Outage(log, "reading webhooks that are due")
        while True:
            try:
                due = await self._outbox.take_webhooks(hide_s)
                await chores.all_of(self._deliver(webhook) for webhook in due)
            except PerdureError as error:
                taking.failed(error)
                due = []
            else:
                taking.worked()
            if not due:
                await asyncio.sleep(self.look_s)

    async def _deliver(self, webhook: Webhook) -> None:
        """Try once and keep how it went."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                error = await self._post(webhook)
        except TimeoutError:
            error = f"no answer within {self._settings.timeout_s:g} s"
        except (HttpError, OSError) as problem:
            error = str(getattr(problem, "detail", problem))
        if error is None:
            await self._outbox.settle_webhook(webhook.id)
            self._metrics.webhook_tries.labels("delivered").inc()
            return
        give_up_s = self._settings.give_up_hours * 3600
        retry_s = retry_after(webhook, time.time(), give_up_s, self.first_s)
        self._metrics.webhook_tries.labels("failed" if retry_s else "given_up").inc()
        log.warning("webhook %s was not taken: %s", webhook.id, error)
        await self._outbox.settle_webhook(webhook.id, error=error[:500], retry_s=retry_s)

    async def _post(self, webhook: Webhook) -> str | None:
        """Send it; return why it was not taken, None if it was. Redirects are not followed."""
        settings = self._settings
        body = encode(body_of(webhook))
        headers = signed_headers(settings.secrets, webhook.id, int(time.time()), body)
        async with self._client.request(
            "POST", settings.url, headers=headers, body=body
        ) as response:
            return None if response.status in OK else f"status {response.status}"


def body_of(webhook: Webhook) -> JSON:
    """Return what a webhook says."""
    return {
        "id": webhook.id,
        "object": "event",
        "created_at": int(webhook.created_at),
        "type": webhook.type,
        "data": {"id": webhook.request_id},
    }


def signed_headers(
    secrets: Sequence[str], webhook_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """Return the headers of a delivery; with several secrets, as during a rotation, all sign."""
    signatures = " ".join(sign(secret, webhook_id, timestamp, body) for secret in secrets)
    return {
        "content-type": "application/json",
        "user-agent": "perdure",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signatures,
    }


def sign(secret: str, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Return a signature, `v1,…`; a secret `whsec_…` is base64, any other is taken as it is."""
    plain = secret.removeprefix("whsec_")
    key = base64.b64decode(plain) if plain != secret else secret.encode()
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def retry_after(
    webhook: Webhook, now: float, give_up_s: float, first_s: float = FIRST_S
) -> float | None:
    """Return the seconds to wait after a failed try, with jitter; None = it is too old."""
    delay = min(LONGEST_S, first_s * FACTOR ** (webhook.attempts - 1))
    delay *= random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
    return None if now + delay > webhook.created_at + give_up_s else delay


async def public_addresses(host: str, port: int) -> list[str]:
    """Return a host's addresses, to connect to as they are: its name may lead elsewhere later.

    Raises `ConnectFailed` if one of them leads into a private network.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    for address in addresses:
        if not is_public(address.partition("%")[0]):
            detail = f"{host} is the private address {address}; see webhooks.allow_private"
            raise ConnectFailed(detail)
    return addresses


def is_public(address: str) -> bool:
    """Tell whether an address leads out into the internet, also one in which another one hides."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        hidden = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            hidden = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if hidden is None:
            return ip in UNICAST and ip.is_global
        ip = hidden
    return ip.is_global and not ip.is_multicast
