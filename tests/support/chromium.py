"""A headless Chromium, started with nothing that the page does not use."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from bifseg.server.built import is_built

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# To imitate a GPU, which the page does not use, takes most of the time; and with every window Chromium loads two pages
# of a popup below its address bar. Playwright's own list of features to switch off gives way to ours, and so is in it.
OFF = (
    "WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup",
    "AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying",
    "OptimizationHints", "PaintHolding", "PreconnectToSearch", "ThirdPartyStoragePartitioning",
)  # fmt: skip
SWITCHES = ["--no-sandbox", "--disable-gpu", f"--disable-features={','.join(OFF)}"]


@contextlib.contextmanager
def browsing() -> Iterator[playwright.Browser]:
    """A headless browser; skips where there is none, or no page to see in it."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"no Chromium is on the path, under any of the names {', '.join(CHROMIUMS)}")
    if not is_built():
        pytest.skip("the page was not built: make page")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()
