"""Conclusions from results.json, in sentences."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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
    """Write the headline, and after it what to keep in mind."""
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
    sentences += advice(results) + _between_seeds(results)
    sentences += _leaks(results) + _shared_audio(results) + _known_to_features(results)
    return sentences + _between_partitions(results) + _where_weights_were_found(results)


def _against_chance(score: Json) -> list[str]:
    measure, guess = score["measure"], "0" if score["measure"] == "PCC" else number("UAR", chance(score))
    if score["interval_95"] is None:
        reason, samples = score["undefined"].get("interval_95", "no reason given"), score["interval_95_over_samples"]
        of_samples = f" Over samples it is {interval(measure, samples)}, which is too narrow for new speakers."
        return [f"There is no interval over speakers ({reason}).{of_samples if samples else ''}"]
    low, high = score["interval_95"]
    if low > chance(score):
        return [f"The interval is above chance ({guess})."]
    if high < chance(score):
        return [f"The interval is below chance ({guess}): the system is worse than guessing."]
    return [f"The interval includes chance ({guess}): this run does not show that the system is better than guessing."]


def _against_models(results: Json) -> list[str]:
    measure, test = results["measure"], results["fusion"]["test"]["pooled"]
    return [
        f"One by one, the {len(member['folds'])} models of {name} reach"
        f" {number(measure, member['mean_of_folds_test'])} on average; the fusion is"
        f" {_compared(measure, test - member['mean_of_folds_test'])}."
        for name, member in results["members"].items()
        if name in results["fusion"]["members"]
        and member["mean_of_folds_test"] is not None
        and len(member["folds"]) > 1
    ]


def _compared(measure: str, difference: float) -> str:
    points = _points(measure, abs(difference))
    return "no better" if points == _points(measure, 0) else f"{points} {'better' if difference > 0 else 'worse'}"


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
            place = ", above the system's interval: the system is worse"
        elif bounds is not None:
            place = ", inside the system's interval: this run does not show that the system is better"
        sentences.append(
            f"The baseline “{name}”, {score['description']}, reaches {number(measure, score['pooled'])}{place}."
        )
    return sentences


def _against_cv(results: Json) -> list[str]:
    measure, test, cv = results["measure"], results["fusion"]["test"], results["fusion"]["cv"]
    if cv["pooled"] is None or test["interval_95"] is None:
        return []
    low, high = test["interval_95"]
    if low <= cv["pooled"] <= high:
        return []
    return [
        f"The pooled cross-validation score, {number(measure, cv['pooled'])}, is outside the interval of the test"
        " score: do not expect it on new recordings."
    ]


def advice(results: Json) -> list[str]:
    """Write a sentence if the fusion is worse than its best member, and for members that may need more epochs."""
    measure, fusion, sentences = results["measure"], results["fusion"], []
    part = "cv" if fusion["test"]["pooled"] is None else "test"
    alone = {name: results["members"][name][part]["pooled"] for name in fusion["members"]}
    alone = {name: value for name, value in alone.items() if value is not None}
    if len(fusion["members"]) > 1 and alone and fusion[part]["pooled"] is not None:
        best = max(alone, key=alone.__getitem__)
        compared = _compared(measure, fusion[part]["pooled"] - alone[best])
        if compared.endswith("worse"):
            where = "On the test partition" if part == "test" else "In cross-validation (pooled)"
            sentences.append(
                f"{where} the fusion ({number(measure, fusion[part]['pooled'])}) is worse than its best member alone,"
                f" {best} ({number(measure, alone[best])})."
            )
    for name, member in results["members"].items():
        epochs = [(fold["best_epoch"], fold["last_epoch"]) for fold in member["folds"]]
        late = sum(best is not None and best == last for best, last in epochs)
        if late:
            count = f"{late} of the {len(epochs)} models" if late < len(epochs) else "all models"
            sentences.append(
                f"The last epoch was the best one for {count} of {name}: training with more epochs"
                f" (--config.members.{name}.learner.epochs) may give a better score."
            )
    return sentences


def _between_seeds(results: Json) -> list[str]:
    measure, sentences = results["measure"], []
    for name, member in results["members"].items():
        for part, where in (("test", "on the test partition"), ("cv", "in cross-validation, mean of folds")):
            values = [reached[part] for reached in member["seeds"].values()]
            if None not in values and len(set(values)) > 1:  # a learner without randomness is the same with every seed
                alone = ", ".join(number(measure, value) for value in values)
                sentences.append(
                    f"With a single seed {name} reaches {alone} {where}:"
                    f" {number(measure, float(np.mean(values)))} on average, standard deviation"
                    f" {_points(measure, float(np.std(values, ddof=1)))}. Smaller differences between systems may be"
                    " chance."
                )
                break
    return sentences


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
        apart = "the same" if points == _points(measure, 0) else f"{points} {'less' if difference > 0 else 'more'}"
        sentence += (
            f" The pooled cross-validation score is {number(measure, cv['pooled'])}; on the test partition, whose"
            f" speakers are new, it is {number(measure, test['pooled'])}, {apart}. To keep speakers apart, set"
            " --config.members.<member>.folds.name=speaker_disjoint."
        )
    return [sentence]


def _shared_audio(results: Json) -> list[str]:
    where = {
        "train_and_validation": "one in a training set and one in its validation set",
        "train_and_test": "one in train or devel and one in test",
    }
    sentences = []
    for parts, shared in results["shared_audio"].items():
        if shared["pairs"]:
            first = shared["examples"][0]
            sentences.append(
                f"{shared['pairs']} pairs of recordings have the same audio, {where[parts]}, for example"
                f" {first['one']} and {first['other']}: the scores are too high."
            )
    return sentences


def _known_to_features(results: Json) -> list[str]:
    leaks = {name: member["leak"] for name, member in results["members"].items() if member["leak"]}
    return [f"The cross-validation scores of {name} are too high: {leak}." for name, leak in leaks.items()]


def _between_partitions(results: Json) -> list[str]:
    """Warn where the folds that validate on one partition score differently from those that validate on another.

    Where a fold has no interval (speakers unknown), the scatter of the folds of one partition has to do; it does not
    cover other speakers, and the sentence says so.
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
    line = intervals.PCC if measure == "PCC" else intervals.UAR
    values = {partition: [cv["per_fold"][name] for name in group] for partition, group in groups.items()}
    bounds = {partition: [cv["per_fold_interval_95"][name] for name in group] for partition, group in groups.items()}
    if all(pair for of_group in bounds.values() for pair in of_group):
        speakers = {partition: [score["speakers"] for score in group.values()] for partition, group in groups.items()}
        shared = sum(map(sum, speakers.values())) > cv["speakers"]
        means = [intervals.mean_of_scores(values[p], bounds[p], speakers[p], line, shared=shared) for p in groups]
        basis = "the choice of speakers explains"
    elif min(map(len, groups.values())) > 1:
        means = [intervals.mean_by_scatter(values[p], line) for p in groups]
        basis = "folds of the same partition differ from each other (other speakers may differ as much)"
    else:
        return []
    if not intervals.differ(*means):
        return []
    (low, worse), (high, better) = sorted((float(np.mean(values[p])), p) for p in groups)
    return [
        f"The folds that validate on {better} reach {number(measure, high)} on average, those that validate on {worse}"
        f" {number(measure, low)}: a difference of {_points(measure, high - low)}, more than {basis}. The mean of all"
        " folds hides it: report both."
    ]


