"""A picture of one recording and of what was predicted for it."""

import warnings
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter

from jaxpara.evaluation import breaths
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.plots import BLUE, COLOURS, GREY, INK, ORANGE, STYLE
from jaxpara.files import replacing
from jaxpara.inference.audio_files import LEVELS_HZ
from jaxpara.inference.parts import Part

ROW_S = 60.0  # of a belt in one row
ROWS = 10  # at most; what is longer is shown as a whole, by its breathing rate
POINTS = 2000  # of a line: more are not seen


def write(path: Path, name: str, part: Part, stamp: str) -> None:
    """Writes a PNG, whole or not at all.

    Args:
      name: of the file, for the title.
      stamp: stands below; empty for none.
    """
    with warnings.catch_warnings(), matplotlib.rc_context({**STYLE, "figure.dpi": 110}):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name in another script: boxes stand there
        figure = _probabilities(part) if part.estimate.classes else _belt(part)
        figure.suptitle(_title(name, part), x=0.01, ha="left", fontsize=11)
        if stamp:
            figure.supxlabel(f"trained on a {stamp}", x=0.01, ha="left", fontsize=8, color=ORANGE)
        with replacing(path) as unfinished:
            figure.savefig(unfinished, format="png")


def _title(name: str, part: Part) -> str:
    shown = "".join(c if c.isprintable() else " " for c in name)
    shown = shown if len(shown) <= 70 else f"...{shown[-67:]}"
    if part.estimate.classes:
        label = part.estimate.label
        return f"{shown}: {label}, {100 * part.estimate.probabilities.max():.0f} %"
    times_s, belt = part.estimate.times_s, part.estimate.values
    try:
        count = len(breaths.onsets(belt, times_s))
    except Undefined:
        return f"{shown}: too short for a breathing rate"
    minutes = len(times_s) * (times_s[1] - times_s[0]) / 60
    return f"{shown}: {count} inhalations, {count / minutes:.1f} a minute"


