"""An image of a recording and its prediction."""

import warnings
from contextlib import suppress
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter

from jaxpara.corpora.audio import LEVELS_HZ
from jaxpara.evaluation import breaths
from jaxpara.evaluation.metrics import Undefined
from jaxpara.evaluation.plots import BLUE, COLOURS, GREY, INK, ORANGE, STYLE
from jaxpara.files import replacing
from jaxpara.inference.system import Estimate

ROW_S = 60.0  # seconds of a belt per row
MAX_ROWS = 10  # longer recordings are summarised by their breathing rate
MAX_POINTS = 2000  # per line; more are not visible

Span = tuple[float, float]  # start and end in seconds


def write(path: Path, name: str, estimate: Estimate, levels: np.ndarray, seconds: float, notice: str) -> None:
    """Write an image as PNG, whole or not at all.

    Args:
      levels, seconds: of the audio, see `AudioFile`.
      notice: text on the training corpus below the plot; empty for none.
    """
    with warnings.catch_warnings(), matplotlib.rc_context({**STYLE, "figure.dpi": 110}):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # characters that the font lacks are drawn as boxes
        shown = "".join(c if c.isprintable() else " " for c in name)
        shown = shown if len(shown) <= 70 else f"...{shown[-67:]}"
        draw = {"classes": _probabilities, "sequence": _sequence}.get(estimate.task.kind, _number)
        figure, found = draw(estimate, levels, seconds)
        figure.suptitle(f"{shown}: {found}", x=0.01, ha="left", fontsize=11)
        if notice:
            figure.supxlabel(f"trained on a {notice}", x=0.01, ha="left", fontsize=8, color=ORANGE)
        with replacing(path) as part:
            figure.savefig(part, format="png")


def _sequence(estimate: Estimate, levels: np.ndarray, seconds: float) -> tuple[Figure, str]:
    """Draw the sequence over the envelope of the audio, and return also the breathing rate of a belt in words."""
    belt, times_s, onsets_s = estimate.values, estimate.times_s, np.empty(0)
    found = "too short for a breathing rate" if estimate.task.breathing else f"{estimate.number:.3g} on average"
    with suppress(Undefined):
        if estimate.task.breathing:
            onsets_s = breaths.onsets(belt, times_s)
            minutes = len(times_s) * (times_s[1] - times_s[0]) / 60
            found = f"{len(onsets_s)} inhalations, {len(onsets_s) / minutes:.1f} per minute"
    rows = max(1, int(np.ceil(seconds / ROW_S - 1e-6)))
    if rows > MAX_ROWS and estimate.task.breathing:  # the rate minute by minute, and the first minute of the belt
        figure = Figure((10, 5.2), layout="constrained")
        rate, *belts = figure.subplots(2, 1)
        _draw_rate(rate, onsets_s, seconds)
        belts[0].set(title="the first minute", xlabel="time (s)")
    else:
        rows = min(rows, MAX_ROWS)
        figure = Figure((10, 1.1 + 1.5 * rows), layout="constrained")
        belts = figure.subplots(rows, 1, squeeze=False, sharey=True)[:, 0]
        belts[-1].set_xlabel("time (min:s)" if rows > 1 else "time (s)")
    width_s = ROW_S if rows > 1 else max(seconds, 1.0)
    spread = float(np.ptp(belt)) or 1.0
    for row, axes in enumerate(belts):
        _draw_belt(axes, estimate, levels, onsets_s, (row * ROW_S, row * ROW_S + width_s))
        axes.set(ylim=(float(belt.min()) - 0.1 * spread, float(belt.max()) + 0.15 * spread))
    handles, labels = belts[0].get_legend_handles_labels()
    audio = Patch(color=GREY, alpha=0.35)
    figure.legend([*handles, audio], [*labels, "audio"], loc="outside upper right", ncols=3)
    return figure, found


