"""From a config to results: corpus, members, fusion, evaluation, report, submission."""

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from jaxpara import __version__, processes
from jaxpara.config import with_demo
from jaxpara.corpora import challenge
from jaxpara.corpora.check import Report, check
from jaxpara.corpora.corpus import PARTITIONS, Corpus, Task
from jaxpara.corpora.duplicates import SharedAudio, across, across_fold, shared_audio_kept_in
from jaxpara.corpora.simulated import SIMULATED, STAMP
from jaxpara.corpora.simulated.loudness import loudness_baseline
from jaxpara.errors import Unavailable, UserError
from jaxpara.evaluation import report, submission
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.official import official
from jaxpara.evaluation.results import keep_others, summarise
from jaxpara.evaluation.rows import labels_of
from jaxpara.files import locked, write_json
from jaxpara.fusion import FUSIONS
from jaxpara.inference import manifest
from jaxpara.predictions import Predictions, concatenate
from jaxpara.progress import Progress
from jaxpara.registry import build, suggest
from jaxpara.runtime import cache_folder
from jaxpara.seeds import derive
from jaxpara.training.dependencies import in_order
from jaxpara.training.member import Member
from jaxpara.training.steps import PRECISIONS
from jaxpara.training.train import Interrupted

SHOWN = 10  # pairs of recordings that share audio


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
    settings: dict[str, Any] = config.to_dict()
    demo = not settings["corpus"]["root"]
    if demo:
        config = with_demo(config, overrides)
        settings = config.to_dict()
    recipe, seed, seeds = settings["recipe"], settings["seed"], settings["seeds"]
    together = _one_of(settings, "parallel", ("data", "folds")) == "folds"
    precision = _one_of(settings, "precision", list(PRECISIONS))
    workdir = workdir or Path("runs") / (name if recipe == "recommended" else f"{name}_{recipe}")
    with Progress() as progress:
        if demo:
            progress.say(f"No corpus given (--config.corpus.root): running on the {STAMP}; demo sizes from config.demo")
        checked = _checked(settings["corpus"], seed, progress)
        corpus, fingerprint = checked.sound(), checked.fingerprint
        shared = _shared_audio(corpus, fingerprint, progress) if processes.is_main() else []
        if mode == "check":
            return
        with locked(workdir):
            members: dict[str, Member] = {}
            for member in in_order(settings["members"]):
                part = settings["members"][member]
                members[member] = Member(member, part, corpus, fingerprint, seed, workdir, members, precision, seeds)
                members[member].claim()
            fusion = dict(settings["fusion"])
            wanted, other_names = tuple(fusion.pop("members", ())), tuple(fusion.pop("beside", ()))
            unscored = corpus.known(fusion.pop("leave_out", ()), "config.fusion.leave_out")
            _fusing(wanted, {m: member for m, member in members.items() if member.predicts}, {})
            fuse = build(FUSIONS, fusion, "fusion", seed=derive(seed, "fusion"))
            others = {n: build(FUSIONS, {"name": n}, "fusion.beside", seed=derive(seed, "fusion")) for n in other_names}
            try:
                left_out = _run(members, progress, from_checkpoints=mode == "evaluate", together=together)
            except Interrupted as stop:
                progress.say(str(stop))
                raise KeyboardInterrupt from None
            if not processes.is_main():
                return processes.wait_for_main()  # it writes what follows
            progress.say("scoring, plotting, writing the report")
            outcomes = {m: member.outcome() for m, member in members.items() if member.predicts and m not in left_out}
            fusing = _fusing(wanted, outcomes, left_out)
            tune = {m: concatenate([fold.validation for fold in outcomes[m].folds]) for m in fusing}
            tune = {m: part.select(~np.isin(part.recordings, unscored)) for m, part in tune.items()}
            fused, *beside = (
                fusion_of(
                    tune,
                    {m: {fold.fold: fold.test for fold in outcomes[m].folds} for m in fusing},
                    {m: labels_of(part, corpus) for m, part in tune.items()},
                    partial(_measured, corpus.task),
                )
                for fusion_of in (fuse, *others.values())
            )
            results = summarise(
                experiment=name,
                recipe=recipe,
                demo=demo,
                corpus=corpus,
                findings={"errors": checked.errors, "warnings": checked.warnings},
                shared_audio={
                    "train_and_validation": [
                        s for m in members.values() for f in m.folds for s in across_fold(shared, f)
                    ],
                    "train_and_test": across(
                        shared,
                        [r.name for r in corpus.partition("train", "devel")],
                        [r.name for r in corpus.partition("test")],
                    ),
                },
                members=outcomes,
                left_out=left_out,
                fused=fused,
                fusion=settings["fusion"]["name"],
                beside=dict(zip(others, beside, strict=True)),
                fusing=fusing,
                baselines=_baselines(corpus),
                about={
                    "jaxpara": __version__,
                    "devices": [device.device_kind for device in jax.devices()],
                    "versions": {
                        p: importlib.metadata.version(p) for p in ("jax", "flax", "optax", "numpy", "librosa")
                    },
                },
                seed=derive(seed, "bootstrap"),
            )
            # First, as it may be refused; then nothing is left half done.
            table = workdir / "submission" / f"{corpus.task.name}.{name}.csv"
            submission.write(table, fused.test, corpus)
            keep_others(workdir, name)
            write_json(workdir / "results.json", results)
            about = {"experiment": name, "recipe": recipe, "demo": demo, "seed": seed, "corpus": fingerprint}
            manifest.write(workdir, about, settings["corpus"]["task"], corpus, members, fused.shares)
            for part, predictions in (("validation", fused.validation), ("test", fused.test)):
                predictions.save(workdir / "predictions" / f"{part}.npz")
            report.write(
                workdir / "report.html",
                results=results,
                corpus=corpus,
                validation=fused.validation,
                test=fused.test,
                singles={m: (tune[m], outcomes[m].test) for m in fusing if len(fusing) > 1},
                curves={m: {fold: path for (fold, _), path in members[m].curves.items()} for m in outcomes},
                config=str(config),
                findings=[str(finding) for finding in checked.findings],
            )
            processes.wait_for_main()
        _conclude(progress, results, workdir, table, time.monotonic() - began)


