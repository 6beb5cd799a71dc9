"""`--mode=export`: write a trained system as a self-contained folder.

system.json                  as in a workdir, without paths
members/<name>/<fold>/       networks as weights.safetensors; SVMs and fitted features as in the workdir
stablehlo/<name>.bin         a member's network as a StableHLO program, with the weights as an argument
export.json                  shapes and accuracy of the programs, and the scores of the run
README.md                    the model card, from card.md.j2
"""

import importlib.metadata
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.export
import jinja2
import numpy as np

from jaxpara import __version__
from jaxpara.errors import UserError
from jaxpara.evaluation.conclusions import cv_name
from jaxpara.features.cache import FITTED_FILE
from jaxpara.features.speech_encoder import EncoderStates
from jaxpara.files import read_json, write_json, write_text
from jaxpara.inference import system_file
from jaxpara.inference.system import System, TrainedMember
from jaxpara.predictions import FoldSeed
from jaxpara.training.fold_run import FoldRun, fold_folder
from jaxpara.training.net import Net
from jaxpara.training.state import WEIGHTS, write_weights

FILE = "export.json"
PLATFORMS = ("cpu", "cuda")
# Largest difference between program and network, relative to the largest output. In float32 only the order of sums
# differs. In bfloat16 (8 bits, 2^-8 = 0.004) XLA rounds between operations but not within fused ones, and it fuses
# differently in each program; in TF32 (11 bits) products on a GPU round what differs in its last bits.
TOLERANCES = {"float32": 1e-5, "tf32": 2e-3, "bfloat16": 2e-2}
BATCH, TIMES = 2, 3  # sizes of the symbolic dimensions when program and network are compared
VERSIONS = ("jax", "flax", "numpy", "scipy", "librosa", "scikit-learn", "skops", "safetensors")


def export(workdir: Path, out: Path, *, overwrite: bool = False) -> list[str]:
    """Export a trained system, whole or not at all, to a missing or empty folder, or over an existing export.

    Returns:
      Lines to print: a line per program, and where the export is.

    Raises:
      UserError: the run is not finished, one of its files is damaged, or `out` exists.
    """
    system = System(workdir)
    results = read_json(
        workdir / "results.json", "run the training command again", ("experiment", "fusion", "members", "corpus")
    )
    if results["experiment"] != system.about["experiment"]:
        raise UserError(
            f"{workdir}: results.json is from {results['experiment']}, system.json from"
            f" {system.about['experiment']}; run the training command again with --mode=evaluate"
        )
    if workdir.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out}: contains the workdir itself; choose another folder")
    programs, lines = {}, []
    with _replacing_folder(out, overwrite) as folder:
        for name, member in system.members.items():
            runs = system.fold_runs(name) if isinstance(member.learner, Net) else {}
            for key in member.models:
                source = fold_folder(member.folder, key)
                target = folder / source.relative_to(workdir)
                target.mkdir(parents=True)
                if (source / FITTED_FILE).exists():
                    shutil.copyfile(source / FITTED_FILE, target / FITTED_FILE)
                if isinstance(member.learner, Net):
                    write_weights(target / WEIGHTS, member.load(runs[key]))
                    continue
                svm = member.learner.file(source)
                if not svm.exists():
                    raise UserError(f"{svm}: no such file, expected a trained SVM; train this member again")
                shutil.copyfile(svm, target / svm.name)
            if runs:
                facts = programs[name] = write_program(member, runs, folder / "stablehlo" / f"{name}.bin")
                lines.append(
                    f"{name}: {facts['inputs']} to {facts['outputs']}, StableHLO for {' and '.join(PLATFORMS)};"
                    f" largest difference from the network {facts['difference']:.1e} of its largest output (allowed"
                    f" {facts['tolerance']:g})"
                )
        description = (workdir / system_file.FILE).read_text(encoding="utf-8")
        write_json(folder / system_file.FILE, json.loads(description, object_hook=_without_paths))
        scores = {part: results["fusion"][part] for part in ("cv", "test")}
        write_json(folder / FILE, {"programs": programs, "measure": results["measure"], "scores": scores})
        write_text(folder / "README.md", _card(system, results, programs))
    return [*lines, f"exported: {out}; README.md describes it"]


def _without_paths(fields: dict[str, Any]) -> dict[str, Any]:
    """Replace absolute paths by file names, as the folders exist on this computer only."""
    return {k: os.path.basename(v) if isinstance(v, str) and os.path.isabs(v) else v for k, v in fields.items()}


