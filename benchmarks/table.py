"""The table of `side_by_side.py`."""

from typing import Any

COLUMNS = (
    f"{'case and side':34} {'ms':>9} {'peer/ours (least-most)':>23} {'a second':>10} {'GiB':>6} {'before':>6}"
    f" {'GFLOP':>8} {'of peak':>8} {'first s':>8}"
)


def heading(machine: dict[str, Any]) -> str:
    """What the machine is, and the names of the columns.

    `GiB` is the peak memory of the process, `before` the part that was there before the first call: libraries and
    weights. `first s` is from the imports to the end of the first call, compilation and all.
    """
    peaks = ", ".join(f"{name} {value:.0f}" for name, value in machine["peak_gflop_s"].items())
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['memory_gib']} GiB;"
        f" {machine['busy_before']:.0%} busy before; matrix products, GFLOP/s: {peaks}\n\n{COLUMNS}"
    )


def rows(name: str, case: dict[str, Any], machine: dict[str, Any]) -> str:
    """One line a side, then what is to be said about agreement and targets."""
    lines = [f"{name}: {case['size']}"]
    flop = next((side["flop"].get("products", 0) for side in case["sides"] if side.get("flop")), 0)
    peak = max(machine["peak_gflop_s"].values(), default=0)
    for side in case["sides"]:
        label = f"  {side['side']}" + ("" if side["side"] == "ours" else f", {side['setting'].replace('_', ' ')}")
        if "seconds" not in side:
            lines.append(f"{label:34} skipped: {side['failed']}")
            continue
        ratio = side["ratio"]
        spread = "" if side["side"] == "ours" else f"{ratio['median']:.2f} ({ratio['least']:.2f}-{ratio['most']:.2f})"
        # The work that the case needs is ours for all; a peer may do more or less for the same result.
        share = f"{flop / 1e9 / side['seconds'] / peak:8.0%}" if flop and peak and side["side"] == "ours" else f"{'':8}"
        count = f"{flop / 1e9:8.2f}" if flop and side["side"] == "ours" else f"{'':8}"
        lines.append(
            f"{label:34} {1e3 * side['seconds']:9.2f} {spread:>23} {side['per_second']:10.1f}"
            f" {side['peak_gib']:6.2f} {side['base_gib']:6.2f} {count} {share} {side['make_s'] + side['first_s']:8.1f}"
        )
    return "\n".join([*lines, *_remarks(case)]) + "\n"


def _remarks(case: dict[str, Any]) -> list[str]:
    remarks = []
    for side, found in case["agreement"].items():
        if "failed" in found:
            remarks.append(f"  {side} could not be compared and was not timed: {found['failed']}")
        else:
            told = ", ".join(f"{name} {value:.1e}" for name, value in found["differences"].items())
            verdict = "agrees" if found["same"] else "DOES NOT AGREE and was not timed"
            remarks.append(f"  {side} {verdict}; largest differences: {told}")
    for side, target in case["targets"].items():
        # The peer at its best in the same precision.
        tuned = [
            one["ratio"]["median"]
            for one in case["sides"]
            if one["side"] == side and one["setting"].endswith("tuned") and "ratio" in one
            if not one["setting"].startswith("bfloat16")
        ]
        if tuned:
            verdict = "reached" if min(tuned) >= target else "MISSED"
            remarks.append(f"  target against tuned {side} {target:g}: {verdict} ({min(tuned):.2f})")
    return remarks
