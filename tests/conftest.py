"""What every test runs under: two threads, no network for models, a data folder of its own, no silent skips."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser import Watch

# Before anything imports torch or reads the data folder, which already happens while tests are collected.
_DATA = tempfile.TemporaryDirectory(prefix="atelier-tests-", ignore_cleanup_errors=True)
os.environ |= {
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "ATELIER_DATA_DIR": _DATA.name,
}

ALLOWED_TO_SKIP = "gpu"


@pytest.fixture(scope="module")  # not longer: its event loop would stand in the way of tests that run one of their own
def browser() -> Iterator[Browser]:
    """Chromium; the tests that use it are marked `browser`."""
    from tests.browser import CHROMIUM, chromium

    if not CHROMIUM:
        pytest.skip("there is no Chromium on this machine")
    with chromium() as browser:
        yield browser


@pytest.fixture
def page_watch(browser: Browser) -> Iterator[tuple[Page, Watch]]:
    """A page with its own cookies and storage, and what it did wrong."""
    from tests.browser import tab

    with tab(browser) as pair:
        yield pair


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A journey in the browser that fails is tried once more, and the summary says so: a machine that takes memory back
    from idle programs lets the browser or the app stand still in the middle."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure that tells its reason. Expected failures, which are reported as skips too, stay."""
    if os.environ.get("ATELIER_FORBID_SKIPS") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skips are forbidden here (ATELIER_FORBID_SKIPS=1). {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not item.get_closest_marker(ALLOWED_TO_SKIP):
        _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report