def _where_weights_were_found(results: Json) -> list[str]:
    fusion, measure = results["fusion"], results["measure"]
    if fusion["cv_cross_fitted"] is None:
        return []
    return [
        "The fusion's weights were chosen on the validation sets that also give its pooled cross-validation score,"
        f" {number(measure, fusion['cv']['pooled'])}. With weights chosen on other folds (cross-fitted) the score is"
        f" {number(measure, fusion['cv_cross_fitted']['pooled'])}."
    ]


def closing_lines(results: Json) -> list[str]:
    """Return what a run prints at its end: scores of the system, its members and the baselines, and advice."""
    lines, measure = [], results["measure"]
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    if test["pooled"] is None:
        lines.append(f"test: no score ({test['undefined']['pooled']}); the submission is ready")
    else:
        bounds = f"95 % interval over speakers {interval(measure, test['interval_95'])}"
        lines.append(
            f"test {measure} {number(measure, test['pooled'])}"
            f" ({bounds if test['interval_95'] else 'no interval over speakers'})"
        )
        for name, member in results["members"].items():
            alone, models = member["mean_of_folds_test"], len(member["folds"])
            if alone is not None and models > 1:
                together = number(measure, member["test"]["pooled"])
                lines.append(
                    f"  {name}: {number(measure, alone)} with one model on average, {together} with {models} together"
                )
        for name, score in results["baselines"].items():
            value = score["pooled"]
            reached = f"no score, {score['undefined']['pooled']}" if value is None else number(measure, value)
            lines.append(f"  baseline ({name}): {reached}")
    if cv["pooled"] is not None and cv["mean_of_folds"] is not None:
        mean, pooled = number(measure, cv["mean_of_folds"]), number(measure, cv["pooled"])
        lines.append(f"cross-validation {measure}: mean of folds {mean}, pooled {pooled}")
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in [*lines, *advice(results)]]
