"""Many files through a system: short ones together, long ones block by block, a broken one by itself."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxpara.errors import UserError
from jaxpara.inference.audio_files import AudioFile
from jaxpara.inference.heard import SHORTEST_S
from jaxpara.inference.system import AT_ONCE_S, TOO_SHORT, Estimate, System


@dataclass(eq=False)
class _Job:
    """A file on its way: the blocks that were read, and what was predicted of them so far."""

    file: AudioFile
    starts: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    read: bool = False
    failure: str = ""


def predicted(
    system: System,
    files: Sequence[AudioFile],
    failed: Callable[[AudioFile, str], None],
    heard: Callable[[AudioFile], None],
) -> Iterator[tuple[AudioFile, Estimate]]:
    """Predicts files as they come.

    Args:
      failed: is told of a file that cannot be predicted, and why.
      heard: is told now and then which file is at hand.

    Yields:
      Each file that could be, with what was predicted.
    """
    jobs: list[_Job] = []
    waiting: list[tuple[_Job, np.ndarray]] = []
    seconds = 0.0

    def finished() -> Iterator[tuple[AudioFile, Estimate]]:
        _predict(system, waiting)
        waiting.clear()
        for job in jobs[:]:
            if job.failure:
                failed(job.file, job.failure)
            elif job.read:
                yield job.file, system.joined(job.starts, job.values)
            else:
                continue
            jobs.remove(job)

    for file in files:
        job = _Job(file)
        jobs.append(job)
        try:
            for start, block in system.blocks.cut(file.sound(system.task.sample_rate_hz)):
                if job.failure:
                    break
                job.starts.append(start)
                waiting.append((job, block))
                seconds += max(SHORTEST_S, len(block) / system.task.sample_rate_hz)
                if seconds >= AT_ONCE_S:
                    yield from finished()
                    seconds = 0.0
                    heard(file)
        except UserError as error:
            job.failure = str(error)
        job.read = True
        job.failure = job.failure or ("" if job.starts else TOO_SHORT)
    yield from finished()


def _predict(system: System, waiting: Sequence[tuple[_Job, np.ndarray]]) -> None:
    """Predicts blocks; where that fails, one by one, to know whose fault it is."""
    waiting = [(job, block) for job, block in waiting if not job.failure]
    if not waiting:
        return
    try:
        values = system.predict([block for _, block in waiting])
    except UserError as error:
        if len({id(job) for job, _ in waiting}) == 1:
            waiting[0][0].failure = str(error)
            return
        for job in dict.fromkeys(job for job, _ in waiting):
            _predict(system, [pair for pair in waiting if pair[0] is job])
        return
    for (job, _), value in zip(waiting, values, strict=True):
        job.values.append(value)
