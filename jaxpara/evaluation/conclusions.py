"""Conclusions from results.json, in sentences."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxpara.evaluation import intervals
from jaxpara.predictions import model_name

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Formatter:
    """Formats scores of a measure: r to three decimals, UAR in percent or points; a dash where there is none."""

    measure: str

    def number(self, value: float | None) -> str:
        if value is None:
            return "–"
        # The space does not break, so that a percent sign never starts a line.
        return f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%") if self.measure == "UAR" else f"{value:.3f}"

    def signed(self, difference: float | None) -> str:
        """Format a difference with its sign, without a unit."""
        if difference is None:
            return "–"
        return f"{100 * difference:+.1f}" if self.measure == "UAR" else f"{difference:+.3f}"

    def interval(self, bounds: list[float] | None, number: Callable[[float | None], str] | None = None) -> str:
        """Format an interval: `0.512 to 0.634`."""
        return "–" if bounds is None else " to ".join(map(number or self.number, bounds))

    def points(self, difference: float) -> str:
        return f"{abs(100 * difference):.1f} points" if self.measure == "UAR" else f"{abs(difference):.3f}"

    def compared(self, difference: float, words: tuple[str, str, str] = ("no better", "better", "worse")) -> str:
        """Format a difference with the word for none, a positive or a negative one, as far as it can be seen."""
        none, positive, negative = words
        points = self.points(difference)
        return none if points == self.points(0) else f"{points} {positive if difference > 0 else negative}"


def chance(score: Json) -> float:
    """Return the score of guessing: r of 0, or a UAR of one over the number of classes."""
    return 1 / len(score["classes"]) if score.get("classes") else 0.0


def conclude(results: Json) -> list[str]:
    """Write the headline, and after it what to keep in mind."""
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    if test["pooled"] is None and cv["pooled"] is None:
        return [f"No score: {test['undefined']['pooled']}; in cross-validation {cv['undefined']['pooled']}."]
    parts = [_headline, _against_chance]
    if test["pooled"] is not None:
        parts += [_against_models, _against_baselines, _against_cv]
    parts += [_advice, _between_seeds, _leaks, _between_partitions, _where_weights_were_found]
    say = Formatter(results["measure"])
    return [sentence for part in parts for sentence in part(results, say)]


def _shown(results: Json) -> Json:
    """Return the test score, or that of cross-validation where there is none."""
    fusion = results["fusion"]
    return fusion["cv"] if fusion["test"]["pooled"] is None else fusion["test"]


def _headline(results: Json, say: Formatter) -> Iterator[str]:
    fusion, score = results["fusion"], _shown(results)
    models = sum(len(results["members"][name]["folds"]) for name in fusion["members"])
    system = f"The fusion ({fusion['name']}) of {models} models" if models > 1 else "The model"
    where = "on the test partition" if score is fusion["test"] else "in cross-validation with all folds pooled"
    bounds = "the interval over speakers is unknown"
    if score["interval_95"]:
        bounds = f"95\N{NO-BREAK SPACE}% interval over speakers {say.interval(score['interval_95'])}"
    size = f"{score['labels']:,} labels" + (f" of {score['speakers']} speakers" if score["speakers"] else "")
    yield f"{system} reaches a {say.measure} of {say.number(score['pooled'])} {where} ({bounds}; {size})."
    if score is fusion["cv"]:
        yield f"There is no test score: {fusion['test']['undefined']['pooled']}."


def _against_chance(results: Json, say: Formatter) -> Iterator[str]:
    score = _shown(results)
    guess = "0" if score["measure"] == "PCC" else say.number(chance(score))
    predicted = np.sum(score.get("confusion") or [[]], axis=0)  # recordings by predicted class
    if np.count_nonzero(predicted) == 1:
        only = score["classes"][int(np.argmax(predicted))]
        yield f"The system predicts {only} for every recording: it has not learned to distinguish the classes."
    elif score["interval_95"] is None:
        reason, samples = score["undefined"].get("interval_95", "no reason given"), score["interval_95_over_samples"]
        of_samples = f" Over samples it is {say.interval(samples)}, which is too narrow for new speakers."
        yield f"There is no interval over speakers ({reason}).{of_samples if samples else ''}"
    elif score["interval_95"][0] > chance(score):
        yield f"The interval is above chance ({guess})."
    elif score["interval_95"][1] < chance(score):
        yield f"The interval is below chance ({guess}): the system is worse than guessing."
    else:
        yield f"The interval includes chance ({guess}): this run does not show that the system is better than guessing."


def _against_models(results: Json, say: Formatter) -> Iterator[str]:
    for name, member in results["members"].items():
        alone, models = member["mean_of_folds_test"], len(member["folds"])
        if name in results["fusion"]["members"] and alone is not None and models > 1:
            average = f"One by one, the {models} models of {name} reach {say.number(alone)} on average"
            yield f"{average}; the fusion is {say.compared(results['fusion']['test']['pooled'] - alone)}."


def _against_baselines(results: Json, say: Formatter) -> Iterator[str]:
    bounds = results["fusion"]["test"]["interval_95"]
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
        yield f"The baseline “{name}”, {score['description']}, reaches {say.number(score['pooled'])}{place}."


def _against_cv(results: Json, say: Formatter) -> Iterator[str]:
    cv, bounds = results["fusion"]["cv"], results["fusion"]["test"]["interval_95"]
    value, leaking = cv["pooled"], any(cv["speakers_in_train_and_validation"].values())  # `_leaks` compares them then
    if value is not None and bounds is not None and not leaking and not bounds[0] <= value <= bounds[1]:
        yield (
            f"The pooled cross-validation score, {say.number(value)}, is outside the interval of the test"
            " score: do not expect it on new recordings."
        )


def _advice(results: Json, say: Formatter) -> Iterator[str]:
    """Write a sentence if the fusion is worse than its best member, and for members that may need more epochs."""
    fusion = results["fusion"]
    part = "cv" if fusion["test"]["pooled"] is None else "test"
    alone = {name: results["members"][name][part]["pooled"] for name in fusion["members"]}
    alone = {name: value for name, value in alone.items() if value is not None}
    together = fusion[part]["pooled"]
    if len(fusion["members"]) > 1 and alone and together is not None:
        best = max(alone, key=alone.__getitem__)
        if say.compared(together - alone[best]).endswith("worse"):
            where = "On the test partition" if part == "test" else "In cross-validation (pooled)"
            yield (
                f"{where} the fusion ({say.number(together)}) is worse than its best member alone,"
                f" {best} ({say.number(alone[best])})."
            )
    for name, member in results["members"].items():
        epochs = [(fold["best_epoch"], fold["last_epoch"]) for fold in member["folds"]]
        late = sum(best is not None and best == last for best, last in epochs)
        if late:
            count = f"{late} of the {len(epochs)} models" if late < len(epochs) else "all models"
            yield (
                f"The last epoch was the best one for {count} of {name}: training with more epochs"
                f" (--config.members.{name}.learner.epochs) may give a better score."
            )


def _between_seeds(results: Json, say: Formatter) -> Iterator[str]:
    for name, member in results["members"].items():
        for part, where in (("test", "on the test partition"), ("cv", "in cross-validation, mean of folds")):
            values = [reached[part] for reached in member["seeds"].values()]
            if None not in values and len(set(values)) > 1:  # a learner without randomness is the same with every seed
                yield (
                    f"With a single seed {name} reaches {', '.join(map(say.number, values))} {where}:"
                    f" {say.number(float(np.mean(values)))} on average, standard deviation"
                    f" {say.points(float(np.std(values, ddof=1)))}. Smaller differences between systems may be chance."
                )
                break


def _leaks(results: Json, say: Formatter) -> Iterator[str]:
    cv, test = results["fusion"]["cv"], results["fusion"]["test"]
    shared = cv["speakers_in_train_and_validation"]
    if leaking := [count for count in shared.values() if count]:
        sentence = (
            f"In {len(leaking)} of {len(shared)} folds some speakers are in both the training set and the validation"
            f" set (up to {max(leaking)}): the cross-validation scores are too high."
        )
        if cv["pooled"] is not None and test["pooled"] is not None:
            apart = say.compared(cv["pooled"] - test["pooled"], ("the same", "less", "more"))
            sentence += (
                f" The pooled cross-validation score is {say.number(cv['pooled'])}; on the test partition, whose"
                f" speakers are new, it is {say.number(test['pooled'])}, {apart}. To keep speakers apart, set"
                " --config.members.<member>.folds.name=speaker_disjoint."
            )
        yield sentence
    where = {
        "train_and_validation": "one in a training set and one in its validation set",
        "train_and_test": "one in train or devel and one in test",
    }
    for parts, audio in results["shared_audio"].items():
        if audio["pairs"]:
            first = audio["examples"][0]
            yield (
                f"{audio['pairs']} pairs of recordings have the same audio, {where[parts]}, for example"
                f" {first['one']} and {first['other']}: the scores are too high."
            )
    for name, member in results["members"].items():
        if member["leak"]:
            yield f"The cross-validation scores of {name} are too high: {member['leak']}."
        yield from member["notes"]


def _between_partitions(results: Json, say: Formatter) -> Iterator[str]:
    """Warn where the folds that validate on one partition score differently from those that validate on another.

    Where a fold has no interval (speakers unknown), the scatter of the folds of one partition has to do; it does not
    cover other speakers, and the sentence says so.
    """
    cv = results["fusion"]["cv"]
    # Members may differ in their folds, and the fusion need not have all of them.
    members = [results["members"][name] for name in results["fusion"]["members"]]
    by_key = {(fold["seed"], fold["fold"]): fold for member in reversed(members) for fold in member["folds"]}
    groups: dict[str, list[tuple[float, list[float] | None, int]]] = {}  # by partition: value, bounds, speakers
    for (seed, fold), outcome in sorted(by_key.items()):
        name, partitions = model_name((fold, seed)), list(outcome["validation"]["per_partition"])
        if len(partitions) == 1 and cv["per_fold"].get(name) is not None:
            found = cv["per_fold"][name], cv["per_fold_interval_95"][name], outcome["validation"]["speakers"]
            groups.setdefault(partitions[0], []).append(found)
    if len(groups) != 2:
        return
    line = intervals.PCC if say.measure == "PCC" else intervals.UAR
    columns = {partition: list(zip(*group, strict=True)) for partition, group in groups.items()}
    if all(pair for _, bounds, _ in columns.values() for pair in bounds):
        shared = sum(sum(speakers) for _, _, speakers in columns.values()) > cv["speakers"]
        means = [intervals.mean_score(v, line, bounds, n, shared=shared) for v, bounds, n in columns.values()]
        basis = "the choice of speakers explains"
    elif min(map(len, groups.values())) > 1:
        means = [intervals.mean_score(values, line) for values, _, _ in columns.values()]
        basis = "folds of the same partition differ from each other (other speakers may differ as much)"
    else:
        return
    if intervals.differ(*means):
        (low, worse), (high, better) = sorted(
            (float(np.mean(v)), partition) for partition, (v, _, _) in columns.items()
        )
        yield (
            f"The folds that validate on {better} reach {say.number(high)} on average, those that validate on {worse}"
            f" {say.number(low)}: a difference of {say.points(high - low)}, more than {basis}. The mean of all"
            " folds hides it: report both."
        )


def _where_weights_were_found(results: Json, say: Formatter) -> Iterator[str]:
    fusion = results["fusion"]
    if fusion["cv_cross_fitted"] is not None:
        yield (
            "The fusion's weights were chosen on the validation sets that also give its pooled cross-validation score,"
            f" {say.number(fusion['cv']['pooled'])}. With weights chosen on other folds (cross-fitted) the score is"
            f" {say.number(fusion['cv_cross_fitted']['pooled'])}."
        )


def closing_lines(results: Json) -> list[str]:
    """Return what a run prints at its end: scores of the system, its members and the baselines, and advice."""
    lines, say = [], Formatter(results["measure"])
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    if test["pooled"] is None:
        lines.append(f"test: no score ({test['undefined']['pooled']}); the submission is ready")
    else:
        bounds = "no interval over speakers"
        if test["interval_95"]:
            bounds = f"95 % interval over speakers {say.interval(test['interval_95'])}"
        lines.append(f"test {say.measure} {say.number(test['pooled'])} ({bounds})")
        for name, member in results["members"].items():
            alone, models = member["mean_of_folds_test"], len(member["folds"])
            if alone is not None and models > 1:
                together = f"{say.number(member['test']['pooled'])} with {models} together"
                lines.append(f"  {name}: {say.number(alone)} with one model on average, {together}")
        for name, score in results["baselines"].items():
            undefined = score["undefined"].get("pooled")
            reached = f"no score, {undefined}" if score["pooled"] is None else say.number(score["pooled"])
            lines.append(f"  baseline ({name}): {reached}")
    if cv["pooled"] is not None and cv["mean_of_folds"] is not None:
        mean, pooled = say.number(cv["mean_of_folds"]), say.number(cv["pooled"])
        lines.append(f"cross-validation {say.measure}: mean of folds {mean}, pooled {pooled}")
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in [*lines, *_advice(results, say)]]
