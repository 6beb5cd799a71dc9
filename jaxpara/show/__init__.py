"""A config in words: every field with its value, what it means and where the value comes from."""

import ast
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from jaxpara.config import flat, with_demo
from jaxpara.show.meanings import meaning
from jaxpara.show.origins import RECIPES, Remark, origin, recipes_of, remarks_of

WIDTH = 100


def show(config: ml_collections.ConfigDict, *, overrides: Mapping[str, Any], file: Path) -> str:
    """Describes a config as it would run.

    Args:
      config: from `get_config`, with the command line's values in it.
      overrides: those values by their dotted path.
      file: of the config.
    """
    demo: Mapping[str, Any] = {}
    if not config.to_dict()["corpus"]["root"]:
        demo = flat(config.to_dict()["demo"])
        config = with_demo(config, overrides)
    tree: dict[str, Any] = config.to_dict()
    del tree["demo"]
    recipes, remarks = recipes_of(file), list(remarks_of(file))
    lines = [ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or str(file), ""]
    lines += [f"{'*' if recipe == tree['recipe'] else ' '} {recipe}: {what}" for recipe, what in RECIPES.items()]
    if demo:
        lines.append("  demo: the sizes of config.demo, as no corpus is given (--config.corpus.root)")
    for group, fields in _groups(tree):
        lines += ["", f"--config{group}"] if fields else []
        lines += _wrapped(f"# {_remark(remarks, group[1:], tree)}", 2)
        for field, value in fields.items():
            path = f"{group}.{field}"[1:]
            lines += _wrapped(f"{field} = {value!r}   [{origin(path, demo, overrides, recipes)}]", 2)
            lines += _wrapped(meaning(path, tree), 6) + _wrapped(f"# {_remark(remarks, path, tree)}", 6)
    return "\n".join(lines) + "\n"


def _groups(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of a config by their dotted paths, with their own fields, `name` first."""
    fields = {key: value for key, value in tree.items() if not isinstance(value, Mapping)}
    yield before, {key: fields[key] for key in sorted(fields, key=lambda key: key != "name")}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _groups(value, f"{before}.{key}")


def _remark(remarks: list[Remark], path: str, tree: Mapping[str, Any]) -> str:
    return next((remark.text for remark in remarks if remark.about(path, tree)), "")


def _wrapped(text: str, indent: int) -> list[str]:
    if text in ("", "# "):
        return []
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
