"""One pass over one room: observe, plan, act. The only place that decides about trying again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import structlog

from gateway.keeper import notes
from gateway.keeper.admission import Admission
from gateway.keeper.asks import Asks
from gateway.keeper.dispatcher import Dispatcher
from gateway.keeper.fleet import Fleet
from gateway.keeper.handover import HANDOVER_TIMEOUT, over, retiring, see_out
from gateway.keeper.heart import BEAT
from gateway.keeper.jobs import Jobs
from gateway.keeper.look import Look, could_not_tell
from gateway.keeper.memory import Memory
from gateway.keeper.model import Claim, End, Room, Seen, Stage, State, Unknown, Want
from gateway.keeper.notes import Note
from gateway.keeper.plan import IN_ROOM, LEAVE_TIMEOUT, leave, plan
from gateway.keeper.policy import Policy
from gateway.keeper.ports import Clock, LeaseLost, LiveKit, Store
from gateway.keeper.situation import (
    LOOK_SOON,
    Action,
    Dispatch,
    EndJob,
    LoseDispatch,
    MarkLeaving,
    MarkMissing,
    Plan,
    Release,
    RemoveParticipant,
    Situation,
)
from gateway.keeper.wants import Wants
from gateway.metrics import Metrics
from gateway.settings import KeeperSettings
from pool.ports import Workers

log = structlog.get_logger(__name__)

WITNESS_INTERVAL = 3.0
"""Seconds after which an agent whose replica lapsed, and which lives, is asked again."""
ROOM_GONE_GRACE = 5.0
"""A job whose room ended leaves by itself; after this it is made to."""


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
        self._dispatcher = Dispatcher(
            store=store,
            livekit=livekit,
            fleet=fleet,
            workers=workers,
            wants=wants,
            admission=admission,
            settings=settings,
            metrics=metrics,
            clock=clock,
            memory=memory,
            observe=self._observe,
            must_lead=self._must_lead,
        )

    async def reconcile(self, room: str, epoch: int) -> Look:
        """Bring one room to what is wanted in it, as the leader of that epoch.

        Raises StoreUnavailable, LeaseLost.
        """
        if await self._done_with(room):
            return Look()
        seen = await self._observe(room)
        if isinstance(seen, Unknown):
            await self._explain(room, seen, epoch)
            return could_not_tell(seen)
        known = await self._store.wants(room)
        if await self._ask_by_policy(seen, known, epoch):
            known = await self._store.wants(room)
        self._note(known)
        wants = [w for w in known if not w.state.ended]
        claims = await self._store.claims(room)  # after the wants: see `_claims_of`
        answers: dict[str, bool] = {}
        unwanted = await self._unwanted(room, claims, wants)
        looks = await self._see_out(claims, unwanted, seen, answers, epoch)  # before anybody else comes
        for number, want in enumerate(wants):
            of_want = await self._claims_of(want) if number else _of_agent(claims, want.agent)
            looks.append(await self._keep(want, of_want, seen, answers, epoch))
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

    async def _done_with(self, room: str) -> bool:
        """Whether no agent is wanted in the room, none of ours is there, and nobody's join calls for one, as
        after the end of most calls. Then LiveKit is not asked, and what is remembered of the room goes."""
        if self._wants.concerns(room) or self._wants.invited(room) or self._policy.agents_for(room):
            return False
        known = await self._store.wants(room)
        if any(not want.state.ended or want.state is State.STOPPED for want in known):  # see `_see_off`
            return False
        if await self._store.claims(room):
            return False
        self._note(known)
        self._memory.forget(room, people=False)
        self._memory.touch(room)
        return True

    def _note(self, known: Iterable[Want]) -> None:
        """Take what the store knows into the books."""
        for want in known:
            self._wants.note(want)
            if want.state.ended:
                self._admission.drop(want)  # it may have ended elsewhere

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
        self, want: Want, claims: list[Claim], seen: Seen, answers: dict[str, bool], epoch: int
    ) -> Look:
        """Plan for one want, with the claims for its agent, and carry it out; several steps when each is due
        at once."""
        for _ in range(6):
            claim, retire = _holder(claims), retiring(claims)
            if claim is not None:
                claim = await self._adopted(claim, want, epoch)
            runs = await self._runs(claim, seen, answers) if claim is not None else False
            if isinstance(runs, Unknown):
                return could_not_tell(runs)
            situation = replace(self._situation(want, claim, seen, runs=runs), retiring=retire)
            decided = plan(situation, self._settings)
            after = _sighted(decided.want, want, seen)
            if not await self._wants.write(after, was=want, epoch=epoch):
                return Look(due=self._clock())  # changed meanwhile: look again
            want, decided = after, replace(decided, want=after)
            if want.state.ended and claim is not None:
                return Look(due=self._clock())  # its job is dismissed next
            look, seen, again = await self._act(situation, decided, epoch)
            if not again:
                return self._watched(look, claim)
            stored = await self._store.want(want.id)
            if stored is None or stored.state.ended:
                return Look()
            want, claims = stored, await self._claims_of(stored)
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

    async def _claims_of(self, want: Want) -> list[Claim]:
        """Whoever holds the want's room, and who hands it over. To be read after the want: when the job ends
        in between, the want has changed, and what is planned with the old one is not written."""
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

    async def _act(self, s: Situation, decided: Plan, epoch: int) -> tuple[Look, Seen, bool]:
        """Carry out a plan's actions in order: the look, what is seen now, and whether to plan again."""
        want, seen = decided.want, s.seen
        if want.state is State.JOINED:
            self._admission.confirmed(want)
        elif want.state.ended or (want.needs_person and not seen.people):
            self._admission.leave(want)
        changed = not decided.actions and decided.due is not None and decided.due <= self._clock()
        for action in decided.actions:
            self._must_lead(epoch)
            match action:
                case RemoveParticipant():
                    if await self._may_be_claimed(s, action):
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
                    await self._dispatcher.lose(want, epoch)
                    changed = True
                case Dispatch():
                    look = await self._dispatcher.dispatch(want, seen, s.retiring, decided.due, epoch)
                    return look, seen, False
        return Look(due=decided.due), seen, changed

    def _must_lead(self, epoch: int) -> None:
        """What is about to be done rests on what the leader saw: one that stood still stops here."""
        if self._fleet.epoch != epoch:
            raise LeaseLost

    async def _may_be_claimed(self, s: Situation, action: RemoveParticipant) -> bool:
        """Whether an agent that looks like a ghost may be one whose claim the store forgot: it answers, and
        its replica has yet to put that back. Which agent the want had may be forgotten as well."""
        if s.claim is not None or not self._fleet.forgetful:
            return False
        return await self._livekit.answers(s.want.room, action.identity) is not False

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
            return could_not_tell(removed)
        if removed:
            self._metrics.participants_removed.labels(action.kind).inc()
            log.info("participant_removed", room=room, identity=action.identity, kind=action.kind)
        return None

    async def _dismiss(self, claim: Claim, seen: Seen, answers: dict[str, bool], epoch: int) -> Look:
        """A claim whose want has ended: its job leaves the room."""
        now = self._clock()
        listed = any(p.identity == claim.identity for p in seen.participants)
        runs = await self._runs(claim, seen, answers)
        if isinstance(runs, Unknown):
            return could_not_tell(runs)
        if not runs:
            removal = await self._remove(claim.room, RemoveParticipant(claim.identity, "ghost"))
            if removal is not None:
                return removal
            await self._jobs.end(claim, End.ENDED, now, epoch=epoch)
            return Look(due=now)
        if claim.stage in IN_ROOM and not listed:  # it was put out with its room, and is about to tell
            since = now + ROOM_GONE_GRACE - LEAVE_TIMEOUT
            await self._mark(claim, epoch, stage=Stage.LEAVING, since=since)
            return Look(due=now + ROOM_GONE_GRACE)
        return await self._make_leave(claim, leave(claim, now), epoch)

    async def _make_leave(self, claim: Claim, how: Iterable[Action], epoch: int) -> Look:
        self._must_lead(epoch)
        for action in how:
            match action:
                case EndJob():
                    self._end(action)
                case MarkLeaving():
                    await self._mark(claim, epoch, stage=Stage.LEAVING, since=self._clock())
                case RemoveParticipant():
                    await self._remove(claim.room, action)
        return Look(due=self._clock() + 1.0)

    async def _see_out(
        self, claims: list[Claim], unwanted: list[Claim], seen: Seen, answers: dict[str, bool], epoch: int
    ) -> list[Look]:
        """Claims that hand their room over: their jobs leave once it is time."""
        retire = [claim for claim in claims if claim.retires_since and claim not in unwanted]
        return [await self._see_one_out(claim, claims, seen, answers, epoch) for claim in retire]

    async def _see_one_out(
        self, claim: Claim, claims: list[Claim], seen: Seen, answers: dict[str, bool], epoch: int
    ) -> Look:
        runs, now = await self._runs(claim, seen, answers), self._clock()
        if isinstance(runs, Unknown):
            return could_not_tell(runs)
        how, leaves = over(claim, claims, seen.participants, now), claim.stage is Stage.LEAVING
        if runs and not how and not leaves:
            return Look(due=claim.retires_since + HANDOVER_TIMEOUT)
        if not leaves:
            self._metrics.handovers.labels(how if runs else "died").inc()
        if not runs:
            return await self._dismiss(claim, seen, answers, epoch)
        return await self._make_leave(claim, see_out(claim, seen.participants, now), epoch)

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


def _of_agent(claims: Iterable[Claim], agent: str) -> list[Claim]:
    return [claim for claim in claims if claim.agent == agent]


def _holder(claims: Iterable[Claim]) -> Claim | None:
    return next((claim for claim in claims if not claim.retires_since), None)
