"""The cases of `python -m benchmarks.side_by_side`: what is timed, its size and its peers.

Imports neither JAX nor PyTorch.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.side import Arrays, Side

TORCH = ("eager", "eager_tuned", "compile", "compile_tuned", "bfloat16_tuned")
# Settings of peers other than networks: unchanged, and with our allocator setting.
PLAIN = ("default", "default_tuned")
RATE_HZ, SPEAKERS = 16_000, 16
TINY_DEMO = (
    *("--config.corpus.speakers=(2,2,2)", "--config.corpus.seconds=12", "--config.members.cnn.learner.epochs=1"),
    *("--config.members.cnn.learner.model.filters=(4,4,4,4)", "--config.members.cnn.learner.model.lstm=(4,4)"),
)


@dataclass(frozen=True)
class Network:
    """A network of a config, in the recipe `recommended`, and a random batch; times do not depend on the values."""

    config: str  # the module in `configs`
    member: str
    rows: int  # examples in the batch
    labels: int = 0  # in a window; 0 for images
    size: tuple[int, int] = (0, 0)  # height and width of the input images
    changes: dict[str, Any] = field(default_factory=dict)  # of the learner's parts: `{"model": {"trunk": "dense"}}`

    @property
    def task(self) -> str:
        return "breathing" if self.labels else "mask"

    def tiny(self) -> "Network":
        """Return a size at which both sides can be compared quickly."""
        small = {} if self.size == (64, 97) else {"size": (40, 48)}
        return replace(self, rows=min(self.rows, 2), labels=min(self.labels, 12), **({} if self.labels else small))

    def learner(self) -> dict[str, Any]:
        """Return the learner of the config, with a random start."""
        config = importlib.import_module(f"configs.{self.config}").get_config()
        learner = config["members"][self.member]["learner"].to_dict() | {"pretrained": None}
        return learner | {part: {**learner[part], **fields} for part, fields in self.changes.items()}

    def batch(self) -> Arrays:
        """Return `inputs`, `targets` and `weights`; for images also `number` and `augmented`."""
        random = np.random.default_rng(0)
        if not self.labels:
            return {
                "inputs": random.integers(0, 256, (self.rows, *self.size, 3), np.uint8),
                "targets": (np.arange(self.rows) % 2).astype(np.float32),
                "weights": np.ones(self.rows, np.float32),
                "number": np.arange(self.rows, dtype=np.uint32),
                "augmented": np.ones(self.rows, bool),
            }
        model = self.learner()["model"]
        if model["name"] == "resnet_gru":
            frames = 2 * self.labels + model["piece_frames"] - 2
            inputs = random.integers(0, 256, (self.rows, frames, 128), np.uint8)
        elif model["name"] == "sequence_lstm":
            # The embeddings of systems 2 and 4, each of length 1.
            inputs = random.standard_normal((self.rows, self.labels, 768), np.float32) / np.float32(16)
        else:
            inputs = random.standard_normal((self.rows, 640 * self.labels, 1), np.float32)
        return {
            "inputs": inputs,
            "targets": random.standard_normal((self.rows, self.labels), np.float32),
            "weights": np.ones((self.rows, self.labels), np.float32),
        }


BREATHING2 = Network("breathing_e2e", "cnn", rows=4, labels=400)
BREATHING3 = Network("breathing_s3", "resnet1d", rows=4, labels=400)
PIECES = Network("breathing_s4", "resnet_gru", rows=1, labels=100)
DENSE = replace(PIECES, changes={"model": {"trunk": "dense"}})
BREATHING5 = Network("breathing_s5", "embeddings", rows=15, labels=400)
MASK = Network("mask_s2", "adam", rows=16, size=(288, 288))
# The log-Mel spectrogram without resizing.
SMALL = replace(MASK, size=(64, 97), changes={"examples": {"size": (64, 97), "augment": ()}})


@dataclass(frozen=True)
class Peer:
    """Other code that does the same work as ours.

    Attributes:
      make: maps the setting and the arrays of our side's `check` (None if nothing is checked) to the peer's side.
      settings: the settings in which it is timed.
      target: the smallest wanted ratio of its time over ours, in its fastest tuned float32 setting; 0 for none.
      same: True if it computes the same function, so that its outputs are compared with ours.
    """

    make: Callable[[str, Arrays | None], Side]
    settings: tuple[str, ...]
    target: float = 0.0
    same: bool = True


@dataclass(frozen=True)
class Case:
    """Work that is timed on both sides.

    Attributes:
      size: in words, for the table.
      count, unit: of what one call processes, for rates.
      ours: makes our side.
      peers: by name.
      tolerances: the largest accepted difference by array, see `worker.difference`.
      warm_ups: calls between the first one and the timed ones.
      max_rounds: the largest number of timed rounds.
    """

    size: str
    count: int
    unit: str
    ours: Callable[[], Side]
    peers: Mapping[str, Peer]
    tolerances: Mapping[str, float] = field(default_factory=lambda: {"outputs": 1e-4})
    warm_ups: int = 2
    max_rounds: int = 1000


def network(case: Network, *, train: bool, target: float = 0.0, **others: tuple[Network, float]) -> Case:
    """Return the case of a network against its PyTorch twin, and against other networks in PyTorch."""

    def ours() -> Side:
        from benchmarks import ours

        return ours.network(case.learner(), case.batch(), task=case.task, train=train)

    def peer(other: Network, target: float) -> Peer:
        def make(setting: str, checked: Arrays | None) -> Side:
            from benchmarks.peers import steps

            return steps.side(other.learner(), other.batch(), setting, train=train, ours=checked)

        return Peer(make, TORCH, target, same=other is case)

    if case.labels:
        size, unit = f"{case.rows} x {case.labels / 25:g} s", "windows"
    else:
        size, unit = f"{case.rows} of {' x '.join(map(str, case.learner()['examples']['size']))}", "images"
    if case.config == "breathing_s4":
        size = f"{case.rows * case.labels} pieces"
    peers = {name: peer(*other) for name, other in {"torch": (case, target), **others}.items()}
    tolerances = {"outputs": 1e-4} | ({"loss": 1e-4, "gradient": 1e-5} if train else {})
    return Case(size, case.rows, unit, ours, peers, tolerances)


def lstm_layers(rows: int, labels: int) -> Case:
    random = np.random.default_rng(0)
    sizes, shape = (256, 256), (rows, labels, 256)
    batch = {name: random.standard_normal(shape, np.float32) for name in ("inputs", "projection")}

    def ours() -> Side:
        from benchmarks import ours

        return ours.lstm_layers(batch, sizes=sizes)

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import steps

        return steps.lstm_layers(batch, setting, sizes=sizes, ours=checked)

    size, tolerances = f"2 of 256, {rows} x {labels} steps", {"outputs": 1e-4, "of_inputs": 1e-4}
    return Case(size, rows, "windows", ours, {"torch": Peer(make, TORCH, 1.0)}, tolerances)


def speech_encoder(size: str, seconds: float, **fields: Any) -> Case:
    """Return the case of a speech encoder against `transformers`; the fields are those of its `config.json`."""
    waveforms = np.random.default_rng(0).standard_normal((1, int(seconds * RATE_HZ)), np.float32)

    def ours() -> Side:
        from benchmarks import ours

        return ours.speech_encoder(fields, waveforms)

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import speech

        return speech.side(fields, waveforms, setting, checked)

    return Case(f"{size}, 1 x {seconds:g} s", 1, "files", ours, {"transformers": Peer(make, TORCH, 1.0)})


def feature(name: str, library: str, items: Any, size: str, unit: str, target: float = 0.0, **tolerance: float) -> Case:
    """Return the case of a feature against librosa or matplotlib; both modules have a function of this name."""

    def ours() -> Side:
        from benchmarks import ours

        return getattr(ours, name)(items)

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import functions

        return functions.each(getattr(functions, name), items)

    return Case(size, len(items), unit, ours, {library: Peer(make, PLAIN, target)}, tolerance or {"outputs": 1e-4})


def waves(count: int, seconds: float) -> list[np.ndarray]:
    """Return noise whose loudness rises and falls, `[sample]` float32 each."""
    random = np.random.default_rng(0)
    size = int(seconds * RATE_HZ)
    swell = 0.1 + 0.05 * np.sin(np.arange(size) * 2 * np.pi / RATE_HZ)
    return [np.clip(swell * random.standard_normal(size), -1, 1).astype(np.float32) for _ in range(count)]


def spectrograms(count: int) -> list[np.ndarray]:
    """Return random decibels, `[97, 64]` float32 each, the size of one second."""
    random = np.random.default_rng(2)
    return [random.uniform(-80, 0, (97, 64)).astype(np.float32) for _ in range(count)]


def series(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a truth `[row]` and three predictions of it `[member, row]`, float64."""
    random = np.random.default_rng(1)
    truth = random.standard_normal(rows)
    return truth, truth + np.array([[1.0], [1.5], [2.0]]) * random.standard_normal((3, rows))


