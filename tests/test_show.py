"""`--mode=show` lists every field with its value and its origin."""

import importlib
from pathlib import Path

import pytest

from configs.common import RECIPES
from jaxpara import show as show_
from jaxpara.config import as_run, flat
from jaxpara.show import show

ROOT = Path(__file__).parents[1]
FILES = sorted(path for path in (ROOT / "configs").glob("[a-z]*.py") if path.stem != "common")
E2E = ROOT / "configs" / "breathing_e2e.py"


def get(file, recipe="recommended"):
    return importlib.import_module(f"configs.{file.stem}").get_config(recipe)


def shown(file=E2E, recipe="recommended", **overrides):
    """Return `{path: (value, origin)}`."""
    config = get(file, recipe)
    overrides = {path.replace("__", "."): value for path, value in overrides.items()}
    config.update_from_flattened_dict(overrides)
    lines = [line for line in show(config, overrides=overrides, file=file).splitlines() if line[0] != "#"]
    fields = (line.partition("  # ") for line in lines)
    return {field.split(" = ")[0]: (field.split(" = ")[1].rstrip(), origin) for field, _, origin in fields}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_field_is_listed_as_it_would_run(file):
    for recipe in RECIPES:
        config = get(file, recipe)
        wanted = flat(as_run(config, {}))
        fields = shown(file, recipe)
        assert {path: repr(value) for path, value in wanted.items() if not path.startswith("demo.")} == {
            path: value for path, (value, _) in fields.items()
        }
        sizes = "demo" if config.demo else "full"
        assert fields.pop("sizes") == (repr(sizes), "from corpus.root; default: 'auto'")
        assert all(origin.startswith(("default", "recipe; ", "demo; ")) for _, origin in fields.values())


def test_the_recipes_are_those_of_the_configs():
    assert show_.RECIPES == RECIPES


def test_a_value_comes_from_the_demo_the_command_line_or_a_recipe():
    fields = shown(members__cnn__learner__batch=3)
    assert fields["members.cnn.learner.batch"] == ("3", "command line; recommended and published: 45; paper: 40")
    step_s = "members.cnn.learner.examples.step_s"
    assert fields[step_s] == ("4.0", "demo; recommended and published: 6.4; paper: 9.6")
    assert fields["members.cnn.learner.epochs"] == ("3", "demo; recommended and paper: 150; published: 200")
    assert fields["seed"] == ("12", "default")
    given = shown(recipe="paper", corpus__root="/data/corpus")
    assert given[step_s] == ("9.6", "recipe; recommended and published: 6.4; paper: 9.6")
    assert given["corpus.root"] == ("'/data/corpus'", "command line; default: None")
    assert given["sizes"] == ("'full'", "from corpus.root; default: 'auto'")
    assert not any(origin.startswith("demo") for _, origin in given.values())


def test_sizes_and_chosen_members_are_shown():
    sized = shown(corpus__root="/data/corpus", sizes="demo")
    assert sized["members.cnn.learner.epochs"] == ("3", "demo; recommended and paper: 150; published: 200")
    assert sized["sizes"] == ("'demo'", "command line; default: 'auto'")
    chosen = shown(E2E.with_name("mask_svm.py"), only=("compare_linear",))
    assert {path.split(".")[1] for path in chosen if path.startswith("members.")} == {"compare_linear"}
    assert chosen["fusion.members"] == ("('compare_linear',)", chosen["fusion.members"][1])
    assert chosen["fusion.members"][1].startswith("from only; default: ('compare_linear', ")


def test_a_config_needs_no_recipes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from configs import breathing_e2e\n\ndef get_config():\n    return breathing_e2e.get_config()\n")
    text = show(get(E2E), overrides={}, file=file)
    assert text.startswith(f"# {file}, recipe recommended\n# No corpus is given")
    (epochs,) = (line for line in text.splitlines() if "learner.epochs = 3" in line)
    assert epochs.endswith("  # demo; default: 150")
