"""The folder of an exported system: what `jaxpara.load` takes, programs for everyone else, and a card for people.

system.json, members/<name>/fold_<k>/  as in a workdir; networks as weights.safetensors, machines and what features
    learned as the run left them
stablehlo/<name>.bin  the networks of a member as one program, whose weights are arguments
export.json           shapes and parity of the programs, and the figures of the run
README.md             the model card
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxpara.errors import UserError
from jaxpara.features.fitted import FILE as FITTED
from jaxpara.files import write_json, write_text
from jaxpara.inference import card, manifest, stablehlo
from jaxpara.inference.system import System
from jaxpara.training.net import Net
from jaxpara.training.state import WEIGHTS, write_weights
from jaxpara.training.svm import SVM


def write(workdir: Path, out: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Exports what a run has left, whole or not at all.

    Args:
      workdir: of a finished run.
      out: the folder to write; not there, or empty.
      overwrite: whether what lies there may be replaced.

    Returns:
      By member the facts of its program, see `jaxpara.inference.stablehlo.write`.

    Raises:
      UserError: the run is not finished, something of it is damaged, or there is something at `out`.
    """
    system = System(workdir)
    results = _results(workdir)
    if results["experiment"] != system.about["experiment"]:
        raise UserError(
            f"{workdir}: results.json is of {results['experiment']}, system.json of another run; run it again"
        )
    if workdir.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out}: holds the workdir itself; choose another folder")
    with _replacing_folder(out, overwrite) as folder:
        facts = {}
        for name, member in system.members.items():
            folders = {fold: f"members/{name}/fold_{fold}_seed_{c.get('seed', 0)}" for fold, c in member.folds.items()}
            for fold in member.folds:
                source, target = workdir / folders[fold], folder / folders[fold]
                target.mkdir(parents=True)
                if (source / FITTED).exists():
                    shutil.copyfile(source / FITTED, target / FITTED)
                if isinstance(member.learner, SVM):
                    _copy_machine(member.learner.file(source), target)
            if isinstance(member.learner, Net):
                fits = system.fits(name)
                for fold, fit in fits.items():
                    write_weights(folder / folders[fold] / WEIGHTS, member.weights(fit))
                facts[name] = stablehlo.write(member, fits, folder / "stablehlo" / f"{name}.bin")
        about = json.loads((workdir / manifest.FILE).read_text(encoding="utf-8"))
        write_json(folder / manifest.FILE, _without_paths(about))
        scores = {part: _figures(results["fusion"][part]) for part in ("cv", "test")}
        exported = {"programs": facts, "measure": results["measure"], "scores": scores}
        write_json(folder / "export.json", exported)
        write_text(folder / "README.md", card.text(system, results, facts))
    return facts


def _results(workdir: Path) -> dict[str, Any]:
    path = workdir / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        _ = results["experiment"], results["fusion"]["cv"], results["fusion"]["test"], results["corpus"]["partitions"]
        return results
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not readable ({type(error).__name__}: {error}); run the training command once more with"
            " --mode=evaluate, which writes it"
        ) from error


def _copy_machine(file: Path, target: Path) -> None:
    if not file.exists():
        raise UserError(f"{file}: no such file, expected a fitted machine; train this member again")
    shutil.copyfile(file, target / file.name)


def _figures(score: dict[str, Any]) -> dict[str, Any]:
    names = ("pooled", "interval_95", "mean_of_folds", "per_fold", "labels", "speakers")
    return {name: score[name] for name in names if name in score}


def _without_paths(tree: Any) -> Any:
    """Of files on this machine only their names: nobody else has them there."""
    if isinstance(tree, dict):
        return {key: _without_paths(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_paths(value) for value in tree]
    return os.path.basename(tree) if isinstance(tree, str) and os.path.isabs(tree) else tree


@contextmanager
def _replacing_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Gives a folder beside `out` that takes its place when the block ends without an error."""
    taken = out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir())))
    if taken and not overwrite:
        raise UserError(f"{out}: there is something already; choose another folder, or replace it with --overwrite")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"{out}: no folder, so it is not replaced; choose another")
    if taken and not (out / "export.json").exists():
        raise UserError(f"{out}: holds no export, so it is not replaced; choose another folder, or empty it yourself")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        yield part
        part.chmod(0o777 & ~_umask())  # temporary folders are their maker's alone
        if out.exists():
            old = part.with_suffix(".old")
            out.rename(old)
            part.rename(out)
            shutil.rmtree(old)
        else:
            part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
