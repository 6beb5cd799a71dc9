"""Scores as text, for results that people read."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxpara.evaluation.measures import MEASURE, Measure

# As they follow "reaches".
WITH_ARTICLE = {
    **{name: f"a {name}" for name in ("UAR", "CCC", "PCC")},
    **{name: f"an {name}" for name in ("accuracy", "AUC", "RMSE")},
    "F1": "a macro-F1",
    "Spearman": "a Spearman correlation",
}


@dataclass(frozen=True)
class Formatter:
    """Formats scores of a measure, UAR in percent and points, r to three decimals; a dash where there is none."""

    name: str

    @property
    def measure(self) -> Measure:
        return MEASURE[self.name]

    def number(self, value: float | None) -> str:
        if value is None:
            return "–"
        # The space does not break, so that a percent sign never starts a line.
        return f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%") if self.measure.percent else f"{value:.3f}"

    def signed(self, difference: float | None) -> str:
        """Format a difference with its sign, without a unit."""
        if difference is None:
            return "–"
        return f"{100 * difference:+.1f}" if self.measure.percent else f"{difference:+.3f}"

    def interval(self, bounds: list[float] | None, number: Callable[[float | None], str] | None = None) -> str:
        """Format an interval: `0.512 to 0.634`."""
        return "–" if bounds is None else " to ".join(map(number or self.number, bounds))

    def points(self, difference: float) -> str:
        return f"{abs(100 * difference):.1f} points" if self.measure.percent else f"{abs(difference):.3f}"

    def compared(self, difference: float, none: str = "no better") -> str:
        """Format a difference as `0.012 better` or `worse`, or with the word for none, as far as it can be seen."""
        if (points := self.points(difference)) == self.points(0):
            return none
        return f"{points} {'better' if self.measure.gain(difference) > 0 else 'worse'}"

    @property
    def guessing(self) -> str:
        """The best that is possible without looking at the recordings, whose score is `chance` in results.json."""
        return {"RMSE": "always predicting the mean", "accuracy": "always the most frequent class"}.get(
            self.name, "chance"
        )

    @property
    def too_good(self) -> str:
        """The words for scores that flatter a system."""
        return "too low" if self.measure.smaller_is_better else "too high"


def p_value(p: float) -> str:
    """Format a p-value with its sign: `= 0.02`."""
    return "<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"=\N{NO-BREAK SPACE}{p:.2g}"
