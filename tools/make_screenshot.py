"""Take the picture of the README: the entry page of the example pair, from a site of its own.

Run with ``.venv/bin/python tools/make_screenshot.py``; it needs Chromium and about a minute. Afterwards look at
``docs/screenshot.png`` before committing it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "screenshot.png"
PAGE = "entry/9xa1_90001/"
SIZE = {"width": 1280, "height": 1180}
CHROMIUM_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking"]
PATIENCE_S = 60.0
DRAWING_MS = 5000
"""The viewer draws in software, so let it finish."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            urlopen(address, timeout=5).close()  # noqa: S310  # our own server
        except (URLError, ConnectionError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def take(address: str, target: Path) -> None:
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.goto(address, wait_until="networkidle")
        page.get_by_role("button", name="Show models and map").click()
        page.locator("[data-viewer][data-ready=true]").wait_for(timeout=1000 * PATIENCE_S)
        page.wait_for_timeout(DRAWING_MS)
        page.screenshot(path=target)
        browser.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ceres-") as folder:
        port = free_port()
        environment = {**os.environ, "CERES_VAR": folder, "CERES_DEMO_SERVE": "0", "CERES_ARCHIVE": ""}
        subprocess.run([sys.executable, "manage.py", "demo"], cwd=ROOT, env=environment, check=True)
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "ceres.wsgi",
            "--bind",
            f"127.0.0.1:{port}",
            "--threads",
            "4",
            "--log-level",
            "warning",
        ]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as server:
            try:
                wait_for(f"http://127.0.0.1:{port}/health/")
                take(f"http://127.0.0.1:{port}/{PAGE}", TARGET)
            finally:
                server.terminate()
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
