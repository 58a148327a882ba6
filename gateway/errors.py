"""Roomkeeper's error tree. Each error's text tells its reader what to do about it."""

from __future__ import annotations

from collections.abc import Sequence


class RoomkeeperError(Exception):
    """The root of all errors that Roomkeeper raises on purpose."""


class SettingsError(RoomkeeperError):
    """Settings that cannot be used. Carries every fault found, not the first one."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class InvalidRequest(RoomkeeperError):  # noqa: N818  (a client's mistake, answered, not raised to the top)
    """A client sent something that cannot be acted on; `field` names what."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class UnknownJob(RoomkeeperError):  # noqa: N818
    """No want of that id is known (any more)."""


class StoreLocked(RoomkeeperError):  # noqa: N818
    """Another process holds the store."""
