"""Four CPU devices for every test, so that what runs on several is tested on any machine; how much is fuzzed.

Programs are compiled in haste, here and in the processes that tests start: those of tests are small, and cost more to
optimize than to run. With `JAX_DISABLE_MOST_OPTIMIZATIONS=0` they are compiled as users' are, which `.ci/run` does for
networks and the workflow for all.
"""

import os

from hypothesis import HealthCheck, settings

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# The same examples in every run; JAXPARA_FUZZ=2000 tries so many new ones of each kind.
MANY = int(os.environ.get("JAXPARA_FUZZ", 0))
settings.register_profile(
    "jaxpara",
    max_examples=MANY or 100,
    derandomize=not MANY,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("jaxpara")
