"""All cases: what is timed, on how much, against whom, and the ratio that is wanted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import functions, networks
from benchmarks.networks import Network
from benchmarks.peers.side import Arrays, Side

TORCH = ("eager", "eager_tuned", "compile", "compile_tuned", "bfloat16_tuned")
# A demo at tiny sizes.
LITTLE = (
    "--config.corpus.speakers=(2,2,2)",
    "--config.corpus.seconds=12",
    "--config.members.cnn.learner.epochs=1",
    "--config.members.cnn.learner.model.filters=(4,4,4,4)",
    "--config.members.cnn.learner.model.lstm=(4,4)",
)
# Peers that are no networks: as they come, and with the allocator that keeps freed memory.
PLAIN = ("default", "default_tuned")


@dataclass(frozen=True)
class Peer:
    """Attributes:
    make: from the setting and what our side checked (None where nothing is checked) to the peer's side.
    target: the least ratio of its time over ours, in its fastest tuned setting in float32; 0 where none is set.
    same: whether it computes the same function, and so has to give the same outputs.
    """

    make: Callable[[str, Arrays | None], Side]
    settings: tuple[str, ...]
    target: float = 0.0
    same: bool = True


@dataclass(frozen=True)
class Case:
    """Attributes:
    size: in words, for the table.
    count, unit: what one call goes through, for rates.
    tolerances: by array, what passes, see `worker.difference`.
    warm_ups: calls between the first one and those that are timed.
    most_rounds: how many are timed at most.
    """

    size: str
    count: int
    unit: str
    ours: Callable[[], Side]
    peers: Mapping[str, Peer]
    tolerances: Mapping[str, float] = field(default_factory=lambda: {"outputs": 1e-4})
    warm_ups: int = 2
    most_rounds: int = 1000


def network(case: Network, *, train: bool, target: float = 0.0, **others: tuple[Network, float]) -> Case:
    """A network against its PyTorch twin, and against other forms of that."""

    def ours() -> Side:
        from benchmarks import ours

        return ours.side(case.learner(), case.batch(), task=case.task, train=train)

    def peer(other: Network, target: float) -> Peer:
        def make(setting: str, checked: Arrays | None) -> Side:
            from benchmarks.peers import steps

            return steps.side(other.learner(), other.batch(), setting, train=train, ours=checked)

        return Peer(make, TORCH, target, same=other is case)

    if case.labels:
        size, unit = f"{case.rows} x {case.labels / 25:g} s", "windows"
    else:
        size, unit = f"{case.rows} of {' x '.join(map(str, case.learner()['examples']['size']))}", "pictures"
    if case.config == "breathing_s4":
        size = f"{case.rows * case.labels} pieces"
    peers = {"torch": peer(case, target), **{name: peer(*other) for name, other in others.items()}}
    tolerances = {"outputs": 1e-4, "loss": 1e-4, "gradient": 1e-5} if train else {"outputs": 1e-4}
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

    tolerances = {"outputs": 1e-4, "of_inputs": 1e-4}
    return Case(
        f"2 of 256, {rows} x {labels} steps", rows, "windows", ours, {"torch": Peer(make, TORCH, 1.0)}, tolerances
    )


def feature(name: str, library: str, items: Any, size: str, unit: str, target: float = 0.0, **tolerance: float) -> Case:
    """A feature of ours, by the name that it has in `functions`, against librosa or matplotlib."""

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import features

        theirs = {"log_mel_files": features.log_mel}
        return features.side(theirs.get(name) or getattr(features, name), items)

    peers = {library: Peer(make, PLAIN, target)}
    return Case(size, len(items), unit, lambda: getattr(functions, name)(items), peers, tolerance or {"outputs": 1e-4})


def dirichlet(rows: int, draws: int) -> Case:
    truth, scores = functions.series(rows)

    def peer(at_once: bool) -> Peer:
        def make(setting: str, checked: Arrays | None) -> Side:
            from benchmarks.peers import statistics

            return statistics.dirichlet(truth, scores, draws, at_once=at_once)

        return Peer(make, PLAIN)

    size = f"{draws} x {rows} rows x {len(scores)}"
    ours, peers = lambda: functions.dirichlet(truth, scores, draws), {"loop": peer(False), "product": peer(True)}
    return Case(size, draws, "draws", ours, peers)


def bootstrap(rows: int, resamples: int) -> Case:
    truth, scores = functions.series(rows)

    def make(setting: str, checked: Arrays | None) -> Side:
        from benchmarks.peers import statistics

        return statistics.bootstrap(truth, scores[0], functions.SPEAKERS, resamples)

    size = f"{resamples} of {functions.SPEAKERS} speakers, {rows} rows"
    ours = lambda: functions.bootstrap(truth, scores[0], resamples)  # noqa: E731
    return Case(size, resamples, "resamples", ours, {"loop": Peer(make, PLAIN)})


def demo(config: str, *changes: str) -> Case:
    """A demo from the command line to the report; first with empty caches, corpus and all, then with full ones."""
    size = f"{config}.py" + (", as little as possible" if changes else "")
    return Case(size, 1, "runs", lambda: functions.demo(config, changes), {}, warm_ups=0, most_rounds=1)


def cases(*, tiny: bool) -> dict[str, Callable[[], Case]]:
    """All cases by name; `tiny` ones are there for the comparison of outputs, their times mean nothing."""

    def net(case: Network, **options: Any) -> Callable[[], Case]:
        if tiny:
            case = case.tiny()
            options = {k: (v[0].tiny(), v[1]) if isinstance(v, tuple) else v for k, v in options.items()}
        return lambda: network(case, **options)

    few = 2 if tiny else 64
    return {
        "breathing2_train": net(networks.BREATHING2, train=True, target=2.0),
        "breathing2_predict": net(networks.BREATHING2, train=False, target=1.2),
        "breathing3_train": net(networks.BREATHING3, train=True, target=1.5),
        "breathing3_predict": net(networks.BREATHING3, train=False),
        "breathing4_pieces_train": net(networks.PIECES, train=True, target=1.0),
        "breathing4_dense_train": net(networks.DENSE, train=True, target=1.0, torch_pieces=(networks.PIECES, 2.5)),
        "breathing4_pieces_predict": net(networks.PIECES, train=False),
        "breathing4_dense_predict": net(networks.DENSE, train=False),
        "breathing5_lstm_train": net(networks.BREATHING5, train=True),
        "breathing5_lstm_predict": net(networks.BREATHING5, train=False),
        "lstm_layers": lambda: lstm_layers(2, 12) if tiny else lstm_layers(4, 400),
        "mask_224_train": net(networks.MASK, train=True, target=0.9),
        "mask_224_predict": net(networks.MASK, train=False),
        "mask_64x97_train": net(networks.SMALL, train=True, target=1.0),
        "mask_64x97_predict": net(networks.SMALL, train=False),
        "log_mel_files": lambda: feature(
            "log_mel_files", "librosa", functions.sounds(1, 2 if tiny else 240), "1 x 4 min", "files", 3.0
        ),
        "mfcc": lambda: feature("mfcc", "librosa", functions.sounds(few, 1), f"{few} x 1 s", "clips"),
        # To the last bit.
        "picture": lambda: feature(
            "picture", "matplotlib", functions.matrices(min(few, 8)), "288 x 288", "pictures", 100.0, outputs=0.0
        ),
        "dirichlet": lambda: dirichlet(1600, 100) if tiny else dirichlet(150_000, 1000),
        "bootstrap": lambda: bootstrap(1600, 100) if tiny else bootstrap(160_000, 1000),
        "demo": lambda: demo("breathing_e2e", *(LITTLE if tiny else ())),
    }
