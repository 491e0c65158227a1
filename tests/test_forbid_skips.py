"""CI forbids skips, except of tests that need a graphics card."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SKIPPING = """
import pytest

def test_plain():
    pytest.skip("no browser")

@pytest.mark.gpu
def test_card():
    pytest.skip("no card")

@pytest.mark.xfail
def test_expected_failure():
    raise ValueError
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty suite under the conftest of this one."""
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers = gpu")
    return pytester


def test_a_skip_fails_where_skips_are_forbidden(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_FORBID_SKIPS", "1")
    suite.makepyfile(SKIPPING)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines("*skips are forbidden here*no browser*")


def test_a_skip_is_a_skip_elsewhere(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATELIER_FORBID_SKIPS", raising=False)
    suite.makepyfile(SKIPPING)
    suite.runpytest_subprocess().assert_outcomes(skipped=2, xfailed=1)


def test_a_skipped_module_fails_where_skips_are_forbidden(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATELIER_FORBID_SKIPS", "1")
    suite.makepyfile("import pytest\npytest.importorskip('no_such_module')")
    suite.runpytest_subprocess().assert_outcomes(errors=1)
