"""A real browser."""

import io
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1400,1060"
)
# Bokeh's elements live in shadow trees, where selectors do not reach.
FIELDS = """
const found = {};
const walk = (node) => { for (const each of node.querySelectorAll('*')) {
  if (each.dataset && each.dataset.field) found[each.dataset.field] = each.textContent;
  if (each.shadowRoot) walk(each.shadowRoot); } };
walk(document); return found;
"""
BOXES = """
const found = [];
const walk = (node) => { for (const each of node.querySelectorAll('*')) {
  if (each.classList.contains('bk-Figure')) {
    const box = each.getBoundingClientRect(); found.push([box.x, box.y, box.width, box.height]); }
  if (each.shadowRoot) walk(each.shadowRoot); } };
walk(document); return found.filter((box) => box[2] > 0);
"""
DEEP = """
const walk = (node) => { for (const each of node.querySelectorAll('*')) {
  if (each.matches(arguments[0]) && (!arguments[1] || each.textContent.trim() === arguments[1]))
    return each;
  if (each.shadowRoot) { const found = walk(each.shadowRoot); if (found) return found; } } };
return walk(document);
"""


class Browser:
    """A tab of a headless Chromium."""

    def __init__(self, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or "/usr/bin/chromium"
        for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
            options.add_argument(flag)
        service = Service(shutil.which("chromedriver") or "/usr/bin/chromedriver")
        self.driver = webdriver.Chrome(options=options, service=service)
        self._processes = psutil.Process(service.process.pid).children(recursive=True)

    def open(self, url: str) -> None:
        self.driver.get("about:blank")
        self.errors()
        self.driver.get(url)

    def fields(self) -> dict[str, str]:
        """What the page says, by the names of its fields."""
        return defaultdict(str, self.driver.execute_script(FIELDS))

    def wait(self, condition: Callable[[dict[str, str]], Any], timeout_s: float = 240) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition(fields := self.fields()):
            assert time.monotonic() < deadline, f"the page says {fields}"
            time.sleep(0.1)

    def find(self, selector: str, text: str = "") -> Any:
        return self.driver.execute_script(DEEP, selector, text)

    def screenshot(self) -> NDArray[np.uint8]:
        """The page's pixels, shape (height, width, 3)."""
        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png()))
        return np.asarray(image.convert("RGB"))

    def figures(self) -> list[tuple[float, float, float, float]]:
        """Left, top, width and height of the figures, in pixels of the page."""
        return [tuple(box) for box in self.driver.execute_script(BOXES)]

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def freeze(self) -> None:
        self._processes = [
            process for process in psutil.Process(
                self.driver.service.process.pid
            ).children(recursive=True) if process.is_running()
        ]  # fmt: skip
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._processes:
            if process.is_running():
                process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.thaw()
        self.driver.quit()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("needs Chromium and chromedriver")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()
