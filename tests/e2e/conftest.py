"""A real Chromium, and the site with published results behind a real port."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
)
FACTORY = Path(__file__).parent.parent / "ceres" / "website" / "site_factory.py"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium with software WebGL."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium ({CHROMIUM})")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # Playwright runs an event loop in this thread, where Django refuses the database otherwise.
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as started:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = started.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """The module that makes entries, jobs and results."""
    spec = importlib.util.spec_from_file_location("site_factory_e2e", FACTORY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(settings: Any, tmp_path: Path, transactional_db: None, factory: ModuleType, live_server: Any) -> str:
    """Address of a site with two published pairs, two refused ones and the libraries of the browser."""
    if not (settings.BASE_DIR / "static" / "vendor" / "ngl" / "ngl.js").exists():
        pytest.skip("static/vendor is not there: run npm ci and tools/vendor_static.py")
    storage = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": storage}
    factory.make_result(factory.make_entry("6udk_20740"), files=True)
    factory.make_result(factory.make_entry("7abc_30001", title="Another one", resolution=2.4), files=False)
    factory.make_job(factory.make_entry("1ref_1001"))
    factory.make_job(factory.make_entry("2ref_1002"))
    return str(live_server.url)


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self.page: Page = context.new_page()
        self.site = site
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._seen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script(
            "window.violations = []; document.addEventListener('securitypolicyviolation',"
            " (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));"
        )

    def _seen(self, request: Any) -> None:
        if not request.url.startswith((self.site, "blob:", "data:")):
            self.foreign.append(request.url)

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(f"{self.site}{path}")
        return self.page

    def assert_clean(self) -> None:
        """No script failed, nothing broke the content security policy, nothing came from elsewhere."""
        assert self.errors == []
        assert self.foreign == []
        assert self.page.evaluate("window.violations") == []


@pytest.fixture
def watched(browser: Browser, site: str) -> Iterator[Watched]:
    """A watched page of 1280 × 900."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = Watched(context, site)
    yield page
    context.close()
