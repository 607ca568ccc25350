"""Pages about curation in a browser: without JavaScript, dark and light, wide and narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MONTHS = ("2026-09", "2026-10")


@pytest.fixture
def curated_site(site: str, factory: Any) -> str:
    """The site with a model that has everything, and two more months of refused pairs."""
    factory.make_result(factory.make_entry("9all_3000", composition=factory.COMPOSITION))
    for number in range(8):
        entry = factory.make_entry(f"{number}old_400{number}", composition=factory.COMPOSITION)
        for month in MONTHS:
            factory.make_job(entry, month, "published" if number > 2 else "refused", **({"code": ""} if number > 2 else {}))
    return site


@pytest.fixture
def still(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes contexts without JavaScript."""
    made = []

    def make(width: int, scheme: str) -> BrowserContext:
        made.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=False))
        return made[-1]

    yield make
    for context in made:
        context.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_chart_of_findings_is_drawn_without_javascript(
    curated_site: str, still: Callable[..., BrowserContext], width: int, scheme: str
) -> None:
    page = still(width, scheme).new_page()
    page.goto(f"{curated_site}/statistics/")
    bars = page.locator(".month-bars li")
    expect(bars).to_have_count(4)  # three runs and the paper
    widths = []
    for number in range(4):
        ground = bars.nth(number).locator(".bar-ground").bounding_box()
        segment = bars.nth(number).locator("rect[class^=kind-]").first.bounding_box()
        assert ground["width"] > 0.7 * min(width, 800)
        widths.append(segment["width"] / ground["width"])
    assert widths[1] == pytest.approx(widths[0], abs=0.02)  # the same three of eight pairs in both months
    assert widths[3] < widths[2]  # 8 % of the paper's pairs, half of ours
    expect(bars.nth(3)).to_contain_text("370 of 3\u202f308 pairs")
    expect(page.locator(".legend-list li")).to_contain_text(["Resolution mismatch"])
    body = page.locator("body").bounding_box()
    assert body["width"] <= width


def test_counts_of_the_table_lead_to_their_pairs(curated_site: str, still: Callable[..., BrowserContext]) -> None:
    page = still(1280, "light").new_page()
    page.goto(f"{curated_site}/")
    page.click("text=Statistics")
    row = page.locator(".statistics-table tr", has_text="Resolution mismatch")
    row.locator("a", has_text="3").first.click()
    expect(page.locator("h1")).to_have_text("Excluded pairs")
    expect(page.locator("tbody tr")).to_have_count(3)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_refused_pair_shows_numbers_and_advice(curated_site: str, still: Callable[..., BrowserContext], width: int) -> None:
    page = still(width, "dark").new_page()
    page.goto(f"{curated_site}/entry/1ref_1001/")
    outcome = page.locator(".outcome")
    expect(outcome.locator(".finding-numbers")).to_have_text("Map4Model6")
    expect(outcome).to_contain_text("What the depositors can do")
    assert outcome.bounding_box()["width"] <= width
    page.click("text=Other pairs with this reason")
    expect(page.locator("tbody tr")).to_have_count(5)


@pytest.mark.parametrize("width", [360, 1280])
def test_the_model_section_fits_the_screen(curated_site: str, still: Callable[..., BrowserContext], width: int) -> None:
    page = still(width, "light").new_page()
    page.goto(f"{curated_site}/entry/9all_3000/")
    section = page.locator(".model-section")
    expect(section.locator("table")).to_have_count(5)
    assert section.bounding_box()["width"] <= width
    bars = section.locator(".histogram-bar")
    heights = [bars.nth(number).bounding_box()["height"] for number in range(5)]
    assert heights == sorted(heights)  # up to the peak at 50 to 60 Å²
    assert heights[4] > 50.0
