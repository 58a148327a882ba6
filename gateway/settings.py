"""Settings: the environment, read once at the edge, all faults reported at once.

Names are LiveKit's own where they exist, `ROOMKEEPER_*` for the rest. Durations are seconds.
"""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from gateway.errors import SettingsError

DEV_KEY = "devkey"
DEV_SECRET = "secret"  # noqa: S105  (LiveKit's public dev pair)
DEFAULT_AGENT = "my-telephony-agent"

JobAuth = Literal["room-token", "operator", "open"]
ForeignReplace = Literal["unclean", "never"]

PUBLISH_SOURCES = ("camera", "microphone", "screen_share", "screen_share_audio")
"""LiveKit's track sources."""
MIN_SECRET_BYTES = 32
"""RFC 7518, 3.2: as long as the hash."""
MAX_AGENT_NAME_BYTES = 256
"""As many as a request may give an agent's name."""

T = TypeVar("T")

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
    A request may name one of them as its `workerUrl`, and no other."""
    job_auth: JobAuth = "room-token"
    """`ROOMKEEPER_JOB_AUTH`: who may ask for agents. `room-token`: a participant's token of that room or an
    operator's; `operator`: an operator's token only; `open`: whoever reaches the port (`dev`)."""
    trusted_proxies: tuple[str, ...] = ()
    """`ROOMKEEPER_TRUSTED_PROXIES`: addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are
    believed, comma separated; `*`: everybody's, when only the proxy can reach this port."""
    agents: tuple[str, ...] = ()
    """`ROOMKEEPER_AGENTS`: the agents that frontends may ask for, comma separated, `*`: any. Empty: the
    default agent, and those that ROOMKEEPER_ROOMS names. Operators may ask for any."""
    public_url: str = ""
    """`ROOMKEEPER_PUBLIC_URL`: how agents reach this Roomkeeper, to report of sessions; "": as callers do."""
    session_retention: float = 604_800.0
    """`ROOMKEEPER_SESSION_RETENTION`: how long a session and its transcript are kept; a week."""
    token_ttl: float = 3600.0
    """`ROOMKEEPER_TOKEN_TTL`: how long a minted token can be used to join. LiveKit renews it in the call."""


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


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """The workers inside this process."""

    target: str = "pool.agents.echo:server"
    """`module:server` of the AgentServer to run."""
    slots: int = max(4, 2 * (os.cpu_count() or 2))
    """`ROOMKEEPER_SLOTS`: calls at once; as many processes are kept warm."""
    drain_timeout: float = 3600.0
    """`ROOMKEEPER_DRAIN_TIMEOUT`: calls may take so long to end after SIGTERM. The default is LiveKit's
    own; 0 in `dev`."""


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
class Settings:
    """Everything, frozen."""

    dev: bool = False
    livekit: LiveKitSettings = field(default_factory=LiveKitSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    callback: CallbackSettings = field(default_factory=CallbackSettings)
    site: SiteSettings = field(default_factory=SiteSettings)
    rates: RateSettings = field(default_factory=RateSettings)
    keeper: KeeperSettings = field(default_factory=KeeperSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
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


class _Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.faults: list[str] = []

    def get(self, names: str, parse: Callable[[str], T], default: T) -> T:
        """The first of the space-separated `names` that is set and not blank, parsed; else the default."""
        for name in names.split():
            text = self._env.get(name, "").strip()
            if not text:
                continue
            try:
                return parse(text)
            except ValueError as fault:
                self.faults.append(f"{name}: {fault}")
                return default
        return default


def _url(text: str) -> str:
    return _address(text, {"ws", "wss", "http", "https"}, "must be a ws://, wss://, http:// or https:// URL")


def _address(text: str, schemes: Collection[str], what: str) -> str:
    """The text never appears in a fault, nor anything secret in it afterwards: URLs are told and logged."""
    try:
        parts = urlsplit(text)
        # A port that is none is a ValueError when it is read.
        fits = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or _UNPRINTABLE.search(text) or " " in text:
        raise ValueError(what)
    if "@" in parts.netloc:
        raise ValueError(f"{what}, without a user or a password")
    return text.rstrip("/")


def _name(text: str) -> str:
    """An agent's name, as requests may give it."""
    if _UNPRINTABLE.search(text) or len(text.encode()) > MAX_AGENT_NAME_BYTES:
        raise ValueError(f"must be at most {MAX_AGENT_NAME_BYTES} bytes, without control characters")
    return text


def _plain(text: str) -> str:
    if _UNPRINTABLE.search(text):
        raise ValueError("must have no control characters")
    return text


def _secret(text: str) -> str:
    """The text never appears in a fault."""
    if len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes, or it can be guessed")
    return _plain(text)


def _webhook_secret(text: str) -> str:
    """The text never appears in a fault."""
    try:
        length = len(base64.b64decode(text.removeprefix("whsec_"), validate=True))
    except ValueError:
        length = 0
    if not text.startswith("whsec_") or not 24 <= length <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64: echo whsec_$(openssl rand -base64 32)")
    return text


def _source(text: str) -> str:
    if text not in PUBLISH_SOURCES:
        raise ValueError(f"must be of {', '.join(PUBLISH_SOURCES)}, not {text!r}")
    return text


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


def _http_url(text: str) -> str:
    return _address(text, {"http", "https"}, "must be http:// or https:// URLs")


def _key_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """The text never appears in a fault."""
    pairs = []
    for line in re.split(r"[,\n]", text):
        key, colon, secret = (part.strip() for part in line.partition(":"))
        if not (key or colon or secret):
            continue
        if not key or not secret or _UNPRINTABLE.search(key + secret) or " " in key + secret:
            raise ValueError("must be `key: secret` pairs, one a line or comma separated")
        pairs.append((key, secret))
    return tuple(pairs)


def _network(text: str) -> str:
    if text != "*":
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(f"must be addresses, networks as 10.0.0.0/8, or *, not {text!r}") from None
    return text


def _rate(text: str) -> str:
    """As the library `limits` writes rates; "" for any."""
    if text == "any":
        return ""
    if not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour)", text):
        raise ValueError(f"must be as 600/minute or 10/second, or any, not {text!r}")
    return text


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"must be a number of seconds, not {text!r}") from None
        if not low <= value <= high:  # also refuses nan
            raise ValueError(f"must be between {low:g} and {high:g} seconds, not {text}")
        return value

    return parse


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def _switch(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ValueError(f"must be 1 or 0, not {text!r}")


def _one_of(*choices: T) -> Callable[[str], T]:
    def parse(text: str) -> T:
        for choice in choices:
            if choice == text.lower():
                return choice
        raise ValueError(f"must be one of {', '.join(map(str, choices))}, not {text!r}")

    return parse


_JOB_AUTH: Callable[[str], JobAuth] = _one_of("room-token", "operator", "open")
_FOREIGN_REPLACE: Callable[[str], ForeignReplace] = _one_of("unclean", "never")


def _list(item: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())

    return parse


def _pattern(text: str) -> tuple[str, str]:
    pattern, _, agent = text.partition("=")
    if not pattern.strip():
        raise ValueError(f"{text!r} has no room pattern; write pattern or pattern=agent")
    re.compile(fnmatch.translate(pattern))
    return pattern.strip(), _name(agent.strip())


def read(env: Mapping[str, str], *, dev: bool, **overrides: object) -> Settings:
    """Read all settings from `env`.

    `overrides` come from the command line: target, slots, host, port; None means not given.

    Raises:
        SettingsError: naming every variable that cannot be used.
    """
    reader = _Reader({**env, **_as_variables(overrides)})
    get = reader.get
    settings = Settings(
        dev=dev,
        livekit=LiveKitSettings(
            url=get("LIVEKIT_URL", _url, LiveKitSettings.url if dev else ""),
            api_key=get("LIVEKIT_API_KEY", _plain, DEV_KEY if dev else ""),
            api_secret=get("LIVEKIT_API_SECRET", _plain, DEV_SECRET if dev else ""),
            more_keys=get("LIVEKIT_KEYS", _key_pairs, ()),
            public_url=get("ROOMKEEPER_LIVEKIT_PUBLIC_URL", _url, ""),
            call_timeout=get("ROOMKEEPER_LIVEKIT_TIMEOUT", _number(1, 60), 8.0),
        ),
        http=HttpSettings(
            host=get("ROOMKEEPER_HOST", str, "127.0.0.1" if dev else "0.0.0.0"),  # noqa: S104
            port=get("ROOMKEEPER_PORT PORT", _whole(0, 65535), 8080),
            cors_origins=get("ROOMKEEPER_CORS_ORIGINS", _list(str), ("*",) if dev else ()),
            open_tokens=get("ROOMKEEPER_OPEN_TOKENS", _switch, dev),
            forward_to=get("ROOMKEEPER_FORWARD_TO", _list(_http_url), ()),
            custom_rooms=get("ROOMKEEPER_CUSTOM_ROOMS", _switch, dev),
            publish=get("ROOMKEEPER_PUBLISH", _list(_source), ()),
            worker_urls=get("AGENT_WORKER_URL", _list(_http_url), ()),
            job_auth=get("ROOMKEEPER_JOB_AUTH", _JOB_AUTH, "open" if dev else "room-token"),
            trusted_proxies=get("ROOMKEEPER_TRUSTED_PROXIES", _list(_network), ()),
            agents=get("ROOMKEEPER_AGENTS", _list(_name), ("*",) if dev else ()),
            public_url=get("ROOMKEEPER_PUBLIC_URL", _http_url, ""),
            session_retention=get("ROOMKEEPER_SESSION_RETENTION", _number(60, 315_360_000), 604_800.0),
            token_ttl=get("ROOMKEEPER_TOKEN_TTL", _number(10, 86400), 3600.0),
        ),
        callback=CallbackSettings(
            url=get("ROOMKEEPER_CALLBACK_URL", _http_url, ""),
            secret=get("ROOMKEEPER_CALLBACK_SECRET", _webhook_secret, ""),
        ),
        site=SiteSettings(
            secret=get("ROOMKEEPER_SITE_SECRET", _secret, ""),
            jwks_url=get("ROOMKEEPER_SITE_JWKS", _http_url, ""),
            issuer=get("ROOMKEEPER_SITE_ISSUER", _plain, ""),
            audience=get("ROOMKEEPER_SITE_AUDIENCE", _plain, ""),
            identity_claim=get("ROOMKEEPER_SITE_IDENTITY_CLAIM", _plain, SiteSettings.identity_claim),
            rooms_claim=get("ROOMKEEPER_SITE_ROOMS_CLAIM", _plain, SiteSettings.rooms_claim),
        ),
        rates=RateSettings(
            by_address=get("ROOMKEEPER_RATE_BY_ADDRESS", _rate, "" if dev else "600/minute"),
            by_caller=get("ROOMKEEPER_RATE_BY_CALLER", _rate, "" if dev else "60/minute"),
        ),
        keeper=KeeperSettings(
            default_agent=get("LIVEKIT_AGENT_NAME", _name, DEFAULT_AGENT),
            room_patterns=get("ROOMKEEPER_ROOMS", _list(_pattern), ()),
            connect_timeout=get("ROOMKEEPER_CONNECT_TIMEOUT", _number(1, 600), 15.0),
            foreign_replace=get("ROOMKEEPER_FOREIGN_REPLACE", _FOREIGN_REPLACE, "unclean"),
            redispatch_grace=get("ROOMKEEPER_REDISPATCH_GRACE", _number(0, 600), 0.0),
            give_up_after=get("ROOMKEEPER_GIVE_UP_AFTER", _number(1, 86400), 300.0),
            empty_timeout=get("ROOMKEEPER_EMPTY_TIMEOUT", _number(1, 86400), 60.0),
            resync_interval=get("ROOMKEEPER_RESYNC", _number(0.1, 3600), 10.0),
        ),
        pool=PoolSettings(
            target=get("ROOMKEEPER_AGENT", str, PoolSettings.target),
            slots=get("ROOMKEEPER_SLOTS", _whole(1, 1000), PoolSettings.slots),
            drain_timeout=get("ROOMKEEPER_DRAIN_TIMEOUT", _number(0, 86400), 0.0 if dev else 3600.0),
        ),
        store=replace(
            get("ROOMKEEPER_STORE", _store, StoreSettings()),
            full_sync=get("ROOMKEEPER_STORE_SYNC", _one_of("normal", "full"), "normal") == "full",
        ),
        log_level=get("ROOMKEEPER_LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "info"),
        log_json=get("ROOMKEEPER_LOG", _one_of("json", "console"), "console" if dev else "json") == "json",
    )
    faults = [*reader.faults, *_contradictions(settings), *([] if dev else _unfit_for_production(settings))]
    if faults:
        raise SettingsError(faults)
    return settings


def _as_variables(overrides: Mapping[str, object]) -> dict[str, str]:
    names = {
        "target": "ROOMKEEPER_AGENT",
        "slots": "ROOMKEEPER_SLOTS",
        "host": "ROOMKEEPER_HOST",
        "port": "ROOMKEEPER_PORT",
    }
    return {names[key]: str(value) for key, value in overrides.items() if value is not None}


def _contradictions(settings: Settings) -> list[str]:
    faults = []
    if settings.site.secret and settings.site.jwks_url:
        faults.append("ROOMKEEPER_SITE_SECRET, ROOMKEEPER_SITE_JWKS: set one of them, not both")
    if bool(settings.callback.url) != bool(settings.callback.secret):
        faults.append("ROOMKEEPER_CALLBACK_URL, ROOMKEEPER_CALLBACK_SECRET: set both, or none")
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
