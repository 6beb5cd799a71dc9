"""Simulated corpora in the layout of ComParE, for use without a licence for the real ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxpara.corpora.check import check
from jaxpara.corpora.corpus import Corpus
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.simulated import writing
from jaxpara.corpora.source import Options
from jaxpara.corpora.tasks import TASKS, task_of
from jaxpara.errors import UserError
from jaxpara.progress import Progress
from jaxpara.runtime import cache_folder

STAMP = "SIMULATED corpus: no figure here is the paper's or says anything about the real one"


def check_or_simulate(wanted: Mapping[str, Any], seed: int, progress: Progress) -> tuple[Corpus, Findings]:
    """Check the corpus of `config.corpus`, simulated if it has no root; print and return the warnings.

    Raises:
      UserError: the corpus has errors, or the config does not fit it.
    """
    name, task = wanted["task"], task_of(wanted)
    if wanted["root"]:
        root = Path(wanted["root"])
    elif name not in writing.SIMULATORS:
        what = task.name if name in TASKS else f"a corpus of {name}"
        raise UserError(f"config.corpus.root is missing: {what} is not simulated; give the folder of a corpus")
    else:
        sizes = {key: wanted[key] for key in ("preset", "speakers", "seconds") if wanted[key] is not None}
        label = "-".join(str(value) for value in sizes.values()).replace(" ", "")
        root = cache_folder() / "simulated" / f"{name}-{label}-{seed}"
        with progress.task("simulating the corpus", 1) as bar:
            writing.write(name, root, seed=seed, progress=bar.update, **sizes)
    findings = Findings()
    try:
        with progress.task("checking the corpus", 1) as bar:
            corpus = check(root, task, findings, bar.update, Options.of(wanted))
    finally:
        # The first error is the message of the exception.
        for finding in findings.listed()[findings.count("error") > 0 :]:
            progress.say(f"{finding.level}: {finding}", error=finding.level == "error")
    progress.say(f"{root}: {len(corpus.recordings)} recordings, no errors, {findings.count('warning')} warnings")
    return corpus, findings
