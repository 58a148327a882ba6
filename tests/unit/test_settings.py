"""Settings: read once, all faults at once, safe by default."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.util.re import parse_env_headers

from gateway.environment import read
from gateway.errors import SettingsError

PRODUCTION = {
    "LIVEKIT_URL": "wss://livekit.example.com",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "a-secret-of-our-own",
}


def faults(env: dict[str, str], *, dev: bool = True) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        read(env, dev=dev)
    return raised.value.faults


def test_dev_needs_nothing() -> None:
    """LiveKit's dev pair, loopback, the echo agent, open doors, an end at once."""
    settings = read({}, dev=True)
    assert (settings.livekit.url, settings.livekit.api_key) == ("ws://127.0.0.1:7880", "devkey")
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.pool.target == "pool.agents.echo:server"
    assert (settings.http.job_auth, settings.http.open_tokens) == ("open", True)
    assert settings.pool.drain_timeout == 0


def test_production_is_closed_by_default() -> None:
    """Room tokens for jobs, operators for tokens, no foreign origin, an hour to drain."""
    settings = read(PRODUCTION, dev=False)
    assert (settings.http.job_auth, settings.http.open_tokens) == ("room-token", False)
    assert settings.http.cors_origins == ()
    assert settings.pool.drain_timeout == 3600


def test_production_without_livekit_is_refused_by_name() -> None:
    """Every variable that is missing is in the list."""
    text = "\n".join(faults({}, dev=False))
    assert "LIVEKIT_URL" in text
    assert "LIVEKIT_API_KEY" in text
    assert "LIVEKIT_API_SECRET" in text


@pytest.mark.parametrize(
    "pair", [("devkey", "secret"), ("devkey", "other"), ("other", "secret")], ids=["both", "key", "secret"]
)
def test_production_refuses_livekits_public_dev_pair(pair: tuple[str, str]) -> None:
    """Everybody knows it."""
    env = {**PRODUCTION, "LIVEKIT_API_KEY": pair[0], "LIVEKIT_API_SECRET": pair[1]}
    assert any("dev pair" in fault for fault in faults(env, dev=False))


def test_all_faults_are_reported_at_once_by_name() -> None:
    """An operator mends them in one go."""
    found = faults(
        {
            "LIVEKIT_URL": "livekit.example.com",
            "ROOMKEEPER_PORT": "eighty",
            "ROOMKEEPER_SLOTS": "0",
            "ROOMKEEPER_RESYNC": "nan",
            "ROOMKEEPER_JOB_AUTH": "nobody",
            "ROOMKEEPER_OPEN_TOKENS": "perhaps",
            "AGENT_WORKER_URL": "http://fine.test,ftp://not.test",
            "ROOMKEEPER_ROOMS": "=agent",
            "ROOMKEEPER_LOG_LEVEL": "loud",
        }
    )
    names = {fault.split(":")[0] for fault in found}
    assert names == {
        "LIVEKIT_URL",
        "ROOMKEEPER_PORT",
        "ROOMKEEPER_SLOTS",
        "ROOMKEEPER_RESYNC",
        "ROOMKEEPER_JOB_AUTH",
        "ROOMKEEPER_OPEN_TOKENS",
        "AGENT_WORKER_URL",
        "ROOMKEEPER_ROOMS",
        "ROOMKEEPER_LOG_LEVEL",
    }


def test_the_command_line_wins_over_the_environment() -> None:
    """And what it does not say is left to the environment."""
    settings = read({"ROOMKEEPER_PORT": "1", "ROOMKEEPER_SLOTS": "2"}, dev=True, port=3, slots=None)
    assert (settings.http.port, settings.pool.slots) == (3, 2)


def test_port_is_read_where_platforms_put_it() -> None:
    """`PORT`, unless `ROOMKEEPER_PORT` is set."""
    assert read({"PORT": "9000"}, dev=True).http.port == 9000
    assert read({"PORT": "9000", "ROOMKEEPER_PORT": "9001"}, dev=True).http.port == 9001


def test_a_blank_variable_is_not_set() -> None:
    """Compose files and charts leave them empty."""
    assert read({"ROOMKEEPER_PORT": " "}, dev=True).http.port == 8080


