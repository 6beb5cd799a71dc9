"""Takes the steps that training loops ask for: those of one fit, or of several fits at once."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jaxpara.training.loop import Interrupted, Loop
from jaxpara.training.parallel import Placement
from jaxpara.training.state import TrainState


def run(
    loops: Mapping[int, Loop],
    states: dict[int, TrainState],
    step: Callable[[TrainState, Any], tuple[TrainState, Any]],
    placement: Placement,
    seats: int,
) -> None:
    """Runs loops until all have ended.

    Each fit is at a step of its own, and sees nothing of the others. Where one has ended, its seat goes through the
    same batch again and again, and nobody looks: a program for fewer fits would have to be compiled, and might round
    otherwise.

    Args:
      loops: of the fits by their seats, from `jaxpara.training.loop.train`.
      states: that they begin with; taken out, so that their memory is free.
      step: from the placement's `spread`.
      seats: fits in a step, those that ended in an earlier run included.

    Raises:
      Interrupted: all loops have saved and stopped; a line for each.
    """
    wanted: dict[int, tuple[Any, float]] = {}
    live, stopped = sorted(loops), []

    def go_on(fit: int, answer: Any) -> bool:
        """Whether the loop asks for a further step."""
        try:
            wanted[fit] = loops[fit].send(answer)
        except StopIteration:
            return False
        except Interrupted as stop:
            stopped.append(str(stop))
            return False
        return True

    with ExitStack() as stack:
        for loop in loops.values():
            stack.enter_context(closing(loop))
        live = [fit for fit in live if go_on(fit, None)]
        # In a seat without a fit sits another one's double.
        seated = [seat if seat in live else live[0] for seat in range(seats) if live]
        scales = [wanted[fit][1] for fit in seated]
        placed: Any = placement.put([states[fit] for fit in seated]) if live else None
        states.clear()
        while live:
            scales_before, scales = scales, [wanted[fit][1] for fit in seated]
            if scales != scales_before:
                placed = replace(placed, lr_scale=placement.put([np.float32(scale) for scale in scales]))
            placed, losses = step(placed, placement.batch([wanted[fit][0] for fit in seated]))
            state_of, loss_of = placement.views(placed), placement.views(losses)
            live = [fit for fit in live if go_on(fit, (partial(state_of, fit), float(loss_of(fit))))]
    if stopped:
        raise Interrupted("\n".join(stopped))
