"""Participants that may be dead: what to ask one, and what LiveKit's answer proves. Pure; calls nothing.

A participant is asked something that needs no cooperation of its program: an RPC method that nobody has. The
SDK's own thread refuses it, also while the program's event loop is blocked, and that is a sign of life (S11).
"""

from __future__ import annotations

import re

from livekit.api import ServerError
from livekit.protocol.room import PerformRpcRequest

METHOD = "roomkeeper.alive"
"""What nobody implements; who does lives all the same."""
ANSWER_TIMEOUT = 2.0
"""Seconds; LiveKit itself waits no longer than this for a participant's receipt."""
ASKED_AGAIN_AFTER = 0.5
"""Seconds; an answer that is not lost comes within 0.04 (S18)."""

_RPC_ERROR = re.compile(r"RpcError (\d+)")
_NO_RECEIPT, _NO_RESPONSE, _GONE, _NOT_SENT = 1501, 1502, 1503, 1505
"""Codes that the server makes up; any other was sent by the participant."""


def question(room: str, identity: str) -> PerformRpcRequest:
    return PerformRpcRequest(
        room=room,
        destination_identity=identity,
        method=METHOD,
        response_timeout_ms=int(ANSWER_TIMEOUT * 1000),
    )


def lives(error: ServerError) -> bool | None:
    """Whether the participant answered; None when the error proves nothing."""
    if error.code == "not_found":
        return False
    rpc = _RPC_ERROR.search(error.message)
    if rpc is None or int(rpc[1]) == _NOT_SENT:
        return None
    return int(rpc[1]) not in (_NO_RECEIPT, _NO_RESPONSE, _GONE)
