"""Compares the strongest system of a task with those of the paper and the simple baseline; writes docs/best.md.

    python -m benchmarks.systems breathing
    python -m benchmarks.systems mask --seeds=12,13,14 --runs=runs/systems --out=docs/best.md

Every system runs once per seed, which simulates another corpus, with other speakers. Finished runs are read again, and
interrupted ones resume. The test partitions of all seeds are compared together, paired over speakers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.over_seeds import pooled, trained, write_section
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=SYSTEMS)
    parser.add_argument("--seeds", default="12,13,14", help="with commas between them")
    parser.add_argument("--runs", type=Path, default=Path("runs/systems"), help="the folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("docs/best.md"), help="the page; other sections of it stay")
    flags = parser.parse_args()
    seeds = [int(seed) for seed in flags.seeds.split(",")]
    name = f"{flags.task.capitalize()}: against the systems of the paper"
    write_section(flags.out, name, section(name, SYSTEMS[flags.task], seeds, flags.runs))


def section(name: str, systems: Sequence[str], seeds: Sequence[int], runs: Path) -> str:
    """Run the systems with every seed; return the table of their test scores, and how much better the first one is."""
    best, *others = systems
    finished = {
        system: {
            seed: trained(system, runs / f"seed_{seed}" / FOLDERS.get(system, system), {"seed": seed}) for seed in seeds
        }
        for system in systems
    }
    rows = {system: pooled({seed: one.rows("test") for seed, one in of.items()}) for system, of in finished.items()}
    rows[BASELINE] = pooled({seed: one.baseline() for seed, one in finished[best].items()})
    found = {other: paired.difference((best, other), rows[best], rows[other]) for other in (*others, BASELINE)}
    p = dict(zip(found, paired.holm([difference.p or 0.0 for difference in found.values()]), strict=True))
    say = Formatter(rows[best].data.measure)
    unit = " (points)" if rows[best].measure.percent else ""
    table = [
        ("system", "validation sets", "test", f"{best} minus this{unit}", "95 % interval", "p (Holm)", "minutes"),
    ]
    for system, of_system in rows.items():
        own, difference = list(finished.get(system, {}).values()), found.get(system)
        cv = [one.results["fusion"]["cv"] for one in own]
        table.append(
            (
                system,
                say.number(mean([scores.get("mean_of_folds", scores["pooled"]) for scores in cv])) if own else "",
                say.number(of_system.value()),
                *(
                    (say.signed(difference.value), say.interval(difference.interval_95, say.signed), f"{p[system]:.4f}")
                    if difference
                    else ("", "", "")
                ),
                f"{mean([one.seconds for one in own]) / 60:.1f}" if own else "",
            )
        )
    note = (
        f"{rows[best].data.measure} with {len(seeds)} seeds, each with a simulated corpus of its own:"
        f" {rows[best].speakers} test speakers in all. The intervals are paired over speakers; p is of a permutation"
        " test, corrected for the number of systems. The scores of validation sets and the minutes of training are"
        " means over seeds; minutes depend on what else ran."
    )
    return f"## {name}\n\n{note}\n\n{comparison_report.markdown(table)}"


if __name__ == "__main__":
    main()
