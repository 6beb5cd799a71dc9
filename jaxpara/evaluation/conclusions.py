"""Conclusions from results.json, in sentences."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from jaxpara.evaluation import intervals
from jaxpara.predictions import model_name

Json = Mapping[str, Any]


def number(measure: str, value: float | None) -> str:
    """Format a score: r to three decimals, UAR in percent; a dash where there is none."""
    if value is None:
        return "–"
    # The space does not break, so that a percent sign never starts a line.
    return f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%") if measure == "UAR" else f"{value:.3f}"


def interval(measure: str, bounds: list[float] | None) -> str:
    """Format an interval: `0.512 to 0.634`; a dash where there is none."""
    return "–" if bounds is None else f"{number(measure, bounds[0])} to {number(measure, bounds[1])}"


def chance(score: Json) -> float:
    """Return the score of guessing: r of 0, or a UAR of one over the number of classes."""
    return 1 / len(score["classes"]) if score.get("classes") else 0.0


def conclude(results: Json) -> list[str]:
    """Write the headline, and after it the caveats."""
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    models = sum(len(results["members"][name]["folds"]) for name in results["fusion"]["members"])
    system = f"The fusion ({results['fusion']['name']}) of {models} models" if models > 1 else "The model"
    measure = results["measure"]
    if test["pooled"] is not None:
        where, score = "on the test partition", test
    elif cv["pooled"] is not None:
        where, score = "in cross-validation with all folds pooled", cv
    else:
        return [f"No score: {test['undefined']['pooled']}; in cross-validation {cv['undefined']['pooled']}."]
    unknown = "the interval over speakers is unknown"
    bounds = f"95\N{NO-BREAK SPACE}% interval over speakers {interval(measure, score['interval_95'])}"
    size = f"{score['labels']:,} labels" + (f" of {score['speakers']} speakers" if score["speakers"] else "")
    sentences = [
        f"{system} reaches a {measure} of {number(measure, score['pooled'])} {where}"
        f" ({bounds if score['interval_95'] else unknown}; {size})."
    ]
    if score is cv:
        sentences.append(f"There is no test score: {test['undefined']['pooled']}.")
    sentences += _against_chance(score)
    if score is test:
        sentences += _against_models(results) + _against_baselines(results) + _against_cv(results)
    sentences += _between_seeds(results)
    sentences += _leaks(results) + _shared_audio(results) + _known_to_features(results)
    return sentences + _between_partitions(results) + _where_weights_were_found(results)


def _against_chance(score: Json) -> list[str]:
    measure, guess = score["measure"], "0" if score["measure"] == "PCC" else number("UAR", chance(score))
    if score["interval_95"] is None:
        reason, samples = score["undefined"].get("interval_95", "no reason given"), score["interval_95_over_samples"]
        would_be = f" Over samples it would be {interval(measure, samples)}; new speakers vary more than that."
        return [f"There is no interval over speakers ({reason}).{would_be if samples else ''}"]
    low, high = score["interval_95"]
    if low > chance(score):
        return [f"The interval is above chance ({guess})."]
    if high < chance(score):
        return [f"The interval is below chance ({guess}): the system is worse than guessing."]
    return [f"The interval includes chance ({guess}): this run shows no skill."]


def _against_models(results: Json) -> list[str]:
    measure, test = results["measure"], results["fusion"]["test"]["pooled"]
    return [
        f"The {len(member['folds'])} models of {name} reach {number(measure, member['mean_of_folds_test'])} on average;"
        f" the fusion {_gain(measure, test - member['mean_of_folds_test'])}."
        for name, member in results["members"].items()
        if name in results["fusion"]["members"]
        and member["mean_of_folds_test"] is not None
        and len(member["folds"]) > 1
    ]


def _between_seeds(results: Json) -> list[str]:
    measure, sentences = results["measure"], []
    for name, member in results["members"].items():
        for part, where in (("test", "on test"), ("cv", "in cross-validation, mean of folds")):
            values = [reached[part] for reached in member["seeds"].values()]
            if None not in values and len(set(values)) > 1:  # what has no randomness is the same with every seed
                alone = ", ".join(number(measure, value) for value in values)
                sentences.append(
                    f"With a single seed {name} reaches {alone} {where}:"
                    f" {number(measure, float(np.mean(values)))} on average, standard deviation"
                    f" {_points(measure, float(np.std(values, ddof=1)))}. Smaller differences may be chance."
                )
                break
    return sentences


def _gain(measure: str, difference: float) -> str:
    points = _points(measure, abs(difference))
    return "gains nothing" if points == _points(measure, 0) else f"{'gains' if difference > 0 else 'loses'} {points}"


def _points(measure: str, difference: float) -> str:
    return f"{100 * difference:.1f} points" if measure == "UAR" else f"{difference:.3f}"


def _against_baselines(results: Json) -> list[str]:
    measure, bounds = results["measure"], results["fusion"]["test"]["interval_95"]
    sentences = []
    for name, score in results["baselines"].items():
        if score["pooled"] is None:
            continue
        place = ""
        if bounds is not None and score["pooled"] < bounds[0]:
            place = ", below the system's interval"
        elif bounds is not None and score["pooled"] > bounds[1]:
            place = ", above the system's interval"
        elif bounds is not None:
            place = ", inside the system's interval: this run does not show that the system is better"
        sentences.append(f"The baseline ({name}) reaches {number(measure, score['pooled'])}{place}.")
    return sentences


def _against_cv(results: Json) -> list[str]:
    measure, test, cv = results["measure"], results["fusion"]["test"], results["fusion"]["cv"]
    if cv["pooled"] is None or test["interval_95"] is None:
        return []
    low, high = test["interval_95"]
    if low <= cv["pooled"] <= high:
        return []
    return [
        f"Cross-validation gives {number(measure, cv['pooled'])} (pooled), outside the interval of the test score: do"
        " not expect it on new recordings."
    ]


def _leaks(results: Json) -> list[str]:
    shared = results["fusion"]["cv"]["speakers_in_train_and_validation"]
    leaking = [count for count in shared.values() if count]
    if not leaking:
        return []
    sentence = (
        f"In {len(leaking)} of {len(shared)} folds some speakers are in both the training set and the validation set"
        f" (up to {max(leaking)}): the cross-validation scores are too high."
    )
    measure, cv, test = results["measure"], results["fusion"]["cv"], results["fusion"]["test"]
    if cv["pooled"] is not None and test["pooled"] is not None:
        difference = cv["pooled"] - test["pooled"]
        points = _points(measure, abs(difference))
        apart = "no less" if points == _points(measure, 0) else f"{points} {'less' if difference > 0 else 'more'}"
        sentence += (
            f" With training speakers it is {number(measure, cv['pooled'])}, with those of the test partition"
            f" {number(measure, test['pooled'])}: {apart}. For clean folds, set --config...folds.name=speaker_disjoint."
        )
    return [sentence]


def _shared_audio(results: Json) -> list[str]:
    what = {"train_and_validation": "a training and its validation set", "train_and_test": "training and test"}
    sentences = []
    for where, shared in results["shared_audio"].items():
        if shared["pairs"]:
            first = shared["examples"][0]
            sentences.append(
                f"{shared['pairs']} pairs of recordings in {what[where]} have the same audio, such as"
                f" {first['one']} and {first['other']}: scores are too high."
            )
    return sentences


def _known_to_features(results: Json) -> list[str]:
    leaks = {name: member["leak"] for name, member in results["members"].items() if member["leak"]}
    return [f"The cross-validation scores of {name} are too high: {leak}." for name, leak in leaks.items()]


class _Mean(NamedTuple):
    """The mean score of the folds that validate on one partition, on the measure's line."""

    value: float
    variance: float
    freedom: float


