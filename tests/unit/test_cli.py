"""The command line: tokens, faults in words, exit codes. What `dev` runs is the live tier's subject."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
import yaml

from gateway.errors import StartupError
from gateway.listening import listen
from gateway.local import HOW_TO_GET_IT, livekit_server

ROOT = Path(__file__).parents[2]


def roomkeeper(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run it as an operator does; nothing of this process's environment but the path."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def claims(token: str) -> dict[str, object]:
    # the signature is checked where tokens are tested
    read: dict[str, object] = jwt.decode(token.strip(), options={"verify_signature": False})
    return read


def test_an_operators_token_carries_admin_grants() -> None:
    """`token --admin` prints nothing else on stdout."""
    done = roomkeeper("token", "--admin", "--ttl", "60")
    assert done.returncode == 0
    video = claims(done.stdout)["video"]
    assert isinstance(video, dict)
    assert (video["roomAdmin"], video["roomList"], video["roomCreate"]) == (True, True, True)


def test_a_participants_token_is_for_its_room() -> None:
    """`token --room NAME --identity WHO`."""
    done = roomkeeper("token", "--room", "demo", "--identity", "alice")
    read = claims(done.stdout)
    assert read["sub"] == "alice"
    assert isinstance(read["video"], dict)
    assert read["video"]["room"] == "demo"


def test_a_dotenv_file_is_read(tmp_path: Path) -> None:
    """From the working directory; the environment wins over it."""
    (tmp_path / ".env").write_text("LIVEKIT_API_KEY=from-file\nLIVEKIT_API_SECRET=secret\n")
    from_file = roomkeeper("token", "--admin", cwd=tmp_path)
    from_environment = roomkeeper("token", "--admin", cwd=tmp_path, LIVEKIT_API_KEY="from-env")
    assert claims(from_file.stdout)["iss"] == "from-file"
    assert claims(from_environment.stdout)["iss"] == "from-env"


@pytest.mark.parametrize("arguments", [["token"], ["token", "--admin", "--room", "x"]])
def test_a_token_is_for_an_operator_or_for_a_room(arguments: list[str]) -> None:
    """Neither and both are refused."""
    assert roomkeeper(*arguments).returncode == 2


def test_unusable_settings_are_listed_one_a_line(tmp_path: Path) -> None:
    """Exit code 2, before anything starts, without a traceback."""
    done = roomkeeper("start", cwd=tmp_path, ROOMKEEPER_PORT="x", ROOMKEEPER_SLOTS="y")
    assert done.returncode == 2
    names = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert {"ROOMKEEPER_PORT", "ROOMKEEPER_SLOTS"} <= set(names)
    assert "Traceback" not in done.stderr


def test_production_refuses_dev_keys(tmp_path: Path) -> None:
    """`start` with LiveKit's public pair ends with code 2."""
    done = roomkeeper(
        "start",
        cwd=tmp_path,
        LIVEKIT_URL="ws://127.0.0.1:7880",
        LIVEKIT_API_KEY="devkey",
        LIVEKIT_API_SECRET="secret",
    )
    assert done.returncode == 2
    assert "dev pair" in done.stderr


def test_a_taken_port_is_said_in_words(tmp_path: Path) -> None:
    """Exit code 1, the port named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = roomkeeper("dev", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("target", ["nowhere:server", "os:environ", "missing.py:server"])
def test_an_agent_that_cannot_be_loaded_is_said_in_words(tmp_path: Path, target: str) -> None:
    """Exit code 1, without a traceback."""
    done = roomkeeper("dev", target, "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert target.split(":")[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_in_use_is_said_in_words(tmp_path: Path) -> None:
    """Exit code 1: two processes never share one file."""
    with (tmp_path / "roomkeeper.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = roomkeeper("dev", "--port", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert "ROOMKEEPER_STORE" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_cannot_listen_on_one_port() -> None:
    """The second is told before it starts anything."""
    with listen("127.0.0.1", 0) as first:
        second = listen("127.0.0.1", first.getsockname()[1])
        with pytest.raises(StartupError), second:
            pass


def test_a_missing_livekit_server_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dev --with-livekit` on a machine that has none."""
    monkeypatch.setenv("PATH", "/nonexistent")
    server = livekit_server(key="devkey", secret="secret", webhook_url="http://127.0.0.1:1/")
    with pytest.raises(StartupError, match="LIVEKIT_URL"), server:
        pass
    assert "go install" in HOW_TO_GET_IT


