"""Every field of every config is explained, and is told where its value comes from."""

import importlib
from pathlib import Path

import pytest

from configs.common import RECIPES
from jaxpara.config import flat
from jaxpara.show import origins, show
from jaxpara.show.meanings import documented, entries, meaning
from jaxpara.training.optimizers import OPTIMIZERS

ROOT = Path(__file__).parents[2]
FILES = sorted(path for path in (ROOT / "configs").glob("[a-z]*.py") if path.stem != "common")
E2E = ROOT / "configs" / "breathing_e2e.py"


def get(file, recipe="recommended"):
    return importlib.import_module(f"configs.{file.stem}").get_config(recipe)


def shown(file=E2E, recipe="recommended", **overrides):
    config = get(file, recipe)
    overrides = {path.replace("__", "."): value for path, value in overrides.items()}
    config.update_from_flattened_dict(overrides)
    return show(config, overrides=overrides, file=file)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_field_has_a_meaning(file):
    for recipe in RECIPES:
        tree = {key: value for key, value in get(file, recipe).to_dict().items() if key != "demo"}
        assert [path for path in flat(tree) if not meaning(path, tree)] == []


def test_the_recipes_are_those_of_the_configs():
    assert tuple(origins.RECIPES) == RECIPES


def test_a_value_comes_from_the_demo_the_command_line_or_a_recipe():
    text = shown(members__cnn__learner__batch=3)
    assert "  batch = 3   [command line; recommended and published 45; paper 40]\n      examples per update.\n" in text
    assert "  step_s = 4.0   [demo; recommended and published 6.4; paper 9.6]\n" in text
    assert "  keep_best = 3   [every recipe]\n" in text
    assert "* recommended: " in text
    given = shown(recipe="paper", corpus__root="/data/corpus")
    assert "  step_s = 9.6   [recommended and published 6.4; paper 9.6]\n" in given
    assert "  root = '/data/corpus'   [command line; None in every recipe]\n" in given
    assert "* paper: " in given
    assert "[demo" not in given


def test_the_remark_above_a_field_stands_below_it():
    text = shown()
    assert "      # The paper says windows overlap by 2/5; the scripts move on by 2/5.\n" in text
    assert "--config.members.cnn.features\n  # The scripts feed raw 16-bit integers; the paper is silent.\n" in text


def test_a_remark_goes_to_no_other_member():
    """The step of system 4 is no matter of dispute, though its windows are of the same kind as system 2's."""
    two, four = (
        part.split("--config")[0] for part in shown(ROOT / "configs/breathing_s5.py").split("learner.examples\n")[1::2]
    )
    assert "The paper says windows overlap" in two
    assert "The paper says windows overlap" not in four


def test_the_experiments_own_remark_comes_first():
    text = shown(ROOT / "configs/breathing_s1.py")
    assert "One correlation over the batch needs all of it in memory at once." in text
    assert "Windows in memory at once" not in text


def test_remarks_on_the_demo_are_not_about_the_recipe():
    assert "In so few steps" not in shown(ROOT / "configs/mask_s1.py")


@pytest.mark.parametrize("name", ["mask_s1", "mask_s5", "mask_backbones"])
def test_remarks_come_also_from_what_a_shared_builder_calls(name):
    """`log_mel_image`, which the config names itself or `mask_net` does."""
    text = shown(ROOT / f"configs/{name}.py")
    assert "features.matrix\n  # 32-ms windows every 10 ms; the paper calls 10 ms the overlap.\n" in text


def test_a_config_of_ones_own_needs_no_recipes(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from configs import breathing_e2e\n\ndef get_config():\n    return breathing_e2e.get_config()\n")
    text = show(get(E2E), overrides={}, file=file)
    assert text.startswith(str(file))
    assert "  epochs = 3   [demo]\n" in text


def test_entries_of_a_docstring():
    text = """Summary.

    Args:
      a, b: two things
        on two lines.
      c: one thing: with a colon.

    Returns:
      d: not an argument.
    """
    assert entries(text) == {
        "a": "two things on two lines.",
        "b": "two things on two lines.",
        "c": "one thing: with a colon.",
    }


def test_partial_constructors_are_documented_as_what_they_call():
    assert documented(OPTIMIZERS["nadam"]) == documented(OPTIMIZERS["adam"])
