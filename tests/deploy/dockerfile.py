"""The Dockerfile as values: stages, steps, and which files of the repository it may see. Runs nothing."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, with its flags (`--from=wheel` is `from`: `wheel`) taken from its text."""

    what: str
    text: str
    flags: Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """The text as words; of the exec form those in the list."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)

    @property
    def mount(self) -> dict[str, str]:
        """`--mount=type=bind,from=wheel,...` as a mapping; empty without one."""
        return dict(part.split("=", 1) for part in self.flags.get("mount", "").split(",") if part)


@dataclass(slots=True)
class Stage:
    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def last(self, what: str) -> Step:
        return [step for step in self.steps if step.what == what][-1]

    def environment(self, before: Mapping[str, str]) -> dict[str, str]:
        """What all its ENV make of the environment before."""
        env = dict(before)
        for step in self.steps:
            if step.what == "ENV":
                env |= assigned(step, env)
        return env


def assigned(step: Step, env: Mapping[str, str]) -> dict[str, str]:
    """What one ENV sets."""
    pairs = (word.split("=", 1) for word in step.words)
    return {name: Template(value).safe_substitute(env) for name, value in pairs}


def stages(text: str) -> list[Stage]:
    """The stages in their order; what stands before the first FROM must be ARG, and is filled in."""
    found: list[Stage] = []
    arguments: dict[str, str] = {}
    for raw in DockerfileParser(fileobj=io.BytesIO(text.encode())).structure:
        if raw["instruction"] == "COMMENT":
            continue
        if raw["instruction"] == "FROM":
            base, *alias = Template(raw["value"]).substitute(arguments).split()
            found.append(Stage(base, alias[1] if alias else ""))
        elif found:
            found[-1].steps.append(_step(raw["instruction"], raw["value"]))
        else:
            arguments.update([raw["value"].split("=", 1)])
    return found


def _step(what: str, text: str) -> Step:
    flags = {}
    while match := re.match(r"--([\w-]+)=(\S+)\s+", text):
        flags[match[1]] = match[2]
        text = text[match.end() :]
    return Step(what, text.strip(), flags)


def context(root: Path = ROOT) -> Iterator[Path]:
    """The files that a build sees, relative to `root`: by .dockerignore, whose last matching line decides."""
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [(line.lstrip("!"), line.startswith("!")) for line in lines if line and not line.startswith("#")]
    assert not [rule for rule, kept in rules if kept and "/" in rule], "looks into no folder that is left out"
    patterns = [(_pattern(rule), kept) for rule, kept in rules]

    def kept(path: Path) -> bool:
        names = [str(path), *map(str, path.parents)]  # a folder that matches takes what is in it along
        said = [says for pattern, says in patterns if any(pattern.fullmatch(name) for name in names)]
        return said[-1] if said else True

    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = sorted(name for name in folders if kept(here / name))
        yield from (here / name for name in sorted(files) if kept(here / name))


def _pattern(rule: str) -> re.Pattern[str]:
    """`*` within a name, `**/` any folders: what .dockerignore here uses."""
    parts = re.split(r"(\*\*/|\*)", rule)
    return re.compile("".join({"**/": "(.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts))
