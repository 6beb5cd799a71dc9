"""Simulated corpora in the layout of ComParE, for use without a licence for the real ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpara.corpora.check import Report, check
from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.simulated import breathing, mask
from jaxpara.corpora.tasks import task_named
from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.runtime import cache_folder

STAMP = "SIMULATED corpus: no figure here is the paper's or says anything about the real one"
SIMULATED = {"breathing": breathing.write, "mask": mask.write}


def check_or_simulate(wanted: Mapping[str, Any], seed: int, progress: Progress) -> Report:
    """Check the corpus of `config.corpus`, simulated if it has no root, and print the warnings.

    Returns:
      A report without errors.

    Raises:
      UserError: the corpus has errors, or no recording in a partition.
    """
    task = task_named(wanted["task"], "config.corpus.task")
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
    for finding in checked.further_findings:
        progress.say(f"{finding.level}: {finding}", error=finding.level == "error")
    corpus = checked.require_valid()
    for partition in PARTITIONS:
        if not corpus.partition(partition):
            raise UserError(f"{root}: no recording is in {partition}; names begin with {', '.join(PARTITIONS)}")
    progress.say(f"{root}: {len(corpus.recordings)} recordings, no errors, {checked.warnings} warnings")
    return checked
