"""What a bench found: a table on the terminal, and `bench/out/NAME.json`. Measures nothing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.livekit_server import find_binary
from tests.server_process import ServerError

OUT = Path(__file__).parent / "out"
PACKAGES = ("livekit-agents", "livekit-api", "livekit", "starlette", "uvicorn", "fastapi")

Row = Mapping[str, object]
"""One variant's figures; `variant`, `n` and `lost` come first."""


def machine() -> dict[str, object]:
    """Where it was measured, as far as it matters to the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "livekit_server": _server_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def write(name: str, where: Mapping[str, object], rows: Sequence[Row], notes: Sequence[str]) -> Path:
    """Print the rows and the notes; write them to `bench/out/NAME.json`."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    report = {"name": name, "machine": where, "rows": list(rows), "notes": list(notes)}
    path.write_text(json.dumps(report, indent=2) + "\n")
    _show(name, where, rows, notes)
    return path


def _show(name: str, where: Mapping[str, object], rows: Sequence[Row], notes: Sequence[str]) -> None:
    console = Console(width=160, soft_wrap=True, highlight=False)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=f"{name} ({where['cpu']}, {where['cores']} cores, Python {where['python']})")
    for column in columns:
        table.add_column(column, justify="left" if column == "variant" else "right")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    console.print(table)
    for note in notes:
        console.print(f"- {note}")


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _server_version() -> str:
    try:
        done = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=False)
    except ServerError:
        return ""
    return done.stdout.strip()
