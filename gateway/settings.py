"""Settings: frozen groups, each field with the variable that it is read from (by `environment`), if any.

Variables are named as LiveKit's own where those exist, `ROOMKEEPER_*` for the rest. Durations are seconds.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pool.ports import WarmPolicy

DEV_KEY = "devkey"
DEV_SECRET = "secret"  # noqa: S105  (LiveKit's public dev pair)
DEFAULT_AGENT = "my-telephony-agent"

JobAuth = Literal["room-token", "operator", "open"]
ForeignReplace = Literal["unclean", "never"]
Lane = Literal["dispatch", "direct"]
Role = Literal["all", "gateway", "worker"]


@dataclass(frozen=True, kw_only=True)
class LiveKitSettings:
    """Where LiveKit is and how to sign in."""

    url: str = "ws://127.0.0.1:7880"
    """`LIVEKIT_URL`; ws(s) or http(s)."""
    api_key: str = DEV_KEY
    """`LIVEKIT_API_KEY`."""
    api_secret: str = field(default=DEV_SECRET, repr=False)
    """`LIVEKIT_API_SECRET`."""
    more_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """`LIVEKIT_KEYS`, as livekit-server reads it: `key: secret` pairs, one a line or comma separated. What
    they sign is believed as well, and nothing is signed with them: for a rotation."""
    public_url: str = ""
    """`ROOMKEEPER_LIVEKIT_PUBLIC_URL`: what browsers are told; `url` unless set."""
    call_timeout: float = 8.0
    """`ROOMKEEPER_LIVEKIT_TIMEOUT`: one call to LiveKit's API. Above the 5 s that dispatch calls can take
    (fact 54)."""

    @property
    def keys(self) -> dict[str, str]:
        """Every secret that may have signed what comes in, by its API key."""
        return {**dict(self.more_keys), self.api_key: self.api_secret}

    @property
    def client_url(self) -> str:
        """What clients connect to, as ws(s)."""
        return re.sub("^http", "ws", self.public_url or self.url)

    @property
    def is_dev(self) -> bool:
        return any(key == DEV_KEY or secret == DEV_SECRET for key, secret in self.keys.items())


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """The front door."""

    host: str = "127.0.0.1"
    """`ROOMKEEPER_HOST`."""
    port: int = 8080
    """`ROOMKEEPER_PORT`, else `PORT`."""
    cors_origins: tuple[str, ...] = ()
    """`ROOMKEEPER_CORS_ORIGINS`, comma separated; empty: none, `*`: any."""
    open_tokens: bool = False
    """`ROOMKEEPER_OPEN_TOKENS`: whoever reaches the port gets room tokens. On in `dev`, off in `start`."""
    forward_to: tuple[str, ...] = ()
    """`ROOMKEEPER_FORWARD_TO`: URLs of other workers' own doors. A request that names one as its `workerUrl`
    has it asked as well (`POST .../start`)."""
    custom_rooms: bool = False
    """`ROOMKEEPER_CUSTOM_ROOMS`: with open tokens, whoever reaches the port may name rooms. On in `dev`."""
    publish: tuple[str, ...] = ()
    """`ROOMKEEPER_PUBLISH`: what a token allows to publish, of camera, microphone, screen_share and
    screen_share_audio, comma separated. Empty: all of them."""
    worker_urls: tuple[str, ...] = ()
    """`AGENT_WORKER_URL`: the URLs under which frontends know this Roomkeeper as the worker, comma separated.
    A request may name one of them as its `workerUrl`, or one of `forward_to`."""
    job_auth: JobAuth = "room-token"
    """`ROOMKEEPER_JOB_AUTH`: who may ask for agents. `room-token`: a participant's token of that room or an
    operator's; `operator`: an operator's token only; `open`: whoever reaches the port (`dev`)."""
    trusted_proxies: tuple[str, ...] = ()
    """`ROOMKEEPER_TRUSTED_PROXIES`: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are
    believed, comma separated. Not all of them: what stands first in the header is the client's word."""
    agents: tuple[str, ...] = ()
    """`ROOMKEEPER_AGENTS`: the agents that frontends may ask for, comma separated, `*`: any. Empty: the
    default agent, and those that ROOMKEEPER_ROOMS names. Operators may ask for any."""
    public_url: str = ""
    """`ROOMKEEPER_PUBLIC_URL`: how agents reach this Roomkeeper, to report of sessions; "": those on this
    machine do, see `for_agents`."""
    session_retention: float = 604_800.0
    """`ROOMKEEPER_SESSION_RETENTION`: how long a session and its transcript are kept; a week."""
    token_ttl: float = 3600.0
    """`ROOMKEEPER_TOKEN_TTL`: how long a minted token can be used to join. LiveKit renews it in the call."""

    @property
    def here(self) -> str:
        """The URL on this machine."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def for_agents(self) -> str:
        """Where agents report. Never what a request says of itself: its `Host` is the caller's word, and the
        agent would send its token there."""
        return self.public_url or self.here


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """The site's own login, whose JWTs are good for room tokens."""

    secret: str = field(default="", repr=False)
    """`ROOMKEEPER_SITE_SECRET`: what the site's server signs with (HS256, 384, 512); 32 bytes at least."""
    jwks_url: str = ""
    """`ROOMKEEPER_SITE_JWKS`: where the site publishes its keys (RSA, EC or Ed25519)."""
    issuer: str = ""
    """`ROOMKEEPER_SITE_ISSUER`: the `iss` that is asked for; "": any."""
    audience: str = ""
    """`ROOMKEEPER_SITE_AUDIENCE`: the `aud` that is asked for; "": any."""
    identity_claim: str = "sub"
    """`ROOMKEEPER_SITE_IDENTITY_CLAIM`: who the visitor is in the room."""
    rooms_claim: str = "rooms"
    """`ROOMKEEPER_SITE_ROOMS_CLAIM`: the rooms that the visitor may have tokens for, one name or a list,
    shell patterns allowed. Without it: fresh rooms only."""

    @property
    def used(self) -> bool:
        return bool(self.secret or self.jwks_url)


