"""Tests that need another tool's library: skipped without it, and failed in `make test-reference`,
where none may be missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

TESTS = Path(__file__).parent
LIBRARIES = (
    "accelerate|auto_round|auto_round_extension|compressed_tensors|gptqmodel|lm_eval|torchao"
)
FILE = """
import pytest

@pytest.mark.reference("pytest")
def test_with_a_library_that_is_here(): pass

@pytest.mark.reference("no_such_library")
def test_with_one_that_is_not(): pass

@pytest.mark.reference("pytest")
def test_that_gives_up(): pytest.importorskip("no_such_library")

def test_without_any(): pass
"""


@pytest.fixture
def some_tests(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = reference(library): as in pyproject.toml")
    pytester.makepyfile(FILE)
    return pytester


def test_without_the_library_a_test_is_skipped(some_tests: pytest.Pytester) -> None:
    found = some_tests.runpytest_inprocess("-rs")
    found.assert_outcomes(passed=2, skipped=2)
    found.stdout.fnmatch_lines("*needs no_such_library: make test-reference*")


def test_in_a_run_of_them_none_is_skipped_and_there_are_no_others(
    some_tests: pytest.Pytester,
) -> None:
    found = some_tests.runpytest_inprocess("-p", "tests.reference_only")
    found.assert_outcomes(passed=1, failed=1, errors=1, deselected=1)


def test_no_other_way_to_skip_for_want_of_a_library() -> None:
    """It would be passed by, here and where all libraries are."""
    skips = re.compile(rf'importorskip\(f?"({LIBRARIES})\b')
    assert not [file for file in TESTS.rglob("*.py") if skips.search(file.read_text())]
