from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import brotli
import pytest

expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGES = (
    "/",
    "/results/",
    "/excluded/",
    "/statistics/",
    "/glossary/",
    "/about/",
    "/entry/6udk_20740/",
    "/entry/1ref_1001/",
    "/search/?q=9zzz",
)


def count_pixels(page: Page, wanted: str) -> int:
    """How many pixels of the viewer's picture fulfil a condition on r, g, b."""
    script = """async (wanted) => {
      const stage = document.querySelector("[data-viewer]").ceresStage;
      const picture = await createImageBitmap(await stage.makeImage({ factor: 1 }));
      const canvas = new OffscreenCanvas(picture.width, picture.height);
      const context = canvas.getContext("2d");
      context.drawImage(picture, 0, 0);
      const data = context.getImageData(0, 0, picture.width, picture.height).data;
      const tests = {
        coral: (r, g, b) => r > 120 && r > 1.4 * g && r > 1.4 * b,
        teal: (r, g, b) => g > 60 && g > 1.8 * r && Math.abs(g - b) < 0.35 * g,
        grey: (r, g, b) => Math.abs(r - g) < 20 && Math.abs(g - b) < 25 && r < 220,
      };
      let count = 0;
      for (let at = 0; at < data.length; at += 4) count += tests[wanted](data[at], data[at + 1], data[at + 2]) ? 1 : 0;
      return count;
    }"""
    return int(page.evaluate(script, wanted))


def open_viewer(page: Page) -> None:
    page.click("[data-load]")
    page.wait_for_selector("[data-viewer][data-ready]", timeout=60_000)


def test_from_the_search_box_to_both_models_in_the_map(watched: Any, factory: Any) -> None:
    page = watched.go("/")
    page.fill("#q", "EMD-20740")
    page.press("#q", "Enter")
    page.wait_for_url("**/entry/6udk_20740/")
    assert "CC mask" in page.inner_text("#table-one-title + .scroll-x")
    open_viewer(page)
    stage = "document.querySelector('[data-viewer]').ceresStage"
    assert page.evaluate(f"{stage}.compList.map((each) => [each.name, each.type])") == [
        ["initial", "structure"],
        ["refined", "structure"],
        ["map", "volume"],
    ]
    residues = page.evaluate(f"{stage}.compList.slice(0, 2).map((each) => each.structure.residueStore.count)")
    assert residues == [2 * factory.RESIDUES] * 2
    assert page.inner_text("[data-level-text]") == "2.4 σ = 0.120 (authors’)"
    page.wait_for_timeout(1500)  # the surface is made in a worker
    assert count_pixels(page, "coral") > 300
    assert count_pixels(page, "teal") > 300
    assert count_pixels(page, "grey") > 300
    watched.assert_clean()


def test_switches_hide_and_the_slider_moves_the_level(watched: Any) -> None:
    page = watched.go("/entry/6udk_20740/")
    open_viewer(page)
    page.uncheck('[data-show="map"]')
    page.uncheck('[data-show="initial"]')
    assert count_pixels(page, "coral") == 0
    assert count_pixels(page, "teal") > 300
    page.check('[data-show="map"]')
    page.fill("[data-level]", "6")
    assert page.inner_text("[data-level-text]") == "6.0 σ = 0.300"
    level = "document.querySelector('[data-viewer]').ceresStage.compList[2].reprList[0].repr.isolevel"
    assert page.evaluate(level) == pytest.approx(0.3)
    page.select_option("[data-style]", "licorice")
    drawn = "document.querySelector('[data-viewer]').ceresStage.compList[1].reprList.map((each) => each.name)"
    assert page.evaluate(drawn) == ["licorice"]
    watched.assert_clean()


