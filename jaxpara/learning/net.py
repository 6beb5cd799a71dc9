"""The learner that is a neural network: fit on a fold, predict from its checkpoints."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxpara.corpora.corpus import Task
from jaxpara.errors import UserError
from jaxpara.evaluation.metrics import MEASURES, Undefined
from jaxpara.files import write_json
from jaxpara.learning import parallel, steps
from jaxpara.learning.checkpoints import Checkpoints
from jaxpara.learning.fit import Fit
from jaxpara.learning.input import Arrays, Examples, WindowExamples, batches
from jaxpara.learning.logs import Log
from jaxpara.learning.loop import train
from jaxpara.learning.losses import LOSSES
from jaxpara.learning.optimizers import OPTIMIZERS
from jaxpara.learning.state import TrainState, count_parameters, create
from jaxpara.models import MODELS
from jaxpara.predictions import Predictions
from jaxpara.progress import Progress
from jaxpara.registry import build
from jaxpara.seeds import derive


class Net:
    """A network with its loss, its optimizer and the way it is trained.

    Steps are compiled once and shared by all folds.
    """

    def __init__(
        self,
        *,
        task: Task,
        frame_rate_hz: float,
        where: str,
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        window_s: float,
        step_s: float,
        batch: int,
        epochs: int,
        microbatch: int = 0,
        keep_duplicates: bool = False,
        validate_every: int = 1,
        keep_best: int = 1,
    ):
        """Builds everything that does not depend on the fold.

        Args:
          task, frame_rate_hz, where: from the program: the task, the features' rate, this config's path for messages.
          model, loss, optimizer: `{"name": ...}` of the registries in `jaxpara.models` and `jaxpara.learning`.
          window_s, step_s: length and distance of the windows (paper §3.2.1).
          batch: examples per update.
          epochs: passes over the fold's fit part.
          microbatch: examples that have to fit a device's memory at once; a batch is gone through in such parts. 0: all.
          keep_duplicates: see `jaxpara.features.windows.starts`.
          validate_every: epochs between validations.
          keep_best: checkpoints kept for their score, beside the latest.
        """
        self._task, self._frame_rate_hz = task, frame_rate_hz
        self._model = build(MODELS, model, f"{where}.model", axis_name=parallel.AXIS)
        self._loss = build(LOSSES, loss, f"{where}.loss")
        self._optimizer = build(OPTIMIZERS, optimizer, f"{where}.optimizer")
        self._window = {"window_s": window_s, "step_s": step_s}
        self._keep_duplicates = keep_duplicates
        self._epochs, self._validate_every, self._keep_best = epochs, validate_every, keep_best
        for field, value in {"batch": batch, "epochs": epochs, "validate_every": validate_every}.items():
            if value < 1:
                raise UserError(f"config.{where}.{field} is {value}, expected at least 1")
        self._batch = batch
        on_device = -(-batch // parallel.device_count())
        self._parts = -(-on_device // microbatch) if microbatch else 1
        if self._loss.whole_batch and self._parts > 1:
            raise UserError(f"config.{where}.microbatch: {loss['name']!r} needs the whole batch at once; set it to 0")
        self._part_rows = -(-on_device // self._parts)

    # One compiled program per learner, whatever the number of folds.

    @cached_property
    def _train_step(self) -> Callable[[TrainState, Any], tuple[TrainState, jax.Array]]:
        return parallel.spread(steps.train_step(self._model, self._loss, self._optimizer.transform), donate=True)

    @cached_property
    def _predict_step(self) -> Callable[[Any, Any], jax.Array]:
        return parallel.spread(steps.predict_step(self._model))

    def _arrange(self, batch: Arrays) -> Arrays:
        """`[row, ...]` -> `[device, part, row, ...]`."""
        return parallel.shard({k: v.reshape(-1, self._part_rows, *v.shape[1:]) for k, v in batch.items()})

    def examples(self, fit: Fit, names: tuple[str, ...]) -> Examples:
        """What the network sees of these recordings."""
        return WindowExamples(
            fit.recordings(names),
            fit.features,
            frame_rate_hz=self._frame_rate_hz,
            frames_per_output=self._model.samples_per_output,
            keep_duplicates=self._keep_duplicates,
            **self._window,
        )

    def _fresh(self, fit: Fit, examples: Examples) -> TrainState:
        return create(self._model, examples.load(0)["inputs"][None], self._optimizer.transform, derive(fit.seed, "net"))

    def outputs(self, variables: Any, examples: Examples) -> np.ndarray:
        """The network's outputs for all examples, in their order."""
        rows = self._part_rows * parallel.device_count()
        variables = parallel.replicate(variables)
        parts = [np.asarray(self._predict_step(variables, parallel.shard(b["inputs"]))) for b in batches(examples, rows)]
        return np.concatenate(parts)[: len(examples)]

    def fit(self, fit: Fit, progress: Progress) -> dict[str, Any]:
        """Trains on the fold's fit part, unless that is done; goes on where it was stopped.

        Returns:
          `epochs` (the validated ones, with score and loss), `seconds`, `parameters`; also left as `fit.json`.
        """
        finished = fit.folder / "fit.json"
        if finished.exists():
            return json.loads(finished.read_text())
        fitting, tuning = self.examples(fit, fit.fold.fit), self.examples(fit, fit.fold.tune)
        state = self._fresh(fit, fitting)
        summary = {"parameters": count_parameters(state.variables)}
        with Checkpoints(fit.folder / "checkpoints", self._keep_best) as checkpoints:
            history = train(
                state,
                step=self._train_step,
                batches=lambda first: map(
                    self._arrange,
                    batches(
                        fitting,
                        self._batch,
                        rows=self._parts * self._part_rows * parallel.device_count(),
                        first=first,
                        epochs=self._epochs,
                        shuffle_seed=derive(fit.seed, "shuffle"),
                    ),
                ),
                steps_per_epoch=-(-len(fitting) // self._batch),
                epochs=self._epochs,
                validate=lambda state: self._validate(fit, state, tuning),
                validate_every=self._validate_every,
                lr=lambda step: float(self._optimizer.lr(step)),
                lr_scale=lambda losses: 1.0,
                checkpoints=checkpoints,
                log=lambda done: Log(fit.folder, done),
                progress=progress,
                name=fit.name,
            )
        summary |= {"epochs": history["epochs"], "seconds": round(history["seconds"], 1)}
        write_json(finished, summary)
        return summary

    def _validate(self, fit: Fit, state: TrainState, tuning: Examples) -> tuple[float | None, float]:
        """Score over the whole concatenated partition (None where it is not defined), and the loss to go by."""
        predictions = tuning.merge(self.outputs(state.variables, tuning), fit.fold.index)
        truth = np.concatenate([recording.labels for recording in fit.recordings(fit.fold.tune)])
        known = np.isfinite(truth)
        try:
            score = MEASURES[self._task.measure](truth[known], predictions.scores[known])
        except Undefined:
            return None, 1.0
        return score, 1 - score

    def predict(self, fit: Fit, names: tuple[str, ...], epoch: dict[str, Any]) -> Predictions:
        """Predicts recordings with the checkpoint of an epoch out of `fit`'s summary."""
        examples = self.examples(fit, names)
        with Checkpoints(fit.folder / "checkpoints", self._keep_best) as checkpoints:
            restored = checkpoints.restore(self._fresh(fit, examples), epoch["step"])
        if restored is None:
            raise UserError(f"{fit.folder / 'checkpoints'}: no checkpoint of step {epoch['step']}; train again")
        return examples.merge(self.outputs(restored[0].variables, examples), fit.fold.index)