def _between_partitions(results: Json) -> list[str]:
    """Warn where the folds that validate on one partition score differently from those that validate on another.

    The rule is Welch's t-test at 5 %, two-sided, of the two means of folds on the measure's line. The standard error
    of a fold is half its interval over speakers there, divided by the quantile of Student's t that made the interval.
    Folds with different speakers have independent errors; where folds share speakers, the errors are taken as equal,
    which is stricter. Where a fold has no interval (speakers unknown), the scatter of the folds of one partition has
    to do; it does not cover other speakers, and the sentence says so.

    Reference: Welch, Biometrika 34 (1947); Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    measure, cv = results["measure"], results["fusion"]["cv"]
    # Members may differ in their folds, and the fusion need not have all of them.
    members = [results["members"][name] for name in results["fusion"]["members"]]
    by_key = {(fold["seed"], fold["fold"]): fold for member in reversed(members) for fold in member["folds"]}
    groups: dict[str, dict[str, Json]] = {}  # by partition and model
    for (seed, fold), outcome in sorted(by_key.items()):
        name, partitions = model_name((fold, seed)), list(outcome["validation"]["per_partition"])
        if len(partitions) == 1 and cv["per_fold"].get(name) is not None:
            groups.setdefault(partitions[0], {})[name] = outcome["validation"]
    if len(groups) != 2:
        return []
    validations = {name: score for group in groups.values() for name, score in group.items()}
    if all(cv["per_fold_interval_95"][name] for name in validations):
        shared = sum(score["speakers"] for score in validations.values()) > cv["speakers"]
        basis = "the choice of speakers explains"
    elif min(map(len, groups.values())) > 1:
        shared = None
        basis = "folds of the same partition differ from each other (other speakers may differ as much)"
    else:
        return []
    # A score at the limit of its range is infinite on the line, where no difference is certain.
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [
            _by_scatter(cv, list(group)) if shared is None else _by_intervals(cv, group, shared)
            for group in groups.values()
        ]
        if not _differ(*means):
            return []
    averages = {partition: np.mean([cv["per_fold"][name] for name in group]) for partition, group in groups.items()}
    (low, worse), (high, better) = sorted((float(value), name) for name, value in averages.items())
    return [
        f"The folds that validate on {better} reach {number(measure, high)} on average, those that validate on {worse}"
        f" {number(measure, low)}: a difference of {_points(measure, high - low)}, more than {basis}. The mean of all"
        " folds hides it: report both."
    ]


def _line(measure: str, values: Any) -> np.ndarray:
    return (intervals.PCC if measure == "PCC" else intervals.UAR).to_line(np.array(values))


def _by_intervals(cv: Json, group: Mapping[str, Json], shared: bool) -> _Mean:
    freedom = np.array([score["speakers"] - 1 for score in group.values()])
    values = _line(cv["measure"], [cv["per_fold"][name] for name in group])
    low, high = _line(cv["measure"], [cv["per_fold_interval_95"][name] for name in group]).T
    errors = (high - low) / 2 / stats.t.ppf(0.975, freedom)
    if shared:
        return _Mean(values.mean(), errors.mean() ** 2, freedom.min())
    parts = (errors / len(group)) ** 2
    return _Mean(values.mean(), parts.sum(), parts.sum() ** 2 / (parts**2 / freedom).sum())


def _by_scatter(cv: Json, names: list[str]) -> _Mean:
    values = _line(cv["measure"], [cv["per_fold"][name] for name in names])
    return _Mean(values.mean(), values.var(ddof=1) / len(values), len(values) - 1)


def _differ(one: _Mean, other: _Mean) -> bool:
    variance = one.variance + other.variance
    if not (np.isfinite(variance) and variance > 0):
        return False
    freedom = variance**2 / (one.variance**2 / one.freedom + other.variance**2 / other.freedom)
    return bool(abs(one.value - other.value) > stats.t.ppf(0.975, freedom) * np.sqrt(variance))


def _where_weights_were_found(results: Json) -> list[str]:
    fusion, measure = results["fusion"], results["measure"]
    if fusion["cv_cross_fitted"] is None:
        return []
    return [
        f"The fusion's weights were searched on the validation sets that they are scored on"
        f" ({number(measure, fusion['cv']['pooled'])} pooled); with weights from other folds it is"
        f" {number(measure, fusion['cv_cross_fitted']['pooled'])}."
    ]


def closing_lines(results: Mapping[str, Any]) -> list[str]:
    """Return what a run prints at its end: the scores of the system, of its members and of the baselines."""
    lines, measure = [], results["measure"]
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    if test["pooled"] is None:
        lines.append(f"test: {test['undefined']['pooled']}, so there is no score; the submission is ready")
    else:
        low, high = test["interval_95"] or (float("nan"),) * 2
        lines.append(f"test {measure} {test['pooled']:.3f} (95 % interval over speakers {low:.3f} to {high:.3f})")
        for name, member in results["members"].items():
            if (mean := member["mean_of_folds_test"]) is not None:
                lines.append(f"  {name}: its {len(member['folds'])} fold models reach {mean:.3f} on average")
        for name, score in results["baselines"].items():
            value = score["pooled"]
            reached = f"has no score: {score['undefined']['pooled']}" if value is None else f"{value:.3f}"
            lines.append(f"  baseline ({name}) {reached}")
    if cv["pooled"] is not None and cv["mean_of_folds"] is not None:
        lines.append(f"cross-validation {measure}: mean of folds {cv['mean_of_folds']:.3f}, pooled {cv['pooled']:.3f}")
    return lines
