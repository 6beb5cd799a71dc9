"""The one reader of all corpora: from label files, tables, folders and databases to a `Corpus`."""

from dataclasses import replace
from pathlib import Path

from jaxpara.corpora import audformat, challenge, names, partitions, table, values
from jaxpara.corpora.corpus import PARTITIONS, Corpus, recordings_of
from jaxpara.corpora.findings import Findings
from jaxpara.corpora.source import SUB_CHALLENGE, Options, Source
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError

MARKER = "SIMULATED.json"  # in the root of simulated corpora only


def read(root: Path, task: Task, options: Options = SUB_CHALLENGE) -> Corpus:
    """Read a corpus without opening its audio; raise the first of the errors that `check` lists about its labels."""
    findings = Findings()
    corpus, _ = read_contents(Path(root), task, findings, options)
    findings.require_no_error()
    return corpus


def read_contents(
    root: Path, task: Task, findings: Findings, options: Options = SUB_CHALLENGE
) -> tuple[Corpus, list[Path]]:
    """Read as much of a corpus as possible, without opening its audio.

    Args:
      root: the folder of the corpus; of a sub-challenge the one that contains `wav/` and `lab/`, or whose `dist/` does.
      task: from `jaxpara.corpora.tasks.task_of`.

    Returns:
      The corpus, without the recordings that have no audio or wrong times, and the audio files that no label file
      names.

    Raises:
      UserError: nothing can be read.
    """
    try:
        source = _source(root, task, options, findings)
        # Of several tables, some may lack a column that others have.
        rows, file = source.rows.fillna({"split": "", "speaker": "", "fold": ""}), source.label_file
        task = values.with_classes(replace(task, target=source.target), rows, file, findings)
        if "split" in rows:
            rows = partitions.from_column(rows, findings)
        rows, meant = names.with_audio(rows, source.folder, source.audio, findings, own=options.own)
        rows["speaker"] = partitions.speakers(rows, source.named, task, source.speakers, findings)
        if options.split not in partitions.MADE:
            rows = partitions.from_file(rows, options.split, findings)
        rows = values.with_values(rows, task, rows["name"][rows["partition"] == "test"], findings)
        rows, rate_hz = values.on_grid(rows, findings) if task.kind == "sequence" else (rows, 0.0)
        if made := not findings.count("error") and bool(rows["partition"].isna().any()):
            rows = partitions.made(rows, task, options, findings)
        rows["truth"] = rows["value"]
        if source.confidential:
            rows["truth"] = values.truth(rows, source.confidential, task, source.named, findings, options.columns)
        task = values.with_limits(task, rows, file, findings)
    except OSError as error:
        file = Path(error.filename or root)
        raise findings.fatal(file, f"cannot be read ({error.strerror})", "make it readable") from error
    corpus = Corpus(task, root, recordings_of(rows, source.folder), rate_hz, (root / MARKER).exists(), file)
    # An empty partition may only be the result of the errors before it.
    if not findings.count("error"):
        _add_missing(corpus, options, findings)
        recordings = rows.drop_duplicates("name")
        if source.speakers and "speaker" not in source.rows:
            # Speakers are corrected where they were read.
            recordings = recordings.assign(path=source.speakers, row=None)
        partitions.add_speakers_of_two(recordings, findings)
        unknown = sum(not recording.speaker for recording in corpus.recordings)
        if options.own and unknown and (made or not corpus.partition("devel")):
            what = f"the speakers of {unknown} of {len(corpus.recordings)} recordings are not known"
            what += ", so that the same ones may be on both sides of a random split"
            fix = "scores may be too good for new speakers: add a column with the speakers, or splits"
            findings.warning("splits of unknown speakers", file, what, fix)
    named = {source.folder / name for name in (*source.named, *meant)}
    return corpus, [path for path in (source.folder / name for name in source.audio) if path not in named]


def _source(root: Path, task: Task, options: Options, findings: Findings) -> Source:
    """Read the rows in the way that the folder and the options suggest."""
    if not options.own:
        if options.table:
            raise UserError("config.corpus.table is for other corpora; remove it, or set config.corpus.task to a kind")
        return challenge.source(root, task, options, findings)
    if (root / audformat.HEADER).is_file():
        return audformat.source(root, task, options, findings)
    if not options.table and challenge.has_layout(root):
        return challenge.source(root, task, options, findings)
    return table.source(root, task, options, findings)


def _add_missing(corpus: Corpus, options: Options, findings: Findings) -> None:
    """Add partitions without recordings; only sub-challenges need more than a training set."""
    for partition in ("train",) if options.own else PARTITIONS:
        if not corpus.partition(partition):
            level, what = "warning" if partition == "test" else "error", f"no recordings in the partition {partition}"
            findings.add(level, "empty partitions", corpus.label_file, what, "add their rows")
