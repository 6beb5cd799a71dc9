"""The learner that is a neural network: its training over folds, and predictions and embeddings from checkpoints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar

import jax
import numpy as np
import pandas as pd

from jaxpara import processes
from jaxpara.corpora.tasks import Task
from jaxpara.errors import UserError
from jaxpara.evaluation.measures import MEASURE
from jaxpara.models import MODELS
from jaxpara.models.pretrained import KNOWN
from jaxpara.progress import Progress
from jaxpara.registry import build, require_one_of
from jaxpara.seeds import derive
from jaxpara.training import memory, parallel, steps
from jaxpara.training.augment import moves_frequencies
from jaxpara.training.batches import batches, parts_of
from jaxpara.training.checkpoints import BestBy, Checkpoints, best_epochs
from jaxpara.training.clips import ClipExamples
from jaxpara.training.examples import EXAMPLES, Arrays, Examples, Windows
from jaxpara.training.fine_tuning import upper_layers, upper_weights
from jaxpara.training.fold_run import SUMMARY, FoldRun
from jaxpara.training.logs import Log
from jaxpara.training.losses import LOSSES, mean_loss
from jaxpara.training.optimizers import OPTIMIZERS
from jaxpara.training.predictor import Predictor
from jaxpara.training.state import WEIGHTS, TrainState, create, read_weights, with_pretrained
from jaxpara.training.train import ActiveRun, Interrupted, stop_requests, train

EMBEDDED_AT_ONCE = 1024  # recordings with one vector each


@dataclass(kw_only=True, eq=False)
class Net:
    """A network with its loss, optimizer and compiled steps, which all folds share.

    Attributes:
      examples, model, loss, optimizer: built from `{"name": ..., **fields}` of `EXAMPLES`, `MODELS`, `LOSSES`,
        `OPTIMIZERS`.
      batch: examples per update.
      epochs: passes over the training set; 0 for a network that is used untrained, for its embeddings.
      pretrained: `imagenet`, or a file with the initial weights, or `encoder` for those of the speech encoder of the
        features; None for a random start.
      microbatch: examples in a device's memory at once; a larger batch is computed in parts. 0: all. `auto`: chosen by
        `jaxpara.training.memory.choose` in the first run of a member.
      validate_every: epochs between validations.
      best_by: use the epoch with the best validation `score`, or with the lowest validation `loss`.
      common_epoch: use the same epoch in every fold, the best by the mean over folds; needs every checkpoint kept.
      patience: end the training of a fold after so many validated epochs without a better one (`best_by`); 0: never.
      keep_best: how many of the best checkpoints are kept, in addition to the latest.
      layer: the layer whose outputs are the embeddings, see `jaxpara.models.layers`; by default the last layer before
        the head, or before the recurrent ones.
    """

    task: Task  # this and the next four are set by the program
    feature: Any = None
    frame_rate_hz: float  # of the features
    where: str  # the path of this config, for messages
    precision: str = "float32"  # one of `steps.PRECISIONS`
    examples: Any
    model: Any
    loss: Any
    optimizer: Any
    batch: int
    epochs: int
    pretrained: str | None = None
    microbatch: int | str = "auto"
    validate_every: int = 1
    best_by: BestBy = "score"
    common_epoch: bool = False
    patience: int = 0
    keep_best: int = 1
    layer: str = ""
    least_per_class: ClassVar[int] = 0  # recordings that training needs

    def __post_init__(self):
        where, model_name, loss_name = self.where, self.model.get("name"), self.loss.get("name")
        if self.pretrained in ("None", "none"):  # on the command line, None is a word
            self.pretrained = None
        self.examples = build(EXAMPLES, self.examples, f"{where}.examples")
        given = {"axis_name": parallel.AXIS, "classes": self.task.outputs}
        if model_name == "tuned_encoder":
            given["source"] = upper_layers(self.feature, where)
        self.model = build(MODELS, self.model, f"{where}.model", **given)
        self.loss = build(LOSSES, self.loss, f"{where}.loss")
        # The network whose pretrained weights can be used, and the part of this one that has its layers.
        self._arch, self._part = getattr(self.model, "pretrained", (model_name, ""))
        if self._arch == "encoder":
            require_one_of(f"config.{where}.pretrained", self.pretrained or "None", ("encoder", "None"))
        self.optimizer = build(OPTIMIZERS, self.optimizer, f"{where}.optimizer", part=self._part)
        self.learns = self.epochs > 0  # or else its initial weights are used
        self.predicts = self.learns and self.examples.supervised  # or else it is used for its embeddings
        self.stride: int = getattr(self.model, "samples_per_output", 1)  # frames of the features per output
        self.context_frames: int = getattr(self.model, "context_frames", 0)  # beyond those of the outputs
        # Embeddings per second; 0 where one stands for a whole recording.
        self.embedding_rate_hz = self.frame_rate_hz / self.stride if isinstance(self.examples, Windows) else 0.0
        require_one_of(f"config.{where}.best_by", self.best_by, ("score", "loss"))
        if self.best_by == "score" and MEASURE[self.task.measure].smaller_is_better:
            self.best_by = "error"
        if self.common_epoch and (self.keep_best < self.epochs or self.patience):
            raise UserError(
                f"config.{where}.common_epoch needs all {self.epochs} epochs of every fold; set keep_best to"
                f" {self.epochs} (it is {self.keep_best}) and patience to 0 (it is {self.patience})"
            )
        if self.predicts and self.task.kind not in self.loss.kinds:
            fitting = [name for name, loss in LOSSES.items() if self.task.kind in loss.kinds]
            what = f"config.{where}.loss.name is {loss_name!r}, which does not fit {self.task.kind}"
            raise UserError(f"{what}; choose one of {', '.join(fitting)}")
        self._at_once = memory.at_once_of(self.microbatch, where)
        if self.loss.whole_batch and self._parts(devices=1)[0] > 1:
            raise UserError(f"config.{where}.microbatch: {loss_name!r} needs the whole batch at once; set it to 0")
        self._frozen = getattr(self.model, "frozen", ()) != ()
        if self._frozen and self.optimizer.weight_decay:
            raise UserError(f"config.{where}.optimizer.weight_decay would change the frozen stages too; set it to 0")
        # Compiled once for all folds: the training step by placement.
        prepare = self.examples.prepare
        update = self.loss, self.optimizer.transform, self.precision, self.examples.labels
        step = steps.train_step(self.model, prepare, *update)
        self.train_step = cache(lambda placement: placement.spread(step))
        self._predictor = Predictor(self.model, self.examples, self.precision, self.layer)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems to expect in spite of a valid config, a sentence each."""
        if self.learns and not self.pretrained and moves_frequencies(self.examples.steps):
            return (
                "random crops also move frequencies, which mislead a network with a random start; set keep_frequency of"
                " random_crop in learner.examples.augment to crop in time only",
            )
        return ()

    def examples_of(self, run: FoldRun, names: tuple[str, ...], **role: bool) -> Examples:
        """Return the examples of recordings; the role is `training=True`, or `overlapping=False` for embeddings."""
        grid: dict[str, Any] = {"frame_rate_hz": run.frame_rate_hz, "frames_per_output": self.stride}
        recordings = [replace(r, labels=self.task.scaled(r.labels)) for r in run.recordings(names)]
        grid |= {"context_frames": self.context_frames, "margin": getattr(self.model, "margin", 0)}
        grid |= {"classes": self.task.kind == "classes"}
        return self.examples.examples(recordings, run.features, **grid, **role)

    def example(self, run: FoldRun) -> jax.Array:
        """Return an input of the network, `[1, ...]`, as an example of its shape."""
        examples = self.examples_of(run, (run.corpus.recordings[0].name,))
        one = {name: value[None, None] for name, value in examples.load(0).items()}
        prepare = jax.vmap(self.examples.prepare, in_axes=(0, None), axis_name=parallel.AXIS)  # as if on one device
        return prepare(one, jax.random.key(0))[0]

    def init(self, run: FoldRun) -> TrainState:
        """Return a state with random weights."""
        example = jax.eval_shape(lambda: self.example(run))  # its shape, without compiling the preparation of inputs
        return create(self.model, example, self.optimizer.transform, derive(run.seed, "net"))

    def train(self, runs: Iterable[FoldRun], progress: Progress) -> None:
        """Train runs that are not trained yet; resume those that were interrupted, see `Interrupted`.

        Several runs are trained as one program, with the results of one after the other on one device. Each writes
        summary.json: `epochs` (the validated ones, with score and loss), `seconds` (an equal part of those of several
        runs) and `parameters`.
        """
        runs = list(runs)
        if len(runs) > 1 and processes.count() > 1:
            raise UserError("config.parallel is 'folds', which needs a single process; set it to 'data' for several")
        placement = parallel.Stacked(len(runs)) if len(runs) > 1 else parallel.Placement()
        missing = processes.on_main(lambda: [n for n, run in enumerate(runs) if not (run.folder / SUMMARY).exists()])
        with stop_requests() as stop_requested, ExitStack() as stack:
            if missing:
                self._settle_at_once(runs[missing[0]], placement)
                started = [self._start(runs[n], n, placement, stack, progress) for n in missing]
                # The first validation finds its program ready: it is compiled while the one of training is.
                if self.learns and processes.count() == 1 and not self._predictor.compiled:
                    state, first = parallel.shapes(started[0].state), runs[missing[0]]
                    validation = self.examples_of(first, first.fold.val_names)
                    thread = stack.enter_context(ThreadPoolExecutor(1))
                    thread.submit(self._predictor.compile, state, validation, self._rows)
                train(
                    started,
                    self.train_step(placement),
                    placement,
                    validate_every=self.validate_every,
                    optimizer=self.optimizer,
                    stop_requested=stop_requested,
                    progress=progress,
                )
            if parallel.any_process(stop_requested()):  # in the last step or validation
                raise Interrupted(f"{runs[-1].name}: trained; stopped before the next step of the experiment")

    def _start(
        self, run: FoldRun, slot: int, placement: parallel.Placement, stack: ExitStack, progress: Progress
    ) -> ActiveRun:
        """Load the latest checkpoint of a run or its initial weights, and open its log and checkpoints."""
        state, notes = self.init(run), []
        checkpoints = stack.enter_context(self._checkpoints(run))
        latest = checkpoints.latest(state)
        state, history = latest or (state, {"losses": [], "epochs": [], "seconds": 0.0})
        training = self.examples_of(run, run.fold.train_names, training=True)
        validation = self.examples_of(run, run.fold.val_names)
        if self.loss.class_weight == "balanced":
            assert isinstance(training, ClipExamples)  # as the loss is for classes
            assert isinstance(validation, ClipExamples)
            training.class_weights = validation.class_weights = training.balanced(self.task.classes)
        steps_per_epoch = -(-len(training) // self.batch)
        if not latest:
            if self.pretrained:
                source = upper_weights(self.feature) if self._arch == "encoder" else self.pretrained
                state, notes = with_pretrained(state, source, self._arch, self._part)
            elif self._arch in KNOWN or self._part:
                frozen = "; its frozen stages stay random" if self._frozen else ""
                notes = [f"random start, as learner.pretrained is None{frozen}"]
            opt_state, more = self.optimizer.at_start(state.opt_state, self.epochs * steps_per_epoch)
            state = replace(state, opt_state=opt_state)
            for note in (*notes, *more):
                progress.say(f"{run.name}: {note}")
            if not self.learns:
                checkpoints.save(state, history)
        epochs, step, seed = self.epochs, int(state.step), derive(run.seed, "shuffle")
        return ActiveRun(
            name=run.name,
            folder=run.folder,
            slot=slot,
            steps_per_epoch=steps_per_epoch,
            epochs=epochs,
            patience=self.patience,
            best_by=self.best_by,
            history=history,
            state=state,
            batches=self.batches(training, placement, first=step, epochs=epochs, shuffle_seed=seed),
            score_and_loss=partial(self._score_and_loss, run, validation),
            checkpoints=checkpoints,
            log=stack.enter_context(Log(run.folder, step)),
        )

    def _checkpoints(self, run: FoldRun) -> Checkpoints:
        return Checkpoints(run.folder / "checkpoints", self.keep_best, self.best_by)

    def _score_and_loss(self, run: FoldRun, validation: Examples, state: TrainState) -> tuple[float | None, float]:
        """Return the official score over the whole validation set, None if undefined, and the mean loss."""
        outputs = self.outputs(state, validation)
        scores = self.task.unscaled(validation.scores(outputs)) if self.predicts else None
        score = None if scores is None else run.score(run.fold.val_names, scores)
        return score, mean_loss(self.loss, outputs, validation)

    def choose(self, summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the validated epoch of each run whose checkpoint is used, from the summaries of all runs."""
        if not self.learns:
            return [{"step": 0} for _ in summaries]
        return best_epochs([summary["epochs"] for summary in summaries], self.best_by, common=self.common_epoch)

    def load(self, run: FoldRun, choice: Mapping[str, Any], *, part: str = "test") -> TrainState:
        """Load the checkpoint that `choose` chose, or the weights of an export; `part` makes no difference."""
        target = jax.eval_shape(lambda: self.init(run))
        self._settle_at_once(run)
        if not (run.folder / SUMMARY).exists():
            return read_weights(run.folder / WEIGHTS, target)
        with self._checkpoints(run) as checkpoints:
            return checkpoints.read(choice["step"], target)[0]

    def predict(self, run: FoldRun, names: tuple[str, ...], state: TrainState) -> pd.DataFrame:
        examples = self.examples_of(run, names)
        return run.predictions(names, self.task.unscaled(examples.scores(self.outputs(state, examples))))

    def embed(self, run: FoldRun, names: tuple[str, ...], state: TrainState) -> Iterator[tuple[str, np.ndarray]]:
        """Yield recordings with their embeddings: `[time, channel]` from adjacent windows, or `[channel]` for clips."""
        at_once = 1 if self.embedding_rate_hz else EMBEDDED_AT_ONCE  # embeddings of sequences are large
        for first in range(0, len(names), at_once):
            examples = self.examples_of(run, names[first : first + at_once], overlapping=False)
            yield from examples.by_recording(self.outputs(state, examples, embed=True))

    def _settle_at_once(self, run: FoldRun, placement: parallel.Placement | None = None) -> None:
        """Set `_at_once` where `microbatch` is auto; with the placement, to train, it is chosen and recorded."""
        if self._at_once is None:
            self._at_once = memory.settled(self, run, placement)

    def _parts(self, devices: int) -> tuple[int, int]:
        return parts_of(self.batch, devices, self._at_once or 0)

    def batches(self, examples: Examples, placement: parallel.Placement, **which: Any) -> Iterator[Arrays]:
        """Return training batches `[device * part, row, ...]`; `which` as in `jaxpara.training.batches.batches`."""
        parts, rows = self._parts(placement.devices)
        for batch in batches(examples, self.batch, rows=parts * rows * placement.devices, **which):
            yield {name: value.reshape(-1, rows, *value.shape[1:]) for name, value in batch.items()}

    def outputs(self, state: TrainState, examples: Examples, *, embed: bool = False) -> np.ndarray:
        """Return the network's outputs, or embeddings, of all examples in their order, see `Predictor.outputs`."""
        return self._predictor.outputs(state, examples, self._rows, embed=embed)

    @property
    def _rows(self) -> int:
        """Examples that each device predicts at once."""
        return self._parts(len(parallel.devices()))[1]

    def forward(self, *, embed: bool = False) -> steps.Forward:
        """Return the network as a function, see `jaxpara.training.steps.forward`."""
        return steps.forward(self.model, self.precision, embed=embed, layer=self.layer)