def test_lists_and_patterns_are_comma_separated() -> None:
    """`pattern[=agent]`, and URLs without their last slash."""
    settings = read(
        {
            "ROOMKEEPER_ROOMS": "session-*, support-*=clerk",
            "AGENT_WORKER_URL": "http://a.test/,http://b.test:81",
            "ROOMKEEPER_STORE": "/var/lib/rk.db",
        },
        dev=True,
    )
    assert settings.keeper.room_patterns == (("session-*", ""), ("support-*", "clerk"))
    assert settings.http.worker_urls == ("http://a.test", "http://b.test:81")
    assert settings.store.path == Path("/var/lib/rk.db")


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis.test",
        "redis://redis.test:6380/3",
        "rediss://user:p%40ss@redis.test:6380/0",
        "valkey://:pass@[::1]:6379",
        "valkeys://valkey.test/1",
    ],
)
def test_the_store_may_be_redis_or_valkey(url: str) -> None:
    """Several gateways share one; the password is read as it was written."""
    assert read({"ROOMKEEPER_STORE": url}, dev=True).store.url == url


@pytest.mark.parametrize(
    "url",
    [
        "postgres://user:hush-hush@db.test/rk",
        "redis://user:hush-hush@",
        "redis://user:hush-hush@redis.test/name",
        "redis://user:hush-hush@redis.test:port",
        "redis://user:hush-hush@redis.test:99999",
        "redis://user:hush-hush@redis.test/0?ssl_cert_reqs=none",
        "redis://user:hush/hush-hush@redis.test",
        "redis://user:hush-hush#@redis.test",
        "redis://[user:hush-hush@redis.test",
    ],
)
def test_a_store_that_cannot_be_one_is_refused_without_its_password(url: str) -> None:
    """What is wrong with it ends in logs; the password must not."""
    [fault] = faults({"ROOMKEEPER_STORE": url})
    assert fault.startswith("ROOMKEEPER_STORE: must be a file's path, or redis://")
    assert "hush-hush" not in fault


@pytest.mark.parametrize("text", ["Redis:hunter2@h/0", "redis:hunter2", "hunter2@127.0.0.1", "VALKEYS:x"])
def test_a_url_with_a_typing_error_is_no_files_name(text: str) -> None:
    """Its password would be the name of a file, and shown."""
    [fault] = faults({"ROOMKEEPER_STORE": text})
    assert "hunter2" not in fault


@pytest.mark.parametrize("name", ["LIVEKIT_URL", "ROOMKEEPER_LIVEKIT_PUBLIC_URL", "AGENT_WORKER_URL"])
@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@lk.test",
        "http://lk.test:99999",
        "http://lk.test/a b",
        "http://lk.test/\x07hunter2",
    ],
)
def test_an_address_that_is_told_and_logged_has_no_password_in_it(name: str, text: str) -> None:
    """Nor anything else that no address has; what is wrong is said without it."""
    [fault] = faults({name: text})
    assert fault.startswith(f"{name}: must be ")
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LIVEKIT_AGENT_NAME", "a" * 300),
        ("LIVEKIT_AGENT_NAME", "a\x07"),
        ("ROOMKEEPER_ROOMS", "session-*=" + "a" * 300),
        ("LIVEKIT_API_KEY", "key\nkey"),
    ],
)
def test_a_name_that_no_request_could_give_is_refused(name: str, text: str) -> None:
    """It would fail at the first job, or at LiveKit."""
    [fault] = faults({name: text})
    assert fault.startswith(f"{name}: must ")


def test_the_store_is_shown_without_its_password() -> None:
    """Banner, checks and logs say where it is, not how to get in."""
    store = read({"ROOMKEEPER_STORE": "rediss://user:hush-hush@redis.test:6380/2"}, dev=True).store
    assert store.shown == "rediss://redis.test:6380/2"
    assert "hush-hush" not in repr(store)
    assert read({}, dev=True).store.shown == "roomkeeper.db"


def test_no_secret_shows_when_settings_are_printed() -> None:
    """They end in logs."""
    assert "a-secret-of-our-own" not in repr(read(PRODUCTION, dev=False))


