"""Errors on the command line, in a config or in paths, one row each, are reported in one line."""
# ruff: noqa: E501 (a table has a line a row)

import pickle
import zipfile
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from spoiling import CNN, CONFIG, EVALUATE, NOISE, SVR, TOP, Hostile, Row, Spoil, assert_one_line, text, valid_corpus


def archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "w.pth", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Hostile()))


def config(body: str) -> Spoil:
    head = "from configs import common\nfrom ml_collections import ConfigDict\n"
    return text("config.py", f"{head}def get_config(recipe='recommended'):\n    {body}\n")


def member(body: str) -> Spoil:
    return config(f"return common.experiment('breathing', recipe, members={body}, demo={{}})")


ROWS = [
    # The command line and the config file.
    Row("a config given twice", "given twice, tests/small.py and configs/mask_s1.py; give one", ("--config=configs/mask_s1.py",)),
    Row("a folder as config", "--config=configs: no such file", config="--config=configs"),
    Row("a config in prose", r"README.md, line \d+: SyntaxError: .*; fix the config", config="--config=README.md"),
    Row("a config with a syntax error", r"config.py, line 1: SyntaxError: .*; fix", spoil=text("config.py", "def (:"), config="--config={folder}/config.py"),
    Row("a config that fails", r"config.py, line 4: ZeroDivisionError: .*; fix", spoil=config("return 1 / 0"), config="--config={folder}/config.py"),
    Row("a config that imports what is not there", r"config.py, line 1: ModuleNotFoundError: .*'nosuch'; fix", spoil=text("config.py", "import nosuch"), config="--config={folder}/config.py"),
    Row("a config without get_config", "config.py: has no function get_config; see the files in configs/", spoil=text("config.py", "x = 1"), config="--config={folder}/config.py"),
    Row("a config of something else", "'corpus' is not a field of this config", spoil=config("return ConfigDict({'seed': 1})"), config="--config={folder}/config.py"),
    Row("a config without members", "no member is left that predicts", spoil=member("{}"), config="--config={folder}/config.py"),
    Row("a member without parts", "config.members.a has no features and no folds and no learner, .*; add", spoil=member("{'a': {}}"), config="--config={folder}/config.py"),
    Row("a member that is a word", "config.members.a has no features", spoil=member("{'a': 'cnn'}"), config="--config={folder}/config.py"),
    Row("a member whose name is a path", "config.members.a/b: its name becomes that of a folder; choose one without /", spoil=member("{'a/b': {'features': {}, 'folds': {}, 'learner': {}}}"), config="--config={folder}/config.py"),
    Row("an unknown recipe", "recipe 'papre' is unknown, expected one of", config=f"{CONFIG}:papre"),
    Row("a recipe as a field", "config.recipe is only the name of the recipe; choose one with --config=FILE:paper", ("--config.recipe=paper",)),
    Row("an unknown field", "'epochz' is not a field .*did you mean 'epochs'", (f"{CNN}.learner.epochz=3",)),
    Row("an unknown member", "'cmm' is not a field of this config", ("--config.members.cmm.learner.epochs=3",)),
    Row("a word for a number", "learner.epochs=many: invalid literal", (f"{CNN}.learner.epochs=many",)),
    Row("a word for a section", "--config.fusion=mean: Failed to parse", ("--config.fusion=mean",)),
    Row("code for a tuple", "filters is .*, expected a whole number", (f"{CNN}.learner.model.filters=__import__('os').system('touch executed')",)),
    # Numbers that cannot be.
    Row("a rate that is not a number", r"config.members.cnn.learner.optimizer.lr is nan, expected a finite number, more than 0", (f"{CNN}.learner.optimizer.lr=nan",)),
    Row("an infinite rate", "optimizer.lr is inf, expected a finite number", (f"{CNN}.learner.optimizer.lr=inf",)),
    Row("a negative rate", "optimizer.lr is -1.0, expected a finite number, more than 0", (f"{CNN}.learner.optimizer.lr=-1",)),
    Row("a negative norm", "optimizer.clip_norm is -1.0, expected .*at least 0", (f"{CNN}.learner.optimizer.clip_norm=-1",)),
    Row("negative epochs", "cnn.learner.epochs is -1, expected a whole number, at least 0", (f"{CNN}.learner.epochs=-1",)),
    Row("a negative batch", "cnn.learner.batch is -4, expected a whole number, at least 1", (f"{CNN}.learner.batch=-4",)),
    Row("a negative microbatch", "cnn.learner.microbatch is -3, expected a whole", (f"{CNN}.learner.microbatch=-3",)),
    Row("no best checkpoint", "cnn.learner.keep_best is 0, expected a whole number, at least 1", (f"{CNN}.learner.keep_best=0",)),
    Row("a window of nothing", "cnn.learner.examples has window_s 0.0 and step_s 2.0: shorter .*; make them longer", (f"{CNN}.learner.examples.window_s=0",)),
    Row("a window without end", "window_s is inf, expected a finite number", (f"{CNN}.learner.examples.window_s=inf",)),
    Row("a step back", "step_s is -1.0, expected a finite number, at least 0", (f"{CNN}.learner.examples.step_s=-1",)),
    Row("dropout of more than all", "model.dropout is 1.5, expected a finite number, at least 0 and less than 1", (f"{CNN}.learner.model.dropout=1.5",)),
    Row("layers of nothing", r"filters is 0, expected a whole number, at least 1", (f"{CNN}.learner.model.filters=(0,4,4,4)",)),
    Row("layers of halves", r"filters is 4.5, expected a whole number", (f"{CNN}.learner.model.filters=(4.5,4,4,4)",)),
    Row("layers that do not match", r"filters \(4, 4\), kernels .* differ in length; give", (f"{CNN}.learner.model.filters=(4,4)",)),
    Row("an unknown output", r"model.output is 'tan', expected one of \['tanh', 'linear'\]", (f"{CNN}.learner.model.output=tan",), config="--config=configs/breathing_e2e.py"),
    Row("an unknown last pool", r"model.last_pool is 'mid', expected one of \['max', 'mean'\]", (f"{CNN}.learner.model.last_pool=mid",), config="--config=configs/breathing_e2e.py"),
    Row("bands of nothing", "svr.features.bands is 0, expected a whole number, at least 1", (f"{SVR}.features.bands=0",)),
    Row("a hop back", "svr.features.hop_s is -0.1, expected", (f"{SVR}.features.hop_s=-0.1",)),
    Row("no C", r"svr.learner.c is \(\), expected one or more numbers above 0", (f"{SVR}.learner.c=()",)),
    Row("more folds than recordings", "folds.n is 20, but there are 4 recordings in train; use fewer", (f"{CNN}.folds.n=20",)),
    Row("odd folds", "folds.n is 3, expected an even number", (f"{CNN}.folds.n=3",)),
    Row("a fold that is not there", r"folds.only names folds \[9\], but there are 2", (f"{CNN}.folds.only=(9,)",)),
    Row("folds for classes", "folds.name is 'stratified', which needs classes; use", (f"{CNN}.folds.name=stratified",)),
    Row("a simulated corpus of nobody", r"speakers is \(0, 0, 0\), expected three counts from 1 to 100", ("--config.corpus.root=", "--config.corpus.speakers=(0,0,0)")),
    Row("a simulated corpus of words", "speakers is .*, expected three counts", ("--config.corpus.root=", "--config.corpus.speakers=('a','b','c')")),
    Row("a simulated corpus without end", "seconds is nan, expected 8 or more", ("--config.corpus.root=", "--config.corpus.speakers=(1,1,1)", "--config.corpus.seconds=nan")),
    # Names of nothing.
    Row("an unknown task", "config.corpus.task is 'snoring', expected one of .'breathing'", ("--config.corpus.task=snoring",)),
    Row("a task that is not simulated", "config.corpus.root is missing: ComParE2021_CCS is not simulated; give", ("--config.corpus.root=", "--config.corpus.task=covid_cough")),
    Row("an unknown feature", "did you mean 'waveform'", (f"{CNN}.features.name=waveforms",)),
    Row("an unknown learner", "did you mean 'net'", (f"{CNN}.learner.name=nett",)),
    Row("an unknown network", "model.name is 'cnn9', expected one of", (f"{CNN}.learner.model.name=cnn9",)),
    Row("another network's fields", "model.dropout is not a field of 'resnet18'", (f"{CNN}.learner.model.name=resnet18",)),
    Row("an unknown kernel", "svr.learner.kernel is 'poly', expected one of", (f"{SVR}.learner.kernel=poly",)),
    Row("embeddings of nobody", "config.members.top.features.of names 'nobody', expected some of", (f"{TOP}.features.of=('nobody',)",)),
    Row("embeddings of itself", "config.members: top uses the embeddings of top, which is a circle", (f"{TOP}.features.of=('top',)",)),
    Row("embeddings of an SVM", "svr.learner: a support vector machine has no embeddings; name", (f"{TOP}.features.of=('svr',)",)),
    Row("an unknown fusion", "config.fusion.name is 'vote', expected one of", ("--config.fusion.name=vote",)),
    Row("a fusion of two for three members", "'grid', which is for 2 members, not 3; try", ("--config.fusion.name=grid",)),
    Row("an unknown member to fuse", "config.fusion.members names 'cmm', expected some of", ("--config.fusion.members=('cnn','cmm')",)),
    Row("an unknown recording to leave out", "config.fusion.leave_out names 'nobody.wav', which is not a recording of .*; correct", ("--config.fusion.leave_out=('nobody.wav',)",)),
    # Weights.
    Row("weights that are not there", "/nowhere.pth does not exist; expected", (f"{CNN}.learner.pretrained=/nowhere.pth",)),
    Row("weights for another network", "'imagenet' is for .*, not for 'cnn1d_lstm'; give", (f"{CNN}.learner.pretrained=imagenet",)),
    Row("a text as weights", "w.pth: not a file of PyTorch; save it with torch.save", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), text("w.pth", "hello")),
    Row("weights that execute", "w.pth: refused: it refers to posix.system; .* nothing in the file was executed", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), archive),
    Row("a pickle as weights", "w.pth: not a file of PyTorch", (f"{CNN}.learner.pretrained={{folder}}/w.pth",), text("w.pth", pickle.dumps(Hostile()))),
    Row("torn safetensors", "w.safetensors: damaged, or not a safetensors file .*; download it again", (f"{CNN}.learner.pretrained={{folder}}/w.safetensors",), text("w.safetensors", "{}")),
    Row("weights that have no name", "recurrent_kernel has no name in PyTorch's files; set it to None", (f"{CNN}.learner.pretrained={{folder}}/w.safetensors",), lambda f: save_file({"a.weight": NOISE}, f / "w.safetensors")),
    # Folders.
    Row("a file as workdir", "--workdir=.*run: cannot be written .*; choose another", spoil=text("run", "")),
    Row("a workdir below a file", "--workdir=README.md/run: cannot be written .*; choose another", ("--workdir=README.md/run",)),
    Row("a workdir that nobody may write", "--workdir=/proc/run: cannot be written .*; choose another", ("--workdir=/proc/run",)),
    Row("a cache that nobody may write", "/proc/cache/compiled: cannot be created .*; set JAXPARA_CACHE", environment={"JAXPARA_CACHE": "/proc/cache"}),
    Row("a folder for the lock", "--workdir=.*run: cannot be written", spoil=lambda f: (f / "run/.lock").mkdir(parents=True)),
    Row("nothing to evaluate", "fold_0_seed_0: training is not finished, .*; run the same command without --mode", (EVALUATE,)),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a valid corpus, not to be changed, and the command server."""
    folder = tmp_path_factory.mktemp("valid")
    with valid_corpus(folder, trained=False) as launch:
        yield folder, launch


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name.replace(" ", "_"))
def test_an_error_is_one_line(row, place, tmp_path):
    assert_one_line(row, place[1], place[0], tmp_path)


def test_no_row_is_duplicated():
    assert len({row.name for row in ROWS}) == len(ROWS)
