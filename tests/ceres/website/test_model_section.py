"""What the page of an entry says about its model."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from ceres.website.model_tab import MOST_ROWS, model_tab

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from django.http import HttpResponse
    from django.test import Client

pytestmark = pytest.mark.django_db


def text_of(response: HttpResponse) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


@pytest.fixture(params=["result", "refused"])
def page(request: pytest.FixtureRequest, client: Client, factory: ModuleType) -> HttpResponse:
    """The page of a published and of a refused entry."""
    entry = factory.make_entry(composition=factory.COMPOSITION)
    (factory.make_result if request.param == "result" else factory.make_job)(entry)
    return client.get("/entry/6udk_20740/")


def test_every_statistic_is_shown(page: HttpResponse, page_is_sound: Callable[..., None]) -> None:
    page_is_sound(page)
    text = text_of(page)
    for words in (
        "Chains 2: A, B",
        "1 280 protein residues, 60 waters",
        "10 240 (34 in alternate conformers)",
        "Alternate conformers 2 residues (0.1 %): A, B",
        "Unknown residues and atoms 5 UNK",
        "Anisotropic displacement 12 atoms",
        "A protein 1–20, 301–304 664 640 96.4 1 B protein none 664 664 100.0 0",
        "NAG(1-4)NAG N-linked A/ASN 67, B/ASN 67 2",
        "Sugar NAG 2-acetamido-2-deoxy-beta-D-glucopyranose 4 Lipid or detergent POV 2 Ion CA calcium ion 3 Other ligand DRG 1",
        "Modified residue (S) SEP phosphoserine 2",
        "Protein 10 150 54.0 50.0 12.0 180.0 0 Water 60 44.0 43.0 20.0 80.0 1",
        "All 0.99 0.00 1.00 34 7 0 0",
        "most have 50 to 60 Å²",
        "The map Grid 256 × 256 × 256 points",
    ):
        assert words in text, words


def test_entries_of_earlier_versions_have_less(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    entry = factory.make_entry()
    factory.make_result(entry)
    response = client.get("/entry/6udk_20740/")
    page_is_sound(response)
    model = model_tab(entry)
    assert model is not None
    assert [table.title for table in model.tables] == ["Ligands and modified residues"]
    assert [table.rows for table in model.statistics] == [[["All", "", "54.2", "–", "12.0", "180.0", ""]]]
    assert model.histogram is None


def test_a_pair_whose_model_was_not_read_has_no_section(client: Client, factory: ModuleType) -> None:
    entry = factory.make_entry(facts={"composition": None})
    factory.make_job(entry)
    assert model_tab(entry) is None
    assert 'id="model-title"' not in client.get("/entry/6udk_20740/").content.decode()


def test_long_lists_are_cut(factory: ModuleType) -> None:
    row = factory.COMPOSITION["sequences"][0]
    many = [{**row, "chains": [f"A{k}" for k in range(60)], "missing": [[k, k] for k in range(1, 80, 2)]} for _ in range(50)]
    model = model_tab(factory.make_entry(composition={**factory.COMPOSITION, "sequences": many}))
    assert model is not None
    sequences = model.tables[0]
    assert (len(sequences.rows), sequences.more) == (MOST_ROWS, 10)
    assert sequences.rows[0][0].endswith("A10, A11 and 48 more")
    assert sequences.rows[0][2] == "1, 3, 5, 7, 9, 11, 13, 15 and 32 more"


def test_bars_of_the_histogram_are_as_high_as_their_counts(factory: ModuleType) -> None:
    model = model_tab(factory.make_entry(composition={**factory.COMPOSITION, "b_histogram": [0, 10, 5, *27 * [0], 1]}))
    assert model is not None
    assert model.histogram is not None
    first, second, last = model.histogram.bars
    assert first.height == pytest.approx(2 * second.height)
    assert [bar.y + bar.height for bar in (first, second, last)] == pytest.approx(3 * [model.histogram.base])
    assert last.title == "300 Å² and more: 1 atom"


def test_copies_are_mentioned(factory: ModuleType) -> None:
    facts = {
        "composition": factory.COMPOSITION | {"atoms": 600},
        "assembly": {"copies": 60, "expanded": True, "source": "assembly 1"},
    }
    model = model_tab(factory.make_entry(facts=facts))
    assert model is not None
    assert "60 copies (assembly 1) were made" in [fact.text for fact in model.facts]