def _belt(part: Part) -> Figure:
    times_s, belt = part.estimate.times_s, part.estimate.values
    try:
        onsets_s = breaths.onsets(belt, times_s)
    except Undefined:
        onsets_s = np.empty(0)
    spread = float(np.ptp(belt)) or 1.0
    limits = (float(belt.min()) - 0.1 * spread, float(belt.max()) + 0.15 * spread)
    rows = max(1, int(np.ceil(part.seconds / ROW_S - 1e-6)))
    if rows > ROWS:
        return _long(part, onsets_s, limits)
    figure = Figure((10, 1.1 + 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharey=True)[:, 0]
    width_s = ROW_S if rows > 1 else max(part.seconds, 1.0)
    for row, one in enumerate(axes):
        _belt_row(one, part, onsets_s, (row * ROW_S, row * ROW_S + width_s), limits)
    axes[-1].set_xlabel("time (min:s)" if rows > 1 else "time (s)")
    _legend(figure, axes[0], onsets=len(onsets_s) > 0)
    return figure


def _belt_row(
    axes: Axes, part: Part, onsets_s: np.ndarray, span_s: tuple[float, float], limits: tuple[float, float]
) -> None:
    """The belt over the waveform of one stretch of time."""
    times_s, belt = part.estimate.times_s, part.estimate.values
    _waveform(axes.twinx(), part, span_s)
    axes.patch.set_visible(False)
    axes.set_zorder(2)  # the belt in front of the waveform
    inside = (times_s >= span_s[0]) & (times_s <= span_s[1])
    axes.plot(times_s[inside], belt[inside], color=BLUE, marker="." if inside.sum() < 20 else "", label="belt")
    begun = onsets_s[(onsets_s >= span_s[0]) & (onsets_s < span_s[1])]
    heights = np.interp(begun, times_s, belt)
    axes.plot(begun, heights, "^", color=ORANGE, ms=6, label="inhalation begins")
    axes.set(xlim=span_s, ylim=limits, ylabel="belt")
    if span_s[1] > ROW_S:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{int(s) // 60}:{int(s) % 60:02d}"))
    axes.grid(axis="x", alpha=0.3)


def _waveform(axes: Axes, part: Part, span_s: tuple[float, float]) -> None:
    """The envelope of the sound, scaled by the loudest of the recording."""
    first, last = (int(second * LEVELS_HZ) for second in span_s)
    times_s, levels = _thinned(part.levels[first : last + 1])
    levels = levels / max(float(part.levels.max()), 1e-6)
    axes.fill_between(span_s[0] + times_s / LEVELS_HZ, -levels, levels, color=GREY, alpha=0.35, lw=0, label="sound")
    axes.set(ylim=(-1.05, 1.05), yticks=())
    axes.spines["right"].set_visible(False)


def _thinned(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and peaks, no more of them than can be seen."""
    step = max(1, len(levels) // POINTS)
    places = np.arange(0, len(levels), step)
    return places.astype(float), np.maximum.reduceat(levels, places) if len(levels) else levels


def _long(part: Part, onsets_s: np.ndarray, limits: tuple[float, float]) -> Figure:
    """Inhalations minute by minute, and the first minute of the belt."""
    figure = Figure((10, 5.2), layout="constrained")
    rate, first = figure.subplots(2, 1)
    minutes = np.arange(int(part.seconds // 60))
    counts = np.histogram(onsets_s, bins=60.0 * np.arange(len(minutes) + 1))[0]
    hours = part.seconds > 2 * 3600
    unit = 60 if hours else 1
    rate.plot((minutes + 0.5) / unit, counts, color=BLUE, lw=1.2 if len(minutes) < 200 else 0.6)
    rate.set(
        title="inhalations in each minute, over the whole recording",
        xlabel="time (hours)" if hours else "time (minutes)",
        ylabel="a minute",
        xlim=(0, part.seconds / 60 / unit),
        ylim=(0, max(1, counts.max(initial=0)) * 1.15),
    )
    rate.grid(alpha=0.3)
    _belt_row(first, part, onsets_s, (0.0, ROW_S), limits)
    first.set(title="the first minute", xlabel="time (s)")
    _legend(figure, first, onsets=len(onsets_s) > 0)
    return figure


def _legend(figure: Figure, axes: Axes, *, onsets: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = (handles, labels) if onsets else (handles[:1], labels[:1])
    sound = Patch(color=GREY, alpha=0.35)
    figure.legend([*handles, sound], [*labels, "sound"], loc="outside upper right", ncols=3)


def _probabilities(part: Part) -> Figure:
    """The probability of each class, clip by clip, below the waveform."""
    estimate = part.estimate
    figure = Figure((10, 3.8), layout="constrained")
    sound, shares = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    span_s = (0.0, max(part.seconds, 1e-3))
    _waveform(sound, part, span_s)
    sound.set(xlim=span_s, ylabel="sound")
    step_s = float(estimate.times_s[1]) if len(estimate.times_s) > 1 else span_s[1]
    # The last clip ends with the recording, and may begin before the one before it has ended.
    starts_s = np.arange(len(estimate.times_s)) * step_s
    edges_s = np.minimum(np.append(starts_s, span_s[1]), span_s[1])
    for number, name in enumerate(estimate.classes):
        colour = COLOURS[number % len(COLOURS)]
        mean = estimate.probabilities[number]
        shares.stairs(
            estimate.values[:, number], edges_s, color=colour, baseline=None, lw=1.8, label=f"{name} {100 * mean:.0f} %"
        )
    shares.axhline(1 / len(estimate.classes), color=GREY, lw=0.8, ls=":")
    shares.set(ylim=(0, 1.02), ylabel="probability", xlabel="time (s)")
    shares.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    shares.grid(axis="x", alpha=0.3)
    figure.legend(*shares.get_legend_handles_labels(), loc="outside upper right", ncols=4, labelcolor=INK)
    return figure
