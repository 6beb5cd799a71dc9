"""A table of files is predicted in its order, with its other columns in the output; new audio lacks some features."""

import csv
import json
import os
import shutil

import pytest
import soundfile

from jaxpara.errors import UserError
from jaxpara.inference.predict import predict
from jaxpara.inference.system import System

pytestmark = pytest.mark.usefixtures("read_once")


@pytest.fixture
def folder(trained, tmp_path):
    """Two recordings, `wav/b.wav` and `wav/a.wav`."""
    speech = soundfile.read(trained("mask")[1] / "wav" / "test_00001.wav")[0]
    (tmp_path / "wav").mkdir()
    for name, scale in (("a", 1.0), ("b", 0.5)):
        soundfile.write(tmp_path / "wav" / f"{name}.wav", scale * speech, 16_000)
    return tmp_path


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_kept_in_the_order_of_the_table(trained, folder, capsys):
    workdir, _ = trained("mask")
    table = folder / "files.tsv"
    absolute = folder / "wav" / "b.wav"
    table.write_text(f"speaker\tfilename\tlabel\tmask\n1, 2\t{absolute}\tjoy\t\n'3\"\twav/a.wav\tfear\tno\n")
    predict(workdir, str(table), folder / "out" / "o.csv", images=True)
    first, second = rows_of(folder / "out" / "o.csv")
    assert list(first) == ["speaker", "filename", "label_in_input", "mask_in_input", "label", "clear", "mask"]
    assert list(first.values())[:4] == ["1, 2", str(absolute), "joy", ""]
    assert list(second.values())[:4] == ["'3\"", "wav/a.wav", "fear", "no"]
    said = " ".join(capsys.readouterr().out.split())
    assert "column 'label' of" in said
    assert "is 'label_in_input' in" in said
    # As in a folder, in another order.
    predict(workdir, str(folder / "wav"), folder / "whole.csv")
    whole = {row.pop("file"): row for row in rows_of(folder / "whole.csv")}
    for row, name in ((first, "b.wav"), (second, "a.wav")):
        assert {key: row[key] for key in whole[name]} == whole[name]
    images = folder / "out" / "o_images"
    assert (images / "wav" / "a.wav.png").exists()
    assert len(list(images.iterdir())) == 2  # the image of an absolute path is in this folder too
    assert sorted(os.listdir(folder / "wav")) == ["a.wav", "b.wav"]


def test_rows_that_fail_are_named_and_the_others_resume(trained, folder, predicted):
    workdir, _ = trained("mask")
    os.mkfifo(folder / "wav" / "pipe.wav")
    (folder / "wav" / "c.wav").write_bytes(b"RIFF and no more")
    table = folder / "files.csv"
    files = ["wav/b.wav", "wav/A.WAV", "wav", "wav/pipe.wav", "wav/c.wav", "x" * 300, "wav/a.wav", "wav/b.wav"]
    table.write_text("\n".join(["file,age", *(f"{name},{age}" for age, name in enumerate(files))]))
    with pytest.raises(
        UserError, match=r"5 of 8 files .* 'wav/A\.WAV' \(row 3\): no such file in .*wav; did you mean 'a\.wav'\?; fix"
    ):
        predict(workdir, str(table), folder / "o.csv")
    assert [(row["file"], row["age"]) for row in rows_of(folder / "o.csv")] == [
        ("wav/b.wav", "0"),
        ("wav/a.wav", "6"),
        ("wav/b.wav", "7"),
    ]
    predicted.clear()
    shutil.copy(folder / "wav" / "a.wav", folder / "wav" / "c.wav")
    table.write_text("file\nwav/b.wav\nwav/c.wav\n")
    predict(workdir, str(table), folder / "o.csv")
    assert predicted == ["wav/c.wav"]
    assert [row["file"] for row in rows_of(folder / "o.csv")] == ["wav/b.wav", "wav/c.wav"]


def test_a_sequence_repeats_the_row_of_its_file(trained, folder):
    workdir, _ = trained("breathing")
    (folder / "files.csv").write_text("path;time;start;end\nwav/a.wav;noon;0;1\n")
    predict(workdir, str(folder / "files.csv"), folder / "o.csv")
    rows = rows_of(folder / "o.csv")
    assert {(row["path"], row["time_in_input"]) for row in rows} == {("wav/a.wav", "noon")}
    assert [float(row["time"]) for row in rows] == pytest.approx([i / 25 for i in range(len(rows))])
    assert len(rows) >= 25


@pytest.mark.parametrize(
    ("content", "output", "message"),
    [
        ("file\n", "o.csv", r"--input=.*files\.csv: no rows below the header, expected one per audio file"),
        (
            "wav/a.wav\n",
            "o.csv",
            r"files\.csv, row 1: the first line is 'wav/a\.wav'; make it a header with a column file_name or",
        ),
        ("file,file\na,b\n", "o.csv", r"column 'file' appears twice"),
        ("file\nwav/a.wav\n", "files.csv", r"--output=.*files\.csv: is also the --input, which it would replace"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(trained, folder, content, output, message):
    (folder / "files.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        predict(trained("mask")[0], str(folder / "files.csv"), folder / output)
    assert (folder / "files.csv").read_text() == content


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"name": "import", "path": "v.npz"},
            r"member bags was trained on features made elsewhere \(v\.npz\), which new",
        ),
        (
            {"per_speaker": True},
            r"the features of member bags are standardised per speaker, .*; train it with features",
        ),
    ],
)
def test_systems_with_features_that_new_audio_lacks_are_refused(trained, tmp_path, features, message):
    workdir = shutil.copytree(trained("mask")[0], tmp_path / "run")
    about = json.loads((workdir / "system.json").read_text())
    about["members"]["bags"]["config"]["features"] |= features
    (workdir / "system.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=message):
        System(workdir)
