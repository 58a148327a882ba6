"""One line of `roomkeeper check`: what was looked at, how it is, what was found, what to do. Values."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Site = TypeVar("Site")


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and not as it should."""
    FAIL = "fail"
    SKIPPED = "skipped"
    """It could not be looked at; another line says why, or the operator did not want it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has to say."""

    status: Status
    found: str
    todo: str = ""
    """What to do about it; "" when there is nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    status: Status
    found: str
    todo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[Site]):
    """A look at one thing. `run` raises nothing that it can put into words."""

    name: str
    run: Callable[[Site], Awaitable[Finding]]
    needs: Sequence[str] = ()
    """Those that must not have failed: else this one is skipped."""
    after: Sequence[str] = ()
    """Those that must only be over."""


@dataclass(frozen=True, slots=True)
class Report:
    lines: Sequence[Line]
    took_s: float

    @property
    def ok(self) -> bool:
        """Warnings and what was skipped are allowed."""
        return all(line.status is not Status.FAIL for line in self.lines)


def ok(found: str) -> Finding:
    return Finding(Status.OK, found)


def warn(found: str, todo: str) -> Finding:
    return Finding(Status.WARN, found, todo)


def fail(found: str, todo: str) -> Finding:
    return Finding(Status.FAIL, found, todo)


def skipped(found: str) -> Finding:
    return Finding(Status.SKIPPED, found)
