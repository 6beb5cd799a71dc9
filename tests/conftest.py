"""Four CPU devices for every test, so that what runs on several is tested on any machine; how much is fuzzed."""

import os

import pytest
from hypothesis import HealthCheck, settings

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
os.environ["JAX_PLATFORMS"] = "cpu"

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


@pytest.fixture(scope="module")
def hastily_compiled():
    """For tests of what is done with programs, and not of programs: small ones cost more to optimize than to run."""
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
