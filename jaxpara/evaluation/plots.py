"""The report's figures as inline SVG; no pyplot, so that nothing global is left behind."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from jaxpara.corpora.corpus import Recording

# Okabe and Ito's colours, which colour-blind readers tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
INK, GREY = "#1f2933", "#9aa5b1"
EXCERPT_S = 60.0
FLOOR_DB = -70.0

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a file name may hold dollars
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def _figure(width: float, height: float) -> Figure:
    return Figure((width, height), layout="constrained")


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an <svg> element without anything that points out of the file.

    Args:
      salt: differs from figure to figure, so that their clip paths keep different names on one page.
    """
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": salt, **STYLE}):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    text = file.getvalue()
    return text[text.index("<svg") :]


def learning_curves(
    name: str, curves: Mapping[int, Sequence[Mapping[str, Any]]], best: Mapping[int, int | None], measure: str
) -> str:
    """Mean training loss and tune score by epoch, one line a fold; a ring marks the epoch that was chosen."""
    with matplotlib.rc_context(STYLE):
        figure = _figure(9.6, 3.2)
        loss, tune = figure.subplots(1, 2)
        colours = colormaps["viridis"](np.linspace(0, 0.9, max(len(curves), 2)))
        for (fold, lines), colour in zip(curves.items(), colours, strict=False):
            _by_epoch(loss, lines, "train", "loss", colour, f"fold {fold}")
            epochs, scores = _by_epoch(tune, lines, "validation", "score", colour, f"fold {fold}")
            epoch = best.get(fold)
            if epoch is not None and epoch in epochs:
                tune.plot(epoch, scores[epochs.index(epoch)], "o", mfc="none", mec=colour, ms=8)
        loss.set(xlabel="epoch (from 0)", ylabel="training loss, mean of the epoch")
        tune.set(xlabel="epoch (from 0)", ylabel=f"{measure} of the fold's tune part")
        _as_percent(tune.yaxis, measure)
        for axes in (loss, tune):
            axes.grid(axis="y", alpha=0.3)
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(*tune.get_legend_handles_labels(), loc="outside right upper")
        return _svg(figure, f"curves {name}")


def _by_epoch(
    axes: Axes, lines: Sequence[Mapping[str, Any]], kind: str, field: str, colour: Any, label: str
) -> tuple[list[int], list[float]]:
    points: dict[int, list[float]] = {}
    for line in lines:
        # What somebody edited may hold anything.
        if line.get("kind") == kind and isinstance(line.get(field), float) and isinstance(line.get("epoch"), int):
            points.setdefault(line["epoch"], []).append(line[field])
    epochs = sorted(points)
    means = [float(np.mean(points[epoch])) for epoch in epochs]
    axes.plot(epochs, means, ".-", color=colour, label=label, ms=4)
    return epochs, means


def _as_percent(axis: Axis, measure: str) -> None:
    if measure == "UAR":
        axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))


def dots(
    name: str,
    series: Mapping[str, Mapping[str, tuple[float, list[float] | None]]],
    *,
    measure: str,
    rows: str,
    lines: Mapping[str, float],
) -> str:
    """Scores as dots with their intervals, a row a name, several series side by side in each row.

    Args:
      name: of the figure.
      series: {series: {row: (value, interval or None)}}.
      measure: the axis.
      rows: what the rows are.
      lines: values to draw through all rows, with their labels.
    """
    labels = list(dict.fromkeys(label for points in series.values() for label in points))
    with matplotlib.rc_context(STYLE):
        figure = _figure(9.6, 1.1 + len(labels) * (0.16 + 0.08 * len(series)))
        axes = figure.subplots()
        for number, (title, points) in enumerate(series.items()):
            colour = COLOURS[number % len(COLOURS)]
            offset = (number - (len(series) - 1) / 2) * 0.7 / len(series)
            places = [labels.index(label) + offset for label in points]
            for place, (_, bounds) in zip(places, points.values(), strict=True):
                if bounds is not None:
                    axes.plot(bounds, [place, place], color=colour, lw=1.2, alpha=0.7)
            values = [value for value, _ in points.values()]
            axes.plot(values, places, "o", color=colour, ms=4.5, label=title, zorder=3)
        for (label, value), dash in zip(lines.items(), ("-", "--", ":", "-."), strict=False):
            axes.axvline(value, color=INK, lw=1, ls=dash, label=label, zorder=1)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=measure, ylabel=rows)
        _as_percent(axes.xaxis, measure)
        axes.grid(axis="x", alpha=0.3)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
        return _svg(figure, f"dots {name}")


