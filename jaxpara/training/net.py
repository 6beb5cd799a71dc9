"""The learner that is a neural network: fit on a fold, predict from its checkpoints."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd

from jaxpara import processes
from jaxpara.corpora.corpus import Task
from jaxpara.errors import UserError
from jaxpara.files import write_json
from jaxpara.models import MODELS
from jaxpara.models.pretrained import KNOWN
from jaxpara.progress import Progress
from jaxpara.registry import build, require_one_of
from jaxpara.seeds import derive
from jaxpara.training import frozen, lockstep, parallel, plateau, weights
from jaxpara.training.checkpoints import Checkpoints
from jaxpara.training.clips import Clips
from jaxpara.training.fit import FINISHED, Fit, summary_of
from jaxpara.training.input import Examples
from jaxpara.training.logs import Log
from jaxpara.training.loop import Interrupted, Loop, new_history, stop_requests, train
from jaxpara.training.losses import LOSSES
from jaxpara.training.optimizers import OPTIMIZERS
from jaxpara.training.programs import Programs
from jaxpara.training.reconstruction import Reconstruction
from jaxpara.training.selection import best_epochs, measured
from jaxpara.training.sequences import Windows
from jaxpara.training.state import TrainState, count_parameters, create, with_weights

EXAMPLES = {"windows": Windows, "clips": Clips, "reconstruction": Reconstruction}


class Net:
    """A network with its loss, its optimizer and the way it is trained.

    Steps are compiled once and shared by all folds. `forward` is the network alone, see `jaxpara.training.steps`;
    `pretrained` says where its first weights come from, and is empty for a random start.
    """

    def __init__(
        self,
        *,
        task: Task,
        frame_rate_hz: float,
        where: str,
        examples: Mapping[str, Any],
        model: Mapping[str, Any],
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        batch: int,
        epochs: int,
        pretrained: str | None = None,
        microbatch: int = 0,
        validate_every: int = 1,
        best_by: Literal["score", "loss"] = "score",
        common_epoch: bool = False,
        keep_best: int = 1,
        plateau_patience: int = -1,
        plateau_factor: float = 0.1,
        layer: str = "",
        keep_frozen: Literal["never", "always", "auto"] = "never",
        precision: str = "float32",
    ):
        """Builds everything that does not depend on the fold.

        Args:
          task, frame_rate_hz, where: from the program: the task, the features' rate, this config's path for messages.
          examples, model, loss, optimizer: `{"name": ...}` of `EXAMPLES` and of the registries in `jaxpara.models` and
            `jaxpara.training`.
          batch: examples per update.
          epochs: passes over the fold's fit part; 0 for a network that is there for its embeddings as it is.
          pretrained: `imagenet`, or a file with the network's first weights; None for a random start.
          microbatch: examples that fit a device's memory at once; a batch is gone through in such parts. 0: all.
          validate_every: epochs between validations.
          best_by: whether the epoch that is used is the one with the highest validation score or the lowest loss.
          common_epoch: use the same epoch in every fold, the best by the mean over folds; needs every checkpoint kept.
          keep_best: checkpoints kept for being the best, beside the latest.
          plateau_patience: validations without a lower loss after which one more lowers the rate; -1 never lowers it.
          plateau_factor: what the learning rate is multiplied with then.
          layer: whose outputs are the embeddings, see `jaxpara.models.layers`; by default the last before the head, or
            before the recurrent ones.
          keep_frozen: whether what the frozen stages make of the recordings is computed once and kept on disk; `auto`:
            where it is known to be faster, on CPUs.
          precision: `config.precision`, see `jaxpara.training.steps.PRECISIONS`.
        """
        self._frame_rate_hz = frame_rate_hz
        self._examples = build(EXAMPLES, examples, f"{where}.examples")
        self.model = build(MODELS, model, f"{where}.model", axis_name=parallel.AXIS, classes=len(task.classes))
        self._loss = build(LOSSES, loss, f"{where}.loss")
        self._optimizer = build(OPTIMIZERS, optimizer, f"{where}.optimizer")
        self._epochs, self._validate_every, self._keep_best = epochs, validate_every, keep_best
        self._best_by: Literal["score", "loss"] = best_by
        self._common_epoch = common_epoch
        self._takes: tuple[str, str] = getattr(self.model, "pretrained", (model["name"], ""))
        # From the command line, None comes as a word.
        self.pretrained = "" if pretrained in (None, "None", "none") else pretrained
        self._plateau = (plateau_patience, plateau_factor)
        require_one_of(f"config.{where}.best_by", best_by, ("score", "loss"))
        if common_epoch and keep_best < epochs:
            raise UserError(f"config.{where}.keep_best is {keep_best}: common_epoch needs all {epochs} epochs kept")
        self._keep_frozen = frozen.kept(self.model, keep_frozen, bool(optimizer.get("weight_decay")), where)
        self._batch, self.precision = batch, precision
        self._programs = Programs(
            self.model,
            self._examples.prepare,
            self._loss,
            self._optimizer.transform,
            layer=layer,
            batch=batch,
            microbatch=microbatch,
            precision=precision,
        )
        self.forward = self._programs.forward
        self._shapes: Any = None
        if self._loss.whole_batch and self._programs.parts(devices=1)[0] > 1:
            raise UserError(f"config.{where}.microbatch: {loss['name']!r} needs the whole batch at once; set it to 0")

    def _beyond_frozen(self, fit: Fit, state: TrainState) -> Fit:
        """The fit as it is, or beginning after the frozen stages."""
        if not self._keep_frozen:
            return fit
        own = self.model.frozen_of(state.variables)
        return frozen.with_maps(fit, state, self._programs.frozen_step, own, lambda name: self.examples(fit, (name,)))

    @property
    def context_frames(self) -> int:
        """Frames of the member's features beyond those of the outputs."""
        return getattr(self.model, "context_frames", 0)

    @property
    def learns(self) -> bool:
        """Whether it is trained at all; if not, its weights are those that it starts with."""
        return self._epochs > 0

    @property
    def predicts(self) -> bool:
        """Whether it predicts labels; if not, it is there for its embeddings."""
        return self.learns and self._examples.supervised

    @property
    def embedding_rate_hz(self) -> float:
        """Embeddings per second; 0 where one stands for a whole recording."""
        return self._frame_rate_hz / self.stride if isinstance(self._examples, Windows) else 0.0

    @property
    def stride(self) -> int:
        """Frames of the member's features per output."""
        return getattr(self.model, "samples_per_output", 1)

    def examples(
        self, fit: Fit, names: tuple[str, ...], *, fitting: bool = False, overlapping: bool = True
    ) -> Examples:
        """What the network sees of these recordings."""
        own = fit.frame_rate_hz == self._frame_rate_hz  # and not maps of the frozen stages, one an output
        return self._examples.examples(
            fit.recordings(names),
            fit.features,
            frame_rate_hz=fit.frame_rate_hz,
            frames_per_output=self.stride if own else 1,
            context_frames=self.context_frames if own else 0,
            overlapping=overlapping,
            fitting=fitting,
        )

    def example(self, fit: Fit) -> jax.Array:
        """`[1, ...]` an input of the network."""
        examples = self.examples(fit, (fit.corpus.recordings[0].name,))  # any: only shapes matter
        one = {name: value[None, None] for name, value in examples.load(0).items()}
        prepare = jax.vmap(self._examples.prepare, in_axes=(0, None), axis_name=parallel.AXIS)  # as if on one device
        return prepare(one, jax.random.key(0))[0]

    def _fresh(self, fit: Fit) -> TrainState:
        return create(self.model, self.example(fit), self._optimizer.transform, derive(fit.seed, "net"))

    def fit(self, fits: Iterable[Fit], progress: Progress) -> list[dict[str, Any]]:
        """Trains on the fit parts of folds, unless that is done; goes on where it was stopped.

        Several fits are trained as one program, and come out as one after the other on one device.

        Returns:
          For each `epochs` (the validated ones, with score and loss), `seconds` (of several fits its share),
          `parameters`; also left as `fit.json`.

        Raises:
          Interrupted: Ctrl-C or SIGTERM; what was trained is saved.
        """
        fits = list(fits)
        if len(fits) > 1 and processes.count() > 1:
            raise UserError("config.parallel is 'folds', which one process does; with several take 'data'")
        wanted = processes.on_main(lambda: [n for n, fit in enumerate(fits) if not (fit.folder / FINISHED).exists()])
        placement = parallel.Stacked(len(fits)) if len(fits) > 1 else parallel.Shared()
        with stop_requests() as asked_to_stop:
            loops, states = {}, {}
            for number in wanted:
                begun = self._begin(fits[number], placement, len(wanted), asked_to_stop, progress)
                loops[number], states[number] = begun
            lockstep.run(loops, states, self._programs.train_step(placement), placement, len(fits))
            if parallel.any_process(asked_to_stop()):  # in the last step or validation
                raise Interrupted(f"{fits[-1].name}: trained; stopped before what comes next")
        return processes.on_main(lambda: [summary_of(fit.folder) for fit in fits])

    def _begin(
        self,
        fit: Fit,
        placement: parallel.Placement,
        together: int,
        asked_to_stop: Callable[[], bool],
        progress: Progress,
    ) -> tuple[Loop, TrainState]:
        """The training loop of a fit, which leaves `fit.json` when it has ended, and the state that it begins with."""
        state = self._fresh(fit)
        if self.pretrained:
            state, notes = with_weights(state, self.pretrained, *self._takes)
            for note in notes:
                progress.say(f"{fit.name}: {note}")
        elif self._takes[0] in KNOWN or self._takes[1]:
            stay = "; its frozen stages stay at random" if frozen.has_frozen(self.model) else ""
            progress.say(f"{fit.name}: random start, as learner.pretrained is None{stay}")
        parameters = count_parameters(state.variables)
        fit = self._beyond_frozen(fit, state)
        fitting, tuning = self.examples(fit, fit.fold.train_names, fitting=True), self.examples(fit, fit.fold.val_names)
        checkpoints = Checkpoints(fit.folder / "checkpoints", self._keep_best)
        state, history = checkpoints.latest(state) or (state, new_history())
        if not self._epochs and not checkpoints.steps:
            checkpoints.save(state, history, None)  # the weights that it starts with

        def loop(done: int) -> Loop:
            with checkpoints:
                after = yield from train(
                    history,
                    done,
                    batches=self._programs.batches(
                        fitting, placement, first=done, epochs=self._epochs, shuffle_seed=derive(fit.seed, "shuffle")
                    ),
                    steps_per_epoch=-(-len(fitting) // self._batch),
                    epochs=self._epochs,
                    validate=lambda state: measured(
                        fit, tuning, self._programs.outputs(state, tuning), self._loss, score=self.predicts
                    ),
                    validate_every=self._validate_every,
                    best_by=self._best_by,
                    lr=lambda step: float(self._optimizer.lr(step)),
                    lr_scale=lambda losses: plateau.lr_scale(losses, *self._plateau),
                    checkpoints=checkpoints,
                    log=Log(fit.folder, done),
                    progress=progress,
                    name=fit.name,
                    asked_to_stop=asked_to_stop,
                    together=together,
                )
            summary = {"parameters": parameters, "seconds": round(after["seconds"], 1), "epochs": after["epochs"]}
            processes.on_main(lambda: write_json(fit.folder / FINISHED, summary))
            return after

        return loop(int(state.step)), state

    def choose(self, summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """From what `fit` returned, fold by fold, the validated epoch whose checkpoint is used."""
        if not self.learns:
            return [{"step": 0} for _ in summaries]
        return best_epochs([fold["epochs"] for fold in summaries], self._best_by, common=self._common_epoch)

    def predict(
        self, fit: Fit, names: tuple[str, ...], epoch: Mapping[str, Any], state: TrainState | None = None
    ) -> pd.DataFrame:
        """Predicts recordings with the checkpoint of an epoch that `choose` gave, or with what was `restored` of it."""
        state = state or self.restored(fit, epoch)
        examples = self.examples(self._beyond_frozen(fit, state), names)
        return examples.merge(self._programs.outputs(state, examples), fit.fold.index, fit.fold.seed)

    def embed(
        self, fit: Fit, names: tuple[str, ...], epoch: Mapping[str, Any], state: TrainState | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Names of recordings, and what `layer` gives for each; the rest is as in `predict`.

        Yields:
          `[time, channel]` at `embedding_rate_hz`, from windows that do not overlap; `[channel]` for clips.
        """
        # Sequences one by one, as their embeddings are large.
        at_once = 1 if self.embedding_rate_hz else 1024
        state = state or self.restored(fit, epoch)
        fit = self._beyond_frozen(fit, state)
        for first in range(0, len(names), at_once):
            examples = self.examples(fit, names[first : first + at_once], overlapping=False)
            yield from examples.by_recording(self._programs.outputs(state, examples, embed=True))

    def restored(self, fit: Fit, epoch: Mapping[str, Any]) -> TrainState:
        """The state of an epoch that `choose` gave, from its checkpoint or an export."""
        if self._shapes is None:  # the same in every fit
            self._shapes = jax.eval_shape(lambda: self._fresh(fit))
        target = self._shapes
        if not (fit.folder / FINISHED).exists():
            return weights.read(fit.folder / weights.FILE, target)  # an export
        with Checkpoints(fit.folder / "checkpoints", self._keep_best) as checkpoints:
            return checkpoints.read(epoch["step"], target)[0]
