"""The allocator's settings, by the number of cores and the presence of a GPU."""

import ctypes
import os
import sys
from types import SimpleNamespace

import pytest

from jaxpara import runtime


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the settings are glibc's")
@pytest.mark.parametrize(("cores", "gpu", "one_heap"), [(2, False, True), (16, False, False), (2, True, False)])
def test_threads_share_one_heap_only_if_they_are_few(cores, gpu, one_heap, monkeypatch, tmp_path):
    settings = {}
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=settings.__setitem__))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setattr(runtime, "NVIDIA_DRIVER", tmp_path if gpu else tmp_path / "none")
    runtime._keep_freed_memory()
    assert settings == ({-8: 1, -4: 0, -1: -1} if one_heap else {})