def _draw_rate(axes: Axes, onsets_s: np.ndarray, seconds: float) -> None:
    minutes = np.arange(int(seconds // 60))
    counts = np.histogram(onsets_s, bins=60.0 * np.arange(len(minutes) + 1))[0]
    unit, name = (60, "hours") if seconds > 2 * 3600 else (1, "minutes")
    axes.plot((minutes + 0.5) / unit, counts, color=BLUE, lw=1.2 if len(minutes) < 200 else 0.6)
    axes.set(
        title="inhalations in each minute of the recording",
        xlabel=f"time ({name})",
        ylabel="per minute",
        xlim=(0, seconds / 60 / unit),
        ylim=(0, max(1, counts.max(initial=0)) * 1.15),
    )
    axes.grid(alpha=0.3)


def _draw_belt(axes: Axes, estimate: Estimate, levels: np.ndarray, onsets_s: np.ndarray, span_s: Span) -> None:
    times_s, belt = estimate.times_s, estimate.values
    _draw_envelope(axes.twinx(), levels, span_s)
    axes.patch.set_visible(False)
    axes.set_zorder(2)  # the belt in front of the waveform
    inside = (times_s >= span_s[0]) & (times_s <= span_s[1])
    axes.plot(
        times_s[inside], belt[inside], color=BLUE, marker="." if inside.sum() < 20 else "", label=estimate.task.target
    )
    if len(onsets_s):
        shown_s = onsets_s[(onsets_s >= span_s[0]) & (onsets_s < span_s[1])]
        axes.plot(shown_s, np.interp(shown_s, times_s, belt), "^", color=ORANGE, ms=6, label="start of inhalation")
    axes.set(xlim=span_s, ylabel=estimate.task.target)
    if span_s[1] > ROW_S:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda s, _: f"{int(s) // 60}:{int(s) % 60:02d}"))
    axes.grid(axis="x", alpha=0.3)


def _draw_envelope(axes: Axes, levels: np.ndarray, span_s: Span) -> None:
    """Draw the envelope of the audio, scaled to the peak of the recording."""
    peak = max(float(levels.max()), 1e-6)
    first, last = (int(second * LEVELS_HZ) for second in span_s)
    shown = levels[first : last + 1]
    starts = np.arange(0, len(shown), max(1, len(shown) // MAX_POINTS))
    shown = (np.maximum.reduceat(shown, starts) if len(shown) else shown) / peak
    axes.fill_between(span_s[0] + starts.astype(float) / LEVELS_HZ, -shown, shown, color=GREY, alpha=0.35, lw=0)
    axes.set(ylim=(-1.05, 1.05), yticks=())
    axes.spines["right"].set_visible(False)


def _number(estimate: Estimate, levels: np.ndarray, seconds: float) -> tuple[Figure, str]:
    """Draw the number of each part below the envelope; return also their mean in words."""
    figure, axes, edges_s = _below_the_envelope(estimate, levels, seconds)
    axes.stairs(estimate.values, edges_s, color=BLUE, baseline=None, lw=1.8)
    low, high = min(estimate.task.limits[0], estimate.values.min()), max(estimate.task.limits[1], estimate.values.max())
    axes.set(ylim=(low - 0.05 * (high - low), high + 0.05 * (high - low)), ylabel=estimate.task.target)
    level = f", {estimate.label}" if estimate.task.classes else ""
    return figure, f"{estimate.task.target} {estimate.number:.3g}{level}"


def _probabilities(estimate: Estimate, levels: np.ndarray, seconds: float) -> tuple[Figure, str]:
    """Draw the probability of each class, part by part, below the envelope; return also the label in words."""
    figure, axes, edges_s = _below_the_envelope(estimate, levels, seconds)
    for index, (name, probability) in enumerate(zip(estimate.classes, estimate.probabilities, strict=True)):
        label, colour = f"{name} {100 * probability:.0f} %", COLOURS[index % len(COLOURS)]
        axes.stairs(estimate.values[:, index], edges_s, color=colour, baseline=None, lw=1.8, label=label)
    axes.axhline(1 / len(estimate.classes), color=GREY, lw=0.8, ls=":")
    axes.set(ylim=(0, 1.02), ylabel="probability")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=4, labelcolor=INK)
    return figure, f"{estimate.label}, {100 * estimate.probabilities.max():.0f} %"


def _below_the_envelope(estimate: Estimate, levels: np.ndarray, seconds: float) -> tuple[Figure, Axes, np.ndarray]:
    """Draw the envelope; return also the axes below it, and the edges of the recording's parts in seconds."""
    figure = Figure((10, 3.8), layout="constrained")
    audio, axes = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    span_s = (0.0, max(seconds, 1e-3))
    _draw_envelope(audio, levels, span_s)
    audio.set(xlim=span_s, ylabel="audio")
    axes.set_xlabel("time (s)")
    axes.grid(axis="x", alpha=0.3)
    step_s = float(estimate.times_s[1]) if len(estimate.times_s) > 1 else span_s[1]
    # The last part ends with the recording and may overlap the previous one.
    return figure, axes, np.minimum(np.append(np.arange(len(estimate.times_s)) * step_s, span_s[1]), span_s[1])
