"""An experiment in four phases: build the members, train them, fuse and score, write the outputs."""

import importlib.metadata
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import ml_collections

from jaxpara import __version__, processes
from jaxpara.config import as_run
from jaxpara.corpora import audio, partitions
from jaxpara.corpora.corpus import PARTITIONS, Corpus
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.read import read
from jaxpara.corpora.simulated import STAMP, check_or_simulate
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import Unavailable, UserError
from jaxpara.evaluation import compare_systems, readable_predictions, report, submission
from jaxpara.evaluation.conclusions import closing_lines
from jaxpara.evaluation.measures import MEASURE
from jaxpara.evaluation.results import MemberOutcome, keep_others, summarise
from jaxpara.evaluation.scores import CorpusData
from jaxpara.files import locked, write_json
from jaxpara.fusion import FUSIONS, Fused, WeightSearch
from jaxpara.inference import system_file
from jaxpara.predictions import KEYS, save
from jaxpara.progress import Progress
from jaxpara.registry import build, suggest
from jaxpara.seeds import derive
from jaxpara.training import baseline, parallel
from jaxpara.training.compilations import Compilations
from jaxpara.training.dependencies import in_order
from jaxpara.training.member import Embeddings, Member
from jaxpara.training.train import Interrupted

DEMO = "DEMO sizes, from config.demo: no score here is one of the full recipe (--config.sizes=full)"
LIBRARIES = ("jax", "flax", "optax", "numpy", "librosa")  # whose versions are in results.json


@dataclass(frozen=True, eq=False)
class Experiment:
    """An experiment that is ready to run.

    Attributes:
      settings: the config as it runs, see `jaxpara.config.as_run`.
      members: by name, each after those whose embeddings it uses.
      unscored: recordings that are not scored.
    """

    name: str
    settings: dict[str, Any]
    findings: Findings
    corpus: Corpus
    data: CorpusData
    members: dict[str, Member]
    fuse: Any
    also_score: dict[str, Any]
    unscored: tuple[str, ...]


def run(
    config: ml_collections.ConfigDict, *, overrides: Mapping[str, Any], name: str, workdir: Path | None, mode: str
) -> None:
    """Run an experiment, from its config to its results; `mode` is `train`, `evaluate` or `check`.

    Args:
      config: from `get_config`, with the command line's values in it.
      overrides: those values by their dotted path; they win over `config.demo` and `config.only`.
      name: of the experiment; its results are in `runs/<name>` if there is no `workdir`.

    Raises:
      UserError: something the user can fix.
      KeyboardInterrupt: the user stopped the run; it can be resumed.
    """
    began, compilations = time.monotonic(), Compilations()
    settings = as_run(config, overrides)
    workdir = workdir or default_workdir(name, settings["recipe"])
    with Progress() as progress:
        if not settings["corpus"]["root"]:
            progress.say(f"No corpus given (--config.corpus.root): running on the {STAMP}")
        if settings["sizes"] == "demo":
            progress.say(DEMO)
        corpus, findings = check_or_simulate(settings["corpus"], settings["seed"], progress)
        experiment = build_members(name, settings, corpus, findings, workdir)
        for warning in (warning for member in experiment.members.values() for warning in member.warnings):
            progress.say(f"warning: {warning}")
        if mode == "check":
            return
        with locked(workdir):
            parallel.set_deterministic(settings["deterministic"])
            for member in experiment.members.values():
                member.claim()

            # Training is not a function of its own: that keeps the path to the gradient short.
            embeddings: Embeddings = {}
            left_out: dict[str, str] = {}
            for member in experiment.members.values():
                try:
                    if missing := [source for source in member.sources if source in left_out]:
                        raise Unavailable(f"uses the embeddings of {missing[0]}, which was left out")
                    if mode == "evaluate":
                        member.evaluate(progress, embeddings)
                    else:
                        member.train(progress, embeddings, together=settings["parallel"] == "folds")
                    embeddings[member.name] = member.embeddings(progress, embeddings)
                except Unavailable as error:
                    if not member.optional:
                        raise
                    left_out[member.name] = str(error)
                    progress.say(f"{member.name} is left out: {error}")
                except Interrupted as stop:
                    progress.say(str(stop))
                    raise KeyboardInterrupt from None

            if processes.is_main():
                progress.say("scoring, plotting, writing the report")
                members = experiment.members.values()
                outcomes = {m.name: m.outcome() for m in members if m.predicts and m.name not in left_out}
                first, *_ = _members_to_fuse(settings, list(outcomes), left_out)
                folds = experiment.members[first].folds
                baselines = baseline.predict(experiment.corpus, folds, workdir, progress)
                fused, results = fuse_and_score(experiment, outcomes, baselines, left_out)
                results["compiled"] = compilations.summary()
                write_outputs(workdir, experiment, outcomes, fused, results)
                stamps = [STAMP] * experiment.corpus.simulated + [DEMO] * (settings["sizes"] == "demo")
                for line in [*stamps, *closing_lines(results), str(compilations)]:
                    progress.say(line)
                progress.say(f"done in {(time.monotonic() - began) / 60:.1f} min; report: {workdir / 'report.html'}")
            processes.wait_for_main()


