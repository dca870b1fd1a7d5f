"""Half of a line is none."""

from pathlib import Path

from kit.whole_lines import records, whole_lines


def test_what_is_still_written_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert whole_lines(file) == []
    file.write_text("{")
    assert records(file) == []
    file.write_text('{"a": 1}\nno JSON\n{"b"')
    assert whole_lines(file) == ['{"a": 1}', "no JSON"]
    assert records(file) == [{"a": 1}]
