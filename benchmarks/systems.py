"""Compares the strongest system of a task with those of the paper and the simple baseline; writes docs/best.md.

    python -m benchmarks.systems breathing
    python -m benchmarks.systems mask --seeds=12,13,14 --runs=runs/systems --out=docs/best.md

Every system runs once per seed, which simulates another corpus, with other speakers. Finished runs are read again, and
interrupted ones resume. The test partitions of all seeds are compared together, paired over speakers.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.over_seeds import Run, arguments, mean_seconds, pooled, trained, write_section
from jaxpara.evaluation import comparison_report, paired
from jaxpara.evaluation.formatting import Formatter

# By task: the strongest system, and those of the paper in the order of their rows.
SYSTEMS = {
    "breathing": ("breathing_best", "breathing_s1", "breathing_e2e", "breathing_s3", "breathing_s4", "breathing_s5"),
    "mask": ("mask_best", *(f"mask_s{row}" for row in range(1, 6))),
}
# Systems that share members run in the same folder. The last of them uses those of the others.
FOLDERS = {"breathing_e2e": "breathing", "breathing_s4": "breathing", "breathing_s5": "breathing"}
FOLDERS |= {"mask_s4": "mask", "mask_s5": "mask"}
BASELINE = "simple baseline"


def main() -> None:
    flags = arguments(__doc__, "task", SYSTEMS, seeds="12,13,14", runs="runs/systems")
    name = f"{flags.task.capitalize()}: against the systems of the paper"
    write_section(flags.out, name, section(name, SYSTEMS[flags.task], flags.seeds, flags.runs))


def section(name: str, systems: Sequence[str], seeds: Sequence[int], runs: Path) -> str:
    """Run the systems with every seed; return the table of their test scores, and how much better the first one is."""
    best, *others = systems
    runs_of: dict[str, dict[int, Run]] = {}
    for system in systems:
        folders = {seed: runs / f"seed_{seed}" / FOLDERS.get(system, system) for seed in seeds}
        runs_of[system] = {seed: trained(system, folder, {"seed": seed}) for seed, folder in folders.items()}
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
            minutes = f"{mean_seconds(runs_of[system].values()) / 60:.1f}"
        if system in found:
            difference, bounds = say.signed(found[system].value), found[system].interval_95
            interval, chance = say.interval(bounds, say.signed), f"{p[system]:.4f}"
        test = say.number(rows[system].value())
        table.append((system, validation, test, difference, interval, chance, minutes))
    note = (
        f"{rows[best].data.measure} with {len(seeds)} seeds, each with a simulated corpus of its own:"
        f" {rows[best].speakers} test speakers in all. The intervals are paired over speakers; p is of a permutation"
        " test, corrected for the number of systems. The scores of validation sets and the minutes of training are"
        " means over seeds; minutes depend on what else ran."
    )
    return f"## {name}\n\n{note}\n\n{comparison_report.markdown(table)}"


if __name__ == "__main__":
    main()
