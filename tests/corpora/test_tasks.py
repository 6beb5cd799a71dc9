import pytest

from jaxpara.corpora.tasks import TASKS, task_named
from jaxpara.errors import UserError


def test_every_task_is_consistent():
    for task in TASKS.values():
        assert (task.kind == "classes") == bool(task.classes)
        assert len(set(task.classes)) == len(task.classes)
        assert task.measure == {"classes": "UAR", "sequence": "PCC"}[task.kind]


def test_an_unknown_task_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"config.corpus.task is 'masks', expected one of .*; did you mean 'mask'\?"):
        task_named("masks", "config.corpus.task")
