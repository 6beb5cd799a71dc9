"""The report's figures as inline SVG, without pyplot and its global state."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from jaxpara.evaluation.measures import MEASURE
from jaxpara.predictions import FoldSeed, model_name

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
INK, GREY = "#1f2933", "#9aa5b1"
MAX_EXCERPT_S = 60.0
FLOOR_DB = -70.0
MAX_WIDTH = 9.9  # inches, of a figure
LETTER = 0.08  # inches, the width of a letter of 9 points
MAX_LETTERS = 22  # of the name of a class in a plot
MAX_POINTS = 2000  # drawn one by one

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a file name may contain dollar signs
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

_STYLED = matplotlib.rc_context(STYLE)


def _svg(figure: Figure, salt: str, legend: Axes | None = None, **options: Any) -> str:
    """Render the figure, with the axes' legend and its options, as an <svg> element that refers to no other file.

    The salt differs between figures, so that the ids of their clip paths differ on one page.
    """
    if legend is not None:
        figure.legend(*legend.get_legend_handles_labels(), **options)
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": salt, **STYLE}):
        figure.savefig(file, format="svg", metadata=nothing, transparent=True)
    return file.getvalue()[file.getvalue().index("<svg") :]


@_STYLED
def learning_curves(
    name: str,
    curves: Mapping[FoldSeed, Sequence[Mapping[str, Any]]],
    best: Mapping[FoldSeed, int | None],
    measure: str,
) -> str:
    """Draw mean training loss and validation score by epoch, one line per model; a ring marks the chosen epoch."""
    figure = Figure((9.6, 3.5), layout="constrained")
    loss, validation = figure.subplots(1, 2)
    colours = colormaps["viridis"](np.linspace(0, 0.9, max(len(curves), 2)))
    for (key, lines), colour in zip(curves.items(), colours, strict=False):
        for axes, kind, field in ((loss, "train", "loss"), (validation, "validation", "score")):
            means = _by_epoch(lines, kind, field)
            epochs = [epoch + 1 for epoch in means]
            axes.plot(epochs, list(means.values()), ".-", color=colour, label=f"fold {model_name(key)}", ms=4)
            chosen = best.get(key)
            if axes is validation and chosen is not None and chosen in means:
                axes.plot(chosen + 1, means[chosen], "o", mfc="none", mec=colour, ms=8)
    loss.set(xlabel="epoch", ylabel="training loss, mean of the epoch")
    validation.set(xlabel="epoch", ylabel=f"{measure} on the validation set")
    _as_percent(validation.yaxis, measure)
    for axes in (loss, validation):
        axes.grid(axis="y", alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return _svg(figure, f"curves {name}", validation, loc="outside upper left", ncols=8)


def _by_epoch(lines: Sequence[Mapping[str, Any]], kind: str, field: str) -> dict[int, float]:
    points: dict[int, list[float]] = {}
    for line in lines:
        # The file may have been edited by hand.
        if line.get("kind") == kind and isinstance(line.get(field), float) and isinstance(line.get("epoch"), int):
            points.setdefault(line["epoch"], []).append(line[field])
    return {epoch: float(np.mean(points[epoch])) for epoch in sorted(points)}


def _as_percent(axis: Axis, measure: str) -> None:
    if measure in MEASURE and MEASURE[measure].percent:
        # As many decimals as a tick needs: 52.5 %, not 52 %.
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(100 * value, 2) + 0.0:g} %"))


@_STYLED
def dots(
    name: str,
    series: Mapping[str, Mapping[str, tuple[float, list[float] | None]]],
    *,
    measure: str,
    rows: str,
    lines: Mapping[str, float | None],
) -> str:
    """Draw scores as dots with their intervals, one row per name, several series side by side in each row.

    Args:
      series: {series: {row: (value, interval or None)}}.
      measure, rows: labels of the axes.
      lines: {label: value} to draw through all rows; None is left out.
    """
    labels = list(dict.fromkeys(label for points in series.values() for label in points))
    figure = Figure((9.6, 1.1 + 0.05 * len(series) + len(labels) * (0.16 + 0.08 * len(series))), layout="constrained")
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
    shown = {label: value for label, value in lines.items() if value is not None}
    for (label, value), dash in zip(shown.items(), ("-", "--", ":", "-."), strict=False):
        axes.axvline(value, color=INK, lw=1, ls=dash, label=label, zorder=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=measure, ylabel=rows)
    if measure in MEASURE and MEASURE[measure].smaller_is_better:  # intervals of errors have no upper limit
        highest = max(value for points in series.values() for value, _ in points.values())
        axes.set_xlim(right=min(axes.get_xlim()[1], 3 * highest))
    _as_percent(axes.xaxis, measure)
    axes.grid(axis="x", alpha=0.3)
    return _svg(figure, f"dots {name}", axes, loc="outside upper left", ncols=5)


@matplotlib.rc_context({**STYLE, "axes.spines.left": False, "axes.spines.bottom": False})
def confusions(name: str, matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """Draw confusion matrices side by side: counts, and shares of the true class as shade.

    With few classes the shares are also written; with many there is room for the counts only.
    """
    names = [c if len(c) <= MAX_LETTERS else c[: MAX_LETTERS - 1] + "…" for c in classes]
    with_shares = len(names) <= 7
    cell = 0.85 if len(names) == 2 else 0.64 if len(names) <= 4 else 0.52 if with_shares else 0.48  # inches
    letters = max(map(len, names)) * LETTER
    rotated = letters > cell
    width = len(names) * cell + letters + (0.5 if with_shares else 0.7)
    height = len(names) * cell + (0.75 * letters if rotated else 0.2) + 0.7
    columns = max(1, min(len(matrices), int(MAX_WIDTH / width)))
    rows = -(-len(matrices) // columns)
    figure = Figure((columns * width, rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(matrices) :]:
        axes.remove()
    for axes, (title, counts) in zip(grid, matrices.items(), strict=False):
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        digits = len(str(counts.max()))
        size = min(8, 0.85 * cell / (digits * LETTER) * 9)  # LETTER is the width of a letter of 9 points
        for (true, predicted), count in np.ndenumerate(counts):
            share = shares[true, predicted]
            text = f"{count}\n{share:.1%}".replace("%", " %") if with_shares else str(count)
            colour = "white" if share > 0.6 else INK if count else GREY
            axes.text(predicted, true, text, ha="center", va="center", color=colour, size=size)
        turned: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if rotated else {}
        axes.set_xticks(range(len(names)), names, **turned)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.set(title=title, xlabel="predicted", ylabel="true")
    return _svg(figure, f"confusion {name}")


@_STYLED
def scatter(name: str, systems: Mapping[str, tuple[np.ndarray, np.ndarray]], levels: Sequence[str] = ()) -> str:
    """Draw predicted against true values, {title: (truth, prediction)}, as points, or as their density if many."""
    figure = Figure((4.6 * len(systems), 4.4), layout="constrained")
    panels = figure.subplots(1, len(systems), squeeze=False)[0]
    for axes, (title, (truth, prediction)) in zip(panels, systems.items(), strict=True):
        low, high = (function([*truth, *prediction]) for function in (min, max))
        axes.plot([low, high], [low, high], color=GREY, lw=1, ls="--", label="prediction = truth", zorder=3)
        if len(truth) <= MAX_POINTS:
            axes.plot(truth, prediction, "o", color=BLUE, ms=4, alpha=0.4, mew=0)
        else:
            density = axes.hexbin(truth, prediction, gridsize=40, cmap="Blues", bins="log", mincnt=1, lw=0.1)
            figure.colorbar(density, ax=axes, label="labels", shrink=0.7)
        axes.set(title=title, xlabel="true value", ylabel="predicted value", aspect="equal")
        if levels:
            axes.set_xticks(range(len(levels)), levels)
            axes.set_yticks(range(len(levels)), levels)
        axes.grid(alpha=0.3)
    panels[0].legend(loc="upper left")
    return _svg(figure, f"scatter {name}")


@_STYLED
def reliability(name: str, systems: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Draw `metrics.reliability` by system: accuracy against confidence, and below the number of recordings."""
    figure = Figure((6.4, 4.6), layout="constrained")
    curve, rows = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    curve.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="confidence = accuracy")
    for number, (title, bins) in enumerate(systems.items()):
        colour = COLOURS[number % len(COLOURS)]
        curve.plot(bins["confidence"], bins["accuracy"], "o-", color=colour, ms=4.5, label=title)
        rows.plot(bins["confidence"], bins["counts"], "o-", color=colour, ms=3, lw=0.8)
    lowest = min((min(bins["confidence"]) for bins in systems.values()), default=0)
    curve.set(xlim=(np.floor(10 * lowest) / 10 - 0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
    rows.set(
        ylim=(0, None), xlabel="confidence: probability of the chosen class,\nmean of the bin", ylabel="recordings"
    )
    for axis in (curve.xaxis, curve.yaxis):
        _as_percent(axis, "UAR")
    for axes in (curve, rows):
        axes.grid(alpha=0.3)
    return _svg(figure, f"reliability {name}", curve, loc="outside right upper")


@_STYLED
def simplex(name: str, weights: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Draw weights, {fusion: {member: {model: weight}}}, of the same three members as points in a triangle."""
    corners = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])
    members = list(next(iter(weights.values())))
    figure = Figure((6.4, 3.8), layout="constrained")
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
    return _svg(figure, f"simplex {name}", axes, loc="outside right upper", title="fold of each point")


class Excerpt(NamedTuple):
    """A part of a recording, all `[label]`: times, true and predicted values, level in dB (None if unreadable)."""

    times_s: np.ndarray
    truth: np.ndarray
    predictions: dict[str, np.ndarray]  # by system; the first is drawn thicker
    level_db: np.ndarray | None


@_STYLED
def sequences(name: str, excerpts: Mapping[str, Excerpt], what: str) -> str:
    """Draw true and predicted values (`what`) of excerpts, by title, each with the level of its sound below."""
    figure = Figure((9.6, 2.7 * len(excerpts)), layout="constrained")
    grid = figure.subplots(2 * len(excerpts), 1, squeeze=False, height_ratios=[2, 1] * len(excerpts))[:, 0]
    for (title, excerpt), series, level in zip(excerpts.items(), grid[::2], grid[1::2], strict=True):
        times_s, truth, predictions, level_db = excerpt
        series.plot(times_s, truth, color=INK, label="true")
        first, *others = predictions
        for system, colour in zip(others, (BLUE, GREEN, PINK, AMBER), strict=False):
            series.plot(times_s, predictions[system], color=colour, lw=0.8, label=system)
        series.plot(times_s, predictions[first], color=ORANGE, label=first)
        series.set(title=title, ylabel=what, xlim=times_s[[0, -1]])
        series.tick_params(labelbottom=False)
        series.grid(axis="x", alpha=0.3)
        level.set(xlim=times_s[[0, -1]], ylim=(FLOOR_DB, 0), yticks=(-60, -30, 0), ylabel="level\n(dBFS)")
        level.set(xlabel="time (s)")
        if level_db is None:
            level.text(0.5, 0.5, "the audio could not be read", transform=level.transAxes, ha="center", va="center")
        else:
            level.fill_between(times_s[: len(level_db)], FLOOR_DB, level_db, color=SKY, alpha=0.8, lw=0)
            level.grid(axis="x", alpha=0.3)
    return _svg(figure, f"sequences {name}", grid[0], loc="outside upper right", ncols=3)


def middle(times_s: np.ndarray) -> np.ndarray:
    """Select the labels in the middle of a recording, `[label]` bool, `MAX_EXCERPT_S` at most."""
    start = max(0.0, (times_s[-1] - MAX_EXCERPT_S) / 2)
    return (times_s >= start) & (times_s < start + MAX_EXCERPT_S)


def level_of(waveform: np.ndarray, sample_rate_hz: int, times_s: np.ndarray) -> np.ndarray:
    """Compute the level of a whole `[sample]` waveform from each `[label]` time to the next, in dB of full scale.

    It is not below `FLOOR_DB`. The times have a constant step; labels after the end of the waveform are left out.
    """
    if len(times_s) < 2:
        return np.empty(0)
    per_label = round(sample_rate_hz * (times_s[1] - times_s[0]))
    start = round(sample_rate_hz * times_s[0])
    audio = np.asarray(waveform[start : start + per_label * len(times_s)], np.float64)
    audio = audio[: len(audio) // per_label * per_label].reshape(-1, per_label)
    return 10 * np.log10(np.maximum((audio**2).mean(1), 10 ** (FLOOR_DB / 10)))