def dirichlet(rows: int, draws: int) -> Case:
    truth, scores = series(rows)

    def ours() -> Side:
        from benchmarks import ours

        return ours.dirichlet(truth, scores, draws)

    def peer(at_once: bool) -> Peer:
        def make(setting: str, checked: Arrays | None) -> Side:
            from benchmarks.peers import functions

            return functions.dirichlet(truth, scores, draws, at_once=at_once)

        return Peer(make, PLAIN)

    size = f"{draws} x {rows} rows x {len(scores)}"
    return Case(size, draws, "draws", ours, {"loop": peer(False), "product": peer(True)})


def bootstrap(rows: int, resamples: int) -> Case:
    truth, scores = series(rows)

    def ours() -> Side:
        from benchmarks import ours

        return ours.bootstrap(truth, scores[0], SPEAKERS, resamples)

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import functions

        return functions.bootstrap(truth, scores[0], SPEAKERS, resamples)

    size = f"{resamples} of {SPEAKERS} speakers, {rows} rows"
    return Case(size, resamples, "resamples", ours, {"loop": Peer(make, PLAIN)})


def demo(config: str, *changes: str) -> Case:
    """Return the case of a demo from the command line to the report, first with empty caches, then with full ones."""

    def ours() -> Side:
        from benchmarks import ours

        return ours.demo(config, changes)

    size = f"{config}.py" + (", as small as possible" if changes else "")
    return Case(size, 1, "runs", ours, {}, warm_ups=0, max_rounds=1)


