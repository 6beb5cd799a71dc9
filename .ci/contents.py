"""Check that a wheel and an sdist contain the expected tracked files, and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

wheel, sdist = map(Path, sys.argv[1:])
tracked = set(subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines())

expected = {name for name in tracked if name.startswith("jaxpara/")}
expected |= {f"jaxpara/shipped/{name}" for name in tracked if name.startswith("configs/")}
with zipfile.ZipFile(wheel) as archive:
    found = {name for name in archive.namelist() if ".dist-info/" not in name}
assert found == expected, f"{wheel.name}: {sorted(found ^ expected)}"

# The sdist has everything but the checks themselves.
expected = {name for name in tracked if not name.startswith((".ci/", ".github/"))} | {"PKG-INFO"}
with tarfile.open(sdist) as archive:
    found = {name.partition("/")[2] for name in archive.getnames()}
assert found == expected, f"{sdist.name}: {sorted(found ^ expected)}"
print(f"{wheel.name} and {sdist.name} have the expected contents")
