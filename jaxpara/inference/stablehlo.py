"""Networks as StableHLO, to run without this program: one for all folds of a member, as its weights are arguments."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from jaxpara.errors import UserError
from jaxpara.inference.member import TrainedMember
from jaxpara.training.fold_run import FoldRun
from jaxpara.training.net import Net

PLATFORMS = ("cpu", "cuda")
# Of the largest output: the same sums in another order. Of bfloat16, which keeps 8 bits (2^-8 is 0.004), XLA rounds the
# sums between operations, and leaves that out where it fuses them, which is not the same in every program.
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2}
BATCH, TIMES = 2, 3  # of the example that is compared, so that what may vary does


def write(member: TrainedMember, fits: Mapping[int, FoldRun], path: Path) -> dict[str, Any]:
    """Writes the program of a member's networks, and holds it to what the networks give.

    Args:
      member: one whose learner is a network.
      fits: see `jaxpara.inference.system.System.fits`.
      path: where the program goes.

    Returns:
      `gives` (`predictions` or `embeddings`), `inputs` and `outputs` (their shapes; letters may be any number),
      `platforms`, `difference`, the greatest between program and network as a share of the greatest output, and
      `tolerance`, the greatest that is allowed.

    Raises:
      UserError: the program does not give what the networks give.
    """
    learner: Net = member.learner
    tolerance = TOLERANCES[learner.precision]
    networks = {fold: jax.device_get(member.weights(fit).variables) for fold, fit in fits.items()}
    example = np.asarray(learner.example(next(iter(fits.values()))))
    outputs = jax.jit(learner.forward(embed=not learner.predicts))
    exported, inputs = _exported(outputs, next(iter(networks.values())), example, learner)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exported.serialize())
    program = export.deserialize(bytearray(path.read_bytes()))
    differences = {}
    for fold, variables in networks.items():
        wanted = np.asarray(outputs(variables, inputs))
        found = np.asarray(program.call(variables, inputs))
        differences[fold] = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-6))
        if not differences[fold] <= tolerance:
            raise UserError(
                f"member {member.name}, fold {fold}: the exported program differs from the network by"
                f" {differences[fold]:.1e} of its greatest output, at most {tolerance:g} is allowed; nothing was"
                " exported, please report this"
            )
    return {
        "gives": "predictions" if learner.predicts else "embeddings",
        "inputs": str(program.in_avals[-1].str_short()),
        "outputs": str(program.out_avals[0].str_short()),
        "platforms": list(program.platforms),
        "difference": max(differences.values()),
        "tolerance": tolerance,
    }


def _exported(outputs: Any, variables: Any, example: np.ndarray, learner: Net) -> tuple[Any, np.ndarray]:
    """The program for inputs as free as the network allows, and inputs that make use of that.

    Some networks arrange their work by how much there is, and want to know that.
    """
    shapes = [("b", *example.shape[1:]), example.shape]
    if learner.embedding_rate_hz and not learner.context_frames:  # a sequence, of any length
        stride = learner.stride
        shapes.insert(0, ("b", f"{stride}*t" if stride > 1 else "t", *example.shape[2:]))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)
    for shape in shapes:
        symbolic = export.symbolic_shape(", ".join(map(str, shape)))
        try:
            with _without_folders():
                free = jax.ShapeDtypeStruct(symbolic, example.dtype)
                exported = export.export(outputs, platforms=PLATFORMS)(like, free)
        except Exception:  # JAX raises many kinds where a shape has to be known
            if shape is shapes[-1]:
                raise
            continue
        size = list(example.shape)
        if shape[0] == "b":
            size[0] = BATCH
        if isinstance(shape[1], str):
            size[1] = TIMES * learner.stride
        noise = np.random.default_rng(0).standard_normal(size)
        return exported, (noise * (example.std() or 1) + example.mean()).astype(example.dtype)
    raise AssertionError("unreachable")


@contextmanager
def _without_folders() -> Iterator[None]:
    """Programs say which line of which file each operation comes from; the folders are nobody's business."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, ".*/")
    try:
        yield
    finally:
        jax.config.update(option, before)
