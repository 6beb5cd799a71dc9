"""Where the values of a config come from: the recipes beside each other, and the remarks in the config's file."""

import ast
import importlib.util
import io
import runpy
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from jaxpara.config import flat

RECIPES = {
    "recommended": "the published code, mended where it leaks or errs",
    "paper": "the paper's text to the letter",
    "published": "what the authors' scripts do, leaks included",
}


def recipes_of(file: Path) -> dict[str, dict[str, Any]]:
    """The values of a config file by recipe and dotted path; empty where it has no recipes of these names."""
    get_config = runpy.run_path(str(file))["get_config"]
    try:
        return {recipe: flat(get_config(recipe).to_dict()) for recipe in RECIPES}
    except (TypeError, ValueError):
        return {}


def origin(
    path: str, demo: Mapping[str, Any], overrides: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]
) -> str:
    """Who has set a field, and what it is in the recipes."""
    users: dict[str, list[str]] = {}
    for recipe, values in recipes.items():
        users.setdefault(repr(values[path]) if path in values else "absent", []).append(recipe)
    who = "command line" if path in overrides else "demo" if path in demo else ""
    if not users:
        return who or "the config"
    if len(users) == 1:
        return f"{who}; {next(iter(users))} in every recipe" if who else "every recipe"
    return "; ".join([*filter(None, [who]), *(f"{' and '.join(names)} {value}" for value, names in users.items())])


@dataclass(frozen=True)
class Remark:
    """A comment above a key in a config file.

    Attributes:
      text: the comment.
      keys: the key, and those that it lies in as far as they are written there.
      names: by keys, the `name`s that are written in the same piece of source.
      own: whether the file is the experiment's, and not one that it imports.
    """

    text: str
    keys: tuple[str, ...]
    names: Mapping[tuple[str, ...], str]
    own: bool

    def about(self, path: str, config: Mapping[str, Any]) -> bool:
        """Whether it is about this field: the keys are the end of its path, and what stands around has these names."""
        found = tuple(path.split("."))
        if found[-len(self.keys) :] != self.keys:
            return False
        identity = (self.keys[:-1], self.keys, ("features",), ("learner", "examples"))
        around = [keys for keys in self.names if keys[:-1] in identity]
        part = config
        for key in found[: -len(self.keys)]:
            part = part[key]
        values = flat(part)
        return bool(around or self.own) and all(values.get(".".join(keys)) == self.names[keys] for keys in around)


def remarks_of(file: Path, wanted: set[str] | None = None) -> Iterator[Remark]:
    """The remarks in a config file, and then those in the files of `configs` that it imports.

    Args:
      wanted: names of the functions to look into, and into those of the file that they name; by default all of them.
    """
    text = file.read_text(encoding="utf-8")
    comments = _comments(text)
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in functions if wanted is None else _called(functions, wanted):
        if "demo" in name:
            continue
        for statement in functions[name].body:
            found = list(_keys(statement, ()))
            names = {keys: node.value for keys, _, node in found if keys[-1] == "name" and _is_text(node)}
            # Of several keys in a line the comment is about the first, which comes last here.
            lines = {line: keys for keys, line, _ in reversed(found)}
            for line, keys in lines.items():
                if line in comments and keys[0] != "demo":
                    yield Remark(comments[line], keys, names, own=wanted is None)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "configs":
            for alias in node.names:
                spec = importlib.util.find_spec(f"configs.{alias.name}")
                if spec and spec.origin:
                    yield from remarks_of(Path(spec.origin), _uses(tree, alias.name))


def _uses(tree: ast.Module, module: str) -> set[str]:
    """The functions of a module that a file names, as `module.function`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    }


def _called(functions: Mapping[str, ast.FunctionDef], wanted: set[str]) -> list[str]:
    """Those that are wanted, and those that they name, in the order of the file."""
    known, new = set(), wanted & functions.keys()
    while new:
        known |= new
        nodes = (node for name in new for node in ast.walk(functions[name]))
        new = {node.id for node in nodes if isinstance(node, ast.Name)} & functions.keys() - known
    return [name for name in functions if name in known]


def _comments(text: str) -> dict[int, str]:
    """Comments that have lines to themselves, by the line that follows them."""
    found: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT and token.line.strip().startswith("#"):
            found[line + 1] = f"{found.pop(line, '')} {token.string.lstrip('# ')}".strip()
    return found


def _keys(node: ast.AST, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int, ast.expr]]:
    """The keys of dictionaries in a piece of source, each with those around it, its line and its value."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if _is_text(key):
                yield (*keys, key.value), key.lineno, value
                yield from _keys(value, (*keys, key.value))
    elif isinstance(node, ast.keyword) and node.arg:
        yield (node.arg,), node.lineno, node.value
        yield from _keys(node.value, (node.arg,))
    elif isinstance(node, ast.Assign | ast.AugAssign):
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if into := _subscripts(target):
            yield into, node.lineno, node.value
        yield from _keys(node.value, into)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _keys(child, keys)


def _subscripts(target: ast.expr) -> tuple[str, ...]:
    if isinstance(target, ast.Subscript) and _is_text(target.slice):
        return (*_subscripts(target.value), target.slice.value)
    return ("demo",) if isinstance(target, ast.Name) and target.id == "demo" else ()


class _Text(ast.Constant):
    """A string in a piece of source."""

    value: str


def _is_text(node: ast.expr | None) -> TypeGuard[_Text]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
