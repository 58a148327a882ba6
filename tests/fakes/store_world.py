"""What the store in memory holds, and its steps, as plain synchronous functions. Knows nothing of links.

All state changes go through a journal, so that a failover can take back the last seconds. Every step of one
room costs the same whatever the number of rooms.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import anyio

from gateway.keeper.model import Ask, Claim, Invitation, Pulse, Replica, State, Want
from gateway.keeper.notes import Guests, Here, Look, Note
from gateway.keeper.ports import LEADER, LEASE, Clock, LeaseLost, StoreUnavailable
from gateway.store.rows import tells_more, told_again

K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 60.0
"""Seconds for which a failover can take steps back, a silent replica is listed, and its inbox kept."""
INBOX = 10_000


class Inbox:
    """A replica's notes, the newest 10,000."""

    def __init__(self) -> None:
        self.notes: deque[Note] = deque(maxlen=INBOX)
        self.pushed_at = 0.0
        self.arrived = anyio.Event()

    def push(self, notes: Iterable[Note], now: float) -> None:
        self.notes.extend(notes)
        self.pushed_at = now
        self.arrived.set()

    def take(self) -> list[Note]:
        taken = list(self.notes)
        self.notes.clear()
        return taken


class World:
    """One server's contents. `lease` in seconds, on `clock`."""

    def __init__(self, clock: Clock, lease: float = LEASE) -> None:
        self.clock = clock
        self.lease = lease
        self.away = False
        self.speaker = ""
        """The replica whose step it is: as the leader it needs no note of what it does itself."""
        self.stale_writes = 0
        """Writes that were refused because another replica leads by now."""
        self._journal: deque[tuple[float, Callable[[], object]]] = deque()
        self._generations = 1
        self._epoch = 0
        """Not even a wipe takes it back: Redis gets the same from its clock."""
        self._lost_something = False
        """The server is another one than the generation's: the next heartbeat begins a new one."""
        self._settling_until = 0.0
        self._began_at = -math.inf
        """When the generation began."""
        self._clear()

    def _clear(self) -> None:
        self._wants: dict[str, Want] = {}
        self._of_room: dict[str, dict[str, str]] = {}
        """Per room and agent the want that lives, or else the last one that ended."""
        self._living: dict[str, None] = {}
        self._ended: dict[str, None] = {}
        self._lines: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self._claims: dict[str, Claim] = {}
        self._holders: dict[str, dict[str, str]] = {}
        self._guests: dict[str, dict[tuple[str, str], Invitation]] = {}
        self._replicas: dict[str, Replica] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._leader, self._lead_until = "", 0.0

    # ---- faults -------------------------------------------------------------------------------------

    def wipe(self) -> None:
        self._clear()
        self._journal.clear()
        self._lost_something = True

    def lose(self, seconds: float) -> None:
        """Become what it was so many seconds ago. Notes on their way are gone."""
        since = self.clock() - seconds
        while self._journal and self._journal[-1][0] > since:
            self._journal.pop()[1]()
        for inbox in self._inboxes.values():
            inbox.take()
        self._lost_something = True

    def restart(self) -> None:
        self._lost_something = True

    # ---- wants --------------------------------------------------------------------------------------

    def ask(self, ask: Ask, fresh: Want, epoch: int | None) -> tuple[Want, bool]:
        self._fence(epoch)
        want = self._living_of(ask.room, ask.agent)
        if want is None:
            self._need_settled()
            self._put_want(fresh)
        else:
            self._put_want(
                stored := replace(
                    want,
                    asked_at=max(want.asked_at, fresh.asked_at),
                    metadata=fresh.metadata or want.metadata,
                )
            )
        self._look(ask.room, epoch)
        return (fresh, False) if want is None else (stored, True)

    def want(self, want_id: str) -> Want | None:
        return self._wants.get(want_id)

    def wants(self, room: str) -> list[Want]:
        of_room = (self._wants[want_id] for want_id in self._of_room.get(room, {}).values())
        return sorted(of_room, key=lambda w: w.created_at)

    def living(self) -> list[Want]:
        return sorted((self._wants[want_id] for want_id in self._living), key=lambda w: w.created_at)

    def recent(self, limit: int) -> list[Want]:
        newest = self.living()[::-1][:limit]
        ended = sorted((self._wants[want_id] for want_id in self._ended), key=lambda w: -w.since)
        return newest + ended[: limit - len(newest)]

    def update(self, want: Want, was: Want, epoch: int | None) -> bool:
        self._fence(epoch)
        stored = self._wants.get(want.id)
        if stored is None or replace(stored, asked_at=was.asked_at, metadata=was.metadata) != was:
            return False
        if want.state.ended and stored.asked_at > was.asked_at:
            return False
        asked_meanwhile = stored.asked_at > was.asked_at or stored.metadata != was.metadata
        self._put_want(
            replace(
                want,
                asked_at=max(stored.asked_at, want.asked_at),
                metadata=stored.metadata if asked_meanwhile else want.metadata,
            )
        )
        self._look(want.room, epoch)
        return True

    def place(self, want: Want) -> int | None:
        stored = self._wants.get(want.id)
        if stored is None or stored.state is not State.WAITING:
            return None
        return bisect.bisect_left(self._lines[stored.agent], (stored.lacking_since, stored.id)) + 1

    def forget_ended(self, before: float) -> int:
        old = [want_id for want_id in self._ended if self._wants[want_id].since < before]
        for want_id in old:
            want = self._wants[want_id]
            self._drop(self._wants, want_id)
            self._drop(self._ended, want_id)
            if self._of_room[want.room].get(want.agent) == want_id:
                self._drop_inner(self._of_room, want.room, want.agent)
        now = self.clock()
        for room, guests in list(self._guests.items()):
            for key in [key for key, invitation in guests.items() if invitation.expires_at < now]:
                self._drop_inner(self._guests, room, key)
        return len(old)

    # ---- claims -------------------------------------------------------------------------------------

    def claim(self, claim: Claim) -> Claim | None:
        self._need_settled()
        want = self._wants.get(claim.want_id)
        if want is None or want.state.ended or want.generation != claim.generation:
            return None
        if want.sid not in {"", claim.sid}:
            return None
        if (holder := self._holders.get(claim.room, {}).get(claim.agent)) is not None:
            return self._claims[holder]
        if not want.sid:
            self._put_want(replace(want, sid=claim.sid))
        self._put_claim(claim)
        self._look(claim.room)
        return claim

    def claims(self, room: str) -> list[Claim]:
        return [self._claims[job_id] for _, job_id in sorted(self._holders.get(room, {}).items())]

    def all_claims(self) -> list[Claim]:
        return sorted(self._claims.values(), key=lambda c: c.job_id)

    def claim_of(self, job_id: str) -> Claim | None:
        return self._claims.get(job_id)

    def advance(self, claim: Claim, was: Claim, epoch: int | None) -> bool:
        self._fence(epoch)
        if self._claims.get(claim.job_id) != was:
            return False
        if claim.seat != was.seat:
            self._drop_inner(self._holders, claim.room, was.seat)
        self._put_claim(claim)
        self._look(claim.room, epoch)
        return True

    def release(self, job_id: str, epoch: int | None) -> Claim | None:
        self._fence(epoch)
        claim = self._claims.get(job_id)
        if claim is None:
            return None
        self._drop_claim(claim)
        self._look(claim.room, epoch)
        return claim

    # ---- invitations --------------------------------------------------------------------------------

    def invite(self, invitation: Invitation) -> None:
        key = (invitation.identity, invitation.agent)
        self._put_inner(self._guests, invitation.room, key, invitation)
        self._tell_leader(Guests(invitation.room, invitation.expires_at))

    def invitations(self, room: str | None) -> list[Invitation]:
        rooms = self._guests.values() if room is None else [self._guests.get(room, {})]
        now = self.clock()
        valid = (i for guests in rooms for i in guests.values() if i.expires_at > now)
        return sorted(valid, key=lambda i: (i.room, i.identity, i.agent))

    # ---- replicas -----------------------------------------------------------------------------------

    def beat(self, me: Replica, lead: bool) -> Pulse:
        now = self.clock()
        self._begin_generation_if_another(now)
        before = self._replicas.get(me.id)
        me = replace(me, beat_at=now)
        self._put(self._replicas, me.id, me)
        self._lead(me.id, lead, now)
        self._forget_silent(now)
        if before is None or replace(before, beat_at=now) != me:
            self._tell_leader(Here(me))
        return Pulse(
            now=now,
            generation=self.generation,
            settled=now >= self._settling_until,
            age=now - self._began_at,
            leader=self._leader_at(now),
            epoch=self._epoch,
            replicas=sorted(self._replicas.values(), key=lambda r: r.id),
        )

    def _lead(self, replica_id: str, lead: bool, now: float) -> None:
        leader = self._leader_at(now)
        if not lead:
            if leader == replica_id:
                self._leader = ""
        elif leader in {"", replica_id}:
            if not leader:
                self._leader, self._epoch = replica_id, self._epoch + 1
            self._lead_until = now + self.lease

    def _forget_silent(self, now: float) -> None:
        for replica_id in [r.id for r in self._replicas.values() if r.beat_at < now - REMEMBERED]:
            self._drop(self._replicas, replica_id)
        for replica_id, inbox in list(self._inboxes.items()):
            if replica_id not in self._replicas and inbox.pushed_at < now - REMEMBERED:
                del self._inboxes[replica_id]

    def retire(self, replica_id: str) -> None:
        if self._leader == replica_id:
            self._leader = ""
        if replica_id in self._replicas:
            self._drop(self._replicas, replica_id)
        self._inboxes.pop(replica_id, None)

    def restore(self, wants: Iterable[Want], claims: Iterable[Claim]) -> None:
        for want in wants:
            stored = self._wants.get(want.id)
            if stored is None:
                better = want if want.state.ended or self._makes_way(want) else None
                if want.state.ended:
                    self._end_older(want)
            else:
                better = told_again(stored, want)
            if better is not None:
                self._put_want(better)
                self._look(want.room)
        for claim in claims:
            held = self._claims.get(self._holders.get(claim.room, {}).get(claim.seat, claim.job_id))
            if tells_more(held, claim):
                if held is not None:
                    self._drop_claim(held)
                self._put_claim(claim)
                self._look(claim.room)

    def send(self, to: str, notes: Iterable[Note]) -> None:
        now = self.clock()
        to = to or self._leader_at(now)
        if to:
            self.inbox(to).push(notes, now)

    def inbox(self, replica_id: str) -> Inbox:
        inbox = self._inboxes.get(replica_id)
        if inbox is None:
            inbox = self._inboxes[replica_id] = Inbox()
        return inbox

    # ---- the rules ----------------------------------------------------------------------------------

    def _leader_at(self, now: float) -> str:
        return self._leader if now <= self._lead_until else ""

    def _fence(self, epoch: int | None) -> None:
        if epoch is not None and (epoch != self._epoch or not self._leader_at(self.clock())):
            self.stale_writes += 1
            raise LeaseLost(f"epoch {epoch} does not lead any more")

    def _look(self, room: str, epoch: int | None = None) -> None:
        if epoch is None:
            self._tell_leader(Look(room))

    def _tell_leader(self, note: Note) -> None:
        if self._leader_at(self.clock()) != self.speaker:
            self.send(LEADER, [note])

    @property
    def generation(self) -> str:
        """Empty until the next heartbeat begins a new one."""
        return "" if self._lost_something else str(self._generations)

    def _begin_generation_if_another(self, now: float) -> None:
        if self._lost_something:
            self._settling_until = now + self.lease
            self._began_at = now
            self._lost_something = False
            self._generations += 1
            self._leader = ""

    def _need_settled(self) -> None:
        if self._lost_something or self.clock() < self._settling_until:
            raise StoreUnavailable("the store may have lost what was written: others still put it back")

    # ---- rows, each change of which can be taken back -------------------------------------------------

    def _living_of(self, room: str, agent: str) -> Want | None:
        want = self._wants.get(self._of_room.get(room, {}).get(agent, ""))
        return None if want is None or want.state.ended else want

    def _makes_way(self, want: Want) -> bool:
        """Whether this want may live: none was made after it, and none ended after the last ask for it. An
        older one that lives goes."""
        last = self._wants.get(self._of_room.get(want.room, {}).get(want.agent, ""))
        if last is None or last.state.ended:
            return last is None or last.since <= want.asked_at
        if last.created_at < want.created_at:
            self._forget_want(last)
            return True
        return False

    def _end_older(self, ended: Want) -> None:
        """A living want that nobody asked for after that end goes, too."""
        living = self._living_of(ended.room, ended.agent)
        if living is not None and living.asked_at < ended.since:
            self._forget_want(living)

    def _forget_want(self, want: Want) -> None:
        self._leave_line(want)
        self._drop(self._living, want.id)
        self._drop(self._wants, want.id)

    def _put_want(self, want: Want) -> None:
        before = self._wants.get(want.id)
        if before is not None:
            self._leave_line(before)
        elif self._is_current(want):
            self._put_inner(self._of_room, want.room, want.agent, want.id)
        self._put(self._wants, want.id, want)
        if want.state is State.WAITING:
            entry = (want.lacking_since, want.id)
            bisect.insort(self._lines[want.agent], entry)
            self._undo(functools.partial(self._remove_from_line, want.agent, entry))
        into, out_of = (self._ended, self._living) if want.state.ended else (self._living, self._ended)
        if want.id not in into:
            self._put(into, want.id, None)
        if want.id in out_of:
            self._drop(out_of, want.id)

    def _is_current(self, want: Want) -> bool:
        """Whether it lives, or is the last one of its room and agent that ended."""
        last = self._wants.get(self._of_room.get(want.room, {}).get(want.agent, ""))
        return not want.state.ended or last is None or (last.state.ended and last.since < want.since)

    def _leave_line(self, want: Want) -> None:
        if want.state is State.WAITING:
            entry = (want.lacking_since, want.id)
            self._remove_from_line(want.agent, entry)
            self._undo(lambda: bisect.insort(self._lines[want.agent], entry))

    def _remove_from_line(self, agent: str, entry: tuple[float, str]) -> None:
        line = self._lines[agent]
        del line[bisect.bisect_left(line, entry)]

    def _put_claim(self, claim: Claim) -> None:
        self._put(self._claims, claim.job_id, claim)
        self._put_inner(self._holders, claim.room, claim.seat, claim.job_id)

    def _drop_claim(self, claim: Claim) -> None:
        self._drop(self._claims, claim.job_id)
        self._drop_inner(self._holders, claim.room, claim.seat)

    def _put_inner(self, rows: dict[str, dict[K, V]], room: str, key: K, value: V) -> None:
        if room not in rows:
            self._put(rows, room, {})
        self._put(rows[room], key, value)

    def _drop_inner(self, rows: dict[str, dict[K, V]], room: str, key: K) -> None:
        self._drop(rows[room], key)
        if not rows[room]:
            self._drop(rows, room)

    def _put(self, rows: dict[K, V], key: K, value: V) -> None:
        if key in rows:
            self._undo(functools.partial(rows.__setitem__, key, rows[key]))
        else:
            self._undo(functools.partial(rows.__delitem__, key))
        rows[key] = value

    def _drop(self, rows: dict[K, V], key: K) -> None:
        self._undo(functools.partial(rows.__setitem__, key, rows[key]))
        del rows[key]

    def _undo(self, step: Callable[[], object]) -> None:
        now = self.clock()
        self._journal.append((now, step))
        while self._journal[0][0] < now - REMEMBERED:
            self._journal.popleft()