def test_a_click_on_the_track_shows_the_residue(watched: Any) -> None:
    page = watched.go("/entry/6udk_20740/")
    page.wait_for_selector("[data-track][data-ready]")
    plot = page.locator("[data-plot] .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    middle = {"x": 0.5 * box["width"], "y": 0.5 * box["height"]}
    plot.hover(position=middle)
    expect(page.locator("[data-readout]")).to_have_text(re.compile(r"A/1[23] ALA · CC 0\.\d+ deposited, 0\.\d+ refined"))
    plot.click(position=middle)
    expect(page).to_have_url(re.compile(r"#A/1[23]$"))
    page.wait_for_selector("[data-viewer][data-ready]", timeout=60_000)
    expect(page.locator("[data-status]")).to_have_text(re.compile(r"Residue A/1[23]"))
    around = (
        "document.querySelector('[data-viewer]').ceresStage.compList[1].reprList.filter((each) => each.name === 'around').length"
    )
    assert page.evaluate(around) == 1
    watched.assert_clean()


def test_an_address_with_a_residue_opens_it_everywhere(watched: Any) -> None:
    page = watched.go("/entry/6udk_20740/#B/7")
    page.wait_for_selector("[data-viewer][data-ready]", timeout=60_000)
    expect(page.locator("[data-status]")).to_have_text("Residue B/7")
    expect(page.locator("[data-readout]")).to_contain_text("B/7 ALA")
    page.click('[data-residue="A/9"]')
    expect(page.locator("[data-status]")).to_have_text("Residue A/9")
    expect(page.locator("[data-readout]")).to_contain_text("A/9 ALA")
    expect(page.locator("[data-readout]")).to_contain_text("outlier refined: Ramachandran")
    watched.assert_clean()


def test_the_track_is_worked_with_the_keyboard(watched: Any) -> None:
    page = watched.go("/entry/6udk_20740/")
    page.wait_for_selector("[data-track][data-ready]")
    page.focus("[data-plot]")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("[data-readout]")).to_have_text(re.compile(r"^A/3 ALA"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"#A/3$"))
    page.select_option("[data-series]", "q_score")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("[data-readout]")).to_contain_text("Q-score")


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_no_page_is_wider_than_the_screen_or_breaks_the_policy(
    browser: Browser, site: str, watched: Any, width: int, scheme: Any
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = type(watched)(context, site)
    for path in PAGES:
        page.go(path)
        overflow = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, path
        page.assert_clean()
    background = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 64) == (scheme == "dark")
    context.close()


def test_the_chosen_theme_stays_and_is_there_at_once(watched: Any) -> None:
    page = watched.go("/")
    for _ in range(2):  # as the system, light, dark
        page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.early = document.documentElement.dataset.bsTheme })"
    )
    page.goto(f"{watched.site}/results/")
    assert page.evaluate("window.early") == "dark"
    watched.assert_clean()


def test_the_table_follows_its_filters_without_a_new_page(watched: Any) -> None:
    page = watched.go("/results/")
    page.evaluate("window.same = true")
    page.select_option("#id_state", "refused")
    expect(page.locator(".results-table tbody tr")).to_have_count(2)
    assert "state=refused" in page.url
    assert "verdict=" not in page.url
    page.click(".results-table thead a:has-text('Resolution')")
    page.wait_for_selector("th[aria-sort=ascending] a:has-text('Resolution')")
    assert page.evaluate("window.same") is True
    assert "sort=resolution" in page.url
    assert "state=refused" in page.url
    page.click("text=Clear all")
    expect(page.locator(".results-table tbody tr")).to_have_count(4)
    watched.assert_clean()


def test_everything_is_read_and_done_without_javascript(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site}/")
    page.fill("#q", "6udk")
    page.press("#q", "Enter")
    expect(page).to_have_url(f"{site}/entry/6udk_20740/")
    text = page.inner_text(".table-one")
    assert re.search(r"CC mask\s+0.612\s+0.748\s+\+0.136\s+▲ better", text)
    page.goto(f"{site}/results/")
    page.select_option("#id_state", "refused")
    page.click("text=Show")
    expect(page.locator(".results-table tbody tr")).to_have_count(2)
    assert "?state=refused&cols=cc_mask" in page.url
    context.close()


def test_the_first_page_is_small_and_leaves_the_viewer_out(watched: Any) -> None:
    loaded: list[Any] = []
    watched.page.on("response", lambda response: loaded.append(response))  # playwright needs a Python function
    page = watched.go("/entry/6udk_20740/")
    page.wait_for_selector("[data-track][data-ready]")
    packed = {response.url: len(brotli.compress(response.body(), quality=5)) for response in loaded}
    assert [url for url in packed if "ngl" in url] == []
    assert len(page.content().encode()) < 100_000
    assert sum(packed.values()) < 150_000


def test_print_holds_table_and_address(watched: Any) -> None:
    page = watched.go("/entry/6udk_20740/")
    page.emulate_media(media="print")
    assert page.is_visible(".table-one")
    assert page.is_visible(".print-only")
    assert page.is_hidden(".viewer-column")
    assert page.is_hidden(".masthead-search")
    sheet = page.pdf(format="A4", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", sheet)) == 1
