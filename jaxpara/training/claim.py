"""A member's folder belongs to one config and one corpus: what was made with another is refused, and not mixed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpara import processes
from jaxpara.config import flat
from jaxpara.errors import UserError
from jaxpara.files import read_json, write_json

MOST_CHANGES = 4  # that a message lists


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Writes what makes a member what it is into its folder, or refuses a folder that was made with another.

    Args:
      identity: the member's config, the seed, the corpus and what else decides about its numbers.

    Raises:
      UserError: the folder is another member's, its file is damaged, or the first process of this run has another
        identity.
    """
    path = folder / "config.json"
    content = json.loads(json.dumps(identity))
    mend = f"delete {folder} to train this member anew"

    def as_first() -> dict[str, Any]:
        if not path.exists():
            write_json(path, content)
        elif found := _differences(read_json(path, mend), content):
            raise UserError(f"{folder}: was made with another config ({found}); choose another --workdir, or {mend}")
        return content

    if found := _differences(processes.on_main(as_first), content):
        raise UserError(
            f"{folder}: the first process of this run has another config or corpus ({found});"
            " start all with the same command on the same files"
        )


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = flat(there), flat(now)
    changed = [
        "another corpus, or its labels or audio have changed since"
        if key == "corpus"
        else f"{key}: {old.get(key, 'absent')} there, {new.get(key, 'absent')} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if len(changed) > MOST_CHANGES:
        changed[MOST_CHANGES:] = [f"and {len(changed) - MOST_CHANGES} more"]
    return "; ".join(changed)
