from __future__ import annotations

import gzip
import html
import io
import re
from typing import TYPE_CHECKING, Any

import gemmi
import pytest
from django.urls import reverse

from ceres.models import Result
from ceres.website.cycles import story_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from django.test import Client

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    """The page as a reader without style sheets and scripts sees it."""
    content = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", content)))


def test_table_one_is_read_without_javascript(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    factory.make_result(factory.make_entry(), files=True)
    response = client.get("/entry/6udk_20740/")
    assert response.status_code == 200
    page_is_sound(response)
    text = text_of(response)
    assert "CC mask 0.612 0.748 +0.136 ▲ better" in text
    assert "Clashscore 21.30 5.10 −16.20 ▲ better" in text
    assert "Rama-Z −2.53 1.79 +4.32 ▲ better" in text  # closer to zero
    assert "Å 0.0124 0.0051 −0.0073" in text
    assert "−0.0073 ▲" not in text  # tighter bonds alone are not better
    assert "Improved: 9 of 9 metrics better, 0 worse" in text
    assert "Rmsd to deposited 0.61 Å" in text


def test_a_missing_value_says_why(client: Client, factory: ModuleType) -> None:
    factory.make_result(
        factory.make_entry(),
        initial={"cc_mask": 0.5},
        reasons={"cc_mask": "failed", "emringer": "resolution_too_low"},
        refined={},
    )
    text = text_of(client.get("/entry/6udk_20740/"))
    assert "CC mask 0.500 n/a The computation failed; the log says why." in text
    assert "EMRinger n/a: The metric isn't meaningful at this resolution." in text


def test_a_worse_metric_is_called_worse(client: Client, factory: ModuleType) -> None:
    factory.make_result(
        factory.make_entry(),
        initial={"cc_mask": 0.8, "clashscore": 6.5},
        refined={"cc_mask": 0.801, "clashscore": 17.7},
        verdict="worse",
    )
    text = text_of(client.get("/entry/6udk_20740/"))
    assert "Clashscore 6.50 17.70 +11.20 ▼ worse" in text
    assert "CC mask 0.800 0.801 +0.001 ≈ same" in text


def test_findings_composition_files_and_provenance_are_there(client: Client, factory: ModuleType) -> None:
    result = factory.make_result(factory.make_entry(), files=True)
    text = text_of(client.get("/entry/6udk_20740/"))
    assert "The map states 3.20 Å, the model 3.2 Å." in text
    assert "2: A, B" in text
    assert "1 280 protein residues, 60 waters" in text  # white space is folded here
    assert "ab" * 32 in text
    assert "812.3 kB" in text
    assert "93.6 s in all, of it refinement 81.4 s, validation 12.2 s" in text
    assert "/var/secret/archive" not in text
    assert "Protocol default" in text
    for artifact in result.artifacts.all():
        assert artifact.file_name in text
        assert artifact.sha256 in text


def test_the_cycles_and_what_they_changed(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    factory.make_result(factory.make_entry(), files=True)
    response = client.get("/entry/6udk_20740/")
    page_is_sound(response)
    text = text_of(response)
    assert "Cycle 2 is kept: it fits best, and none of the 3 cycles did harm; CC_mask 0.612 → 0.748." in text
    assert "Deposited 0.612 0.0124 1.66 21.30 91.2 1.25 −2.53 8.60" in text
    assert "Cycle 2 kept 0.670 0.0051 0.82 7.00 97.4 0.00 1.79 0.40 11.9 3 2.5" in text
    assert "Cycle 3 0.680 0.0051 0.82 6.00 97.4 0.00 1.79 0.40 11.9 2, 1 undone 3.8" in text
    assert "Refined, with new B factors 0.748 0.0051 0.82 5.10 97.4 0.00 1.79 0.40" in text
    assert "14 side chains changed rotamer A/1 LYS mttt→ptmt A/2 LYS" in text
    assert "A/12 LYS mttt→ptmt and 2 more in changes.json" in text
    assert "1 peptide was flipped B/7A GLY" in text
    assert "1 residue fits worse B/9 ALA Q 0.55→0.41" in text
    assert "moved by more than" not in text
    assert 'aria-label="CC mask: 0.612 deposited, 0.748 refined, over 3 cycles"' in response.content.decode()


def test_a_figure_runs_from_the_deposited_to_the_refined_value(factory: ModuleType) -> None:
    story = story_of(factory.make_result(factory.make_entry()))
    assert story is not None
    names = [figure.label for figure in story.figures]
    assert names == ["CC mask", "Clashscore", "Ramachandran favoured", "Rotamer outliers"]
    fit, clashes = story.figures[:2]
    assert [mark.kind for mark in fit.marks] == ["deposited", "cycle", "cycle", "cycle", "refined"]
    assert [mark.x for mark in fit.marks] == sorted(mark.x for mark in fit.marks)
    assert [mark.y for mark in fit.marks] == sorted((mark.y for mark in fit.marks), reverse=True)  # up is more
    assert [mark.y for mark in clashes.marks] == sorted(mark.y for mark in clashes.marks)
    assert fit.last.x == fit.right


def test_a_result_without_cycles_has_no_such_section(
    client: Client, factory: ModuleType, page_is_sound: Callable[..., None]
) -> None:
    factory.make_result(factory.make_entry(), refinement={})
    response = client.get("/entry/6udk_20740/")
    page_is_sound(response)
    assert "How it was refined" not in response.content.decode()


def test_a_metric_without_values_has_no_figure(factory: ModuleType) -> None:
    record = {**factory.REFINEMENT, "start": {**factory.REFINEMENT["start"], "rotamer_outliers": None}}
    story = story_of(factory.make_result(factory.make_entry(), refinement=record))
    assert story is not None
    assert len(story.figures) == 3
    assert story.steps[0].values[-1] == "–"


def test_a_title_cannot_bring_markup(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry(title="<script>alert(1)</script>"))
    for address in ("/", "/results/", "/entry/6udk_20740/"):
        assert b"<script>alert" not in client.get(address).content


def test_latest_and_frozen_pages(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    entry = factory.make_entry()
    factory.make_result(entry, "2026-10", refined={"cc_mask": 0.7})
    factory.make_result(entry, "2026-11", refined={"cc_mask": 0.75})
    latest, frozen = client.get("/entry/6udk_20740/"), client.get("/entry/6udk_20740/runs/2026-10/")
    page_is_sound(frozen)
    assert "0.750" in text_of(latest)
    assert "There is a newer one" not in text_of(latest)
    assert "0.700" in text_of(frozen)
    assert "There is a newer one: run 2026-11" in text_of(frozen)
    for label in ("2026-10", "2026-11"):
        assert reverse("website:entry-run", args=["6udk_20740", label]) in latest.content.decode()


def test_addresses_without_entry_are_404(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    factory.make_result(factory.make_entry())
    for address in (
        "/entry/9zzz_99999/",
        "/entry/6udk_20740/runs/1999-01/",
        "/entry/nonsense/",
        "/no/such/page/",
        "/entry/..%2f..%2fetc/",
        "/results/?run=1999-01",
        "/excluded/?run=x",
    ):
        response = client.get(address)
        assert response.status_code == 404, address
        page_is_sound(response)


def test_other_spellings_of_the_name_lead_to_the_page(client: Client, factory: ModuleType) -> None:
    factory.make_entry()
    for name in ("6UDK_20740", "6udk-20740", "EMD-20740", "pdb_00006udk"):
        response = client.get(f"/entry/{name}/")
        assert (response.status_code, response["Location"]) == (301, "/entry/6udk_20740/")


def test_a_refused_pair_says_why_with_numbers(client: Client, factory: ModuleType, page_is_sound: Callable[..., None]) -> None:
    factory.make_job(factory.make_entry())
    response = client.get("/entry/6udk_20740/")
    assert response.status_code == 200
    page_is_sound(response)
    text = text_of(response)
    assert "Excluded: resolution mismatch The map states 4.0 Å, the model 6.0 Å." in text
    assert "The numbers Map 4 Model 6 What the depositors can do" in text
    assert "OneDep" in text
    assert "The authors can correct one of the two entries." in text
    assert "different resolutions" in text  # the sentence of the glossary


def test_failed_waiting_and_unplanned_pairs_have_pages(
    client: Client, factory: ModuleType, page_is_sound: Callable[..., None]
) -> None:
    factory.make_job(
        factory.make_entry("1aaa_1111"), state="failed", code="OUT_OF_MEMORY", message="It needs 40 GB.", findings=[]
    )
    factory.make_job(factory.make_entry("2aaa_2222"), state="waiting", stage="refine")
    factory.make_entry("3aaa_3333", facts={})
    expected = {
        "1aaa_1111": "No result: out of memory It needs 40 GB.",
        "2aaa_2222": "at the stage “refine”",
        "3aaa_3333": "No run has taken",
    }
    for key, words in expected.items():
        response = client.get(f"/entry/{key}/")
        page_is_sound(response)
        assert words in text_of(response)


def test_a_map_without_model_has_a_page(client: Client, factory: ModuleType) -> None:
    entry = factory.make_entry("EMD-44046", pdb_id=None, emdb_id="EMD-44046")
    factory.make_job(entry, code="NO_MODEL", message="No model is released for EMD-44046.", findings=[])
    text = text_of(client.get("/entry/EMD-44046/"))
    assert "Excluded: no model No model is released for EMD-44046." in text
    assert client.get("/search/", {"q": "44046"})["Location"] == "/entry/EMD-44046/"


def test_the_page_asks_the_database_a_fixed_number_of_times(
    client: Client, factory: ModuleType, django_assert_max_num_queries: Any
) -> None:
    entry = factory.make_entry()
    for month in range(1, 9):
        factory.make_result(entry, f"2026-{month:02}", files=month == 8)
    with django_assert_max_num_queries(5):
        client.get("/entry/6udk_20740/")
    with django_assert_max_num_queries(6):
        client.get("/entry/6udk_20740/runs/2026-03/")


def test_files_are_sent_as_they_are(client: Client, factory: ModuleType) -> None:
    result = factory.make_result(factory.make_entry(), files=True)
    address = "/entry/6udk_20740/runs/2026-11/files/refined.cif.gz"
    response = client.get(address, headers={"accept-encoding": "gzip"})
    content = b"".join(response.streaming_content)
    artifact = result.artifacts.get(kind="refined_model")
    assert response["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in response
    assert int(response["Content-Length"]) == len(content) == artifact.size
    assert response["Content-Disposition"] == 'attachment; filename="6udk_20740_2026-11_refined.cif.gz"'
    assert "immutable" in response["Cache-Control"]
    block = gemmi.cif.read_string(gzip.decompress(content))[0]
    assert len(block.find_loop("_atom_site.id")) == 2 * factory.RESIDUES * 5
    assert client.get(address, headers={"if-none-match": response["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    "name", ["nothing.txt", "..%2f..%2fsecret_key", "%2e%2e%2fsettings.py", "Refined.cif.gz", "refined.cif.gz%00"]
)
def test_only_files_of_the_result_exist(client: Client, factory: ModuleType, artifact_folder: Path, name: str) -> None:
    (artifact_folder.parent / "secret_key").write_text("secret")
    factory.make_result(factory.make_entry(), files=True)
    assert client.get(f"/entry/6udk_20740/runs/2026-11/files/{name}").status_code == 404


def test_a_file_that_is_gone_is_404_and_the_page_stays(client: Client, factory: ModuleType, artifact_folder: Path) -> None:
    result = factory.make_result(factory.make_entry(), files=True)
    for artifact in result.artifacts.all():
        (artifact_folder / artifact.storage_key).unlink()
    assert client.get("/entry/6udk_20740/runs/2026-11/files/log.txt").status_code == 404
    assert client.get("/entry/6udk_20740/runs/2026-11/residues.json?chain=A").status_code == 404
    assert "0.748" in text_of(client.get("/entry/6udk_20740/"))


def test_residues_of_a_chain(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry(), files=True)
    address = "/entry/6udk_20740/runs/2026-11/residues.json"
    data = client.get(address, {"chain": "A"}).json()
    assert data["number"] == [str(number) for number in range(1, factory.RESIDUES + 1)]
    assert data["compound"] == ["ALA"] * factory.RESIDUES
    assert list(data["series"]) == ["cc", "q_score"]
    gains = [after - before for before, after in zip(*data["values"]["cc"].values(), strict=True)]
    assert gains == pytest.approx([0.12] * factory.RESIDUES, abs=0.0011)
    flagged = {state: [data["number"][i] for i, flags in enumerate(marks) if flags] for state, marks in data["flags"].items()}
    assert flagged == {"initial": ["5", "9"], "refined": ["9"]}
    assert data["flagNames"] == {"rama_region": "Ramachandran"}
    for query in ({}, {"chain": "Z"}, {"chain": ""}):
        assert client.get(address, query).status_code == 404


def test_outliers_are_listed_with_links(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry(), files=True)
    response = client.get("/entry/6udk_20740/")
    assert "2 residues with an outlier before or after" in text_of(response)
    assert 'href="#A/9" data-residue="A/9"' in response.content.decode()
    assert "A/5 ALA Ramachandran –" in text_of(response)


def test_published_results_are_read_only_here(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry())
    for address in ("/", "/results/", "/entry/6udk_20740/"):
        assert client.post(address).status_code in {403, 405}
    assert Result.objects.count() == 1


def test_headers_allow_nothing_from_elsewhere(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry())
    policy = client.get("/entry/6udk_20740/")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_waters_are_left_out_and_insertion_codes_kept(factory: ModuleType) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ceres.website.residues import ResidueTable

    table = pa.table(
        {
            "state": ["initial", "initial", "initial", "refined", "refined"],
            "chain": ["A"] * 5,
            "number": pa.array([52, 52, 301, 52, 52], type=pa.int32()),
            "insertion_code": [" ", "A", "", " ", "A"],
            "compound": ["GLY", "SER", "HOH", "GLY", "SER"],
            "cc": pa.array([0.5, None, 0.9, 0.6, float("nan")], type=pa.float32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    buffer.seek(0)
    residues = ResidueTable.read(buffer)
    assert residues.chain()["number"] == ["52", "52A"]
    assert residues.chain()["values"]["cc"] == {"initial": [0.5, None], "refined": [0.6, None]}
    assert residues.outliers() == ([], 0)
