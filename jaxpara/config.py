"""The config that runs: the demo's sizes and the command line's values in it.

Attributes of a config that no constructor takes (`*` stands for the name of a member):
  recipe: which form of the experiment this is; named after the colon of `--config=FILE:RECIPE`.
  seed: everything random follows from it.
  seeds: how often every fold is fitted, each time with another start and order; all fits are fused.
  parallel: what several devices, or one, do at once: `data`, parts of a batch; `folds`, the folds of a network, trained
    as one program.
  precision: what networks are computed in, `float32` or `bfloat16`; weights, optimizer and loss are float32 always.
  corpus.task: what is to be told from the voice, `breathing` or `mask`.
  corpus.root: the corpus folder, with wav/ and lab/. None: a simulated corpus, and the sizes of `demo`.
  corpus.preset: the size of the simulated corpus, `demo` or `full`.
  corpus.speakers: in its train, devel and test; None as in the preset.
  corpus.seconds: of each of its recordings; None as in the preset.
  members.*.optional: whether the run goes on without this member where something that it needs cannot be had.
  members.*.features.table: a file set of the challenge that is taken instead where the corpus has it.
  members.*.folds.only: the numbers of the folds that are fitted, from 0; () for all.
  members.*.folds.leave_out: recordings that are neither fitted nor tuned on.
  fusion.members: whose scores meet; all that predict where this is not given.
  fusion.also_score: other fusions, by name, that are scored too.
  fusion.leave_out: recordings that are not scored.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections


def with_demo(config: ml_collections.ConfigDict, overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The config with its demo sizes, and the command line's values on top of them.

    Args:
      overrides: those values by their dotted path.
    """
    config = config.copy_and_resolve_references()
    config.update(config.to_dict()["demo"])
    config.update_from_flattened_dict(dict(overrides))
    return config


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries by their dotted paths."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return leaves
