"""No content of a file is executed, and no name leads out of its folder; for markup see evaluation/test_report.py."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxpara.corpora.read import read
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError

ROOT = Path(__file__).parent.parent
# What makes code of data. The one reader of pickles knows tensors and nothing else: tests/models/test_pretrained.py.
EXECUTES = re.compile(
    r"pickle\.loads?\b|\bUnpickler\b|allow_pickle=True|\b(?:eval|exec)\(|yaml\.|torch\.load|joblib|marshal|shelve|dill\b"
    r"|shell=True|os\.system|get_untrusted_types|trusted=(?!TRUSTED)"
)
READERS = {"jaxpara/models/torch_file.py": {"Unpickler"}}
SOURCES = [*(ROOT / "jaxpara").rglob("*.py"), *(ROOT / "configs").glob("*.py"), ROOT / "launch.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_executes_what_a_file_holds(path):
    # Prose may speak of it: quoted text and comments are no calls.
    code = re.sub(r'"[^"\n]*"|#[^\n]*', "", re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL))
    found = {match.group().strip() for match in EXECUTES.finditer(code)} - {"torch.load"}
    assert found <= READERS.get(str(path.relative_to(ROOT)), set())
    for call in re.findall(r"\bnp\.load\([^)]*\)", code):
        assert "allow_pickle=False" in call, call


def folder(root, name):
    (root / "wav").mkdir(parents=True)
    (root / "lab").mkdir()
    for number, each in enumerate((name, "devel_1.wav", "test_1.wav")):
        if "/" not in each:
            soundfile.write(root / "wav" / each, np.full(1600, 0.01 * (number + 1)), 16_000)
    rows = f"file_name,label\n{name},clear\ndevel_1.wav,mask\ntest_1.wav,?\n"
    (root / "lab/labels.csv").write_text(rows)
    return root


@pytest.mark.parametrize("name", ["../train_1.wav", "/etc/train_1.wav", "a/../../train_1.wav", "..\\train_1.wav"])
def test_a_name_in_a_label_file_does_not_lead_out_of_the_corpus(name, tmp_path):
    root = folder(tmp_path / "c", name)
    soundfile.write(tmp_path / "c/train_1.wav", np.zeros(1600), 16_000)  # it is there, and is not taken
    with pytest.raises(
        UserError, match=r"labels.csv, row 2: .* (leads out of the wav folder|does not begin with train_)"
    ):
        read(root, TASKS["mask"])


def test_a_link_may_lead_elsewhere_in_the_wav_folder_and_no_farther(tmp_path):
    root = folder(tmp_path / "c", "train_1.wav")
    shutil.move(root / "wav/train_1.wav", root / "wav/kept.wav")
    (root / "wav/train_1.wav").symlink_to(root / "wav/kept.wav")
    assert len(read(root, TASKS["mask"]).recordings) == 3
    shutil.move(root / "wav/kept.wav", tmp_path / "kept.wav")
    (root / "wav/train_1.wav").unlink()
    (root / "wav/train_1.wav").symlink_to(tmp_path / "kept.wav")
    with pytest.raises(UserError, match="is a link that leads out of the wav folder"):
        read(root, TASKS["mask"])
    # The folder itself may be a link, as it often is where discs are shared: whoever made it chose its contents.
    shutil.move(root / "wav", tmp_path / "elsewhere")
    (tmp_path / "elsewhere/train_1.wav").unlink()
    shutil.move(tmp_path / "kept.wav", tmp_path / "elsewhere/train_1.wav")
    (root / "wav").symlink_to(tmp_path / "elsewhere")
    assert len(read(root, TASKS["mask"]).recordings) == 3
