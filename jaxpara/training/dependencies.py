"""Which member has to run before which."""

import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
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
    sources = {name: sources_of(members[name]) for name in sorted(members, key=_numbers_as_numbers)}
    for name in sources:
        for source in sources[name]:
            if source not in members:
                known = sorted(members)
                raise UserError(
                    f"config.members.{name}.features.of names {source!r}, expected some of {known}"
                    f"{suggest(source, known)}"
                )
    return after_sources(sources, "config.members")


def after_sources(sources: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """Names of members, each after those whose embeddings it takes, otherwise as given.

    Args:
      sources: by name, whose embeddings it takes; all of them are there.
      where: they come from, for messages.

    Raises:
      UserError: a member takes embeddings, in the end, of itself.
    """
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        circle = " takes embeddings of ".join(reversed(error.args[1]))
        raise UserError(f"{where}: {circle}, which never ends") from None
    ordered: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for source in sources[name]:
                visit(source)
            ordered[name] = None

    for name in sources:
        visit(name)
    return list(ordered)


def _numbers_as_numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
