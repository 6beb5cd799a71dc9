from jaxpara.corpora.tasks import TASKS


def test_every_task_is_consistent():
    for task in TASKS.values():
        assert (task.kind == "classes") == bool(task.classes)
        assert len(set(task.classes)) == len(task.classes)
        assert task.measure == {"classes": "UAR", "sequence": "PCC"}[task.kind]
