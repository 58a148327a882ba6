"""Crash points: at which calls on a port the gateway ends, and what is going on then. Data only.

Each list names calls that are really made meanwhile, on SQLite and on Redis; a point that is never reached is
a failure of whoever plays it. Left out, since one gateway alone makes no such call, or none of account:

- `store.send`: notes to other replicas, which may be lost anyway;
- `livekit.answers`: asks an agent whose replica, on another machine, lapsed;
- `store.restore`: tells an emptied store what this process knew; a kill there loses it by the nature of the
  thing, and other replicas' knowledge is what rows `redis-flushall` and `redis-lost` play.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Scene(StrEnum):
    """What is going on when the bomb goes off."""

    POST = "post"
    """Somebody asks for an agent, and it comes."""
    KILL = "kill"
    """The agent's process is killed, and another one comes."""
    START = "start"
    """The gateway starts again after a kill, with a room in its store."""
    EARLY = "early"
    """It starts again, and somebody asks before it leads: the dead one's lead has yet to lapse (Redis)."""
    TOKEN = "token"
    """A token invites an agent, and its person joins."""
    LIST = "list"
    """An operator looks at the rooms."""
    STOP = "stop"
    """A request for an agent that nobody serves is taken back: its dispatches are deleted."""
    TERM = "term"
    """SIGTERM, with a call that has to be cut."""


@dataclass(frozen=True, slots=True)
class Point:
    scene: Scene
    call: str
    """`store.update`."""
    when: str
    """`before` or `after` it."""
    nth: int

    def __str__(self) -> str:
        return f"{self.scene}: {self.call}:{self.when}:{self.nth}"

    @property
    def fuse(self) -> str:
        """For the bomb. A POST's calls are counted from its first one, all others at once."""
        return f"{self.call}:{self.when}:{self.nth}" + (" store.ask" if self.scene is Scene.POST else "")


def _around(scene: Scene, calls: Iterable[str]) -> tuple[Point, ...]:
    """Before and after each call; `store.update:2` is the second one."""
    return tuple(
        Point(scene, call.partition(":")[0], when, int(call.partition(":")[2] or 1))
        for call in calls
        for when in ("before", "after")
    )


OF_A_POST = _around(
    Scene.POST,
    [
        *("store.ask", "livekit.rooms", "livekit.participants", "store.wants", "store.claims"),
        *("store.update", "store.want", "livekit.create_room", "store.update:2", "store.want:2"),
        *("livekit.create_dispatch", "livekit.send_status", "store.claim", "store.update:3"),
        *("store.claim_of", "store.advance", "store.advance:2", "store.advance:3", "store.advance:4"),
        *("store.receive",),
    ],
)
"""Between the arrival of a POST and its agent's `joined`, in about the order in which they come."""

OF_A_DIRECT_POST = _around(
    Scene.POST,
    [
        *("store.ask", "store.update", "livekit.create_room", "store.update:2", "store.claim"),
        *("store.claim_of", "store.advance", "store.advance:2", "store.advance:3"),
    ],
)
"""The same by the direct lane: LiveKit is asked for no dispatch."""

ELSEWHERE = (
    *_around(
        Scene.KILL,
        [
            *("store.release", "livekit.remove_participant", "store.update", "store.update:2", "store.claim"),
            *("livekit.create_dispatch", "store.advance", "store.advance:2", "store.advance:3"),
        ],
    ),
    *_around(
        Scene.START,
        [
            *("store.all_claims", "store.all_claims:2", "store.living", "store.invitations"),
            *("store.beat", "store.receive", "store.forget_ended", "livekit.rooms", "livekit.participants"),
            *("store.release", "livekit.remove_participant", "livekit.create_dispatch", "store.claim"),
        ],
    ),
    *_around(Scene.TOKEN, ["store.invite", "store.invitations", "store.ask"]),
    *_around(Scene.LIST, ["store.recent"]),
    *_around(Scene.STOP, ["store.update", "livekit.dispatches", "livekit.delete_dispatch"]),
    *_around(Scene.TERM, ["store.retire"]),
)
OF_REDIS = _around(Scene.EARLY, ["store.place"])
"""With SQLite there is one replica, and it always leads."""

DIRECT_IN_SHORT = frozenset(
    {"post: store.update:after:2", "post: store.claim:before:1", "post: store.claim:after:1"}
)
IN_SHORT = frozenset(
    {
        *("post: store.ask:before:1", "post: store.ask:after:1", "post: store.update:after:1"),
        *("post: livekit.create_dispatch:after:1", "post: store.claim:after:1"),
        *("post: store.advance:before:2", "kill: livekit.remove_participant:after:1"),
        *("start: store.living:after:1", "token: store.invite:after:1", "stop: store.update:after:1"),
        *("term: store.retire:before:1", "early: store.place:before:1"),
    }
)
"""What runs for each change, each over one of the stores."""


def points(*, redis: bool) -> tuple[Point, ...]:
    """All that are played over that store."""
    return OF_A_POST + ELSEWHERE + (OF_REDIS if redis else ())


def in_short(*, redis: bool) -> tuple[Point, ...]:
    """Those that run for each change over that store: by turns, and where there is no choice."""
    both = [p for p in points(redis=False) if str(p) in IN_SHORT]
    of_redis = [p for p in OF_REDIS if str(p) in IN_SHORT]
    return (*both[1::2], *of_redis) if redis else tuple(both[::2])