def _run(
    members: Mapping[str, Member], progress: Progress, *, from_checkpoints: bool, together: bool
) -> dict[str, str]:
    """Runs the members in their order; returns the optional ones that could not be run, with the reason."""
    left_out: dict[str, str] = {}
    used = {source for member in members.values() for source in member.sources}
    embeddings: dict[str, Any] = {}  # of the members so far, see `Member.train`
    for name, member in members.items():
        if not member.predicts and name not in used:
            continue
        if missing := [source for source in member.sources if source in left_out]:
            reason = f"takes the embeddings of {missing[0]}, which was left out"
        else:
            try:
                if from_checkpoints:
                    member.evaluate(progress, embeddings)
                else:
                    member.train(progress, embeddings, together=together)
                embeddings[name] = member.embeddings(progress, embeddings)
                continue
            except Unavailable as error:
                reason = str(error)
        if not member.optional:
            raise Unavailable(reason)
        left_out[name] = reason
        progress.say(f"{name} is left out: {reason}")
    return left_out


def _fusing(wanted: Sequence[str], outcomes: Mapping[str, Any], left_out: Mapping[str, str]) -> list[str]:
    """The members that are fused: the wanted ones, or all that predict."""
    for name in wanted:
        if name not in outcomes and name not in left_out:
            known = list(outcomes)
            raise UserError(f"config.fusion.members names {name!r}, expected some of {known}{suggest(name, known)}")
    fusing = list(dict.fromkeys(name for name in wanted or outcomes if name in outcomes))
    if not fusing:
        raise UserError("config.members: no member is left that predicts, so there is nothing to fuse")
    return fusing


def _measured(task: Task, truth: np.ndarray, scores: np.ndarray) -> float:
    """The official measure, and less than any value where there is none, as for constant predictions."""
    try:
        return official(task, truth, scores)
    except Undefined:
        return -np.inf


