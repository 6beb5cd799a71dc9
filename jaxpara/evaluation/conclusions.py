"""Conclusions from results.json, in sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxpara.evaluation import intervals
from jaxpara.evaluation.formatting import WITH_ARTICLE, Formatter, p_value
from jaxpara.evaluation.paired import smallest_p
from jaxpara.predictions import model_name

Json = Mapping[str, Any]
SIGNIFICANT = 0.05


def cv_name(results: Json, *members: str) -> str:
    """Return the name of the scores `cv` of these members, by default of the fused ones.

    It is `cross-validation`, or `validation` where all of them have the same single fold.
    """
    names = members or results["fusion"]["members"]
    folds = {fold["fold"] for name in names for fold in results["members"][name]["folds"]}
    return "cross-validation" if len(folds) > 1 else "validation"


def pooled_cv_name(results: Json) -> str:
    """Return the name of the pooled score of `cv` of the fusion."""
    name = cv_name(results)
    return f"pooled {name}" if name == "cross-validation" else name


def averaged(results: Json, *members: str) -> str:
    """Return what the mean of several scores `cv` is over, as for `cv_name`: `folds`, or `models` of the same fold."""
    return "folds" if cv_name(results, *members) == "cross-validation" else "models"


def _on_validation(results: Json, *members: str, folds: str = "") -> str:
    """Return where the scores `cv` were computed; `folds` says how those of several folds are summarised."""
    several = cv_name(results, *members) == "cross-validation"
    return f"in cross-validation{folds}" if several else "on the validation set"


def conclude(results: Json) -> list[str]:
    """Write the headline, and after it what to keep in mind."""
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    if test["pooled"] is None and cv["pooled"] is None:
        return [f"No score: {test['undefined']['pooled']}; {_on_validation(results)} {cv['undefined']['pooled']}."]
    parts = [_headline, _against_chance, _against_models, _against_baselines, _against_cv]
    parts += [_late_epochs, _between_seeds, _leaks, _between_partitions, _where_weights_were_found]
    say = Formatter(results["measure"])
    return [sentence for part in parts for sentence in part(results, say)]


def _part(results: Json) -> str:
    """Return the part whose score is the headline: `test`, or `cv` where test has no score."""
    return "cv" if results["fusion"]["test"]["pooled"] is None else "test"


def _headline(results: Json, say: Formatter) -> Iterator[str]:
    fusion, part = results["fusion"], _part(results)
    score = fusion[part]
    models = sum(len(results["members"][name]["folds"]) for name in fusion["members"])
    system = f"The fusion ({fusion['name']}) of {models} models" if models > 1 else "The model"
    where = "on the test partition" if part == "test" else _on_validation(results, folds=" with all folds pooled")
    bounds = "the interval over speakers is unknown"
    if score["interval_95"]:
        bounds = f"95\N{NO-BREAK SPACE}% interval over speakers {say.interval(score['interval_95'])}"
    size = f"{score['labels']:,} labels" + (f" of {score['speakers']} speakers" if score["speakers"] else "")
    reached = f"reaches {WITH_ARTICLE[say.name]} of {say.number(score['pooled'])}"
    yield f"{system} {reached} {where} ({bounds}; {size}).{_against_best(results, say)}"
    if part == "cv":
        missing = "There is no test partition"
        if "test" in results["corpus"]["partitions"]:
            missing = f"There is no test score ({fusion['test']['undefined']['pooled']})"
        chosen = "epochs and C" if fusion["cv_cross_fitted"] is None else "epochs, C and fusion weights"
        yield (
            f"{missing}: {chosen} were chosen on the validation labels that also give this score, so it is a little"
            f" {say.too_good}."
        )


def _against_best(results: Json, say: Formatter) -> str:
    """Compare a fusion of several members with the best of them, whose models are averaged too."""
    fusion, part = results["fusion"], _part(results)
    together = fusion[part]
    alone = {name: results["members"][name][part] for name in fusion["members"]}
    # Members may differ in their folds; a score on other recordings is another figure.
    same = {n: s["pooled"] for n, s in alone.items() if s["pooled"] is not None and s["labels"] == together["labels"]}
    if len(alone) < 2 or not same or together["pooled"] is None:
        return ""
    best = max(same, key=lambda name: say.measure.gain(same[name]))
    models = len(results["members"][best]["folds"])
    averaged = f" ({models} models together)" if models > 1 and part == "test" else ""
    difference = say.compared(together["pooled"] - same[best])
    return f" The best member alone, {best}{averaged}, reaches {say.number(same[best])}: the fusion is {difference}."


def _against_chance(results: Json, say: Formatter) -> Iterator[str]:
    score = results["fusion"][_part(results)]
    chance = score["chance"]
    guess = f"{say.guessing} ({'0' if chance == 0 else say.number(chance)})"
    predicted = np.sum(score.get("confusion") or [[]], axis=0)  # recordings by predicted class
    if np.count_nonzero(predicted) == 1:
        only = score["classes"][int(np.argmax(predicted))]
        yield f"The system predicts {only} for every recording: it has not learned to distinguish the classes."
    elif score["interval_95"] is None:
        reason, samples = score["undefined"].get("interval_95", "no reason given"), score["interval_95_over_samples"]
        of_samples = f" Over samples it is {say.interval(samples)}, which is too narrow for new speakers."
        yield f"There is no interval over speakers ({reason}).{of_samples if samples else ''}"
    elif score["interval_95"][0] <= chance <= score["interval_95"][1]:
        yield f"The interval includes {guess}: this run does not show that the system is better than guessing."
    else:
        above = score["interval_95"][0] > chance
        bad = ": the system is worse than guessing" if above == say.measure.smaller_is_better else ""
        yield f"The interval is {'above' if above else 'below'} {guess}{bad}."


def _against_models(results: Json, say: Formatter) -> Iterator[str]:
    """Show what averaging the models of each member gains."""
    fusion = results["fusion"]
    for name, member in results["members"].items():
        alone, models = member["mean_of_folds_test"], len(member["folds"])
        if name in fusion["members"] and alone is not None and models > 1 and _part(results) == "test":
            several = len(fusion["members"]) > 1
            together = "together they are" if several else "the fusion is"
            gain = say.compared((member if several else fusion)["test"]["pooled"] - alone)
            yield f"One by one, the {models} models of {name} reach {say.number(alone)} on average; {together} {gain}."


def _against_baselines(results: Json, say: Formatter) -> Iterator[str]:
    for score in results["baselines"].values():
        paired = score["paired"]
        if paired["difference"] is None:
            continue
        gain = say.compared(paired["difference"])
        compared = f"The system is {gain} than {score['description']} ({say.number(score['pooled'])})"
        p, least = paired["p"], smallest_p(paired["units"])
        if p is None:
            yield f"{compared}; there is no paired test ({paired['undefined'].get('p', 'no reason given')})."
            continue
        over = paired["over"] + " (speakers unknown)" * (paired["over"] == "samples")
        test = f"the paired test over {paired['units']:,} {over} gives p\N{NO-BREAK SPACE}{p_value(p)}"
        if p <= SIGNIFICANT:
            yield f"{compared}; {test}."
        elif least > SIGNIFICANT:
            yield f"{compared}; {test}, but so few {paired['over']} cannot give less than {least:.2g}."
        else:
            yield f"{compared}, which does not show a difference: {test}."


def _against_cv(results: Json, say: Formatter) -> Iterator[str]:
    cv, bounds = results["fusion"]["cv"], results["fusion"]["test"]["interval_95"]
    value, leaking = cv["pooled"], any(cv["speakers_in_train_and_validation"].values())  # `_leaks` compares them then
    if value is not None and bounds and not leaking and not bounds[0] <= value <= bounds[1]:
        yield (
            f"The {pooled_cv_name(results)} score, {say.number(value)}, is outside the interval of the test"
            " score: do not expect it on new recordings."
        )


def _late_epochs(results: Json, say: Formatter) -> Iterator[str]:
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
        on_validation = _on_validation(results, name, folds=", mean of folds")
        for part, where in (("test", "on the test partition"), ("cv", on_validation)):
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
            f" set (up to {max(leaking)}): the {cv_name(results)} scores are {say.too_good}."
        )
        if cv["pooled"] is not None and test["pooled"] is not None:
            apart = say.compared(test["pooled"] - cv["pooled"], "the same")
            sentence += (
                f" The {pooled_cv_name(results)} score is {say.number(cv['pooled'])}; on the test partition it"
                f" is {say.number(test['pooled'])}, {apart}. To keep speakers apart, set"
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
                f" {first['one']} and {first['other']}: the scores are {say.too_good}."
            )
    for name, member in results["members"].items():
        if member["leak"]:
            yield f"The {cv_name(results, name)} scores of {name} are {say.too_good}: {member['leak']}."
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
    line = say.measure.line
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
            f"The fusion's weights were chosen on the validation sets that also give its {pooled_cv_name(results)}"
            f" score, {say.number(fusion['cv']['pooled'])}. With weights chosen on other folds (cross-fitted) the score"
            f" is {say.number(fusion['cv_cross_fitted']['pooled'])}."
        )


def closing_lines(results: Json) -> list[str]:
    """Return what a run prints at its end: scores of the system, its members and the baselines, and advice."""
    lines, say = [], Formatter(results["measure"])
    test, cv = results["fusion"]["test"], results["fusion"]["cv"]
    baselines: dict[str, list[str]] = {"test": [], "cv": []}
    for name, score in results["baselines"].items():
        undefined = score["undefined"].get("pooled")
        reached = f"no score, {undefined}" if score["pooled"] is None else say.number(score["pooled"])
        baselines[score["part"]].append(f"  baseline ({name}): {reached}")
    if test["pooled"] is not None:
        bounds = "no interval over speakers"
        if test["interval_95"]:
            bounds = f"95 % interval over speakers {say.interval(test['interval_95'])}"
        lines.append(f"test {say.name} {say.number(test['pooled'])} ({bounds})")
        for name, member in results["members"].items():
            alone, models = member["mean_of_folds_test"], len(member["folds"])
            if alone is not None and models > 1:
                together = f"{say.number(member['test']['pooled'])} with {models} together"
                lines.append(f"  {name}: {say.number(alone)} with one model on average, {together}")
        lines += baselines["test"]
    elif "test" in results["corpus"]["partitions"]:
        lines.append(f"test: no score ({test['undefined']['pooled']}); the submission is ready")
    if cv["pooled"] is not None:
        name, found, mean, of = cv_name(results), say.number(cv["pooled"]), cv["mean_of_folds"], averaged(results)
        if len(cv["per_fold"]) > 1:
            found = f"pooled {found}" if mean is None else f"mean of {of} {say.number(mean)}, pooled {found}"
        lines.append(f"{name} {say.name}: {found}")
        lines += baselines["cv"]
    lines += [*filter(None, [_against_best(results, say).strip()]), *_late_epochs(results, say)]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
