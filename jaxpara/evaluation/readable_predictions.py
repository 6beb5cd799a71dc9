"""predictions.csv: what the system predicted for every recording, for people and their spreadsheets."""

from pathlib import Path

import numpy as np
import pandas as pd

from jaxpara.evaluation.scores import CorpusData
from jaxpara.evaluation.submission import times_as_text
from jaxpara.files import replacing
from jaxpara.predictions import KEYS, concatenate, nearest_levels, scores_of

DECIMALS = "{:.5f}"  # as in the submission


def write(path: Path, validation: pd.DataFrame, test: pd.DataFrame, data: CorpusData) -> None:
    """Write the predictions of the cross-validation and of the test partition next to the truth.

    The columns are `file`, `time` (sequences only), `speaker`, `partition`, `fold` (empty on the test partition, which
    all models predict together), `seed` (only if there are several), `truth` (empty where it is unknown), `prediction`
    (the most probable class, or a number), for classes `probability_<class>` and `correct`, and for an ordinal scale
    with names `true_level` and `predicted_level`, the nearest.

    Args:
      validation, test: of the system; a label may be in several validation sets.

    Raises:
      OSError: the file cannot be written.
    """
    table = concatenate([validation, test])
    table = table.merge(data.labels[[*KEYS, "speaker", "truth"]], how="left", on=KEYS, validate="many_to_one")
    scores, truth, of_model = scores_of(table), table["truth"], table["fold"] >= 0
    columns = {"file": table["recording"]}
    if data.kind == "sequence":
        columns["time"] = times_as_text(table["time_s"])
    columns |= {name: table[name] for name in ("speaker", "partition")}
    columns["fold"] = table["fold"].astype("Int64").where(of_model)
    if validation["seed"].max() > 0:
        columns["seed"] = table["seed"].astype("Int64").where(of_model)
    if data.classes:
        predicted, known = scores.argmax(1), truth.notna()
        names = pd.Series(data.classes, dtype=object)
        columns["truth"] = truth.map(names)
        columns["prediction"] = pd.Series(predicted).map(names)
        for name, probabilities in zip(data.classes, scores.T, strict=True):
            columns[f"probability_{name}"] = pd.Series(probabilities).map(DECIMALS.format)
        columns["correct"] = pd.Series(np.where(truth == predicted, "yes", "no")).where(known)
    else:
        columns["truth"] = truth.map("{:.10g}".format, na_action="ignore")
        columns["prediction"] = table["score_0"].map(DECIMALS.format)
        if data.levels:
            columns["true_level"] = truth.map(pd.Series(data.levels, dtype=object))
            columns["predicted_level"] = pd.Series(nearest_levels(data.levels, scores[:, 0]))
    with replacing(path) as part:
        pd.DataFrame(columns).to_csv(part, index=False, lineterminator="\n")
