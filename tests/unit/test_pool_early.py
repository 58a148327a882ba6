"""The forkserver that is started before anything heavy: what it imports, and when it will not do."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import certifi
import pytest

from pool import early, environment

ROOT = Path(__file__).parents[2]


def agent(folder: Path, text: str) -> str:
    path = folder / "agent.py"
    path.write_text(text)
    return f"{path}:server"


@pytest.mark.parametrize(
    ("text", "plugins"),
    [
        ("import livekit.plugins.silero", ["livekit.plugins.silero"]),
        (
            "from livekit.plugins import openai, silero as vad",
            ["livekit.plugins.openai", "livekit.plugins.silero"],
        ),
        ("from livekit.plugins.silero import VAD", ["livekit.plugins.silero"]),
        ("def late():\n    from livekit.plugins import silero", ["livekit.plugins.silero"]),
        ("from livekit.plugins import *", []),
        ("from livekit import agents\nimport livekit.plugins", []),
        ("from . import plugins", []),
        ("this is no Python", []),
    ],
)
def test_the_plugins_that_an_agents_file_imports(tmp_path: Path, text: str, plugins: list[str]) -> None:
    """However it says so; a guess that is too small costs a start, and no more."""
    assert early.plugins_of(agent(tmp_path, text)) == plugins


def test_a_module_is_found_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, in the working directory, alone or in a package."""
    package = tmp_path / "voices"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('it was run')")
    (package / "clerk.py").write_text("from livekit.plugins import silero")
    (tmp_path / "alone.py").write_text("from livekit.plugins import openai")
    monkeypatch.chdir(tmp_path)
    assert early.plugins_of("voices.clerk:server") == ["livekit.plugins.silero"]
    assert early.plugins_of("alone:server") == ["livekit.plugins.openai"]
    assert early.plugins_of("nowhere:server") == []
    assert early.plugins_of("voices.nobody") == []


def test_a_guess_is_right_while_it_imports_enough_in_this_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An agent that changes the environment while it is imported means its jobs to see that."""
    monkeypatch.setattr("multiprocessing.forkserver.set_forkserver_preload", lambda modules: None)
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", lambda: None)
    monkeypatch.setattr(early, "_begun", None)
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.setenv(name, "before")
    assert early.mistake(early.OURS) == "none was started"
    early.begin("pool.agents.echo:server", url="ws://127.0.0.1:7880", api_key="devkey", api_secret="secret")
    assert early.mistake(early.OURS) == ""
    assert "livekit.plugins.openai" in early.mistake(["livekit.plugins.openai", *early.OURS])
    monkeypatch.setenv("A_PASSWORD", "never told")
    assert early.mistake(early.OURS) == "the agent's module has set A_PASSWORD"


@pytest.mark.parametrize(("cafile", "capath"), [(None, None), ("/etc/a.pem", None), (None, "/etc/certs")])
def test_where_the_system_trusts_nobody_certifi_counts(
    cafile: str | None, capath: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """livekit-agents says so when the forkserver is up, which has its environment by then."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "")  # put back as it was afterwards
    paths = SimpleNamespace(cafile=cafile, capath=capath)  # typeshed knows them as texts only
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    environment.prepare()
    assert os.environ["SSL_CERT_FILE"] == ("" if cafile or capath else certifi.where())
    monkeypatch.setenv("SSL_CERT_FILE", "/given.pem")
    environment.prepare()
    assert os.environ["SSL_CERT_FILE"] == "/given.pem"


def test_it_imports_nothing_heavy() -> None:
    """It comes before the first answer."""
    code = (
        "import sys; import pool.early; "
        "print([m for m in ('livekit', 'psutil', 'asyncio', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
