"""A small streaming HTTP/1.1 client: the way of every chunk from an agent's server to us.

Knows nothing of agents, retries of answers or server-sent events.

    async with client.request("POST", url, headers={...}, body=b"...") as response:
        async for data in response: ...

    HttpError
    ├── RequestInvalid    the address or a header cannot be sent at all
    ├── ConnectFailed     no connection: name, network, TLS, proxy or time
    └── ResponseBroken    the connection broke, or what came is not HTTP
"""

from perdure.http.address import HttpError, RequestInvalid, below
from perdure.http.client import HttpClient, Response
from perdure.http.connection import ConnectFailed, Headers, ResponseBroken

__all__ = [
    "ConnectFailed",
    "Headers",
    "HttpClient",
    "HttpError",
    "RequestInvalid",
    "Response",
    "ResponseBroken",
    "below",
]
