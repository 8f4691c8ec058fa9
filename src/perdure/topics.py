"""What wake-ups are about: the names that a bus passes on."""

from __future__ import annotations


class Topic:
    """Names of wake-ups."""

    @staticmethod
    def events(request_id: str) -> str:
        """A request's log has more."""
        return request_id

    @staticmethod
    def stop(request_id: str) -> str:
        """A request was taken from its worker: close the upstream call."""
        return f"stop:{request_id}"

    @staticmethod
    def chats(user_id: str) -> str:
        """One of the person's chats changed."""
        return f"chats:{user_id}"
