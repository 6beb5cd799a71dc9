"""`benchmarks/gpu.sh --tiny`: every part of the measurements on a GPU runs, here on a CPU."""

import os
import re
import subprocess
from pathlib import Path

PARTS = ("device", "demo_cold", "demo_warm", "same_bits", "breathing2", "folds", "networks")


def test_every_part_prints_its_figures_and_a_part_that_fails_does_not_end_the_script():
    command = ["benchmarks/gpu.sh", "--tiny", "same_bits", *PARTS]  # at first there are no bits to compare
    environment = os.environ | {"XLA_FLAGS": "", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], env=environment, check=True, capture_output=True, text=True, timeout=480
    )
    first, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"same_bits: FAILED after \d+ s: .*No such file or directory", first)
    assert [line for line in lines if re.match(r"\w+: ", line) and "lstm_layers" not in line] == [
        line for part in PARTS for line in lines if re.fullmatch(rf"{part}: \d+ s", line)
    ]
    text = "\n".join(lines)
    assert re.search(r"^  1 x cpu; python [\d.]+, jax [\d.]+, jaxlib ", text, re.MULTILINE)
    assert len(re.findall(r"^  \d+ s wall, \d+ s user, \d+ s system$", text, re.MULTILINE)) == 2
    assert "JAX compiled 3 programs in" in text
    assert "JAX compiled 3 programs (3 from the cache) in" in text
    assert "7 files of predictions are the same, bit by bit" in text
    assert "lstm_layers: 2 of 256, 2 x 12 steps\n  ours " in text
    assert "narrow 1D CNN + LSTM" in text
    assert re.search(r"^  \d+ passed in ", text, re.MULTILINE)
