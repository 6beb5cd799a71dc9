"""The structure of the package: imports only go down and form no circle, and every name is used once."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Anyone may import these.
GROUND = {"errors", "files", "processes", "registry", "seeds", "progress", "runtime", "config"}
FLOORS = {
    "predictions": 0,
    "fusion": 0,
    "models": 0,
    "corpora": 1,
    "evaluation": 2,
    "features": 2,
    "training": 3,
    "inference": 4,
    "run": 5,
    "show": 5,
    "grid": 6,
    "__main__": 7,
    "__init__": 7,
}
FORBIDDEN = {
    "fusion": {"jax", "flax", "optax", "soundfile"},
    "evaluation": {"jax", "flax", "optax", "soundfile"},
    "predictions": {"jax", "flax", "optax", "soundfile"},
    "corpora": {"jax", "flax", "optax"},
    "features": {"flax", "optax"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "jaxpara")


FILES = sorted((ROOT / "jaxpara").rglob("*.py"))


def room(path):
    return path.relative_to(ROOT / "jaxpara").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path):
    here = room(path)
    if here in GROUND:
        floor = 0
    else:
        assert here in FLOORS, f"{here} has no floor: give it one in CONTRIBUTING.md and here"
        floor = FLOORS[here]
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] not in FORBIDDEN.get(here, ()), f"{path} imports {name}"
        if parts[0] == "jaxpara" and len(parts) > 1 and parts[1] not in GROUND and parts[1] != "__version__":
            assert parts[1] == here or FLOORS[parts[1]] < floor or (FLOORS[parts[1]] == floor == 0), f"{path}: {name}"
        assert parts[0] != "configs", f"{path} imports {name}"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in ("predictions", "fusion", "evaluation")])
def test_evaluation_reads_one_table_and_no_corpus(path):
    assert [name for name in imports(path) if name.startswith("jaxpara.corpora")] == []


def module(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in FILES}


def modules_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (member if member in MODULES else node.module for member in members)


def test_imports_form_no_circle():
    # Anyone may read the version in `jaxpara`, which loads `inference` only when that is used.
    graph = {module(path): (MODULES - {"jaxpara"}) & set(modules_imported_by(path)) for path in FILES}
    TopologicalSorter(graph).prepare()  # raises a CycleError that shows the circle


def test_no_two_modules_share_a_name():
    names = Counter(path.stem for path in FILES if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_public_classes_share_a_name():
    classes = Counter(
        node.name
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in classes.items() if count > 1] == []


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.name)
def test_configs_import_nothing_of_ours(path):
    for name in imports(path):
        assert name.split(".")[0] in ("typing", "ml_collections", "configs"), name


def test_no_file_is_long():
    assert {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 300} == {}


def test_launch_stays_short():
    assert len((ROOT / "launch.py").read_text().splitlines()) < 60