def test_keys_that_are_rotated_out_are_still_believed_and_the_first_pair_signs() -> None:
    """`LIVEKIT_KEYS` as livekit-server reads it; the pair of LIVEKIT_API_KEY wins."""
    livekit = read({**PRODUCTION, "LIVEKIT_KEYS": "old: of-last-year\n older:x, key: no"}, dev=False).livekit
    assert livekit.keys == {"old": "of-last-year", "older": "x", "key": "a-secret-of-our-own"}
    assert (livekit.api_key, livekit.api_secret) == ("key", "a-secret-of-our-own")


@pytest.mark.parametrize("text", ["old", "old:", ": of-last-year", "old: of last year"])
def test_keys_that_are_no_pairs_are_refused_without_showing_them(text: str) -> None:
    """There may be a secret in them."""
    (fault,) = faults({**PRODUCTION, "LIVEKIT_KEYS": text}, dev=False)
    assert fault.startswith("LIVEKIT_KEYS: ")
    assert "last" not in fault


def test_production_refuses_the_dev_pair_among_older_keys() -> None:
    """Whoever knows it could sign anything."""
    env = {**PRODUCTION, "LIVEKIT_KEYS": "devkey: secret"}
    assert any("dev pair" in fault for fault in faults(env, dev=False))


def test_frontends_may_ask_for_the_default_agent_and_those_of_patterns_unless_told_otherwise() -> None:
    """`ROOMKEEPER_AGENTS` says otherwise; in `dev`, any."""
    env = {**PRODUCTION, "LIVEKIT_AGENT_NAME": "clerk", "ROOMKEEPER_ROOMS": "vip-*=butler,*"}
    assert read(env, dev=False).asked_for == ("clerk", "butler")
    assert read({**env, "ROOMKEEPER_AGENTS": "a, b"}, dev=False).asked_for == ("a", "b")
    assert read({}, dev=True).asked_for == ("*",)


@pytest.mark.parametrize(
    "env",
    [
        {"ROOMKEEPER_CALLBACK_URL": "https://ops.example.com/hook"},
        {"ROOMKEEPER_CALLBACK_SECRET": "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="},
        {"ROOMKEEPER_CALLBACK_URL": "https://x.example.com", "ROOMKEEPER_CALLBACK_SECRET": "hunter2"},
        {"ROOMKEEPER_CALLBACK_URL": "https://x.example.com", "ROOMKEEPER_CALLBACK_SECRET": "whsec_c2hvcnQ="},
        {"ROOMKEEPER_SITE_SECRET": "hunter2"},
        {"ROOMKEEPER_SITE_SECRET": "x" * 32, "ROOMKEEPER_SITE_JWKS": "https://x.example.com/keys"},
        {"ROOMKEEPER_TRUSTED_PROXIES": "10.0.0.0/33"},
        {"ROOMKEEPER_TRUSTED_PROXIES": "*"},
        {"ROOMKEEPER_TRUSTED_PROXIES": "0.0.0.0/0"},
        {"ROOMKEEPER_PUBLISH": "camera,hologram"},
    ],
)
def test_what_cannot_work_is_refused_without_showing_a_secret(env: dict[str, str]) -> None:
    """By name, before anything starts."""
    found = "; ".join(faults({**PRODUCTION, **env}, dev=False))
    assert any(name in found for name in env)
    assert "hunter2" not in found


def test_open_doors_are_named_in_production_alone() -> None:
    """They are said at the start: somebody may have opened one for a minute, and forgotten it."""
    opened = {"ROOMKEEPER_JOB_AUTH": "open", "ROOMKEEPER_OPEN_TOKENS": "1"}
    assert len(read({**PRODUCTION, **opened}, dev=False).open_doors) == 2
    assert read(PRODUCTION, dev=False).open_doors == []
    assert read(opened, dev=True).open_doors == []


