"""One pass over one room: observe, plan, act. The only place that decides about trying again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from gateway.keeper import gate, notes
from gateway.keeper.admission import Admission
from gateway.keeper.asks import Asks
from gateway.keeper.fleet import Fleet
from gateway.keeper.heart import BEAT
from gateway.keeper.jobs import Jobs
from gateway.keeper.memory import Memory
from gateway.keeper.model import Claim, End, Room, Seen, Stage, State, Unknown, Want
from gateway.keeper.notes import Note
from gateway.keeper.plan import LEAVE_TIMEOUT, leave, plan
from gateway.keeper.policy import Policy
from gateway.keeper.ports import Clock, LeaseLost, LiveKit, Store
from gateway.keeper.situation import (
    LOOK_SOON,
    Dispatch,
    EndJob,
    LoseDispatch,
    MarkLeaving,
    MarkMissing,
    Plan,
    Release,
    RemoveParticipant,
    Situation,
    change,
)
from gateway.keeper.wants import Wants, failed
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Workers

log = structlog.get_logger(__name__)

WITNESS_INTERVAL = 3.0
"""Seconds after which an agent whose replica lapsed, and which lives, is asked again."""
LOST_BACKOFF = 1.0
"""Longest back-off, in seconds, after dispatches for a name of ours that nobody claimed."""
MOST_AT_ONCE = 4
"""Dispatches for one room and a name of ours, when some were lost before, or a replica lapsed: LiveKit asks
one worker for each, and never notices one that is frozen (fact 74). The gate lets one in."""
FRESH = 1.0
"""Seconds for which a look tells who is in the room: when the store was slow since then, another one has to
tell that it is still empty before somebody is called."""
ROOM_GONE_GRACE = 5.0
"""A job whose room ended leaves by itself; after this it is made to."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a pass went."""

    due: float | None = None
    """When to look again; None: when something happens."""
    unknown: str = ""
    """What could not be told; the room comes again with a back-off."""
    nodeless: bool = False
    """LiveKit cannot reach the room's node."""