@dataclass(frozen=True, kw_only=True)
class CallbackSettings:
    """Whom to tell of agents that could not be brought, or that crash again and again."""

    url: str = ""
    """`ROOMKEEPER_CALLBACK_URL`; "": nobody."""
    secret: str = field(default="", repr=False)
    """`ROOMKEEPER_CALLBACK_SECRET`: what events are signed with, `whsec_` and 24 to 64 bytes in base64."""


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """How often somebody may ask for jobs and tokens. Operators may as often as they like; `dev` counts
    nobody."""

    by_address: str = ""
    """`ROOMKEEPER_RATE_BY_ADDRESS`, `600/minute`: requests from one address; `any`: no limit. A company's
    visitors may share one; and behind a proxy that `ROOMKEEPER_TRUSTED_PROXIES` does not name, all do."""
    by_caller: str = ""
    """`ROOMKEEPER_RATE_BY_CALLER`, `60/minute`: requests with one participant's tokens for one room."""


@dataclass(frozen=True, kw_only=True)
class KeeperSettings:
    """How the keeper keeps its promises. The defaults follow LiveKit's own time-outs."""

    default_agent: str = DEFAULT_AGENT
    """`LIVEKIT_AGENT_NAME`: asked for when a request names none."""
    room_patterns: tuple[tuple[str, str], ...] = ()
    """`ROOMKEEPER_ROOMS`: rooms that want an agent by their name, `pattern[=agent]`, comma separated
    (shell globs; the agent defaults to the default agent)."""
    claim_timeout: float = 4.0
    """A dispatch that none of our workers claimed by then is lost (fact 4)."""
    foreign_timeout: float = 10.0
    """The same for workers that are not ours (facts 4, 54)."""
    accept_timeout: float = 8.0
    """From the claim to a launched process; LiveKit's assignment may take 7.5 s (fact 33)."""
    connect_timeout: float = 15.0
    """`ROOMKEEPER_CONNECT_TIMEOUT`: from the launched process to the room."""
    open_timeout: float = 30.0
    """From the room to an open session, for an agent that has begun to open one."""
    return_timeout: float = 12.0
    """How long a running agent that is not listed may take to come back after LiveKit restarted (fact 80)."""
    foreign_replace: ForeignReplace = "unclean"
    """`ROOMKEEPER_FOREIGN_REPLACE`: when an agent of other people's workers is gone, get another one:
    `unclean`, unless it left on purpose, or `never`."""
    launch: Lane = "dispatch"
    """`ROOMKEEPER_LAUNCH`: how our own agents are called. `dispatch`: LiveKit is asked to ask a worker.
    `direct`: the leader launches the job in its own pool where it can, 200 ms sooner (fact 67); LiveKit then
    knows no dispatch of it."""
    redispatch_grace: float = 0.0
    """`ROOMKEEPER_REDISPATCH_GRACE`: how long to leave it to somebody else to replace an agent of other
    people's workers. LiveKit Cloud does so by itself and takes about 15 s (fact 10)."""
    give_up_after: float = 300.0
    """`ROOMKEEPER_GIVE_UP_AFTER`: a want without a working agent for so long is given up."""
    empty_timeout: float = 60.0
    """`ROOMKEEPER_EMPTY_TIMEOUT`: a room that we created and nobody joined ends after this."""
    resync_interval: float = 10.0
    """`ROOMKEEPER_RESYNC`: every so often the rooms are compared with what LiveKit lists (I6)."""
    keep_ended: float = 3600.0
    """Ended wants are remembered so long, for whoever asks what became of a job."""
    may_lead: bool = True
    """False in the role `worker`."""
    our_agents: tuple[str, ...] = ()
    """`ROOMKEEPER_WORKER_AGENTS`: more agents whose workers are Roomkeeper's own, comma separated: rooms that
    want one wait in line while no such worker runs. The default agent needs no mention."""
    buffer: int = 1
    """`ROOMKEEPER_BUFFER`: free slots that `roomkeeper_wanted_workers` counts in for whoever asks next; with
    0 it goes down to no worker at all."""
    buffer_percent: int = 0
    """`ROOMKEEPER_BUFFER=10%`: the same in step with the load, in percent of the agents that run."""
    slots_per_worker: int = 1
    """`ROOMKEEPER_SLOTS`: what a worker is taken to have while none runs."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """The workers inside this process."""

    target: str = "pool.agents.echo:server"
    """`module:server` of the AgentServer to run."""
    slots: int = max(4, 2 * (os.cpu_count() or 2))
    """`ROOMKEEPER_SLOTS`: calls at once; as many processes are kept warm."""
    warm: WarmPolicy = "all"
    """`ROOMKEEPER_WARM`: processes that are kept ready for a job: `all`, one for each free slot; a number; or
    `rate`, one more than the largest burst of the last ten minutes took within two seconds."""
    memory_warn: int | None = None
    """`ROOMKEEPER_MEMORY_WARN`, in MB: a job process with more (PSS) is told of in the log; here in bytes, 0
    for never. None: what the agent's `AgentServer` says, by its default 1000 MB."""
    memory_limit: int | None = None
    """`ROOMKEEPER_MEMORY_LIMIT`, in MB: one with more is ended, and its room gets another agent. None: what
    the agent's `AgentServer` says, by its default no limit."""
    unresponsive_after: float = 20.0
    """`ROOMKEEPER_UNRESPONSIVE_AFTER`: a job process whose event loop has not turned for so long is ended,
    and its room gets another agent."""
    shared_vad: bool = False
    """`ROOMKEEPER_SHARED_VAD`: one Silero model for all job processes, built before they are forked."""
    drain_timeout: float = 3600.0
    """`ROOMKEEPER_DRAIN_TIMEOUT`: calls may take so long to end after SIGTERM. The default is LiveKit's
    own; 0 in `dev`."""
    handover: bool = False
    """`ROOMKEEPER_HANDOVER`: what is left then is handed over to other workers' agents, not cut."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where wants and claims are kept: in a file, for one process; in Redis or Valkey, for several."""

    path: Path = Path("roomkeeper.db")
    """`ROOMKEEPER_STORE` as a path: the SQLite file, in the working directory by default."""
    url: str = field(default="", repr=False)
    """`ROOMKEEPER_STORE` as a URL, `redis://[user:password@]host[:port][/db]` (rediss, valkey, valkeys too);
    "" for the file."""
    full_sync: bool = False
    """`ROOMKEEPER_STORE_SYNC=full`: the file survives a power cut as well, not only a kill."""

    @property
    def shown(self) -> str:
        """Where it is, without user and password."""
        if not self.url:
            return str(self.path)
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """Where spans go. The variables are OpenTelemetry's own; its SDK reads the others by itself."""

    endpoint: str = ""
    """`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`: a collector's
    URL; "": nothing is traced. Nor with `OTEL_SDK_DISABLED=true`, or with `OTEL_TRACES_EXPORTER=none`."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything, frozen."""

    dev: bool = False
    role: Role = "all"
    """`ROOMKEEPER_ROLE`: `gateway` has no workers, `worker` nothing but workers and probes; `all` is both."""
    livekit: LiveKitSettings = field(default_factory=LiveKitSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    callback: CallbackSettings = field(default_factory=CallbackSettings)
    site: SiteSettings = field(default_factory=SiteSettings)
    rates: RateSettings = field(default_factory=RateSettings)
    keeper: KeeperSettings = field(default_factory=KeeperSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    trace: TraceSettings = field(default_factory=TraceSettings)
    log_level: str = "info"
    """`ROOMKEEPER_LOG_LEVEL`."""
    log_json: bool = True
    """`ROOMKEEPER_LOG=json|console`; console in `dev`."""

    @property
    def asked_for(self) -> tuple[str, ...]:
        """The agents that frontends may ask for; `*`: any."""
        named = (agent for _, agent in self.keeper.room_patterns if agent)
        return self.http.agents or (self.keeper.default_agent, *named)

    @property
    def open_doors(self) -> list[str]:
        """What whoever reaches the port may do without a token; nothing in `dev`, where all is open."""
        doors = []
        if not self.dev and self.http.job_auth == "open":
            doors.append("ROOMKEEPER_JOB_AUTH=open: everybody may bring agents into any room, and stop them")
        if not self.dev and self.http.open_tokens:
            rooms = "any room" if self.http.custom_rooms else "fresh rooms"
            doors.append(f"ROOMKEEPER_OPEN_TOKENS: everybody gets tokens for {rooms}")
        return doors
