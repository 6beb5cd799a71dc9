"""Threads keep the order, count what is done, and stop at the first failure."""

import os
import threading
import time

import pytest

from jaxpara.corpora.threads import MOST_THREADS, in_threads


def test_the_order_is_that_of_the_items(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    workers, calls = set(), []

    def late(item):
        workers.add(threading.get_ident())
        time.sleep(0.01 * (item % 2 == 0))
        return item**2

    assert in_threads(late, range(40), lambda *call: calls.append(call)) == [item**2 for item in range(40)]
    assert calls == [(done, 40) for done in range(1, 41)]
    assert 1 < len(workers) <= MOST_THREADS
    assert in_threads(late, []) == []


def test_after_a_failure_nothing_more_is_begun():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.005)
        if item == 3:
            raise OSError("the disk is full")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(OSError, match="the disk is full"):
        in_threads(work, range(1000))
    assert len(begun) < 100
    begun.clear()
    with pytest.raises(KeyboardInterrupt):
        in_threads(work, range(1000), interrupt)
    assert len(begun) < 100
    assert threading.active_count() < 50