class Reconciler:
    def __init__(
        self,
        *,
        store: Store,
        livekit: LiveKit,
        fleet: Fleet,
        workers: Workers,
        tell: Callable[[str, Note], None],
        wants: Wants,
        asks: Asks,
        jobs: Jobs,
        admission: Admission,
        policy: Policy,
        settings: KeeperSettings,
        metrics: Metrics,
        clock: Clock,
        memory: Memory,
        gone: Callable[[Claim], bool],
    ) -> None:
        """`tell(replica, note)` sends a note to another replica. `gone(claim)`: its process is of this
        machine and has certainly ended."""
        self._gone = gone
        self._store = store
        self._livekit = livekit
        self._fleet = fleet
        self._workers = workers
        self._tell = tell
        self._wants = wants
        self._asks = asks
        self._jobs = jobs
        self._admission = admission
        self._policy = policy
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._memory = memory

    async def reconcile(self, room: str, epoch: int) -> Look:
        """Bring one room to what is wanted in it, as the leader of that epoch.

        Raises StoreUnavailable, LeaseLost.
        """
        seen = await self._observe(room)
        if isinstance(seen, Unknown):
            await self._explain(room, seen, epoch)
            return _unknown(seen)
        known = await self._store.wants(room)
        if await self._ask_by_policy(seen, known, epoch):
            known = await self._store.wants(room)
        for want in known:
            self._wants.note(want)
            if want.state.ended:
                self._admission.drop(want)  # it may have ended elsewhere
        wants = [w for w in known if not w.state.ended]
        claims = await self._store.claims(room)  # after the wants: see `_holder`
        looks = []
        answers: dict[str, bool] = {}
        for number, want in enumerate(wants):
            holder = await self._holder(want) if number else _of_agent(claims, want.agent)
            looks.append(await self._keep(want, holder, seen, answers, epoch))
        unwanted = await self._unwanted(room, claims, wants)
        looks += [await self._dismiss(claim, seen, answers, epoch) for claim in unwanted]
        looks += [await self._see_off(w, seen) for w in known if w.state is State.STOPPED]
        if not wants and not claims:
            self._memory.forget(room, people=seen.room is None)
        self._memory.touch(room)
        dues = [look.due for look in looks if look.due is not None]
        unknown = next((look.unknown for look in looks if look.unknown), "")
        if seen.room is not None and any(look.nodeless for look in looks):
            self._must_lead(epoch)
            await self._rehome(seen.room)
        return Look(due=min(dues, default=None), unknown=unknown)

    async def _rehome(self, room: Room) -> None:
        """A room that is listed and whose node does not answer may be on a node that died: nobody can come
        back into it before it is created anew, which keeps its SID and harms no room that lives (S12). It is
        as old as before, so its time-out must be longer than that (S13)."""
        age = max(0.0, self._clock() - room.created_at) if room.created_at else 0.0
        await self._livekit.create_room(room.name, empty_timeout=age + self._settings.empty_timeout)

    async def _observe(self, name: str) -> Seen | Unknown:
        began = self._clock()
        rooms = await self._livekit.rooms([name])  # ListDispatch would cost 3 s for a missing room (fact 19)
        if isinstance(rooms, Unknown):
            return rooms
        room = next((r for r in rooms if r.name == name), None)
        participants = await self._livekit.participants(name) if room is not None else []
        if isinstance(participants, Unknown):
            return participants
        seen = Seen(room=room, participants=participants, at=began)
        self._memory.note(name, seen)
        return seen

    async def _explain(self, room: str, unknown: Unknown, epoch: int) -> None:
        """Say why nothing happens."""
        for want in await self._store.wants(room):
            if want.state in {State.WAITING, State.REPLACING}:
                await self._wants.write(replace(want, reason=unknown.why), was=want, epoch=epoch)

    async def _ask_by_policy(self, seen: Seen, wants: list[Want], epoch: int) -> bool:
        """Ask for whom the people in the room call. Whether anything was asked."""
        if seen.room is None:
            return False
        name = seen.room.name
        # The leader hears of each invitation; mostly there is none.
        invitations = await self._store.invitations(name) if self._wants.invited(name) else []
        asks = self._policy.asks(seen, wants, invitations, self._memory.joined)
        for ask in asks:
            await self._asks.ask(ask, epoch=epoch)
        self._memory.count_joins(name, seen)
        return bool(asks)

    async def _keep(
        self, want: Want, claim: Claim | None, seen: Seen, answers: dict[str, bool], epoch: int
    ) -> Look:
        """Plan for one want and carry it out; several steps when each is due at once."""
        for _ in range(6):
            if claim is not None:
                claim = await self._adopted(claim, want, epoch)
            runs = await self._runs(claim, seen, answers) if claim is not None else False
            if isinstance(runs, Unknown):
                return _unknown(runs)
            decided = plan(self._situation(want, claim, seen, runs=runs), self._settings)
            after = _sighted(decided.want, want, seen)
            if not await self._wants.write(after, was=want, epoch=epoch):
                return Look(due=self._clock())  # changed meanwhile: look again
            want, decided = after, replace(decided, want=after)
            if want.state.ended and claim is not None:
                return Look(due=self._clock())  # its job is dismissed next
            look, seen, again = await self._act(want, decided, seen, epoch, claimed=claim is not None)
            if not again:
                return self._watched(look, claim)
            stored = await self._store.want(want.id)
            if stored is None or stored.state.ended:
                return Look()
            want, claim = stored, await self._holder(stored)
        return Look(due=self._clock() + 0.1)

    async def _adopted(self, claim: Claim, want: Want, epoch: int) -> Claim:
        """A claim whose want the store does not know any more, since it lost its memory and somebody
        asked before it got that back: the agent is there, and serves the want that lives."""
        if claim.want_id == want.id or await self._store.want(claim.want_id) is not None:
            return claim
        serving = replace(claim, want_id=want.id, generation=want.generation)
        return serving if await self._store.advance(serving, was=claim, epoch=epoch) else claim

    async def _runs(self, claim: Claim, seen: Seen, answers: dict[str, bool]) -> bool | Unknown:
        """Whether the claim's job lives. A replica whose heartbeat stopped may be cut off from the store
        only, or stand still while its processes talk on: then its agent is asked, through LiveKit, once in
        a look: `answers` keeps what each said, since silence takes seconds."""
        if claim.replica == self._fleet.id:
            return self._workers.runs(claim.job_id) or self._jobs.pending(claim.job_id)
        if not claim.replica or self._gone(claim):
            return False
        if self._fleet.alive(claim.replica) or self._just_told(claim):
            return True
        if all(p.identity != claim.identity for p in seen.participants):
            return self._may_return(claim, seen)
        if claim.identity in answers:
            return answers[claim.identity]
        answer = await self._livekit.answers(claim.room, claim.identity)
        word = "unknown" if isinstance(answer, Unknown) else "alive" if answer else "gone"
        self._metrics.witnesses.labels(word).inc()
        log.info("lapsed_replicas_agent_asked", room=claim.room, replica=claim.replica, answer=word)
        if isinstance(answer, Unknown):
            return answer
        answers[claim.identity] = answer or self._fleet.alive(claim.replica)  # back meanwhile: it says so
        return answers[claim.identity]

    def _may_return(self, claim: Claim, seen: Seen) -> bool:
        """Whether an agent that is not listed may be about to come back by itself: it belongs to the instance
        before this one, so LiveKit has restarted, only just now (fact 80)."""
        if seen.room is None or seen.room.sid == claim.sid or claim.stage is Stage.LEAVING:
            return False
        return self._clock() < seen.room.created_at + self._settings.return_timeout

    def _untold(self, claim: Claim) -> bool:
        """Whether the claim's job may have come further than the store knows."""
        if claim.replica == self._fleet.id:
            return self._jobs.pending(claim.job_id)
        return self._fleet.silent(claim.replica)

    def _just_told(self, claim: Claim) -> bool:
        """Its replica lived only just now: it wrote the claim."""
        return claim.stage is not Stage.LEAVING and self._fleet.after_last_beat(claim.since)

    def _watched(self, look: Look, claim: Claim | None) -> Look:
        """An agent whose replica lapsed is asked again in a while: nobody else would tell of its end.
        One that was on its way only just now is looked at again when we know more."""
        if claim is None or not claim.replica:
            return look
        if self._fleet.alive(claim.replica) and self._fleet.knows(claim.replica):
            return look
        again = self._clock() + (BEAT if self._just_told(claim) else WITNESS_INTERVAL)
        return replace(look, due=again if look.due is None else min(look.due, again))

    async def _holder(self, want: Want) -> Claim | None:
        """Whoever holds the want's room. To be read after the want: when the job ends in between, the want
        has changed, and what is planned with the old one is not written."""
        return _of_agent(await self._store.claims(want.room), want.agent)

    async def _unwanted(self, room: str, claims: list[Claim], wants: list[Want]) -> list[Claim]:
        """Claims for an agent that nobody wants. The wants were read before the claims: one that came in
        between is looked for once more, so that who was granted for it is not dismissed."""
        wanted = {w.agent for w in wants}
        if all(c.agent in wanted for c in claims):
            return []
        wanted |= {w.agent for w in await self._store.wants(room) if not w.state.ended}
        return [c for c in claims if c.agent not in wanted]

    def _situation(self, want: Want, claim: Claim | None, seen: Seen, *, runs: bool) -> Situation:
        now = self._clock()
        return Situation(
            want=want,
            claim=claim,
            seen=seen,
            now=now,
            ours=self._admission.ours(want.agent),
            runs=runs,
            untold=claim is not None and self._untold(claim),
            node=self._fleet.node(want),
            asked_since_seen=self._memory.asked_since_seen(want),
            left_cleanly=self._memory.left_cleanly.get(want.room, {}),
            relaunched_at=self._memory.relaunched.get(want.room, 0.0),
        )

    async def _act(
        self, want: Want, decided: Plan, seen: Seen, epoch: int, *, claimed: bool
    ) -> tuple[Look, Seen, bool]:
        """Carry out a plan's actions in order: the look, what is seen now, and whether to plan again.
        `claimed`: somebody holds the room."""
        if want.state is State.JOINED:
            self._admission.confirmed(want)
        elif want.state.ended or (want.needs_person and not seen.people):
            self._admission.leave(want)
        changed = not decided.actions and decided.due is not None and decided.due <= self._clock()
        for action in decided.actions:
            self._must_lead(epoch)
            match action:
                case RemoveParticipant():
                    if await self._may_be_claimed(want, action, claimed):
                        return Look(due=self._clock() + 1.0), seen, False
                    if (look := await self._remove(want.room, action)) is not None:
                        return look, seen, False
                    left = [p for p in seen.participants if p.identity != action.identity]
                    seen = replace(seen, participants=left)
                case EndJob():
                    self._end(action)
                case MarkLeaving():
                    await self._mark(action.claim, epoch, stage=Stage.LEAVING, since=self._clock())
                case MarkMissing():
                    since = self._clock() if action.missing else 0.0
                    await self._mark(action.claim, epoch, missing_since=since)
                case Release():
                    if (claim := await self._store.claim_of(action.claim.job_id)) is not None:
                        await self._jobs.end(claim, action.end, self._clock(), epoch=epoch)
                    changed = True
                case LoseDispatch():
                    await self._lose(want, epoch)
                    changed = True
                case Dispatch():
                    return await self._dispatch(want, decided, seen, epoch), seen, False
        return Look(due=decided.due), seen, changed

    def _must_lead(self, epoch: int) -> None:
        """What is about to be done rests on what the leader saw: one that stood still stops here."""
        if self._fleet.epoch != epoch:
            raise LeaseLost

    async def _may_be_claimed(self, want: Want, action: RemoveParticipant, claimed: bool) -> bool:
        """Whether an agent that looks like a ghost may be one whose claim the store forgot: it answers, and
        its replica has yet to put that back. Which agent the want had may be forgotten as well."""
        if claimed or not self._fleet.forgetful:
            return False
        return await self._livekit.answers(want.room, action.identity) is not False

    def _end(self, action: EndJob) -> None:
        claim = action.claim
        if claim.replica == self._fleet.id:
            self._workers.end(claim.job_id, kill=action.kill)
        elif claim.replica:
            self._tell(claim.replica, notes.End(claim.job_id, action.kill))

    async def _mark(self, claim: Claim, epoch: int, **changes: Any) -> None:
        """Change the claim as it is now: its job may have told something since it was read."""
        while (current := await self._store.claim_of(claim.job_id)) is not None:
            if await self._store.advance(replace(current, **changes), was=current, epoch=epoch):
                return

    async def _remove(self, room: str, action: RemoveParticipant) -> Look | None:
        """None: certainly gone."""
        removed = await self._livekit.remove_participant(room, action.identity)
        if isinstance(removed, Unknown):
            return _unknown(removed)
        if removed:
            self._metrics.participants_removed.labels(action.kind).inc()
            log.info("participant_removed", room=room, identity=action.identity, kind=action.kind)
        return None

    async def _lose(self, want: Want, epoch: int) -> None:
        self._admission.lost(want)
        self._metrics.dispatches.labels("lost").inc()
        log.warning("dispatch_lost", room=want.room, agent=want.agent, job=want.id)
        now = self._clock()
        after = replace(failed(want, now=now, reason="no worker took the job"), lost=want.lost + 1)
        if self._admission.ours(want.agent):  # it went only because somebody of ours could take it
            after = replace(after, not_before=min(after.not_before, now + LOST_BACKOFF))
        await self._wants.write(after, was=want, epoch=epoch)

    async def _dispatch(self, want: Want, decided: Plan, seen: Seen, epoch: int) -> Look:
        if self._wants.ended(want.id):  # since it was read: it must not stand in the line for a moment
            return Look()
        if self._clock() > seen.at + FRESH and seen.room is not None:
            again = await self._observe(want.room)
            if isinstance(again, Unknown):
                return _unknown(again)
            if again.room is None or again.room.sid != want.sid or again.agents(want.agent):
                return Look(due=self._clock())
            seen = again
        if (why := self._admission.enter(want)) is not None:
            waiting = change(want, State.WAITING, why, self._clock())
            if not await self._wants.write(waiting, was=want, epoch=epoch):
                self._admission.leave(want)  # stopped meanwhile, say: nobody may wait behind it
                return Look(due=self._clock())
            return Look(due=decided.due)
        pinned = await self._pinned(want, seen)
        if isinstance(pinned, Unknown):
            self._admission.leave(want)
            stored = await self._store.want(want.id)
            if stored is not None and not stored.state.ended:
                self._admission.queue(stored)
            return _unknown(pinned)
        now = self._clock()
        # Written before the call: after a kill in between, the gate tells the two dispatches apart.
        sent = change(pinned, State.DISPATCHED, "LiveKit was asked for the agent", now)
        sent = replace(sent, dispatched_at=now)
        if not await self._wants.write(sent, was=want, epoch=epoch):
            self._admission.leave(want)
            return Look(due=now)
        if want.lacking_since:
            self._metrics.time_to_agent.labels("dispatched").observe(now - want.lacking_since)
        ours = self._admission.ours(sent.agent)
        doubts = sent.lost + (1 if self._fleet.lapsed else 0)
        for _ in range(min(MOST_AT_ONCE, 2**doubts) if ours else 1):
            self._must_lead(epoch)
            dispatch = await self._livekit.create_dispatch(
                sent.room, sent.agent, metadata=sent.metadata, attributes=gate.attributes(sent)
            )
            outcome = "unknown" if isinstance(dispatch, Unknown) else "created"
            self._metrics.dispatches.labels(outcome).inc()
            log.info("dispatch_created", room=sent.room, agent=sent.agent, job=sent.id, outcome=outcome)
            # An unknown answer may have had its effect (I3): wait for the claim all the same.
        return Look(due=now + (self._settings.claim_timeout if ours else self._settings.foreign_timeout))

    async def _pinned(self, want: Want, seen: Seen) -> Want | Unknown:
        """The want with its room's SID, which must be known before anything is dispatched into it (I4)."""
        if seen.room is not None:
            return want
        room = await self._livekit.create_room(want.room, empty_timeout=self._settings.empty_timeout)
        if isinstance(room, Unknown):
            return room
        self._memory.note(want.room, replace(seen, room=room, at=self._clock()))
        return replace(want, sid=room.sid, node=self._fleet.node(want))

    async def _dismiss(self, claim: Claim, seen: Seen, answers: dict[str, bool], epoch: int) -> Look:
        """A claim whose want has ended: its job leaves the room."""
        now = self._clock()
        listed = any(p.identity == claim.identity for p in seen.participants)
        runs = await self._runs(claim, seen, answers)
        if isinstance(runs, Unknown):
            return _unknown(runs)
        if not runs:
            removal = await self._remove(claim.room, RemoveParticipant(claim.identity, "ghost"))
            if removal is not None:
                return removal
            await self._jobs.end(claim, End.ENDED, now, epoch=epoch)
            return Look(due=now)
        in_room = claim.stage in {Stage.CONNECTED, Stage.OPEN, Stage.SPENT}
        if in_room and not listed:  # it was put out with its room, and is about to tell
            since = now + ROOM_GONE_GRACE - LEAVE_TIMEOUT
            await self._mark(claim, epoch, stage=Stage.LEAVING, since=since)
            return Look(due=now + ROOM_GONE_GRACE)
        self._must_lead(epoch)
        for action in leave(claim, now):
            match action:
                case EndJob():
                    self._end(action)
                case MarkLeaving():
                    await self._mark(claim, epoch, stage=Stage.LEAVING, since=now)
                case RemoveParticipant():
                    await self._remove(claim.room, action)
        return Look(due=now + 1.0)

    async def _see_off(self, want: Want, seen: Seen) -> Look:
        """A stopped want of a name that others serve: its dispatches are deleted and its agent is removed,
        also one that was on its way."""
        now, until = self._clock(), want.since + self._settings.foreign_timeout
        if self._admission.ours(want.agent) or now >= until or seen.room is None:
            return Look()
        listed = await self._livekit.dispatches(want.room)
        for dispatch in [] if isinstance(listed, Unknown) else listed:
            if dispatch.agent == want.agent:
                await self._livekit.delete_dispatch(want.room, dispatch.id)
        for agent in seen.agents(want.agent):
            await self._remove(want.room, RemoveParticipant(agent.identity, "stopped"))
        return Look(due=min(until, now + 2 * LOOK_SOON))


def _sighted(after: Want, want: Want, seen: Seen) -> Want:
    """With the time at which its room was seen: of use to the next leader where it changes anyway, or where
    somebody has asked since."""
    there = seen.room is not None and seen.room.sid == after.sid
    if there and (after != want or want.asked_at > want.seen_at):
        return replace(after, seen_at=seen.at)
    return after


def _unknown(answer: Unknown) -> Look:
    return Look(unknown=answer.why, nodeless=answer.nodeless)


def _of_agent(claims: Iterable[Claim], agent: str) -> Claim | None:
    return next((claim for claim in claims if claim.agent == agent), None)
