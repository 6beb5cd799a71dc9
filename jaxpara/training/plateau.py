"""The learning rate falls when validation stops getting better (paper §3.1.2)."""

from collections.abc import Sequence

THRESHOLD = 1e-4  # how much lower, relatively, a loss has to be to count as better


def lr_scale(losses: Sequence[float], patience: int, factor: float) -> float:
    """What becomes of the learning rate after these validation losses.

    A pure function of the losses, so that a run that goes on needs no state of its own.

    Args:
      losses: of all validations so far, in order.
      patience: validations without a new best that are tolerated; the next one lowers the rate. Below 0: the rate
        stays.
      factor: what the rate is multiplied with then.

    Returns:
      The factor of the learning rate; 1 where it never fell.

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau` with its defaults.
    """
    best, waited, scale = float("inf"), 0, 1.0
    if patience < 0:
        return scale
    for loss in losses:
        if loss < best * (1 - THRESHOLD):
            best, waited = loss, 0
        else:
            waited += 1
        if waited > patience:
            scale, waited = scale * factor, 0
    return scale
