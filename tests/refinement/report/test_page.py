"""The page of a run: complete, well-formed, self-contained, and harmless whatever the names are."""

from __future__ import annotations

import csv
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from refinement.report.csv_table import table_one_csv
from refinement.report.page import report
from refinement.report.run_files import read_run
from refinement.validation.registry import BY_KEY, MASKED_TWINS, METRICS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Elements, text by element, and whether everything that opens also closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.headings: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "h2" in self.open:
            self.headings[-1] += data
        if not {"style", "title"} & set(self.open[-1:]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def page(run_folder: Callable[..., Path]) -> str:
    return report(read_run(run_folder("initial")))


def test_sections_are_there(page: str) -> None:
    outline = Outline(page)
    assert outline.open == []
    assert outline.headings == [
        "Table 1",
        "Ramachandran plots",
        "Along the chains",
        "Residues to look at",
        "Curves",
        "B factors",
        "Ligands and ions",
        "Waters",
        "Base pairs",
        "How this was made",
    ]
    for words in ("Clashscore", "good ≤ 10, poor ≥ 20", "better than 44 % of EMDB, 61 % at 2.2–4.2 Å", "Chain A"):
        assert words in outline.text
    assert "FSC of model and map" in outline.text
    assert "FSC of the half-maps" in outline.text
    assert "0.5 at 3.50 Å (masked 3.40 Å)." in outline.text


def test_page_is_self_contained(page: str) -> None:
    outline = Outline(page)
    assert outline.counts.keys().isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert all(address.startswith("#") for address in outline.addresses)
    identifiers = set(re.findall(r'\bid="([^"]+)"', page))
    assert {address[1:] for address in outline.addresses} <= identifiers
    assert set(re.findall(r"url\(([^)]+)\)", page)) <= {f"#{name}" for name in identifiers}
    assert "@import" not in page


def test_names_never_become_markup(page: str) -> None:
    assert "<b>model</b>" not in page
    assert "&lt;b&gt;model&lt;/b&gt; &amp; 'co'.cif" in page
    assert "<i>B" not in page
    assert "Chain &lt;i&gt;B" in page


def test_bands_are_said_in_words(page: str) -> None:
    assert re.search(r"Clashscore</th><td[^>]*>25.00</td><td><span class=\"band poor\">poor</span>", page)
    assert re.search(r"Rama-Z</th><td[^>]*>−2.50</td><td><span class=\"band fair\">fair</span>", page)


def test_missing_values_have_their_reason(page: str) -> None:
    row = re.search(r"EMRinger</th>(.*?)</tr>", page)
    assert row is not None
    assert "nothing in this model" in row[1]
    assert "The entry has no half-maps." in page


def test_every_metric_has_a_row(page: str) -> None:
    outline = Outline(page)
    for metric in METRICS:
        assert (metric.label in outline.text) == (metric.group != "change")


def test_outliers_are_labelled_and_marked(page: str) -> None:
    assert page.count('class="outlier"') == 2
    assert ">A/4 ALA</text>" in page
    assert "A/4 ALA: Ramachandran outlier" in page
    assert "A/8 ALA: clash" in page
    worst = page[page.index('id="look"') :]
    assert worst.index("A/4 ALA") < worst.index("A/8 ALA")


def test_waters_have_no_track(page: str) -> None:
    assert "Chain W" not in page


def test_two_states_stand_side_by_side(run_folder: Callable[..., Path]) -> None:
    outline = Outline(report(read_run(run_folder("initial", "refined"))))
    assert "Deposited" in outline.text
    assert "Refined" in outline.text
    assert "Rmsd to deposited" in outline.text


def test_a_run_without_curves_and_figures(run_folder: Callable[..., Path]) -> None:
    outline = Outline(report(read_run(run_folder("initial", curves={}))))
    assert "Curves" not in outline.headings


@pytest.mark.parametrize(
    "curve", [{}, {"inverse_d": [0.1]}, {"level": [0.0, 1.0], "fraction": [None, None]}, {"a": [1, 2], "b": [3, 4, 5]}]
)
def test_odd_curves_do_no_harm(run_folder: Callable[..., Path], curve: dict) -> None:
    name = "atom_inclusion" if "level" in curve else "other"
    assert Outline(report(read_run(run_folder("initial", curves={name: curve})))).open == []


def test_csv_has_a_row_for_every_key(run_folder: Callable[..., Path]) -> None:
    rows = list(csv.DictReader(table_one_csv(read_run(run_folder("initial")).table).splitlines()))
    assert [row["key"] for row in rows] == [*BY_KEY, *(f"{key}_masked" for key in sorted(MASKED_TWINS))]
    by_key = {row["key"]: row for row in rows}
    assert (by_key["clashscore"]["initial"], by_key["clashscore"]["initial_band"]) == ("25.0", "poor")
    assert (by_key["emringer"]["initial"], by_key["emringer"]["reason"]) == ("", "not_applicable")
    assert by_key["q_score"]["percentile_neighbours"] == "61.0"
    assert by_key["d_fsc_model_05_masked"]["label"] == "d FSC model (0.5), masked"


def test_csv_of_a_refinement_has_both_states(run_folder: Callable[..., Path]) -> None:
    (row, *_) = csv.DictReader(table_one_csv(read_run(run_folder("initial", "refined")).table).splitlines())
    assert {"initial", "initial_band", "refined", "refined_band"} <= row.keys()