def cases(*, tiny: bool) -> dict[str, Callable[[], Case]]:
    """Return all cases by name; with `tiny` they are for the comparison of outputs, their times mean nothing."""

    def net(case: Network, **options: Any) -> Callable[[], Case]:
        if tiny:
            case = case.tiny()
            options = {k: (v[0].tiny(), v[1]) if isinstance(v, tuple) else v for k, v in options.items()}
        return lambda: network(case, **options)

    n = 2 if tiny else 64
    speech: Any = {"seconds": 1, "num_hidden_layers": 2} if tiny else {"seconds": 10}
    return {
        "breathing2_train": net(BREATHING2, train=True, target=2.0),
        "breathing2_45_train": net(replace(BREATHING2, rows=45), train=True),
        "breathing2_predict": net(BREATHING2, train=False, target=1.2),
        "breathing3_train": net(BREATHING3, train=True, target=1.5),
        "breathing3_predict": net(BREATHING3, train=False),
        "breathing4_pieces_train": net(PIECES, train=True, target=1.0),
        "breathing4_dense_train": net(DENSE, train=True, target=1.0, torch_pieces=(PIECES, 2.5)),
        "breathing4_pieces_predict": net(PIECES, train=False),
        "breathing4_dense_predict": net(DENSE, train=False),
        "breathing5_lstm_train": net(BREATHING5, train=True),
        "breathing5_lstm_predict": net(BREATHING5, train=False),
        "lstm_layers": lambda: lstm_layers(2, 12) if tiny else lstm_layers(4, 400),
        "mask_224_train": net(MASK, train=True, target=0.9),
        "mask_224_predict": net(MASK, train=False),
        "mask_64x97_train": net(SMALL, train=True, target=1.0),
        "mask_64x97_predict": net(SMALL, train=False),
        "wav2vec2_base": lambda: speech_encoder("12 layers of 768", **speech, model_type="wav2vec2"),
        "wavlm_base": lambda: speech_encoder("12 layers of 768", **speech, model_type="wavlm"),
        "log_mel": lambda: feature("log_mel", "librosa", waves(1, 2 if tiny else 240), "1 x 4 min", "files", 3.0),
        "mfcc": lambda: feature("mfcc", "librosa", waves(n, 1), f"{n} x 1 s", "clips"),
        # Bit-identical, so the tolerance is 0.
        "image": lambda: feature("image", "matplotlib", spectrograms(min(n, 8)), "288 x 288", "images", 100, outputs=0),
        "dirichlet": lambda: dirichlet(1600, 100) if tiny else dirichlet(150_000, 1000),
        "bootstrap": lambda: bootstrap(1600, 100) if tiny else bootstrap(160_000, 1000),
        "demo": lambda: demo("breathing_e2e", *(TINY_DEMO if tiny else ())),
    }
