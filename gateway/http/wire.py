"""What clients send, as types, and the limits of each field. A fault names its field."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta
from starlette.requests import ClientDisconnect, Request

from gateway.errors import BodyTooLarge, InvalidRequest
from gateway.keeper.model import MAX_ROOM_NAME_BYTES
from gateway.variables import MAX_AGENT_NAME_BYTES

MAX_BODY_BYTES = 1024 * 1024
MAX_IDENTITY_BYTES = 256
MAX_METADATA_BYTES = 512 * 1024  # fact 17
MAX_TOKEN_BYTES = 16 * 1024
"""Metadata and attributes in a token: it travels in a header or a URL, where 64 KiB is the end."""
MAX_LANGUAGE_BYTES = 35
"""The longest BCP 47 tag that implementations must take (RFC 5646, 4.4.1)."""
MAX_ROLE_BYTES = 35
MAX_INSTRUCTIONS_BYTES = 64 * 1024
MAX_LINES = 500
"""Of one report."""
MAX_LINE_BYTES = 32 * 1024
MAX_QUESTIONNAIRE_BYTES = 256 * 1024
LAST_SECOND = 253_402_300_799
"""Of the year 9999: a time beyond cannot be written as one."""
MAX_WAIT = 60.0
"""Seconds that a job request may wait for its agent: below the idle time-outs of common proxies."""


T = TypeVar("T")


_PLAIN = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"


def _described(most: int, least: int = 1) -> Meta:
    """For `/openapi.json` only: bytes are counted below, and a schema knows characters."""
    return Meta(extra_json_schema={"minLength": least, "maxLength": most, "pattern": _PLAIN})


Name = Annotated[str, _described(MAX_ROOM_NAME_BYTES)]
"""Of a room, an agent, a participant: 1 to 256 bytes of UTF-8, no control characters."""
Given = Annotated[str, _described(MAX_IDENTITY_BYTES, 0)]
"""The same, and "" counts as not sent: some SDKs write it."""
JobType = Literal["start_agent", "stop_agent", "restart_agent"]


class JobPayload(msgspec.Struct, rename="camel", frozen=True):
    agent_name: Name | None = None
    worker_url: str | None = None
    metadata: str | dict[str, Any] | None = None


class JobRequest(msgspec.Struct, rename="camel", frozen=True):
    job_type: JobType
    room_name: Name
    payload: JobPayload | None = None


class StartRequest(msgspec.Struct, rename="camel", frozen=True):
    room_name: Name
    agent_name: Name | None = None


class SessionRequest(msgspec.Struct, rename="camel", frozen=True):
    agent_name: Name | None = None
    identity: Given | None = None
    name: Given | None = None
    language: Annotated[str, _described(MAX_LANGUAGE_BYTES, 0)] | None = None
    instructions: str | None = None
    metadata: str | dict[str, Any] | None = None


class ReportedLine(msgspec.Struct, frozen=True):
    role: Annotated[str, _described(MAX_ROLE_BYTES)]
    text: str
    id: str = ""
    at: Annotated[float, Meta(ge=0, le=LAST_SECOND)] = 0.0


class ReportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    transcript: list[ReportedLine] = []
    questionnaire: dict[str, Any] | None = None


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ours: the first five. LiveKit's standard endpoint format: the rest."""

    identity: Given | None = None
    room: Given | None = None
    name: Given | None = None
    metadata: str | dict[str, Any] | None = None
    attributes: dict[str, str] | None = None
    room_name: Given | None = None
    participant_identity: Given | None = None
    participant_name: Given | None = None
    participant_metadata: str | None = None
    participant_attributes: dict[str, str] | None = None
    room_config: dict[str, Any] | None = None

    @property
    def standard(self) -> bool:
        """Whether LiveKit's SDKs would send it; so is `{}`, all fields being optional there."""
        return not any(getattr(self, name) is not None for name in _OURS)


