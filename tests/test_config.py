"""The sizes and members of a run, and the points of a grid."""

import pytest

from configs import breathing_e2e, breathing_s5, mask_best, mask_svm
from jaxpara.config import as_run, grid_points
from jaxpara.errors import UserError

LR = "members.cnn.learner.optimizer.lr"
FILTERS = "members.cnn.learner.model.filters"


@pytest.mark.parametrize(
    ("overrides", "sizes", "epochs"),
    [
        ({}, "demo", 3),
        ({"sizes": "full"}, "full", 150),
        ({"corpus.root": "/data"}, "full", 150),
        ({"corpus.root": "/data", "sizes": "demo"}, "demo", 3),
        ({"corpus.root": "/data", "sizes": "demo", "members.cnn.learner.epochs": 7}, "demo", 7),
    ],
)
def test_sizes_of_the_demo_and_the_full_recipe(overrides, sizes, epochs):
    settings = as_run(breathing_e2e.get_config(), overrides)
    assert settings["sizes"] == sizes
    assert settings["members"]["cnn"]["learner"]["epochs"] == epochs


def test_a_config_without_demo_sizes_always_runs_the_full_recipe():
    assert as_run(mask_best.get_config(), {"sizes": "demo"})["sizes"] == "full"


def chosen(config, *only, **fusion):
    settings = as_run(config, {"only": only} | {f"fusion.{field}": value for field, value in fusion.items()})
    return sorted(settings["members"]), settings["fusion"].get("members")


def test_only_these_members_and_the_sources_of_their_embeddings_are_left():
    everything = breathing_s5.get_config()
    assert chosen(everything) == (["cnn", "embeddings", "resnet_gru"], None)
    assert chosen(everything, "cnn") == (["cnn"], None)
    assert (
        chosen(everything, "resnet_gru, cnn")
        == chosen(everything, "cnn", "resnet_gru")
        == (["cnn", "resnet_gru"], None)
    )
    assert chosen(everything, "embeddings") == (["cnn", "embeddings", "resnet_gru"], None)


def test_the_members_that_a_config_fuses_are_restricted_to_the_chosen_ones():
    svms = mask_svm.get_config()
    assert chosen(svms, "egemaps_rbf,egemaps_rbf_cv") == (["egemaps_rbf", "egemaps_rbf_cv"], ("egemaps_rbf",))
    assert chosen(svms, "egemaps_rbf_cv") == (["egemaps_rbf_cv"], ())  # so that it is fused itself
    assert chosen(svms, "egemaps_rbf", members=("x",)) == (["egemaps_rbf"], ("x",))


def test_a_member_without_features_is_left_to_the_check_of_members():
    config = breathing_e2e.get_config()
    del config.members.cnn.features
    assert chosen(config, "cnn") == (["cnn"], None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"only": ("cnm",)}, r"config.only names 'cnm', expected some of \['cnn'\]; did you mean 'cnn'\?"),
        ({"recipe": "paper"}, "config.recipe is only the name of the recipe; choose one with --config=FILE:paper"),
        ({"sizes": "dmo"}, r"config.sizes is 'dmo', expected one of .*; did you mean 'demo'\?"),
    ],
)
def test_wrong_choices_are_named(overrides, message):
    with pytest.raises(UserError, match=message):
        as_run(breathing_e2e.get_config(), overrides)


def points(*axes):
    return grid_points(breathing_e2e.get_config(), axes)


def test_a_grid_has_all_combinations_in_order():
    assert points() == [{}]
    assert points(f"{LR}=1e-3,1", "seed=3,4") == [{LR: lr, "seed": seed} for lr in (0.001, 1.0) for seed in (3, 4)]


def test_values_have_the_type_of_their_field():
    assert points(f"{FILTERS}=(8, 16),(4,)") == [{FILTERS: (8, 16)}, {FILTERS: (4,)}]
    assert points("corpus.root=1,None") == [{"corpus.root": "1"}, {"corpus.root": None}]
    assert points("parallel=data, folds") == [{"parallel": "data"}, {"parallel": "folds"}]
    assert points("members.cnn.learner.loss.name=window_pcc") == [{"members.cnn.learner.loss.name": "window_pcc"}]


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("seed", "--grid=seed: expected FIELD=VALUE,VALUE"),
        ("seed=", "--grid=seed=: expected FIELD=VALUE,VALUE"),
        ("config.seed=1,2", "'config.seed' is not a field of this config; did you mean 'seed'?"),
        ("demo.members.cnn.learner.epochs=1,2", "is not a field of this config"),
        ("members.cnn=1,2", "'members.cnn' is not a field of this config"),
        ("seed=1,two", "'two' does not fit seed, which is of type int"),
        ("seed=1,,2", "'' does not fit seed, which is of type int"),
        (f"{FILTERS}=8,16", f"'8' does not fit {FILTERS}, which is of type tuple"),
        (f"{LR}=0.001,1e-3", "0.001 is given twice; leave one out"),
    ],
)
def test_a_wrong_grid_is_named(axis, message):
    with pytest.raises(UserError) as error:
        points(axis)
    assert message in str(error.value)


def test_a_field_is_in_a_grid_once():
    with pytest.raises(UserError, match="seed is in the grid twice; give all its values at once"):
        points("seed=1", "seed=2")
