"""From the environment to the settings, once, at the edge: all faults are told before anything starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import SettingsError
from gateway.settings import (
    DEFAULT_AGENT,
    DEV_KEY,
    DEV_SECRET,
    CallbackSettings,
    ForeignReplace,
    HttpSettings,
    JobAuth,
    KeeperSettings,
    Lane,
    LiveKitSettings,
    PoolSettings,
    RateSettings,
    Role,
    Settings,
    SiteSettings,
    StoreSettings,
    TraceSettings,
)
from gateway.variables import (
    Reader,
    headers,
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
    get("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", whole(0, 1_000_000), 0)  # livekit-agents cannot be imported else
    if get("OTEL_SDK_DISABLED", lambda text: text.lower() == "true", False):
        return TraceSettings()
    base = get("OTEL_EXPORTER_OTLP_ENDPOINT", http_url, "")
    endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", http_url, f"{base}/v1/traces" if base else "")
    if endpoint and get("OTEL_TRACES_EXPORTER", one_of("otlp", "none"), "otlp") == "none":
        return TraceSettings()
    if endpoint:
        protocols = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL OTEL_EXPORTER_OTLP_PROTOCOL"
        get(protocols, one_of("http/protobuf"), "http/protobuf")
        get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", headers, "")
        get("OTEL_EXPORTER_OTLP_HEADERS", headers, "")
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