_OURS = ("identity", "room", "name", "metadata", "attributes")


async def read_body(request: Request) -> bytes:
    """The whole body. Raises BodyTooLarge when more bytes than the limit are announced, or have come."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise BodyTooLarge(MAX_BODY_BYTES)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise BodyTooLarge(MAX_BODY_BYTES)
    except ClientDisconnect:
        raise InvalidRequest("The client hung up before its body was here.") from None
    return bytes(body)


async def decode(request: Request, kind: type[T]) -> T:
    """The body as `kind`; raises InvalidRequest naming the field."""
    body = await read_body(request)
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as fault:
        raise _translated(str(fault)) from None
    except msgspec.DecodeError as fault:
        raise InvalidRequest(f"The body is not JSON: {fault}.") from None
    except (UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body is not JSON in UTF-8.") from None


_PATH = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:required|unknown) field `(?P<name>[^`]*)`")


def _translated(message: str) -> InvalidRequest:
    """msgspec's words with the field set apart: "Expected `str`, got `int` - at `$.payload.agentName`"."""
    at = _PATH.search(message)
    path = at["path"] if at else ""
    words = message[: at.start()] if at else message
    if words.startswith("Invalid enum value"):
        words = f"must be one of {', '.join(get_args(JobType))}"  # the only one that there is
    if named := _NAMED.search(words):
        path = f"{path}.{named['name']}".lstrip(".")
        missing = "required" in named[0]
        words = "is required" if missing else "is not a field that a client may set"
    return InvalidRequest(f"{path or 'The body'}: {words}.", field=path or None)


def text(value: str, *, field: str, most: int, least: int = 1) -> str:
    """`value`, when its UTF-8 length is within the limits and it has no control characters."""
    size = _size(value, field)
    if not least <= size <= most:
        raise InvalidRequest(f"{field}: must have {least} to {most} bytes in UTF-8, not {size}.", field=field)
    if any(c < " " or "\x7f" <= c < "\xa0" for c in value):
        raise InvalidRequest(f"{field}: must have no control characters.", field=field)
    if size and not _can_be_seen(value):
        raise InvalidRequest(f"{field}: must have something that can be seen.", field=field)
    return value


def prose(value: str, *, field: str, most: int) -> str:
    """Whatever somebody said or wrote, when it is not too long."""
    if _size(value, field) > most:
        raise InvalidRequest(f"{field}: must have at most {most} bytes in UTF-8.", field=field)
    return value


def _size(value: str, field: str) -> int:
    """Bytes in UTF-8, in which half a surrogate pair, as a JWT may have one, cannot be written."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{field}: must be Unicode text.", field=field) from None


def _can_be_seen(value: str) -> bool:
    """Not of spaces and zero-width characters alone: nobody could tell such names apart."""
    return any(unicodedata.category(c)[0] not in "CZ" for c in value)


def room_name(value: str, *, field: str) -> str:
    # fact 17: LiveKit's CreateDispatch takes "" and 257 bytes, and creates that room.
    return text(value, field=field, most=MAX_ROOM_NAME_BYTES)


def agent_name(value: str, *, field: str) -> str:
    return text(value, field=field, most=MAX_AGENT_NAME_BYTES)


def metadata(value: str | dict[str, Any] | None, *, field: str, most: int = MAX_METADATA_BYTES) -> str:
    """Metadata as LiveKit carries it, a string; an object becomes its JSON."""
    if value is None:
        return ""
    carried = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return prose(carried, field=field, most=most)


def seconds(value: str | None, *, field: str) -> float:
    """A waiting time from the query string; 0 when it is not given."""
    if value is None:
        return 0.0
    try:
        given = float(value)
    except ValueError:
        given = -1.0
    if not 0 <= given <= MAX_WAIT:  # also refuses nan
        raise InvalidRequest(f"{field}: must be a number of seconds from 0 to {MAX_WAIT:g}.", field=field)
    return given
