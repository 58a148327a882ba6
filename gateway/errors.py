"""Roomkeeper's error tree. Each error's text tells its reader what to do about it."""

from __future__ import annotations

import math
from collections.abc import Sequence


class RoomkeeperError(Exception):
    """The root of all errors that Roomkeeper raises on purpose."""


class SettingsError(RoomkeeperError):
    """Settings that cannot be used. Carries every fault found, not the first one."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class StartupError(RoomkeeperError):
    """Something that the process cannot start without: a free port, a livekit-server, an agent that loads."""


class StoreLocked(RoomkeeperError):  # noqa: N818
    """Another process holds the store."""


class RequestError(RoomkeeperError):
    """Answered as a problem, not raised to the top. `field` names what is wrong, if one thing is."""

    status = 400

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.headers: dict[str, str] = {}
        """Of the answer."""


class InvalidRequest(RequestError):  # noqa: N818
    """The request cannot be acted on as it is."""


class BodyTooLarge(RequestError):  # noqa: N818
    """The body is larger than any request needs: than `limit` bytes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes.")


class Unauthorized(RequestError):  # noqa: N818
    """No token, or none that we trust."""

    status = 401

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["www-authenticate"] = "Bearer"


class Forbidden(RequestError):  # noqa: N818
    """A token that we trust, and that does not allow this."""

    status = 403


class TooManyRequests(RequestError):  # noqa: N818
    """Somebody asks more often than one may. `retry_after`: seconds until they may again."""

    status = 429

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.headers["retry-after"] = str(math.ceil(retry_after))


class LoginUnavailable(RequestError):  # noqa: N818
    """Who somebody is cannot be told right now, by no fault of theirs."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["retry-after"] = "5"


class NotDone(RequestError):  # noqa: N818
    """LiveKit did not answer, so that not everything was done. Asking again is harmless."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers["retry-after"] = "1"


class SessionEnded(RequestError):  # noqa: N818
    """The room is a session's that somebody has ended."""

    status = 409


class UnknownJob(RequestError):  # noqa: N818
    """No want of that id is known (any more)."""

    status = 404


class UnknownSession(RequestError):  # noqa: N818
    """No session of that id is known (any more)."""

    status = 404


class UnknownRoom(RequestError):  # noqa: N818
    """Nothing is known of that room."""

    status = 404