@contextmanager
def _replacing_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a folder next to `out`, which replaces `out` when the block ends without an error."""
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        if out.is_symlink() or not (out / FILE).exists():
            raise UserError(f"{out}: is not an export, so it is not replaced; choose another folder, or empty it first")
        if not overwrite:
            raise UserError(f"{out}: already exists; choose another folder, or replace it with --overwrite")
    part, old = (out.with_name(f".{out.name}.{suffix}") for suffix in ("part", "old"))
    try:
        shutil.rmtree(part, ignore_errors=True)  # from an export that was killed
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield part
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)  # from an export that was killed
            out.rename(old)
        part.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _card(system: System, results: Mapping[str, Any], programs: Mapping[str, Any]) -> str:
    """Return the model card, from results.json and the facts of `write_program` by member."""
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxpara.inference", ""),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown
    )
    template.filters["figure"] = lambda value: "none" if value is None else f"{value:.3f}"
    configs = {name: spec["config"] for name, spec in system.about["members"].items()}
    configs = json.loads(json.dumps(configs), object_hook=_without_paths)
    return template.get_template("card.md.j2").render(
        about=system.about,
        task=system.task,
        results=results,
        scores={cv_name(results): results["fusion"]["cv"], "test": results["fusion"]["test"]},
        configs=configs,
        programs=programs,
        opensmile="opensmile" in str(configs),
        speaker_encoder="speaker_encoder" in str(configs),
        encoders={n: m.feature for n, m in system.members.items() if isinstance(m.feature, EncoderStates)},
        imagenet=[n for n, m in system.members.items() if isinstance(m.learner, Net) and m.learner.pretrained],
        version=__version__,
        without_mean=[n for n, config in configs.items() if config["learner"].get("examples", {}).get("subtract_mean")],
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
    )


def write_program(member: TrainedMember, runs: Mapping[FoldSeed, FoldRun], path: Path) -> dict[str, Any]:
    """Write the StableHLO program of a member's network, and compare it with the network for each trained model.

    Args:
      runs: from `System.fold_runs`.

    Returns:
      `gives` (`predictions` or `embeddings`), `inputs` and `outputs` (their shapes; letters are symbolic sizes),
      `platforms`, `difference` (the largest, relative to the largest output) and `tolerance` (the largest allowed).

    Raises:
      UserError: the outputs of the program differ from those of the network.
    """
    learner: Net = member.learner
    exact = learner.precision == "tf32" and jax.default_backend() == "cpu"  # which has no TF32
    tolerance = TOLERANCES["float32" if exact else learner.precision]
    networks = {key: jax.device_get(member.load(run).variables) for key, run in runs.items()}
    example = np.asarray(learner.example(next(iter(runs.values()))))
    forward = jax.jit(learner.forward(embed=not learner.predicts))
    exported, inputs = _exported(forward, next(iter(networks.values())), example, learner)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exported.serialize())
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    differences = []
    for (fold, seed), variables in networks.items():
        expected = np.asarray(forward(variables, inputs))
        found = np.asarray(program.call(variables, inputs))
        differences.append(float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-6)))
        if not differences[-1] <= tolerance:
            raise UserError(
                f"member {member.name}, fold {fold}, seed {seed}: the exported program differs from the network by"
                f" {differences[-1]:.1e} of its largest output, expected at most {tolerance:g}; nothing was exported,"
                " please report this"
            )
    return {
        "gives": "predictions" if learner.predicts else "embeddings",
        "inputs": str(program.in_avals[-1].str_short()),
        "outputs": str(program.out_avals[0].str_short()),
        "platforms": list(program.platforms),
        "difference": max(differences),
        "tolerance": tolerance,
    }


def _exported(forward: Any, variables: Any, example: np.ndarray, learner: Net) -> tuple[Any, np.ndarray]:
    """Return the program with as many symbolic dimensions as the network allows, and random inputs for it."""
    # From the most general shape to the example's own: some networks need to know the size of their input.
    shapes = [("b", *example.shape[1:]), example.shape]
    if learner.embedding_rate_hz and not learner.context_frames:  # a sequence of any length
        stride = learner.stride
        shapes.insert(0, ("b", f"{stride}*t" if stride > 1 else "t", *example.shape[2:]))
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), variables)
    # A program records the source files of its operations; not their folders, which exist on this computer only.
    jax.config.update("jax_hlo_source_file_canonicalization_regex", ".*/")
    for shape in shapes:
        inputs = jax.ShapeDtypeStruct(jax.export.symbolic_shape(", ".join(map(str, shape))), example.dtype)
        try:
            exported = jax.export.export(forward, platforms=PLATFORMS)(like, inputs)
            break
        except Exception:  # JAX raises many types where a size has to be known
            if shape is shapes[-1]:
                raise
    sizes = {0: BATCH, 1: TIMES * learner.stride}
    size = [sizes[axis] if isinstance(shape[axis], str) else length for axis, length in enumerate(example.shape)]
    noise = np.random.default_rng(0).standard_normal(size)
    return exported, (noise * (example.std() or 1) + example.mean()).astype(example.dtype)
