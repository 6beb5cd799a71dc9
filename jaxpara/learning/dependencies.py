"""Which member has to run before which."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpara.errors import UserError
from jaxpara.registry import suggest

REQUIRED = ("features", "folds", "learner")


def sources_of(member: Mapping[str, Any]) -> tuple[str, ...]:
    """The members whose embeddings a member's config takes as features."""
    return tuple(member["features"].get("of", ()))


def in_order(members: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of members, each after those whose embeddings it takes, otherwise sorted.

    Args:
      members: their configs, by name.

    Raises:
      UserError: a member lacks a part, has a name that is none for a folder, or takes embeddings of one that does not
        exist, or in the end of itself.
    """
    for name, member in members.items():
        absent = [part for part in REQUIRED if not isinstance(member, Mapping) or part not in member]
        if absent:
            raise UserError(f"config.members.{name} has no {' and no '.join(absent)}, which every member needs; add it")
        if Path(name).name != name:
            raise UserError(f"config.members.{name}: its name becomes a folder's; take one without / and other than ..")
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise UserError(f"config.members: {' takes embeddings of '.join((*path, name))}, which never ends")
        for source in sources_of(members[name]):
            if source not in members:
                known = sorted(members)
                raise UserError(
                    f"config.members.{name}.features.of names {source!r}, expected some of {known}"
                    f"{suggest(source, known)}"
                )
            visit(source, (*path, name))
        if name not in ordered:
            ordered.append(name)

    for name in sorted(members, key=_numbers_as_numbers):
        visit(name, ())
    return ordered


def _numbers_as_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
