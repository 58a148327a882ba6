"""The periodic comparison with what LiveKit lists: the cure for lost webhooks (I6).

Looks at what differs, not at everything: one list of rooms, compared with the list before; rooms that want
an agent and have none; and, in turn, the quiet rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gateway.keeper.admission import Admission
from gateway.keeper.model import Room, Unknown
from gateway.keeper.policy import Policy
from gateway.keeper.ports import LiveKit, Store
from gateway.keeper.wants import Wants

SWEEP_ROUNDS = 6
"""A quiet room, where nothing seems to have changed, is looked at in every sixth resync."""


class Resync:
    def __init__(
        self,
        store: Store,
        livekit: LiveKit,
        wants: Wants,
        admission: Admission,
        policy: Policy,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._livekit = livekit
        self._wants = wants
        self._admission = admission
        self._policy = policy
        self._wake = wake
        self._listed: dict[str, tuple[str, int]] = {}
        """SID and number of people of each room, as of the last comparison."""
        self._round = 0

    def lists(self, room: str) -> bool:
        """Whether LiveKit listed the room in the last comparison."""
        return room in self._listed

    def clear(self) -> None:
        """Another replica leads now."""
        self._listed = {}

    async def run_once(self) -> str:
        """Wake every room whose state may have changed unheard. Returns "ok" or why nothing is known.

        Raises StoreUnavailable.
        """
        living = [want for want in await self._store.living() if not self._wants.ended(want.id)]
        for want in living:
            self._wants.note(want)
        self._admission.keep_only({want.id for want in living})
        rooms = await self._livekit.rooms()
        if isinstance(rooms, Unknown):
            return rooms.why
        listed = {r.name: (r.sid, r.people) for r in rooms}
        for name in self._differing(rooms, listed) | self._wants.unsettled() | self._next_to_sweep():
            self._wake(name)
        self._listed = listed
        return "ok"

    def _differing(self, rooms: Iterable[Room], listed: dict[str, tuple[str, int]]) -> set[str]:
        changed = {r.name for r in rooms if self._listed.get(r.name) != listed[r.name]}
        gone = self._listed.keys() - listed.keys()
        return {name for name in changed | gone if self._concerns(name)} | (
            set(self._wants.rooms()) - listed.keys()
        )

    def _concerns(self, name: str) -> bool:
        return self._wants.concerns(name) or self._wants.invited(name) or bool(self._policy.agents_for(name))

    def _next_to_sweep(self) -> set[str]:
        self._round = (self._round + 1) % SWEEP_ROUNDS
        quiet = sorted(self._wants.rooms())
        return set(quiet[self._round :: SWEEP_ROUNDS])
