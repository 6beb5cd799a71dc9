from jaxpara.corpora.tasks import MEASURES, TASKS


def test_every_task_is_consistent():
    for task in TASKS.values():
        assert task.kind == "classes" or not task.classes
        assert len(set(task.classes)) == len(task.classes)
        assert task.measure in MEASURES[task.kind]
    assert len({task.name for task in TASKS.values()}) == len(TASKS)
