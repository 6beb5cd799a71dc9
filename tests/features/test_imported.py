"""Vectors made elsewhere are read exactly from every format, and errors name the file, the place and the fix."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxpara.corpora.audio import AudioInfo
from jaxpara.corpora.corpus import Corpus, Recording
from jaxpara.corpora.tasks import TASKS
from jaxpara.errors import UserError
from jaxpara.features import FEATURES
from jaxpara.features.imported import Imported
from jaxpara.registry import build

NAMES = ["a, 1.wav", "sub/b.wav", "ç.flac"]
VECTORS = {name: np.random.default_rng(i).normal(size=4).astype(np.float32) for i, name in enumerate(NAMES)}
COLUMNS = ["F0 mean", "F0 std", "loudness", "jitter"]


@pytest.fixture
def corpus(tmp_path):
    zero, audio = np.zeros(1), AudioInfo(rate_hz=16_000, channels=1, frames=160_000)
    recordings = tuple(Recording(name, Path(name), "train", "", zero, zero, zero, audio) for name in NAMES)
    return Corpus(TASKS["mask"], tmp_path, recordings, 0.0, label_file=tmp_path / "labels.csv")


def imported(corpus, path, **more):
    return build(FEATURES, {"name": "import", "path": str(path), **more}, "members.svm.features", corpus=corpus)


def table():
    return pd.DataFrame(VECTORS, COLUMNS).T.rename_axis("file").reset_index()[::-1]


def write_csv(path, separator=",", name="file"):
    table().rename(columns={"file": name}).to_csv(path, index=False, sep=separator, float_format="%.9g")


def write_audformat(path, write):
    """The index of openSMILE and audformat: a segment, which is the whole file."""
    times = pd.Timedelta(0), pd.Timedelta("10s")
    write(table().assign(start=times[0], end=times[1]).set_index(["file", "start", "end"]), path)


def write_named_arrays(path):
    np.savez(path, names=np.array(NAMES[::-1]), features=np.stack([VECTORS[name] for name in NAMES[::-1]]))


WRITERS = {
    "comma.csv": write_csv,
    "semicolon.csv": lambda path: write_csv(path, ";", "filename"),
    "tab.tsv": lambda path: write_csv(path, "\t", "path"),
    "opensmile.csv": lambda path: write_audformat(path, pd.DataFrame.to_csv),
    "column.parquet": lambda path: table().to_parquet(path),
    "index.parquet": lambda path: table().set_index("file").to_parquet(path),
    "unnamed.parquet": lambda path: table().set_index("file").rename_axis(None).to_parquet(path),
    "audformat.parquet": lambda path: write_audformat(path, pd.DataFrame.to_parquet),
    "each.npz": lambda path: np.savez(path, **VECTORS),
    "together.npz": write_named_arrays,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_vectors(corpus, name):
    WRITERS[name](corpus.root / name)
    feature = imported(corpus, name)  # relative to the corpus folder
    assert list(feature.arrays()) == NAMES
    for recording, values in feature.arrays().items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, VECTORS[recording], rtol=1e-7)
    np.savez(corpus.root / "v.npz", **VECTORS)
    assert feature.digest == imported(corpus, "v.npz").digest


def test_sequences_have_a_rate_and_other_numbers_another_digest(corpus):
    frames = {name: np.random.default_rng(1).normal(size=(499, 3)) for name in NAMES}
    np.savez(corpus.root / "w.npz", **frames)
    feature = imported(corpus, "w.npz", frame_rate_hz=50.0)
    assert feature.frame_rate_hz == 50
    np.testing.assert_array_equal(feature.arrays()[NAMES[1]], frames[NAMES[1]].astype(np.float32))
    frames[NAMES[2]][7, 1] += 1
    np.savez(corpus.root / "v.npz", **frames)
    assert imported(corpus, "v.npz", frame_rate_hz=50.0).digest != feature.digest


def test_vectors_of_other_files_are_announced(corpus, caplog):
    np.savez(corpus.root / "v.npz", **VECTORS, **{"other.wav": np.zeros(9)})
    imported(corpus, "v.npz")
    assert "v.npz, array 'other.wav' has 1 vectors of files that are not in the corpus" in caplog.text


def lines(*changes):
    """Return a function that writes a table after changes (text, other text) of its content."""

    def write(path):
        write_csv(path)
        content = path.read_text()
        for before, after in changes:
            assert before in content
            content = content.replace(before, after, 1)
        path.write_text(content)

    return write


def cell(text):
    return lambda path: table().assign(jitter=text).to_csv(path, index=False)


def arrays(**changes):
    return lambda path: np.savez(path, **{name: values for name, values in (VECTORS | changes).items()})


FRAMES = {name: np.zeros((250, 3)) for name in NAMES}
BAD = [
    ("v.csv", lines(("sub/b.wav", "SUB\\B.WAV")), r"no vector for 'sub/b\.wav' of .*; did you mean 'SUB\\\\B\.WAV'\?"),
    ("v.csv", lines(("sub/b.wav", "b")), r"no vector for 'sub/b\.wav' .*did you mean 'b'\?"),
    ("v.csv", lines(("ç.flac", "c\u0327.flac")), r"no vector for 'ç\.flac' .*'.*', which has another Unicode"),
    ("v.csv", lines(("ç.flac", "x"), ("sub/b.wav", "y")), r"no vector for 'sub/b\.wav' and 1 more recordings of .*3"),
    ("v.csv", lines(("ç.flac", "sub/b.wav")), r"v\.csv, row 3: 'sub/b\.wav' is also in .*v\.csv, row 2; expected one"),
    ("v.csv", cell("loud"), r"v\.csv, row 2: column 'jitter' is 'loud', expected a number; correct the cell, or"),
    ("v.csv", cell("0,5"), r"row 2: column 'jitter' is '0,5', expected a number; write a decimal point"),
    ("v.csv", cell(""), r"row 2: column 'jitter' is '', expected a number"),
    ("v.csv", cell("nan"), r"row 2: column 'jitter' of 'ç\.flac' is nan, expected a number"),
    ("v.csv", cell("-inf"), r"row 2: column 'jitter' of 'ç\.flac' is -inf"),
    ("v.csv", cell("1e39"), r"row 2: column 'jitter' of 'ç\.flac' is 1e\+39"),
    ("v.csv", lines(("sub/b.wav", "sub/b.wav,1")), r"v\.csv, row 3: 6 columns, the header has 5"),
    ("v.csv", lines(("file,", ",")), r"v\.csv, row 1: the first line is ',F0 mean.*the first column has no name"),
    ("v.csv", lines(("F0 std", "F0 mean")), r"row 1: column 'F0 mean' appears twice"),
    ("v.csv", lines(("sub/b.wav", '"sub/b.wav')), r"row 3: a quotation mark is not closed"),
    ("v.csv", lambda path: path.write_text("file\nsub/b.wav\n"), r"no columns but file, expected one per feature"),
    ("v.csv", lambda path: path.write_bytes(b"file,a\nb,1\n\xe9.wav,1\n"), r"row 3: byte 0xe9 is not UTF-8"),
    ("v.csv", lambda path: path.write_text(""), r"row 1: the first line is empty; make it a header with a column"),
    ("v.npz", arrays(**{"ç.flac": np.zeros(5)}), r"v\.npz, .*'ç\.flac' has 5 features, but 'a, 1\.wav' has 4"),
    ("v.npz", arrays(**{"ç.flac": np.array([1, 2, np.nan, 4])}), r"feature 2 \(counted from 0\) of 'ç\.flac' is nan,"),
    ("v.npz", arrays(**{"ç.flac": np.array(["a"])}), r"array 'ç\.flac': an array of <U1, expected numbers"),
    ("v.npz", arrays(**{"ç.flac": np.array([{}])}), r"v\.npz: not readable as NPZ \(.*; save it with np\.savez"),
    ("v.npz", arrays(**FRAMES), r"'a, 1\.wav' is \[250, 3\], expected \[feature\]; set config.*\.frame_rate_hz for"),
    ("v.npz", lambda path: np.savez(path, names=np.arange(3), features=np.ones((3, 2))), r"names is \[3\] of int64"),
    ("v.npz", lambda path: path.write_bytes(b"PK, no more"), r"v\.npz: not readable as NPZ"),
    ("v.parquet", lambda path: path.write_bytes(b"PAR1"), r"v\.parquet: not readable as Parquet"),
    ("v.parquet", lambda path: table().assign(emotion="joy").to_parquet(path), r"column 'emotion' is 'joy'"),
    ("v.parquet", lambda path: table().drop(columns="file").to_parquet(path), r"v\.parquet: columns 'F0 mean.*; name"),
    ("v.txt.gz", lambda path: path.write_bytes(b""), r"features\.path is '.*v\.txt\.gz', expected a file whose name"),
    ("v.npz", lambda path: None, r"config\.members\.svm\.features\.path is 'v\.npz': no such file, in .* or else"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "message"), BAD)
def test_the_error_names_the_place_and_the_fix(corpus, name, write, message):
    write(corpus.root / name)
    with pytest.raises(UserError, match=message):
        imported(corpus, name)


@pytest.mark.parametrize(
    ("rate_hz", "message"),
    [
        (50.0, r"250 frames, 5\.0 s at 50 frames per second, but its audio has 10\.0 s; did you mean .*rate_hz = 25\?"),
        (-1.0, r"config\.members\.svm\.features\.frame_rate_hz is -1\.0, expected a finite number, at least 0"),
    ],
)
def test_a_wrong_frame_rate_is_refused(corpus, rate_hz, message):
    np.savez(corpus.root / "v.npz", **FRAMES)
    with pytest.raises(UserError, match=message):
        imported(corpus, "v.npz", frame_rate_hz=rate_hz)
    assert imported(corpus, "v.npz", frame_rate_hz=25.0).arrays()


def test_without_pyarrow_the_extra_is_named(corpus, monkeypatch):
    (corpus.root / "v.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Parquet files need pyarrow: pip install 'jaxpara\[parquet\]', or save a CSV"):
        Imported("v.parquet", corpus, "members.svm.features")
