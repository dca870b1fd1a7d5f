"""The acceptance page is what the tests say, and every row is shown."""

import subprocess
from pathlib import Path

import pytest

from kit.rows import FILES, PAGE, ROWS, page, shown


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make docs`"


def test_every_row_is_shown_and_can_be_tried_by_hand() -> None:
    expected = [*(f"1.{n}" for n in range(1, 28)), *(f"2.{n}" for n in range(1, 14)), "0.1", "0.8", "0.9"]
    expected += [f"4.{n}" for n in range(2, 8)]
    assert list(ROWS) == expected
    tests = shown()
    assert not [number for number in ROWS if not any(number in test.numbers for test in tests)]
    assert not [number for number in ROWS if not any(number in test.numbers and test.by_hand for test in tests)]


def test_names_and_ties_are_of_rows_that_exist() -> None:
    assert not [test for test in shown() if not set(test.numbers) <= set(ROWS)]


@pytest.mark.parametrize("name", ["app", "client-cert"])
def test_the_page_s_commands_make_its_files(tmp_path: Path, name: str) -> None:
    subprocess.run(["bash", "-ec", FILES], cwd=tmp_path, check=True, capture_output=True)
    ca = {"app": "ca.pem", "client-cert": "cas.pem"}[name]
    subprocess.run(["openssl", "verify", "-CAfile", ca, f"{name}.pem"], cwd=tmp_path, check=True, capture_output=True)
