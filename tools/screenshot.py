"""Make docs/screenshot.png from the running site: the page of an entry with its viewer.

Usage: ``python tools/screenshot.py [http://127.0.0.1:8000] [ENTRY]``; without an entry, the one published last.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
WIDTH, HEIGHT = 1360, 1000
SURFACE_MS = 4000
"""Time in which the viewer's worker makes the surface of the map."""


def take(site: str, entry: str, target: Path, scheme: str) -> None:
    """Open the entry, load its viewer, and save what is in view from Table 1 on."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce")
        page.goto(f"{site}/entry/{entry}/" if entry else site)
        if not entry:
            page.locator("#newest-title").locator("xpath=../..").locator("tbody a").first.click()
        page.click("[data-load]")
        page.wait_for_selector("[data-viewer][data-ready]", timeout=120_000)
        page.wait_for_timeout(SURFACE_MS)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=str(target))
        browser.close()


def main() -> int:
    """Read the arguments; 2 when the site or its entry can't be reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", nargs="?", default="http://127.0.0.1:8000", help="address of the running site")
    parser.add_argument("entry", nargs="?", default="", help="key of the entry, 6udk_20740")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "screenshot.png")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    arguments = parser.parse_args()
    try:
        take(arguments.site.rstrip("/"), arguments.entry, arguments.output, arguments.scheme)
    except Error as error:
        sys.stderr.write(f"{arguments.site}: {error.message.splitlines()[0]}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