def default_workdir(name: str, recipe: str) -> Path:
    """Return the folder of the results of an experiment where the user gives none."""
    return Path("runs") / (name if recipe == "recommended" else f"{name}_{recipe}")


def build_members(name: str, settings: dict[str, Any], corpus: Corpus, findings: Findings, workdir: Path) -> Experiment:
    """Build the members that predict or whose embeddings are used, and the fusion.

    Raises:
      UserError: the config has something unknown or impossible.
    """
    seed, seeds, precision = (settings[key] for key in ("seed", "seeds", "precision"))
    members: dict[str, Member] = {}
    for member in in_order(settings["members"]):
        part = settings["members"][member]
        members[member] = Member(member, part, corpus, corpus.fingerprint, seed, workdir, members, precision, seeds)
    sources = {source for member in members.values() for source in member.sources}
    only = settings["only"] or [*members]
    members = {name: m for name, m in members.items() if (m.predicts and name in only) or name in sources}
    fusion, fusion_seed = dict(settings["fusion"]), derive(seed, "fusion")
    fusing = _members_to_fuse(settings, [member for member in members if members[member].predicts], ())
    fusion.pop("members", None)
    others = fusion.pop("also_score", ())
    also_score = {other: build(FUSIONS, {"name": other}, "fusion.also_score", seed=fusion_seed) for other in others}
    unscored = corpus.known(fusion.pop("leave_out", ()), "config.fusion.leave_out")
    fuse = build(FUSIONS, fusion, "fusion", seed=fusion_seed)
    if not any(members[member].optional for member in fusing):  # which may be left out
        for each in (fuse, *also_score.values()):
            if isinstance(each, WeightSearch):
                each.require(len(fusing), corpus.task.outputs)
    return Experiment(name, settings, findings, corpus, describe(corpus), members, fuse, also_score, unscored)


