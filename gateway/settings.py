"""Settings: the environment, read once at the edge, all faults reported at once.

Names are LiveKit's own where they exist, `ROOMKEEPER_*` for the rest. Durations are seconds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gateway.errors import SettingsError
from gateway.variables import (
    Reader,
    http_url,
    key_pairs,
    megabytes,
    name,
    network,
    number,
    one_of,
    pattern,
    plain,
    rate,
    secret,
    several,
    slots_or_percent,
    source,
    switch,
    url,
    webhook_secret,
    whole,
)
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


_JOB_AUTH: Callable[[str], JobAuth] = one_of("room-token", "operator", "open")
_FOREIGN_REPLACE: Callable[[str], ForeignReplace] = one_of("unclean", "never")
_LANE: Callable[[str], Lane] = one_of("dispatch", "direct")
_ROLE: Callable[[str], Role] = one_of("all", "gateway", "worker")


def _warm(text: str) -> WarmPolicy:
    if text in {"all", "rate"}:
        return "all" if text == "all" else "rate"
    try:
        return whole(1, 1000)(text)
    except ValueError:
        raise ValueError(f"must be all, rate, or a whole number from 1 to 1000, not {text!r}") from None


def _store(text: str) -> StoreSettings:
    """A path, or a URL of Redis. The text never appears in a fault: there may be a password in it."""
    scheme, is_url, _ = text.partition("://")
    what = "must be a file's path, or redis://[user:password@]host[:port][/db]"
    if not is_url and ("@" in text or re.match(r"(redis|valkey)s?:", text, re.IGNORECASE)):
        raise ValueError(what)  # a URL with a typing error, and no path: it may have a password in it
    if not is_url:
        return StoreSettings(path=Path(text))
    if scheme not in {"redis", "rediss", "valkey", "valkeys"}:
        raise ValueError(f"{what} (rediss, valkey and valkeys too)")
    try:
        parts = urlsplit(text)
        well_formed = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(f"{what}; in a password, write / @ : # ? % as %2F and so on") from None
    if not well_formed or not re.fullmatch(r"(/\d{0,5})?", parts.path) or parts.query or parts.fragment:
        raise ValueError(f"{what}, db being a number; in a password, write / @ : # ? % as %2F and so on")
    return StoreSettings(url=text)


def read(env: Mapping[str, str], *, dev: bool, **overrides: object) -> Settings:
    """Read all settings from `env`.

    `overrides` come from the command line: target, slots, host, port, role; None means not given.

    Raises:
        SettingsError: naming every variable that cannot be used.
    """
    reader = Reader({**env, **_as_variables(overrides)})
    get = reader.get
    role: Role = get("ROOMKEEPER_ROLE", _ROLE, "all")
    slots = get("ROOMKEEPER_SLOTS", whole(1, 1000), PoolSettings.slots)
    buffer, buffer_percent = get("ROOMKEEPER_BUFFER", slots_or_percent, (KeeperSettings.buffer, 0))
    settings = Settings(
        dev=dev,
        role=role,
        livekit=LiveKitSettings(
            url=get("LIVEKIT_URL", url, LiveKitSettings.url if dev else ""),
            api_key=get("LIVEKIT_API_KEY", plain, DEV_KEY if dev else ""),
            api_secret=get("LIVEKIT_API_SECRET", plain, DEV_SECRET if dev else ""),
            more_keys=get("LIVEKIT_KEYS", key_pairs, ()),
            public_url=get("ROOMKEEPER_LIVEKIT_PUBLIC_URL", url, ""),
            call_timeout=get("ROOMKEEPER_LIVEKIT_TIMEOUT", number(1, 60), 8.0),
        ),
        http=HttpSettings(
            host=get("ROOMKEEPER_HOST", str, "127.0.0.1" if dev else "0.0.0.0"),  # noqa: S104
            port=get("ROOMKEEPER_PORT PORT", whole(0, 65535), 8080),
            cors_origins=get("ROOMKEEPER_CORS_ORIGINS", several(str), ("*",) if dev else ()),
            open_tokens=get("ROOMKEEPER_OPEN_TOKENS", switch, dev),
            forward_to=get("ROOMKEEPER_FORWARD_TO", several(http_url), ()),
            custom_rooms=get("ROOMKEEPER_CUSTOM_ROOMS", switch, dev),
            publish=get("ROOMKEEPER_PUBLISH", several(source), ()),
            worker_urls=get("AGENT_WORKER_URL", several(http_url), ()),
            job_auth=get("ROOMKEEPER_JOB_AUTH", _JOB_AUTH, "open" if dev else "room-token"),
            trusted_proxies=get("ROOMKEEPER_TRUSTED_PROXIES", several(network), ()),
            agents=get("ROOMKEEPER_AGENTS", several(name), ("*",) if dev else ()),
            public_url=get("ROOMKEEPER_PUBLIC_URL", http_url, ""),
            session_retention=get("ROOMKEEPER_SESSION_RETENTION", number(60, 315_360_000), 604_800.0),
            token_ttl=get("ROOMKEEPER_TOKEN_TTL", number(10, 86400), 3600.0),
        ),
        callback=CallbackSettings(
            url=get("ROOMKEEPER_CALLBACK_URL", http_url, ""),
            secret=get("ROOMKEEPER_CALLBACK_SECRET", webhook_secret, ""),
        ),
        site=SiteSettings(
            secret=get("ROOMKEEPER_SITE_SECRET", secret, ""),
            jwks_url=get("ROOMKEEPER_SITE_JWKS", http_url, ""),
            issuer=get("ROOMKEEPER_SITE_ISSUER", plain, ""),
            audience=get("ROOMKEEPER_SITE_AUDIENCE", plain, ""),
            identity_claim=get("ROOMKEEPER_SITE_IDENTITY_CLAIM", plain, SiteSettings.identity_claim),
            rooms_claim=get("ROOMKEEPER_SITE_ROOMS_CLAIM", plain, SiteSettings.rooms_claim),
        ),
        rates=RateSettings(
            by_address=get("ROOMKEEPER_RATE_BY_ADDRESS", rate, "" if dev else "600/minute"),
            by_caller=get("ROOMKEEPER_RATE_BY_CALLER", rate, "" if dev else "60/minute"),
        ),
        keeper=KeeperSettings(
            default_agent=get("LIVEKIT_AGENT_NAME", name, DEFAULT_AGENT),
            room_patterns=get("ROOMKEEPER_ROOMS", several(pattern), ()),
            connect_timeout=get("ROOMKEEPER_CONNECT_TIMEOUT", number(1, 600), 15.0),
            foreign_replace=get("ROOMKEEPER_FOREIGN_REPLACE", _FOREIGN_REPLACE, "unclean"),
            launch=get("ROOMKEEPER_LAUNCH", _LANE, "dispatch"),
            redispatch_grace=get("ROOMKEEPER_REDISPATCH_GRACE", number(0, 600), 0.0),
            give_up_after=get("ROOMKEEPER_GIVE_UP_AFTER", number(1, 86400), 300.0),
            empty_timeout=get("ROOMKEEPER_EMPTY_TIMEOUT", number(1, 86400), 60.0),
            resync_interval=get("ROOMKEEPER_RESYNC", number(0.1, 3600), 10.0),
            may_lead=role != "worker",
            our_agents=get("ROOMKEEPER_WORKER_AGENTS", several(name), ()),
            buffer=buffer,
            buffer_percent=buffer_percent,
            slots_per_worker=slots,
        ),
        pool=PoolSettings(
            target=get("ROOMKEEPER_AGENT", str, PoolSettings.target),
            slots=slots,
            warm=get("ROOMKEEPER_WARM", _warm, PoolSettings.warm),
            memory_warn=get("ROOMKEEPER_MEMORY_WARN", megabytes, PoolSettings.memory_warn),
            memory_limit=get("ROOMKEEPER_MEMORY_LIMIT", megabytes, PoolSettings.memory_limit),
            unresponsive_after=get("ROOMKEEPER_UNRESPONSIVE_AFTER", number(5, 3600), 20.0),
            shared_vad=get("ROOMKEEPER_SHARED_VAD", switch, False),
            drain_timeout=get("ROOMKEEPER_DRAIN_TIMEOUT", number(0, 86400), 0.0 if dev else 3600.0),
            handover=get("ROOMKEEPER_HANDOVER", switch, False),
        ),
        store=replace(
            get("ROOMKEEPER_STORE", _store, StoreSettings()),
            full_sync=get("ROOMKEEPER_STORE_SYNC", one_of("normal", "full"), "normal") == "full",
        ),
        trace=_trace(reader),
        log_level=get("ROOMKEEPER_LOG_LEVEL", one_of("debug", "info", "warning", "error"), "info"),
        log_json=get("ROOMKEEPER_LOG", one_of("json", "console"), "console" if dev else "json") == "json",
    )
    faults = [*reader.faults, *_contradictions(settings), *([] if dev else _unfit_for_production(settings))]
    if faults:
        raise SettingsError(faults)
    return settings


def _trace(reader: Reader) -> TraceSettings:
    get = reader.get
    if get("OTEL_SDK_DISABLED", lambda text: text.lower() == "true", False):
        return TraceSettings()
    base = get("OTEL_EXPORTER_OTLP_ENDPOINT", http_url, "")
    endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", http_url, f"{base}/v1/traces" if base else "")
    if endpoint and get("OTEL_TRACES_EXPORTER", one_of("otlp", "none"), "otlp") == "none":
        return TraceSettings()
    if endpoint:
        protocols = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_PROTOCOL"
        get(protocols, one_of("http/protobuf"), "http/protobuf")
    return TraceSettings(endpoint=endpoint)


def _as_variables(overrides: Mapping[str, object]) -> dict[str, str]:
    names = {
        "target": "ROOMKEEPER_AGENT",
        "slots": "ROOMKEEPER_SLOTS",
        "role": "ROOMKEEPER_ROLE",
        "host": "ROOMKEEPER_HOST",
        "port": "ROOMKEEPER_PORT",
    }
    return {names[key]: str(value) for key, value in overrides.items() if value is not None}


def _contradictions(settings: Settings) -> list[str]:
    faults = []
    if settings.site.secret and settings.site.jwks_url:
        faults.append("ROOMKEEPER_SITE_SECRET, ROOMKEEPER_SITE_JWKS: set one of them, not both")
    faults += _unfit_for_the_role(settings)
    if bool(settings.callback.url) != bool(settings.callback.secret):
        faults.append("ROOMKEEPER_CALLBACK_URL, ROOMKEEPER_CALLBACK_SECRET: set both, or none")
    return faults


def _unfit_for_the_role(settings: Settings) -> list[str]:
    faults = []
    if settings.role == "worker" and not settings.store.url:
        faults.append("ROOMKEEPER_STORE: a worker shares it with a gateway: set it to redis://host:6379/0")
    if settings.role != "all" and settings.keeper.launch == "direct":
        faults.append(
            "ROOMKEEPER_LAUNCH: direct is for processes that are gateway and worker in one (role all)"
        )
    return faults


def _unfit_for_production(settings: Settings) -> list[str]:
    faults = []
    livekit = settings.livekit
    if not livekit.url:
        faults.append("LIVEKIT_URL: set it to your LiveKit server, for example wss://livekit.example.com")
    if not livekit.api_key or not livekit.api_secret:
        faults.append("LIVEKIT_API_KEY, LIVEKIT_API_SECRET: set both, as in the server's `keys`")
    elif livekit.is_dev:
        faults.append(
            "LIVEKIT_API_KEY, LIVEKIT_API_SECRET, LIVEKIT_KEYS: LiveKit's public dev pair is refused by "
            "`start`; use keys of your own, or `roomkeeper dev`"
        )
    return faults
