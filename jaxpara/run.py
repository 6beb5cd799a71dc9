"""From a config to results: corpus, members, fusion, evaluation, report, submission."""

import fcntl
import importlib.metadata
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import ml_collections

from jaxpara import __version__
from jaxpara.corpora import compare
from jaxpara.corpora.check import check
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.simulated import BASELINES, SIMULATED
from jaxpara.errors import UserError
from jaxpara.evaluation import report, submission
from jaxpara.evaluation.results import summarise
from jaxpara.files import write_json
from jaxpara.fusion import FUSIONS
from jaxpara.learning.loop import Interrupted
from jaxpara.learning.member import Member
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.runtime import cache_folder
from jaxpara.seeds import derive

SIMULATED_STAMP = "SIMULATED corpus: no figure here is the paper's or says anything about the real one"


def run(
    config: ml_collections.ConfigDict,
    *,
    overrides: Mapping[str, Any],
    name: str,
    workdir: Path | None,
    mode: str,
) -> None:
    """Runs an experiment.

    Args:
      config: from `get_config`, with the command line's values in it.
      overrides: those values by their dotted path; they win over `config.demo`.
      name: of the experiment: the config's file name.
      workdir: where everything is left; `runs/<name>` by default.
      mode: `train`, `evaluate` or `check`.

    Raises:
      UserError: something the user can mend.
      KeyboardInterrupt: the user stopped the run at a clean point.
    """
    began = time.monotonic()
    demo = not config.corpus.root
    config = _with_demo(config, overrides) if demo else config
    workdir = workdir or Path("runs") / (name if config.recipe == "recommended" else f"{name}_{config.recipe}")
    with Progress() as progress:
        if demo:
            progress.say(
                f"No corpus given (--config.corpus.root): running on the {SIMULATED_STAMP}; demo sizes from config.demo"
            )
        corpus, fingerprint, findings = _corpus(config, progress)
        if mode == "check":
            progress.say(f"{corpus.root}: {len(corpus.recordings)} recordings, fit to train on")
            return
        with _locked(workdir):
            plain = config.to_dict()
            members = {
                member: Member(member, plain["members"][member], corpus, fingerprint, config.seed, workdir)
                for member in sorted(plain["members"])
            }
            fuse = build(FUSIONS, plain["fusion"], "fusion", seed=derive(config.seed, "fusion"))
            try:
                for member in members.values():
                    member.run(progress, from_checkpoints=mode == "evaluate")
            except Interrupted as stop:
                progress.say(str(stop))
                raise KeyboardInterrupt from None
            fused = fuse(
                {m: member.tune_predictions() for m, member in members.items()},
                {m: member.test_predictions() for m, member in members.items()},
            )
            progress.say("Scoring, plotting, writing the report")
            results = summarise(
                experiment=name,
                recipe=config.recipe,
                demo=demo,
                corpus=corpus,
                findings=findings,
                members={m: member.outcome() for m, member in members.items()},
                fused=fused,
                fusion=plain["fusion"]["name"],
                baselines=_baselines(corpus),
                about={
                    "jaxpara": __version__,
                    "devices": [device.device_kind for device in jax.devices()],
                    "versions": {p: importlib.metadata.version(p) for p in ("jax", "flax", "optax", "numpy", "librosa")},
                },
            )
            write_json(workdir / "results.json", results)
            table = workdir / "submission" / f"{corpus.task.name}.{name}.csv"
            submission.write(table, fused.test, corpus)
            report.write(
                workdir / "report.html",
                results=results,
                corpus=corpus,
                tune=fused.tune,
                test=fused.test,
                curves={m: {f.index: member.metrics_file(f) for f in member.folds} for m, member in members.items()},
                config=str(config),
                findings=[str(finding) for finding in findings],
            )
        _conclude(progress, results, workdir, table, time.monotonic() - began)


def _with_demo(config: ml_collections.ConfigDict, overrides: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The config with its demo sizes, and the command line's values on top of them."""
    config = config.copy_and_resolve_references()
    demo = config.demo.to_dict()
    config.update(demo)
    config.update_from_flattened_dict(dict(overrides))
    return config


def _corpus(config: ml_collections.ConfigDict, progress: Progress) -> tuple[Corpus, str, list[Any]]:
    """The corpus, made first if none is given; checked, read and fingerprinted."""
    task = compare.TASKS[config.corpus.task]
    if config.corpus.root:
        root = Path(config.corpus.root)
    else:
        sizes = {key: config.corpus[key] for key in ("preset", "speakers", "seconds") if config.corpus[key] is not None}
        label = "-".join(str(value) for value in sizes.values()).replace(" ", "")
        root = cache_folder() / "simulated" / f"{config.corpus.task}-{label}-{config.seed}"
        with progress.task("simulating the corpus", 1) as bar:
            SIMULATED[config.corpus.task](root, seed=config.seed, progress=bar.update, **sizes)
    with progress.task("checking the corpus", 1) as bar:
        checked = check(root, task, bar.update)
    errors = [finding for finding in checked.findings if finding.level == "error"]
    warnings = len(checked.findings) - len(errors)
    for finding in checked.findings:
        progress.say(f"{finding.level}: {finding}")
    if errors:
        raise UserError(f"{root}: {len(errors)} errors and {warnings} warnings in this corpus; mend the errors above first")
    progress.say(f"{root}: no errors, {warnings} warnings")
    return compare.read(root, task), checked.fingerprint, checked.findings


@contextmanager
def _locked(workdir: Path) -> Iterator[None]:
    """Keeps a second run out of the workdir; the lock goes with the process, however it ends."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("w")
    except OSError as error:
        raise UserError(f"--workdir={workdir}: cannot be written ({error.strerror}); choose another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"--workdir={workdir}: another run is at work there; wait for it, or choose another") from None
        yield