def test_a_job_process_that_runs_the_entry_again_imports_next_to_nothing() -> None:
    """The console script is executed again in every child (fact 62)."""
    code = (
        "import sys; before = set(sys.modules); import gateway.__main__; "
        "print([m for m in set(sys.modules) - before if not m.startswith('gateway')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_check_of_unusable_settings_ends_with_2(tmp_path: Path) -> None:
    """In words; with `--json` as an object as well."""
    plain = roomkeeper("check", cwd=tmp_path, ROOMKEEPER_PORT="x")
    told = roomkeeper("check", "--json", cwd=tmp_path, ROOMKEEPER_PORT="x")
    assert (plain.returncode, told.returncode) == (2, 2)
    assert plain.stderr.startswith("ROOMKEEPER_PORT: ")
    [line] = json.loads(told.stdout)["lines"]
    assert (line["name"], line["status"]) == ("settings", "fail")


@pytest.mark.parametrize("command", [["check"], ["rooms"], ["stop", "demo"]])
def test_a_url_that_is_none_is_said_in_words(tmp_path: Path, command: list[str]) -> None:
    """Exit code 2."""
    done = roomkeeper(*command, "--url", "localhost:8080", cwd=tmp_path)
    assert (done.returncode, done.stderr.startswith("--url: ")) == (2, True)


def test_a_line_that_does_not_exist_cannot_be_left_out(tmp_path: Path) -> None:
    """Exit code 2, and which there are."""
    done = roomkeeper("check", "--skip", "everything", cwd=tmp_path)
    assert done.returncode == 2
    assert "webhooks" in done.stderr


def test_a_check_of_nothing_fails_in_words(tmp_path: Path) -> None:
    """No LiveKit and no gateway: exit code 1, plain text in a pipe, each failed line with what to do."""
    env = {"LIVEKIT_URL": "ws://127.0.0.1:1", "ROOMKEEPER_PORT": "1"}
    done = roomkeeper("check", cwd=tmp_path, **env)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    failed = [i for i, line in enumerate(lines) if line.startswith("fail ")]
    assert [lines[i].split()[1] for i in failed] == ["livekit", "gateway"]
    assert all(lines[i + 1].strip().startswith("-> ") for i in failed)


@pytest.mark.parametrize("arguments", [["rooms"], ["stop", "demo"]])
def test_a_gateway_that_is_away_is_said_in_words(tmp_path: Path, arguments: list[str]) -> None:
    """Exit code 1, with the URL."""
    done = roomkeeper(*arguments, cwd=tmp_path, ROOMKEEPER_PORT="1")
    assert done.returncode == 1
    assert "http://127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    """Each command imports what it needs when it runs."""
    code = (
        "import sys; import gateway.cli; "
        "print([m for m in ('livekit', 'aiohttp', 'rich.table', 'starlette', 'gateway.operator') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_alerts_and_the_dashboard_are_printed_and_nothing_else() -> None:
    """For a file, or a pipe."""
    rules = yaml.safe_load(roomkeeper("alerts").stdout)
    assert rules["groups"][0]["name"] == "roomkeeper-callers"
    assert yaml.safe_load(roomkeeper("alerts", "--kubernetes").stdout)["kind"] == "PrometheusRule"
    assert json.loads(roomkeeper("dashboard").stdout)["uid"] == "roomkeeper"


def test_alerts_take_what_differs_between_sites() -> None:
    """Seconds, the promise, the scrape job, and where the runbooks are."""
    done = roomkeeper(
        *("alerts", "--missing-after", "180", "--within", "5", "--objective", "0.95"),
        *("--job", "voice", "--runbooks", "https://wiki.example/run"),
    )
    for said in (
        "> 180",
        'le="5.0"',
        "> 0.72",
        'up{job=~"voice"}',
        "https://wiki.example/run#roomkeeperdown",
    ):
        assert said in done.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("--within", "2"), ("--objective", "0.2"), ("--objective", "1")]
)
def test_a_promise_that_cannot_be_counted_is_refused_in_words(option: str, value: str) -> None:
    """Which values may be taken; nothing on stdout."""
    done = roomkeeper("alerts", option, value)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{option}: {value} ")
    assert "take " in done.stderr


def test_scrape_jobs_that_prometheus_could_not_read_are_refused() -> None:
    """It would refuse all of the rules, and no alert would fire."""
    done = roomkeeper("alerts", "--job", "voice(")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("--job: voice( is no regular expression")
