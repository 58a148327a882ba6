"""The fake LiveKit's world: rooms, the people and agents in them, the server's own life and death. Knows
nothing of workers and of the port.

Whatever takes effect does so in one step between two awaits.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from gateway.keeper.model import Participant
from gateway.keeper.ports import Clock
from gateway.livekit.webhooks import Event, EventParticipant, EventRoom
from tests.fakes.livekit_parts import Connection, Link, RoomState
from tests.fakes.timers import Timers

GHOST_TIMEOUT = 20.0  # fact 12
NODE_LAPSE = 4.0
"""How long a dead node is taken for alive: 3 to 5 s, by its own last word (S12)."""
COUNT_INTERVAL = 5.0  # LiveKit's roomUpdateInterval: how old ListRooms' num_participants can be


class World:
    """`on_event` hears what LiveKit would send as webhooks."""

    def __init__(
        self,
        clock: Clock = anyio.current_time,
        *,
        rng: random.Random | None = None,
        departure_timeout: float = 20.0,
        empty_timeout: float = 300.0,
    ) -> None:
        self.on_event: list[Callable[[Event], None]] = []
        self.up = True
        self.statuses: list[tuple[str, bytes]] = []
        """What `send_status` delivered, with the room's name."""
        self.node_id = ""
        self._clock = clock
        self._rng = rng or random.Random(0)
        self._departure_timeout = departure_timeout
        self._empty_timeout = empty_timeout
        self._rooms: dict[str, RoomState] = {}
        self._away: list[Connection] = []
        self._ids = itertools.count(1)
        self._timers = Timers()
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._timers.run)
        self.node_id = self._id("ND")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, trace)

    # People and agents

    def join(
        self,
        room: str,
        identity: str,
        *,
        agent: str | None = None,
        avatar: bool = False,
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        room_agents: Sequence[tuple[str, str]] = (),
        on_change: Callable[[Connection], None] = lambda connection: None,
    ) -> Connection:
        """Someone connects. `agent`: an agent of that name, else a person. `room_agents`: the token's
        `room_config.agents` as (name, metadata), ignored when the room exists (fact 78).

        Raises ConnectionError while the server is down, or the room's node dead and not missed yet.
        """
        connection = Connection(
            room=room,
            identity=identity,
            sid="",
            agent=agent,
            avatar=avatar,
            metadata=metadata,
            attributes={**(attributes or {}), **({"lk.agent_name": agent} if agent else {})},
            on_change=on_change,
        )
        if not self.up or self._still_awaited(room):
            raise ConnectionError("LiveKit is not reachable")
        self._enter(connection, room_agents)
        return connection

    def leave(self, connection: Connection) -> None:
        """A clean leave; an exception in an agent's entrypoint looks the same (fact 12)."""
        if connection.link in (Link.UP, Link.RETURNING) and not connection.frozen:
            self._part(connection, "CLIENT_INITIATED")

    def crash(self, connection: Connection) -> None:
        """Its process dies by SIGKILL: a ghost stays behind."""
        connection.severed = False
        self._go_silent(connection, frozen=False)

    def freeze(self, connection: Connection) -> None:
        """SIGSTOP: a ghost, until LiveKit lets go of it; `thaw` brings it back (fact 89)."""
        self._go_silent(connection, frozen=True)

    def thaw(self, connection: Connection) -> None:
        """SIGCONT."""
        connection.frozen = False
        self._come_round(connection)

    def sever(self, connection: Connection) -> None:
        """Its way to LiveKit is cut, not its process: it knows at once, and gives up after a while (fact 80).
        LiveKit takes it for a ghost."""
        if connection.link is not Link.UP or connection.severed:
            return
        connection.severed = True
        self._go_silent(connection, frozen=connection.frozen)
        self._be_patient(connection)
        if not connection.frozen:
            connection.on_change(connection)

    def mend(self, connection: Connection) -> None:
        """The way is there again."""
        connection.severed = False
        self._come_round(connection)

    def _come_round(self, connection: Connection) -> None:
        if connection.out_of_reach:
            return
        if connection.link is Link.GHOST:
            connection.link = Link.UP
            connection.on_change(connection)
        elif connection.link is Link.RETURNING:
            self.after(0.3, partial(self._return, connection))
        elif connection.link is Link.LEFT:  # it learns only now that it was removed
            connection.on_change(connection)

    def present(self, room: str) -> list[Connection]:
        """Whom LiveKit lists in the room, ghosts included."""
        return list(self._rooms[room].members.values()) if room in self._rooms else []

    def listed(self, room: str) -> list[Participant]:
        """The same with those whom only the list knows."""
        if room not in self._rooms:
            return []
        relics = self._rooms[room].relics.values()
        return [*(c.participant() for c in self.present(room)), *relics]

    def put_out(self, room: str, identity: str) -> bool:
        """True: removed. False: there was none."""
        state = self._rooms.get(room)
        if state is None:
            return False
        if identity in state.members:
            self._part(state.members[identity], "PARTICIPANT_REMOVED")
            return True
        return state.relics.pop(identity, None) is not None

    def is_relic(self, room: str, identity: str) -> bool:
        return room in self._rooms and identity in self._rooms[room].relics

    def hears(self, room: str, identity: str) -> bool:
        """Whether a packet to that participant reaches a process that runs."""
        found = self._rooms[room].members.get(identity) if room in self._rooms else None
        return found is not None and found.link is Link.UP

    def _enter(self, connection: Connection, room_agents: Sequence[tuple[str, str]] = ()) -> None:
        room = self.open_room(connection.room, agents=room_agents)
        room.relics.pop(connection.identity, None)
        before = room.members.get(connection.identity)
        if before is not None:  # fact 22: the second removes the first; an agent goes down with it
            self._part(before, "DUPLICATE_IDENTITY")
            if connection.agent is not None:
                self.after(0.045, partial(self._part, connection, "DUPLICATE_IDENTITY"))
        connection.sid = self._id("PA")
        connection.joined_at = self._clock()
        connection.link = Link.UP
        room.members[connection.identity] = connection
        room.person_came = room.person_came or connection.person
        self._count(room)
        self._tell("participant_joined", room, connection)

    def _go_silent(self, connection: Connection, *, frozen: bool) -> None:
        connection.frozen = frozen
        if connection.link is Link.UP:
            connection.link = Link.GHOST
            connection.silences += 1
            self.after(GHOST_TIMEOUT, partial(self._let_go, connection, connection.silences))
        elif connection.link is Link.RETURNING and not frozen:
            connection.link = Link.LEFT
            connection.left.set()

    def _let_go(self, connection: Connection, silence: int) -> None:
        if connection.link is not Link.GHOST or connection.silences != silence:
            return
        self._part(connection, "CONNECTION_TIMEOUT")
        if connection.out_of_reach:  # fact 89: it does not know, and will be back
            connection.link = Link.RETURNING

    def _part(self, connection: Connection, reason: str) -> None:
        if connection.link is Link.LEFT:
            return
        knows = connection.link is not Link.GHOST
        connection.link = Link.LEFT
        connection.reason = reason
        room = self._rooms.get(connection.room)
        if room is not None and room.members.get(connection.identity) is connection:
            del room.members[connection.identity]
            room.left_at = self._clock()
            self._count(room)
            self._tell("participant_left", room, connection)
            self._watch(room)
        connection.left.set()
        if knows:
            connection.on_change(connection)
        elif connection.severed:  # it was not told either, and will join again (fact 89)
            connection.link = Link.RETURNING

    # Rooms

    def rooms_named(self, names: Sequence[str] | None) -> list[RoomState]:
        if names is None:
            return list(self._rooms.values())
        return [self._rooms[name] for name in dict.fromkeys(names) if name in self._rooms]

    def kept(self, name: str) -> RoomState | None:
        """The room, if a node has it."""
        room = self._rooms.get(name)
        return room if room is not None and room.has_node else None

    def can_find(self, name: str) -> bool:
        """A call about somebody in the room gets an answer: its node lives, or there is no such room."""
        return name not in self._rooms or self._rooms[name].has_node

    def can_open(self, name: str) -> bool:
        return not self._still_awaited(name)

    def open_room(
        self, name: str, *, empty_timeout: float | None = None, agents: Sequence[tuple[str, str]] = ()
    ) -> RoomState:
        """The room, made if need be. One that exists keeps its time-out and gets no further agents."""
        if name in self._rooms:
            return self._take_over(self._rooms[name], empty_timeout)
        room = RoomState(
            name=name,
            sid=self._id("RM"),
            created_at=self._clock(),
            counted_at=self._clock(),
            empty_timeout=self._empty_timeout if empty_timeout is None else empty_timeout,
            departure_timeout=self._departure_timeout,
        )
        self._rooms[name] = room
        self._tell("room_started", room)
        self._opened(room, agents)
        self._watch(room)
        return room

    def delete_room(self, name: str) -> None:
        """Somebody ends it, whoever is in it."""
        self._close(self._rooms[name], "ROOM_DELETED")

    def _count(self, room: RoomState) -> None:
        """The count changes at once after 5 s without a change, else at the next tick."""
        now = self._clock()
        if now - room.counted_at > COUNT_INTERVAL:
            room.counted, room.counted_at = room.people, now
        else:
            tick = COUNT_INTERVAL - (now - room.created_at) % COUNT_INTERVAL
            self.after(tick, partial(self._tick, room))

    def _tick(self, room: RoomState) -> None:
        if room.counted != room.people:
            room.counted, room.counted_at = room.people, self._clock()

    def _watch(self, room: RoomState) -> None:
        """Look again when the room may end; LiveKit looks once a second (fact 15)."""
        wait = max(0.0, room.ends_at - self._clock()) + self._rng.uniform(0.1, 0.4)
        self.after(wait, partial(self._end, room))

    def _end(self, room: RoomState) -> None:
        if self._rooms.get(room.name) is not room or room.people or self._clock() < room.ends_at:
            return
        if room.has_node:
            self._close(room, "ROOM_CLOSED")

    def _close(self, room: RoomState, reason: str) -> None:
        for connection in list(room.members.values()):
            self._part(connection, reason)
        del self._rooms[room.name]
        self._tell("room_finished", room)

    def _opened(self, room: RoomState, agents: Sequence[tuple[str, str]]) -> None:
        """A room has begun; its agents are whoever knows workers to bring."""

    # The server

    async def restart(self, *, down: float = 1.0) -> None:
        """kill -9, and back after `down` seconds. Returns when the server is back."""
        self.kill()
        await anyio.sleep(down)
        self.start(after=down)

    def kill(self) -> None:
        """kill -9: rooms and dispatches are gone without a word (fact 26)."""
        self.up, self.node_id = False, ""
        members = [c for r in self._rooms.values() for c in r.members.values()]
        self._rooms.clear()
        for connection in members:
            self._lose_server(connection)

    def start(self, *, after: float) -> None:
        """Up again, `after` seconds later: whoever still lives comes back by itself (fact 80)."""
        self.up, self.node_id = True, self._id("ND")
        person, agent = (0.23, 1.08) if after < 5 else (2.8, 1.4)
        away, self._away = self._away, []
        for connection in away:
            self.after(person if connection.person else agent, partial(self._return, connection))

    def _lose_server(self, connection: Connection) -> None:
        if connection.link is Link.GHOST and not connection.out_of_reach:
            connection.link = Link.LEFT
            connection.left.set()
            return
        connection.link = Link.RETURNING
        if connection.out_of_reach:
            return  # it will find out later
        self._away.append(connection)
        self._be_patient(connection)
        connection.on_change(connection)

    def _be_patient(self, connection: Connection) -> None:
        patience = self._rng.uniform(18, 25) if connection.person else self._rng.uniform(24, 35)  # fact 80
        self.after(patience, partial(self._give_up, connection, connection.sid))

    def _give_up(self, connection: Connection, sid: str) -> None:
        if connection.link is Link.RETURNING and connection.sid == sid:
            self._part(connection, "SIGNAL_CLOSE")

    def _return(self, connection: Connection) -> None:
        if connection.link is not Link.RETURNING or connection.out_of_reach:
            return
        if not self.up or self._still_awaited(connection.room):
            self.after(0.5, partial(self._return, connection))
            return
        connection.left = anyio.Event()
        self._enter(connection)
        connection.on_change(connection)

    # One node of several

    def lose_node(self, rooms: Sequence[str]) -> None:
        """kill -9 of the node that has those rooms; the one that is asked lives on. Nobody is told, all stay
        listed, and whoever lives comes back by itself (fact 20, S12)."""
        for room in (self._rooms[name] for name in rooms):
            room.node_lost_at = self._clock()
            room.relics |= {c.identity: c.participant() for c in room.members.values()}
            room.dispatches.clear()
            members = list(room.members.values())
            room.members.clear()
            for connection in members:
                self._lose_node(connection)

    def _lose_node(self, connection: Connection) -> None:
        if connection.link is Link.GHOST and not connection.out_of_reach:
            connection.link = Link.LEFT
            connection.left.set()
            return
        connection.link = Link.RETURNING
        if not connection.out_of_reach:
            self.after(self._rng.uniform(3.1, 11.6), partial(self._return, connection))
            self._be_patient(connection)
            connection.on_change(connection)

    def _still_awaited(self, name: str) -> bool:
        """Other nodes take a dead one for alive for a few seconds, and its rooms for well kept."""
        room = self._rooms.get(name)
        lost_at = room.node_lost_at if room is not None else None
        return lost_at is not None and self._clock() - lost_at < NODE_LAPSE

    def _take_over(self, room: RoomState, empty_timeout: float | None) -> RoomState:
        """Another node gets the room that lost its own, as young as the room ever was (S13)."""
        if room.has_node:
            return room
        room.node_lost_at, room.person_came, room.left_at = None, False, None
        if empty_timeout is not None:
            room.empty_timeout = empty_timeout
        self._tell("room_started", room)
        self._opened(room, ())
        self._watch(room)
        return room

    # Below

    def after(self, delay: float, action: Callable[[], None]) -> None:
        """Do something later, in the fake's own task."""
        self._timers.after(delay, action)

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):06}"

    def _tell(self, event: str, room: RoomState, connection: Connection | None = None) -> None:
        told = Event(
            event=event,
            id=self._id("EV"),
            created_at=float(int(self._clock())),
            room=EventRoom(name=room.name, sid=room.sid),
            participant=None if connection is None else _told_of(connection),
        )
        for listener in self.on_event:
            listener(told)


def _told_of(connection: Connection) -> EventParticipant:
    return EventParticipant(
        identity=connection.identity,
        sid=connection.sid,
        kind="STANDARD" if connection.person else "AGENT",
        metadata=connection.metadata,
        attributes=dict(connection.attributes),
        disconnect_reason=connection.reason,
    )
