"""The dependencies of a member: the members whose embeddings it uses, and the config and corpus of its folder."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpara import processes
from jaxpara.config import flat, sources_of
from jaxpara.errors import UserError
from jaxpara.files import read_json, write_json
from jaxpara.registry import suggest

REQUIRED = ("features", "folds", "learner")  # the parts of every member
MAX_CHANGES = 4  # listed in a message


def in_order(members: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of members, by name their configs, each after those whose embeddings it uses, otherwise sorted.

    Raises:
      UserError: a member lacks a part, its name cannot name a folder, or it uses the embeddings of one that does not
        exist or, directly or indirectly, of itself.
    """
    for name, member in members.items():
        absent = [part for part in REQUIRED if not isinstance(member, Mapping) or part not in member]
        if absent:
            raise UserError(f"config.members.{name} has no {' and no '.join(absent)}, which every member needs; add it")
        if Path(name).name != name:
            raise UserError(
                f"config.members.{name}: its name becomes that of a folder; choose one without / and other than .."
            )
    ordered: list[str] = []

    def visit(name: str, users: tuple[str, ...]) -> None:
        if name not in members:
            known = sorted(members)
            raise UserError(
                f"config.members.{users[-1]}.features.of names {name!r}, expected some of {known}{suggest(name, known)}"
            )
        if name in users:
            circle = " uses the embeddings of ".join((*users[users.index(name) :], name))
            raise UserError(f"config.members: {circle}, which is a circle")
        if name not in ordered:
            for source in sources_of(members[name]):
                visit(source, (*users, name))
            ordered.append(name)

    for name in sorted(members, key=_numbers_as_numbers):
        visit(name, ())
    return ordered


def _numbers_as_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Write the identity of a member into its folder; raise a UserError if the folder, or main, has another one."""
    path, content = folder / "config.json", json.loads(json.dumps(identity))
    fix = f"delete {folder} to train this member again"

    def write_or_compare() -> dict[str, Any]:
        if not path.exists():
            write_json(path, content)
        elif found := _differences(read_json(path, fix), content):
            raise UserError(f"{folder}: was made with another config ({found}); choose another --workdir, or {fix}")
        return content

    if found := _differences(processes.on_main(write_or_compare), content):
        raise UserError(
            f"{folder}: the main process of this run has another config or corpus ({found});"
            " start all with the same command on the same files"
        )


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """List the changed fields; empty if there are none."""
    old, new = flat(there), flat(now)
    changed = [
        "another corpus, or its labels or audio have changed since"
        if key == "corpus"
        else f"{key}: {old.get(key, 'absent')} there, {new.get(key, 'absent')} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if len(changed) > MAX_CHANGES:
        changed[MAX_CHANGES:] = [f"and {len(changed) - MAX_CHANGES} more"]
    return "; ".join(changed)
