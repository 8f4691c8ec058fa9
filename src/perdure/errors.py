"""Every error that Perdure raises: one tree, a stable code each, and whether trying again can help.

PerdureError
├── Refused                 the caller asked for something that cannot be (HTTP 4xx)
│   ├── NotFound            unknown or somebody else's: the two look alike
│   ├── Invalid             the request itself is wrong
│   ├── Conflict            it does not fit the present state
│   ├── TooMany             a limit is reached; says when to come back
│   └── Gone                it was here, and was pruned
├── Unavailable             we cannot do it now (HTTP 503): store down, draining
├── AnswerError             a run ended without an answer; becomes the request's `error`
│   ├── UpstreamError       the agent's server failed, refused, stalled, dropped or sent garbage
│   └── AgentError          the agent's own Python code raised
├── OwnershipLost           a fenced write was refused: somebody else owns the request now
└── SettingsError           the configuration is wrong; the start stops
"""

from __future__ import annotations


class PerdureError(Exception):
    """Base of all errors of this package.

    Args:
        detail: one sentence for a person: what failed, on which object, and what to do.
        code: stable machine-readable name; the class's own by default.

    """

    code = "internal_error"
    retryable = False

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class Refused(PerdureError):
    """The call cannot be carried out as asked; `status` is its HTTP status."""

    code = "refused"
    status = 400


class NotFound(Refused):
    """No such object, or it belongs to another person."""

    code = "not_found"
    status = 404


class Invalid(Refused):
    """The input is malformed or over a size limit.

    Args:
        detail: what is wrong, in a sentence.
        code: stable name, e.g. `message_too_large`.
        status: HTTP status, 400 by default (413 and 422 also occur).
        param: the parameter that is wrong, e.g. `input[0].role`, where one is known.

    """

    code = "invalid_request"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        status: int = 400,
        param: str | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.status = status
        self.param = param


class Conflict(Refused):
    """The call does not fit the object's present state, and will not by itself."""

    code = "conflict"
    status = 409


class TooMany(Refused):
    """A limit is reached.

    Args:
        detail: which limit, in a sentence.
        code: stable name, e.g. `queue_full`.
        retry_after_s: seconds after which a new try is sensible.

    """

    code = "too_many_requests"
    status = 429
    retryable = True

    def __init__(self, detail: str, *, code: str | None = None, retry_after_s: int = 5) -> None:
        super().__init__(detail, code=code)
        self.retry_after_s = retry_after_s


class Gone(Refused):
    """It existed and was removed by retention."""

    code = "gone"
    status = 410


class Unavailable(PerdureError):
    """The server cannot do this now; the same call may succeed in a moment."""

    code = "unavailable"
    retryable = True


class AnswerError(PerdureError):
    """A run ended without a complete answer; stored as the request's `error {code, message}`."""

    code = "server_error"


class UpstreamError(AnswerError):
    """The agent's server failed.

    Args:
        detail: what it said, without headers or tokens.
        code: `upstream_error`, `upstream_refused`, `upstream_dropped`, `upstream_garbage`,
            `upstream_unreachable`, `upstream_rate_limited`, `first_byte_timeout`, `idle_timeout`,
            `total_timeout` or `answer_too_large`.
        retryable: whether the same call may be repeated before the first delta.
        retry_after_s: seconds the server asked us to wait, if it did.
        status: its HTTP status, if there was one.

    """

    code = "upstream_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail, code=code)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status = status


class AgentError(AnswerError):
    """A Python agent raised; `detail` names the exception, never its traceback."""

    code = "agent_error"


class OwnershipLost(PerdureError):
    """The claim is no longer in force: cancelled, taken over or finished elsewhere."""

    code = "ownership_lost"


class SettingsError(PerdureError):
    """A setting is unknown, missing or out of range."""

    code = "bad_setting"