def fuse_and_score(
    experiment: Experiment,
    outcomes: Mapping[str, MemberOutcome],
    baselines: Mapping[str, tuple[str, Any]],
    left_out: Mapping[str, str],
) -> tuple[Fused, dict[str, Any]]:
    """Fuse the members' predictions and score everything; return the fused ones, and the content of results.json.

    Args:
      outcomes: of the members that predict.
      baselines: {name: (description, prediction table)}.
      left_out: {member: reason} of optional members that could not be run.
    """
    corpus, settings, data = experiment.corpus, experiment.settings, experiment.data
    fusing = _members_to_fuse(settings, list(outcomes), left_out)
    validation = {name: outcomes[name].validation for name in fusing}
    validation = {name: table[~table["recording"].isin(experiment.unscored)] for name, table in validation.items()}
    test = {name: {fold.key: fold.test for fold in outcomes[name].folds} for name in fusing}
    labels = data.labels[[*KEYS, "label"]]
    truth = {n: table.merge(labels, how="left", on=KEYS)["label"].to_numpy() for n, table in validation.items()}

    measure = MEASURE[data.measure]
    fused = experiment.fuse(validation, test, truth, measure)
    also_scored = {name: fuse(validation, test, truth, measure) for name, fuse in experiment.also_score.items()}
    folds = [fold for member in experiment.members.values() for fold in member.folds]
    train, devel, held_out = ([r.name for r in corpus.partition(partition)] for partition in PARTITIONS)
    results = summarise(
        about={
            "jaxpara": __version__,
            "experiment": experiment.name,
            "recipe": settings["recipe"],
            "demo": settings["sizes"] == "demo",
            "findings": {"errors": 0, "warnings": experiment.findings.count("warning")},
            "left_out": dict(left_out),
            "devices": [device.device_kind for device in jax.devices()],
            "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        },
        data=data,
        shared_audio={
            "train_and_validation": [p for f in folds for p in corpus.duplicates(f.train_names, f.val_names)],
            "train_and_test": corpus.duplicates([*train, *devel], held_out),
        },
        members=outcomes,
        fused=fused,
        fusion=settings["fusion"]["name"],
        also_scored=also_scored,
        fusing=fusing,
        baselines=baselines,
        seed=derive(settings["seed"], "bootstrap"),
    )
    return fused, results


def write_outputs(
    workdir: Path,
    experiment: Experiment,
    outcomes: Mapping[str, MemberOutcome],
    fused: Fused,
    results: Mapping[str, Any],
) -> None:
    """Write the submission, results.json, system.json, split.csv, all predictions and the report."""
    corpus, settings, members = experiment.corpus, experiment.settings, experiment.members
    # The submission comes first: if it is refused, nothing is half written.
    if corpus.partition("test"):
        file = workdir / "submission" / f"{corpus.task.name}.{experiment.name}.csv"
        submission.write(file, fused.test, experiment.data)
    keep_others(workdir, experiment.name)
    partitions.write(workdir / "split.csv", corpus, [member["folds"] for member in settings["members"].values()])
    write_json(workdir / "results.json", results)
    about = {"seed": settings["seed"], "corpus": corpus.fingerprint}
    about = {key: results[key] for key in ("experiment", "recipe", "demo")} | about
    system_file.write(workdir, about, corpus, members, fused.model_weights)
    save(fused.validation, workdir / "predictions" / "validation.npz")
    save(fused.test, workdir / "predictions" / "test.npz")
    readable_predictions.write(workdir / "predictions.csv", fused.validation, fused.test, experiment.data)
    rate_hz, fusing = corpus.task.sample_rate_hz, results["fusion"]["members"]
    of_members = {name: (outcomes[name].validation, outcomes[name].test) for name in fusing}
    report.write(
        workdir / "report.html",
        results=results,
        data=experiment.data,
        waveform=lambda name: (audio.read(corpus.by_name[name].path, rate_hz), rate_hz),
        validation=fused.validation,
        test=fused.test,
        singles=of_members if len(fusing) > 1 else {},
        curves={name: members[name].curves for name in outcomes},
        config=settings,
        findings=[str(finding) for finding in experiment.findings.listed()],
    )


def compare(paths: Sequence[Path], root: Path | None, task: str | None, output: Path | None) -> None:
    """Compare systems, see `jaxpara.evaluation.compare_systems.run`."""
    compare_systems.run(
        paths, root, task, output, tasks=TASKS, read=lambda root, task: describe(read(root, TASKS[task]))
    )


def describe(corpus: Corpus) -> CorpusData:
    """Return the facts about a corpus that evaluation uses."""
    seconds = {partition: [r.audio.seconds for r in corpus.partition(partition)] for partition in PARTITIONS}
    return CorpusData(
        root=str(corpus.root),
        label_file=str(corpus.label_file),
        simulated=corpus.simulated,
        task=corpus.task.name,
        kind=corpus.task.kind,
        measure=corpus.task.measure,
        classes=corpus.task.classes if corpus.task.kind == "classes" else (),
        breathing=corpus.task.breathing,
        levels=corpus.task.classes if corpus.task.kind == "ordinal" else (),
        labels=corpus.labels,
        seconds={p: None if 0 in values else sum(values) for p, values in seconds.items()},
    )


def _members_to_fuse(settings: Mapping[str, Any], predicting: list[str], left_out: Collection[str]) -> list[str]:
    """Return the members in `fusion.members` that are not left out; without these, all in `only` that predict."""
    only = settings["only"] or predicting
    wanted = settings["fusion"].get("members", ()) or [name for name in predicting if name in only]
    for name in wanted:
        if name not in predicting and name not in left_out:
            raise UserError(
                f"config.fusion.members names {name!r}, expected some of {predicting}{suggest(name, predicting)}"
            )
    fusing = list(dict.fromkeys(name for name in wanted if name in predicting))
    if not fusing:
        where = f"config.only is {settings['only']}" if settings["only"] else "config.members"
        raise UserError(f"{where}: no member is left that predicts, so there is nothing to fuse")
    return fusing
