"""Carries out a Dockerfile, stage by stage, in boxes; what an image would be is a box at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.boxes import Box
from tests.deploy.dockerfile import ROOT, Stage, Step, assigned, context, stages

OF_THE_BASE = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": str(Path.home()),
}
OF_THE_NETWORK = (
    "PIP_INDEX_URL",
    "PIP_CONFIG_FILE",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
)
"""Variables without which nothing could be fetched on some machines; no step depends on them."""


@dataclass(slots=True)
class Image:
    box: Box
    stage: Stage
    env: dict[str, str]
    workdir: str

    @property
    def user(self) -> int:
        return int(self.stage.last("USER").text.partition(":")[0])


@dataclass(slots=True)
class _Under:
    """A stage while it is being built."""

    box: Box
    env: dict[str, str]
    workdir: str
    context: Path


def build(folder: Path, dockerfile: str) -> Image:
    """Carry out all stages in `folder`; the image is the last one."""
    python, seen = _base_image(folder), _seen(folder)
    built: dict[str, Box] = {}
    network = {name: os.environ[name] for name in OF_THE_NETWORK if name in os.environ}
    for number, stage in enumerate(stages(dockerfile)):
        under = _Under(_box(folder, number).make(like=python), {**OF_THE_BASE, **network}, "/", seen)
        for step in stage.steps:
            _carry_out(step, under, built)
        built[stage.name] = under.box
    return rebuilt(folder, dockerfile)


def rebuilt(folder: Path, dockerfile: str) -> Image:
    """The image that was built in this folder."""
    found = stages(dockerfile)
    last = found[-1]
    return Image(_box(folder, len(found) - 1), last, last.environment(OF_THE_BASE), last.last("WORKDIR").text)


def extend(image: Image, dockerfile: str, files: Path) -> Image:
    """Carry out a Dockerfile of one stage that stands on an image; `files` has what it copies."""
    (stage,) = stages(dockerfile)
    box = Box(files / ".image").make(like=image.box)
    network = {name: os.environ[name] for name in OF_THE_NETWORK if name in os.environ}
    under = _Under(box, {**image.env, **network}, image.workdir, files)
    for step in stage.steps:
        _carry_out(step, under, {})
    return Image(box, stage, stage.environment(image.env), image.workdir)


def _box(folder: Path, number: int) -> Box:
    return Box(folder / f"stage{number}")


def _base_image(folder: Path) -> Box:
    """In the place of python:slim: `python`, no compiler, and the standard library as sources only.

    It is the interpreter that runs the tests, which somebody else than root may not be able to reach.
    """
    home = Path(sys.base_prefix)
    box = Box(folder / "base").make()
    box.run(
        f"""
        {home}/bin/python3 -m venv /usr/local/image
        printf '#!/bin/sh\nexec /usr/local/image/bin/python "$@"\n' > /usr/local/bin/python
        printf '#!/bin/sh\nexec /usr/local/image/bin/python -m pip "$@"\n' > /usr/local/bin/pip
        chmod +x /usr/local/bin/python /usr/local/bin/pip
        rm -f /usr/bin/cc /usr/bin/gcc* /usr/bin/c++ /usr/bin/g++* /usr/bin/clang* /usr/bin/lsb_release
        chmod a+x {" ".join(str(parent) for parent in (home, *home.parents) if parent != Path("/"))}
        find {home}/lib/python3* -maxdepth 2 -name __pycache__ -exec rm -r {{}} +
        """,
        env=OF_THE_BASE,
    )
    return box


def _carry_out(step: Step, under: _Under, built: dict[str, Box]) -> None:
    match step.what:
        case "ENV":
            under.env |= assigned(step, under.env)
        case "WORKDIR":
            under.workdir = step.text
            under.box.run("true", env=under.env, workdir=under.workdir)
        case "COPY":
            _copy(step, under, built)
        case "RUN":
            mounts = _mounts(step.mount, built) if step.mount else {}
            under.box.run(step.text, env=under.env, workdir=under.workdir, mounts=mounts)
        case "LABEL" | "USER" | "EXPOSE" | "STOPSIGNAL" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
            pass  # nothing to do while it is built
        case _:
            raise AssertionError(f"not carried out: {step}")


def _mounts(mount: Mapping[str, str], built: Mapping[str, Box]) -> dict[Path, str]:
    """A folder of another stage; or a cache that outlives the build, and that is this machine's own."""
    if mount["type"] == "bind":
        return {Path(f"{built[mount['from']].upper}{mount['source']}"): mount["target"]}
    assert mount["type"] == "cache", f"not carried out: {mount}"
    assert mount["target"].endswith("/pip"), f"no cache of ours: {mount}"
    asked = [sys.executable, "-m", "pip", "cache", "dir"]
    cache = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    cache.mkdir(parents=True, exist_ok=True)
    return {cache: mount["target"]}


def _copy(step: Step, under: _Under, built: dict[str, Box]) -> None:
    """`COPY [--from=stage] source... target`: a folder's contents, or files into a folder."""
    *sources, target = step.words
    origin = built[step.flags["from"]].upper if "from" in step.flags else under.context
    lines = []
    for source in sources:
        whole = (origin / source.lstrip("/")).is_dir()
        lines.append(
            f"mkdir -p {target} && cp -a /.origin/{source.lstrip('/')}{'/.' if whole else ''} {target}"
        )
    under.box.run(" && ".join(lines), env=under.env, workdir=under.workdir, mounts={origin: "/.origin"})


def _seen(folder: Path) -> Path:
    """A copy of the repository as a build sees it."""
    seen = folder / "context"
    for file in context():
        (seen / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, seen / file)
    return seen


def command(image: Image) -> list[str]:
    """ENTRYPOINT and CMD."""
    return [*image.stage.last("ENTRYPOINT").words, *image.stage.last("CMD").words]


def healthcheck(image: Image) -> list[str]:
    """The command of the HEALTHCHECK."""
    _, _, text = image.stage.last("HEALTHCHECK").text.partition("CMD ")
    return Step("CMD", text, {}).words