class TestRoles:
    """What a process is: gateway, worker, or both."""

    REDIS = "redis://redis.internal:6379/0"

    def test_a_worker_shares_its_store(self) -> None:
        """A file is one process's own: nobody would ever want an agent of that worker."""
        assert [f.split(":")[0] for f in faults({"ROOMKEEPER_ROLE": "worker"})] == ["ROOMKEEPER_STORE"]
        settings = read({"ROOMKEEPER_ROLE": "worker", "ROOMKEEPER_STORE": self.REDIS}, dev=True)
        assert not settings.keeper.may_lead

    def test_a_gateway_may_be_alone_with_its_file(self) -> None:
        """For workers that other people run."""
        settings = read({"ROOMKEEPER_SLOTS": "7"}, dev=True, role="gateway")
        assert (settings.role, settings.keeper.may_lead) == ("gateway", True)
        assert settings.keeper.slots_per_worker == 7

    @pytest.mark.parametrize("role", ["gateway", "worker"])
    def test_the_direct_lane_needs_both_in_one(self, role: str) -> None:
        """An option that does nothing is refused."""
        env = {"ROOMKEEPER_ROLE": role, "ROOMKEEPER_LAUNCH": "direct", "ROOMKEEPER_STORE": self.REDIS}
        assert [f.split(":")[0] for f in faults(env)] == ["ROOMKEEPER_LAUNCH"]

    def test_there_are_three(self) -> None:
        """Anything else is refused by name."""
        assert faults({"ROOMKEEPER_ROLE": "boss"}) == (
            "ROOMKEEPER_ROLE: must be one of all, gateway, worker, not 'boss'",
        )


def test_nothing_is_traced_unless_a_collector_is_named() -> None:
    """By OpenTelemetry's own variables."""
    assert read({}, dev=True).trace.endpoint == ""
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}
    assert read(base, dev=True).trace.endpoint == "http://collector:4318/v1/traces"
    own = {**base, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces.example/in"}
    assert read(own, dev=True).trace.endpoint == "https://traces.example/in"
    for off in ({"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}):
        assert read({**base, **off}, dev=True).trace.endpoint == ""


def test_a_protocol_that_is_not_spoken_is_a_fault() -> None:
    """Only where spans would be sent."""
    grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert read(grpc, dev=True).trace.endpoint == ""
    (fault,) = faults({**grpc, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"})
    assert fault.startswith("OTEL_EXPORTER_OTLP_PROTOCOL:")
    assert "http/protobuf" in fault


@pytest.mark.parametrize("text", ["-4", "many", "1.5"])
def test_a_limit_with_which_livekit_agents_cannot_be_imported_is_a_fault(text: str) -> None:
    """OpenTelemetry reads it as it is imported, whether anything is traced or not."""
    (fault,) = faults({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": text, "OTEL_SDK_DISABLED": "true"})
    assert fault.startswith("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT:")
    assert read({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "4"}, dev=True).trace.endpoint == ""


COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize("text", ["Bearer 0123secret", "a=b, 0123secret", "a=0123;secret", 'a="0123secret"'])
def test_headers_that_opentelemetry_cannot_read_are_not_shown(name: str, text: str) -> None:
    """It would log them, with the collector's key in them."""
    (fault,) = faults({**COLLECTOR, name: text})
    assert fault.startswith(f"{name}: must be name=value")
    assert "0123" not in fault


@pytest.mark.parametrize(
    "text", ["", "a=b", "Authorization=Bearer%20xyz, x-team = voice,", "a=Bearer x==,b="]
)
def test_headers_that_opentelemetry_can_read_are_taken(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """By its own word."""
    assert read({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": text}, dev=True).trace.endpoint
    parse_env_headers(text, liberal=True)
    assert not caplog.records


@pytest.mark.parametrize(("text", "slots", "percent"), [("0", 0, 0), ("4", 4, 0), ("10%", 0, 10)])
def test_a_buffer_is_slots_or_percent(text: str, slots: int, percent: int) -> None:
    """Of the agents that run."""
    keeper = read({"ROOMKEEPER_BUFFER": text}, dev=True).keeper
    assert (keeper.buffer, keeper.buffer_percent) == (slots, percent)


@pytest.mark.parametrize("text", ["-1", "%", "1.5", "10 %", "ten", "2000%"])
def test_any_other_buffer_is_refused_in_words(text: str) -> None:
    """With what it may be."""
    assert "4, or 10%, not" in faults({"ROOMKEEPER_BUFFER": text})[0]
