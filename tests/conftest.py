"""Settings of all tests: four CPU devices, float32, quick compilation and the number of fuzzing examples.

XLA's optimizations are off, here and in the processes that tests start: the programs of tests are small, and take
longer to optimize than to run. `JAX_DISABLE_MOST_OPTIMIZATIONS=0` turns them on, as they are for users; `.ci/run` does
so for the networks, and the workflow for all tests. `JAX_PLATFORMS` chooses other devices, as `benchmarks/gpu.sh` does.
"""

import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# On a GPU, products would have 10 bits after the point.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# One folder for `commands.SHARED_PROGRAMS`; the workers inherit it.
PROGRAMS = None if "TEST_PROGRAMS" in os.environ else tempfile.mkdtemp(prefix="jaxpara-programs-")
os.environ.setdefault("TEST_PROGRAMS", str(PROGRAMS))

# By default the same examples in every run; JAXPARA_FUZZ=2000 tries 2000 new ones of each kind.
MANY = int(os.environ.get("JAXPARA_FUZZ", 0))
settings.register_profile(
    "jaxpara",
    max_examples=MANY or 100,
    derandomize=not MANY,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("jaxpara")


def pytest_unconfigure():
    if PROGRAMS:
        shutil.rmtree(PROGRAMS)
