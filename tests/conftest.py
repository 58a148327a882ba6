"""What every tier shares: a test names the programs it needs, `@pytest.mark.needs("livekit-server")`.

A missing one skips its tests with one loud line at the end; with `CI=true` they fail.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.canary import secrets_in
from tests.livekit_server import LiveKitServer

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # fact 36: before anything imports onnxruntime

# A busy machine is no counterexample.
settings.register_profile("roomkeeper", deadline=None)
settings.load_profile("roomkeeper")

_MISSING: pytest.StashKey[Counter[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*tools): programs on PATH without which the test is skipped")
    config.stash[_MISSING] = Counter()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool) is None:
                item.config.stash[_MISSING][tool] += 1
                why = f"{tool} is not on PATH"
                if os.environ.get("CI") == "true":
                    pytest.fail(f"{why}, and CI=true skips nothing", pytrace=False)
                pytest.skip(why)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test in whose output is a secret has failed, whatever it found; one that failed may show them."""
    report = yield
    if report.passed and (found := secrets_in(report.capstdout + report.capstderr + report.caplog)):
        report.outcome, report.longrepr = "failed", f"{', '.join(found)} in the output of {item.nodeid}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for tool, tests in sorted(config.stash[_MISSING].items()):
        terminalreporter.write_line(
            f"!!! {tests} tests did NOT run: {tool} is not on PATH !!!", red=True, bold=True
        )


@pytest.fixture(scope="session")
def livekit_server() -> Iterator[LiveKitServer]:
    """One server for all tests that do not restart it; mark them `needs("livekit-server")`.

    A room that people left ends after 2 s instead of 20 s (fact 15).
    """
    with LiveKitServer(extra={"room": {"departure_timeout": 2}}) as server:
        yield server