def _one_of(settings: Mapping[str, Any], field: str, known: Sequence[str]) -> str:
    if settings[field] not in known:
        raise UserError(f"config.{field} is {settings[field]!r}, expected one of {list(known)}")
    return settings[field]


def _checked(wanted: Mapping[str, Any], seed: int, progress: Progress) -> Report:
    """What the check says of the corpus, which is simulated first if none is given; it has no errors."""
    task = challenge.task_named(wanted["task"], "config.corpus.task")
    if wanted["root"]:
        root = Path(wanted["root"])
    elif wanted["task"] not in SIMULATED:
        raise UserError(f"config.corpus.root is missing: {task.name} is not simulated; give the folder of a corpus")
    else:
        sizes = {key: wanted[key] for key in ("preset", "speakers", "seconds") if wanted[key] is not None}
        label = "-".join(str(value) for value in sizes.values()).replace(" ", "")
        root = cache_folder() / "simulated" / f"{wanted['task']}-{label}-{seed}"
        with progress.task("simulating the corpus", 1) as bar:
            SIMULATED[wanted["task"]](root, seed=seed, progress=bar.update, **sizes)
    with progress.task("checking the corpus", 1) as bar:
        checked = check(root, task, bar.update)
    for finding in checked.findings:
        progress.say(f"{finding.level}: {finding}")
    corpus = checked.sound()
    for partition in PARTITIONS:
        if not corpus.partition(partition):
            raise UserError(f"{root}: no recording is in {partition}; names begin with {', '.join(PARTITIONS)}")
    progress.say(f"{root}: {len(corpus.recordings)} recordings, no errors, {checked.warnings} warnings")
    return checked


def _shared_audio(corpus: Corpus, fingerprint: str, progress: Progress) -> list[SharedAudio]:
    """Recordings that hold the same audio; looked for once per corpus."""
    path = cache_folder() / "shared_audio" / f"{fingerprint}.json"
    with progress.task("looking for audio that recordings share", 1) as bar:
        shared = shared_audio_kept_in(path, corpus.recordings, bar.update)
    for pair in shared[:SHOWN]:
        progress.say(f"warning: {pair.one} and {pair.other} share {pair.seconds:.2f} s of audio")
    if len(shared) > SHOWN:
        progress.say(f"warning: and {len(shared) - SHOWN} more pairs, in {path}")
    return shared


def _baselines(corpus: Corpus) -> dict[str, Predictions]:
    """What simple predictors reach on a simulated corpus, to hold the network against."""
    return {"loudness, linear": loudness_baseline(corpus)} if corpus.simulated and corpus.label_rate_hz else {}


def _conclude(progress: Progress, results: dict[str, Any], workdir: Path, table: Path, seconds: float) -> None:
    """The last lines on the screen: what was reached, and where it lies."""
    if results["simulated"]:
        progress.say(STAMP)
    system = results["fusion"]
    measure, test, cv = results["measure"], system["test"], system["cv"]
    if test["pooled"] is not None:
        low, high = test["interval_95"] or (float("nan"),) * 2
        progress.say(f"test {measure} {test['pooled']:.3f} (95 % interval over speakers {low:.3f} to {high:.3f})")
        for name, member in results["members"].items():
            if member["mean_of_folds_test"] is not None:
                progress.say(
                    f"  {name}: mean of its {len(member['folds'])} folds alone {member['mean_of_folds_test']:.3f}"
                )
        for name, baseline in results["baselines"].items():
            value = baseline["pooled"]
            told = f"has no score: {baseline['undefined']['pooled']}" if value is None else f"{value:.3f}"
            progress.say(f"  baseline ({name}) {told}")
    else:
        progress.say(f"test: {test['undefined']['pooled']}, so no score; the submission is ready to be sent in")
    if cv["pooled"] is not None and cv["mean_of_folds"] is not None:
        progress.say(f"cross-validation {measure}: mean of folds {cv['mean_of_folds']:.3f}, pooled {cv['pooled']:.3f}")
    progress.say(f"done in {seconds / 60:.1f} min; submission: {table}; results: {workdir / 'results.json'}")
    progress.say(f"report: {workdir / 'report.html'}")
