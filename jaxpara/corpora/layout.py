"""Where a corpus keeps its files: `wav/` and `lab/`, in the root or in its `dist/`."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jaxpara.corpora.corpus import PARTITIONS
from jaxpara.corpora.findings import Defect

MARKER = "SIMULATED.json"  # stands in the root of a simulated corpus, and in no other


@dataclass(frozen=True)
class Layout:
    """The files of a corpus.

    Attributes:
      labels: the label files with the partition that each holds; None where the file names tell it.
      confidential: the labels of the test partition, where somebody has them.
      speakers: the table of speakers, where there is one.
      audio: what lies in the wav folder, relative to it, and whether it is a plain file and no link.
    """

    wav: Path
    labels: dict[Path, str | None]
    confidential: Path | None
    speakers: Path | None
    audio: dict[str, bool]


def find(root: Path) -> Layout:
    """Finds the files of a corpus in the ComParE layout.

    Raises:
      Defect: the folder, its `lab/`, its label files or its `wav/` are missing or empty.
    """
    if not root.exists():
        raise Defect(root, None, "no such folder", "give the folder that holds wav/ and lab/")
    if not root.is_dir():
        raise Defect(root, None, "a file, not a folder", "give the folder that holds wav/ and lab/")
    base = next((base for base in (root, root / "dist") if (base / "lab").is_dir()), None)
    if base is None:
        inside = next((child for child in sorted(root.iterdir()) if (child / "lab").is_dir()), None)
        found = "an empty folder" if not any(root.iterdir()) else "no lab/ in this folder"
        mend = f"did you mean {inside}?" if inside else "give the folder that holds wav/ and lab/"
        raise Defect(root, None, found, mend)
    lab, wav = base / "lab", base / "wav"
    if (lab / "labels.csv").exists():
        labels: dict[Path, str | None] = {lab / "labels.csv": None}
    else:
        labels = {lab / f"{part}.csv": part for part in PARTITIONS if (lab / f"{part}.csv").exists()}
        absent = [f"{part}.csv" for part in ("train", "devel") if lab / f"{part}.csv" not in labels]
        if absent:
            what = f"neither labels.csv nor {' and '.join(absent)}"
            raise Defect(lab, None, what, "add labels.csv, or train.csv, devel.csv and test.csv")
    if not wav.is_dir():
        raise Defect(wav, None, "no such folder", "put the audio there")
    audio = _list(wav)
    if not audio:
        raise Defect(wav, None, "an empty folder", "put the audio there")
    confidential = (lab / "labels_confidential.csv", lab / "test.unmasked.csv")
    speakers = (lab / "speakers.csv", base / "speakers.csv", root / "speakers.csv")
    return Layout(
        wav=wav,
        labels=labels,
        confidential=next((path for path in confidential if path.exists()), None),
        speakers=next((path for path in speakers if path.exists()), None),
        audio=audio,
    )


def _list(wav: Path) -> dict[str, bool]:
    """The files below a folder, hidden ones left out; links are listed and not followed."""
    audio, folders = {}, [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(wav / prefix) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{prefix}{entry.name}/")
                else:
                    audio[prefix + entry.name] = entry.is_file(follow_symlinks=False)
    return audio


def trouble(name: str, layout: Layout) -> str:
    """Why a name in a label file does not lead to a file in the wav folder; an empty string where it does."""
    if layout.audio.get(name):
        return ""
    pure = PurePosixPath(name)
    if not name:
        return "the file name is empty"
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or name[1:2] == ":":
        return "leads out of the wav folder"
    if str(pure) != name:
        return f"is spelt in a roundabout way, expected {str(pure)!r}"
    try:
        path = (layout.wav / name).resolve(strict=True)
        if not path.is_relative_to(layout.wav.resolve()):
            return "is a link that leads out of the wav folder"
        return "" if path.is_file() else "is not a file"
    except FileNotFoundError:
        return "is not in the wav folder"
    except (OSError, ValueError, RuntimeError):  # too long a name, a null character, a ring of links
        return "cannot be opened"