def confusions(name: str, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """Confusion matrices side by side: counts, and the share of the true class, which is also the shade."""
    columns = min(len(matrices), 4)
    rows = -(-len(matrices) // columns)
    with matplotlib.rc_context({**STYLE, "axes.spines.left": False, "axes.spines.bottom": False}):
        figure = _figure(2.6 * columns + 0.6, 2.7 * rows)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(matrices) :]:
            axes.remove()
        for axes, (title, counts) in zip(grid, matrices.items(), strict=False):
            shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (true, predicted), count in np.ndenumerate(counts):
                share = shares[true, predicted]
                text = f"{count}\n{share:.1%}".replace("%", " %")
                axes.text(predicted, true, text, ha="center", va="center", color="white" if share > 0.6 else INK)
            axes.set_xticks(range(len(classes)), classes)
            axes.set_yticks(range(len(classes)), classes, rotation=90, va="center")
            axes.tick_params(length=0)
            axes.set(title=title, xlabel="predicted", ylabel="true")
        return _svg(figure, f"confusion {name}")


def reliability(name: str, systems: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Accuracy against confidence, and below how many rows were so sure; on the diagonal the two are equal.

    Args:
      name: of the figure.
      systems: {system: the fields of `metrics.Reliability`}.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure(6.4, 4.6)
        curve, rows = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        curve.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="equal")
        for number, (title, bins) in enumerate(systems.items()):
            colour = COLOURS[number % len(COLOURS)]
            curve.plot(bins["confidence"], bins["accuracy"], "o-", color=colour, ms=4.5, label=title)
            rows.plot(bins["confidence"], bins["counts"], "o-", color=colour, ms=3, lw=0.8)
        lowest = min((min(bins["confidence"]) for bins in systems.values()), default=0)
        curve.set(xlim=(np.floor(10 * lowest) / 10 - 0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
        rows.set(ylim=(0, None), xlabel="confidence: probability of the chosen class, mean of the bin", ylabel="rows")
        for axis in (curve.xaxis, curve.yaxis):
            _as_percent(axis, "UAR")
        for axes in (curve, rows):
            axes.grid(alpha=0.3)
        figure.legend(*curve.get_legend_handles_labels(), loc="outside right upper")
        return _svg(figure, f"reliability {name}")


def simplex(name: str, weights: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Mixes of three members as points in a triangle, a corner a member.

    Args:
      name: of the figure.
      weights: {fusion: {member: {fold: weight}}}, the same three members each time.
    """
    corners = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])
    members = list(next(iter(weights.values())))
    with matplotlib.rc_context(STYLE):
        figure = _figure(6.4, 3.8)
        axes = figure.subplots()
        axes.fill(*corners.T, facecolor="none", edgecolor=INK, lw=1)
        for member, (x, y), place in zip(members, corners, ("right", "left", "center"), strict=True):
            axes.text(x, y, f" {member} ", ha=place, va="bottom" if y else "top")
        for number, (title, by_member) in enumerate(weights.items()):
            points = np.array([list(by_member[member].values()) for member in members]).T @ corners
            axes.plot(*points.T, "osD^"[number % 4], color=COLOURS[number % len(COLOURS)], ms=6, label=title)
            for fold, (x, y) in zip(by_member[members[0]], points, strict=True):
                axes.annotate(fold, (x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
        axes.set(aspect="equal", xlim=(-0.3, 1.3), ylim=(-0.1, 1))
        axes.set_axis_off()
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", title="fold at each point")
        return _svg(figure, f"simplex {name}")


def belts(name: str, shown: Mapping[str, tuple[Recording, Mapping[str, np.ndarray]]]) -> str:
    """True against predicted belt, with the sound's level below: the middle 60 s of each recording.

    Args:
      name: of the figure.
      shown: {title: (recording, {system: `[label]` prediction})}; the first system is drawn thicker.
    """
    with matplotlib.rc_context(STYLE):
        figure = _figure(9.6, 2.7 * len(shown))
        grid = figure.subplots(2 * len(shown), 1, squeeze=False, height_ratios=[2, 1] * len(shown))[:, 0]
        for (title, (recording, systems)), belt, level in zip(shown.items(), grid[::2], grid[1::2], strict=True):
            start = max(0.0, (recording.times_s[-1] - EXCERPT_S) / 2)
            inside = (recording.times_s >= start) & (recording.times_s < start + EXCERPT_S)
            times_s = recording.times_s[inside]
            belt.plot(times_s, recording.truth[inside], color=INK, label="true")
            (first, prediction), *others = systems.items()
            for (system, single), colour in zip(others, (BLUE, GREEN, PINK, AMBER), strict=False):
                belt.plot(times_s, single[inside], color=colour, lw=0.8, label=system)
            belt.plot(times_s, prediction[inside], color=ORANGE, label=first)
            belt.set(title=title, ylabel="belt position", xlim=(times_s[0], times_s[-1]))
            belt.tick_params(labelbottom=False)
            belt.grid(axis="x", alpha=0.3)
            _draw_level(level, recording, times_s)
        handles = grid[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=3)
        return _svg(figure, f"belts {name}")


def _draw_level(axes: Axes, recording: Recording, times_s: np.ndarray) -> None:
    axes.set(
        xlim=(times_s[0], times_s[-1]),
        ylim=(FLOOR_DB, 0),
        yticks=(-60, -30, 0),
        ylabel="level\n(dBFS)",
        xlabel="time (s)",
    )
    try:
        level_db = level_of(recording.path, times_s)
    except (OSError, soundfile.SoundFileError):
        axes.text(0.5, 0.5, "the audio could not be read", transform=axes.transAxes, ha="center", va="center")
        return
    axes.fill_between(times_s[: len(level_db)], FLOOR_DB, level_db, color=SKY, alpha=0.8, lw=0)
    axes.grid(axis="x", alpha=0.3)


def level_of(path: Path, times_s: np.ndarray) -> np.ndarray:
    """The level of the sound in each label's stretch of time, `[label]` dB of full scale, not below -70.

    Raises:
      OSError, soundfile.SoundFileError: the file is not there or not readable.
    """
    with soundfile.SoundFile(path) as file:
        per_label = round(file.samplerate * (times_s[1] - times_s[0]))
        file.seek(min(round(file.samplerate * times_s[0]), file.frames))
        audio = file.read(per_label * len(times_s), always_2d=True).mean(1)
    audio = audio[: len(audio) // per_label * per_label].reshape(-1, per_label)
    return 10 * np.log10(np.maximum((audio**2).mean(1), 10 ** (FLOOR_DB / 10)))
