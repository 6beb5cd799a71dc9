"""Compares the strongest system of a task with those of the paper and the simple baseline; writes docs/best.md.

    python -m benchmarks.systems breathing
    python -m benchmarks.systems breathing_full --seeds=13
    python -m benchmarks.systems mask --seeds=12,13,14 --runs=runs/systems --out=docs/best.md

Every system runs once per seed, which simulates another corpus, with other speakers. Finished runs are read again, and
interrupted ones resume, so delete the folder of the runs when a config has changed. The test partitions of all seeds
are compared together, paired over speakers; a table of one seed is a section of its own, next to those of others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.over_seeds import Run, arguments, command, corpora_of, heading, pooled, trained, write_section
from jaxpara.evaluation import comparison_report, paired
from jaxpara.evaluation.formatting import Formatter


class Comparison(NamedTuple):
    """A table of docs/best.md.

    Attributes:
      title: of its section.
      systems: the strongest one, and those of the paper in the order of their rows.
      fields: of the configs of all systems.
      fields_of_best: of the first one's config, in addition.
      note: what the reader has to know.
    """

    title: str
    systems: tuple[str, ...]
    fields: Mapping[str, Any] = {}
    fields_of_best: Mapping[str, Any] = {}
    note: str = ""


BREATHING = ("breathing_best", "breathing_s1", "breathing_e2e", "breathing_s3", "breathing_s4", "breathing_s5")
MASK = ("mask_best", *(f"mask_s{row}" for row in range(1, 6)))
COMPARISONS = {
    "breathing": Comparison("Breathing: against the systems of the paper", BREATHING),
    "breathing_full": Comparison(
        "Breathing: against the systems of the paper, with eight times the data",
        BREATHING,
        fields={"corpus.preset": "full"},
        fields_of_best={"sizes": "full"},
        note=" breathing_best is the full recipe, the systems of the paper keep the sizes of the demo. The exact times"
        " of all breaths, without their depths, give 0.760, 0.743 and 0.761 with seeds 12, 13 and 14"
        " (`python -m benchmarks.breath_times`): little room is left above the best systems.",
    ),
    "mask": Comparison("Mask: against the systems of the paper", MASK),
}
# Systems that share members run in the same folder. The last of them uses those of the others.
FOLDERS = {"breathing_e2e": "breathing", "breathing_s4": "breathing", "breathing_s5": "breathing"}
FOLDERS |= {"mask_s4": "mask", "mask_s5": "mask"}
BASELINE = "simple baseline"


def main() -> None:
    flags = arguments(__doc__, COMPARISONS, seeds="12,13,14", runs="runs/systems")
    write_section(flags.out, section(flags.name, flags.seeds, flags.runs / flags.name))


def section(name: str, seeds: Sequence[int], runs: Path) -> str:
    """Run the systems with every seed; return the table of their test scores, and how much better the first one is."""
    comparison, several = COMPARISONS[name], len(seeds) > 1
    best, *others = comparison.systems
    runs_of: dict[str, dict[int, Run]] = {}
    for system in comparison.systems:
        fields = {**comparison.fields, **(comparison.fields_of_best if system == best else {})}
        folders = {seed: runs / f"seed_{seed}" / FOLDERS.get(system, system) for seed in seeds}
        runs_of[system] = {seed: trained(system, folder, {**fields, "seed": seed}) for seed, folder in folders.items()}
    rows = {system: pooled({seed: its.rows("test") for seed, its in of.items()}) for system, of in runs_of.items()}
    rows[BASELINE] = pooled({seed: its.baseline() for seed, its in runs_of[best].items()})
    say = Formatter(rows[best].data.measure)
    unit = " (points)" if rows[best].measure.percent else ""
    table = [("system", "validation sets", "test", f"{best} minus this{unit}", "95 % interval", "p (Holm)", "minutes")]
    found = {other: paired.difference((best, other), rows[best], rows[other]) for other in (*others, BASELINE)}
    p = dict(
        zip(
            found,
            paired.holm([1.0 if difference.p is None else difference.p for difference in found.values()]),
            strict=True,
        )
    )
    for system in rows:
        validation = minutes = difference = interval = chance = ""
        if system in runs_of:
            cv = [its.results["fusion"]["cv"] for its in runs_of[system].values()]
            validation = say.number(fmean(scores.get("mean_of_folds", scores["pooled"]) for scores in cv))
            minutes = f"{fmean(its.results['seconds'] for its in runs_of[system].values()) / 60:.1f}"
        if system in found:
            difference, bounds = say.signed(found[system].value), found[system].interval_95
            interval, chance = say.interval(bounds, say.signed), f"{p[system]:.4f}"
        test = say.number(rows[system].value())
        table.append((system, validation, test, difference, interval, chance, minutes))
    note = (
        f"{rows[best].data.measure} with {corpora_of(seeds)} (`{command('systems', name, seeds)}`):"
        f" {rows[best].speakers} test speakers in all. The intervals are paired over speakers; p is of a permutation"
        " test, corrected for the number of systems. Validation sets were also used to choose epochs. Minutes are those"
        " of training, and depend on what else ran."
        f"{' Validation scores and minutes are means over seeds.' * several}{comparison.note}"
    )
    return f"{heading(comparison.title, seeds)}\n\n{note}\n\n{comparison_report.markdown(table)}"


if __name__ == "__main__":
    main()
