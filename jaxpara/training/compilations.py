"""Counts of the programs that JAX compiled, so that a run that compiles more than it has to is seen in its results."""

import jax

_names: list[str] = []
_seconds: list[float] = []
_cache_hits: list[str] = []


class Compilations:
    """The programs that this process has compiled since the object was made."""

    def __init__(self):
        self._before = len(_names), len(_cache_hits)

    @property
    def names(self) -> list[str]:
        """Names of the compiled functions, such as `jit(_init)`, in the order in which they were ready."""
        return _names[self._before[0] :]

    def summary(self) -> dict[str, float]:
        """Return `programs`; `from_cache`, how many of them were on disk; and the `seconds` of all threads."""
        seconds = round(sum(_seconds[self._before[0] :]), 1)
        return {"programs": len(self.names), "from_cache": len(_cache_hits) - self._before[1], "seconds": seconds}

    def __str__(self) -> str:
        counts = self.summary()
        cached = f" ({counts['from_cache']} from the cache)" if counts["from_cache"] else ""
        return f"JAX compiled {counts['programs']} programs{cached} in {counts['seconds']:.0f} s"


def _on_duration(event: str, duration_secs: float, **about: str | int) -> None:
    if event == "/jax/core/compile/backend_compile_duration":  # also of a program that is loaded from the cache
        _seconds.append(duration_secs)
        _names.append(str(about.get("fun_name", "")))


def _on_event(event: str, **_: str | int) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _cache_hits.append(event)


# Once for the process: JAX has no public way to remove a single listener.
jax.monitoring.register_event_duration_secs_listener(_on_duration)
jax.monitoring.register_event_listener(_on_event)
