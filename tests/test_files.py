from pathlib import Path

import numpy as np
import pytest

from jaxpara.files import mapped, read_json_lines, replacing, write_json


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


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_lines_stop_where_the_file_is_torn(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"kind": "train", "epoch": 0}\n{"kind": "tu')
    assert read_json_lines(tmp_path / "m.jsonl") == [{"kind": "train", "epoch": 0}]
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_a_part_of_a_file_is_mapped_from_any_byte_on(tmp_path):
    path = tmp_path / "data.bin"
    np.arange(100_000, dtype=np.float32).tofile(path)
    part = mapped(path, np.float32, (3, 2), 4 * 54_321)
    np.testing.assert_array_equal(part, np.arange(54_321, 54_327).reshape(3, 2))
    assert not part.flags.writeable
    assert mapped(path, "<f4", (0, 2)).shape == (0, 2)
    with pytest.raises(ValueError, match="greater than file size"):
        mapped(path, np.float32, (2,), 4 * 99_999)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells its memory by /proc")
def test_pages_of_a_mapped_file_go_with_the_array(tmp_path):
    path = tmp_path / "data.bin"
    np.zeros(2**23, np.float32).tofile(path)

    def resident_kib():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))

    before = resident_kib()
    for _ in range(3):
        part = mapped(path, np.float32, (2**23,))
        assert part.sum() == 0
        assert resident_kib() - before > 30_000
        del part
    assert resident_kib() - before < 5_000
