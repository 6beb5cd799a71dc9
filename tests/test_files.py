"""Files are written whole or not at all."""

import pytest

from jaxpara.errors import UserError
from jaxpara.files import locked, read_json, read_json_lines, replacing, write_json


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def die_half_way():
        with replacing(path) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die_half_way()
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BlockingIOError(11, "busy"), "another run is using it; wait"),
        (OSError(38, "Function not implemented"), r"cannot be locked \(Function not implemented\); choose a folder on"),
    ],
)
def test_a_workdir_that_cannot_be_locked_is_refused(error, message, tmp_path, monkeypatch):
    def flock(*_):
        raise error

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(UserError, match=message), locked(tmp_path):
        raise AssertionError


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_lines_end_where_the_file_is_cut_off(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"kind": "train", "epoch": 0}\n{"kind": "tu')
    assert read_json_lines(tmp_path / "m.jsonl") == [{"kind": "train", "epoch": 0}]
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_only_a_json_object_with_its_keys_is_read(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    assert read_json(path, "delete it", ("a",)) == {"a": 1}
    for content, problem in (("[1]", "not a JSON object"), ('{"b": 1}', "'a' is missing")):
        path.write_text(content)
        with pytest.raises(UserError, match=rf"a\.json: damaged \({problem}\); delete it"):
            read_json(path, "delete it", ("a",))
