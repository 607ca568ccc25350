"""The page of a pair, its files and its per-residue data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from ceres.findings import advice_for
from ceres.models import Artifact, ArtifactKind, Entry, Job
from ceres.website import queries, table_one
from ceres.website.artifacts import YEAR, downloads, file_url, send
from ceres.website.cycles import story_of
from ceres.website.glossary import VERDICTS, meaning_of
from ceres.website.model_tab import model_tab
from ceres.website.presentation import facts_of, notices_of, provenance_of
from ceres.website.residues import ResidueTable

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ceres.website.queries import EntryPage


@require_safe
def entry(request: HttpRequest, key: str) -> HttpResponse:
    """Show the latest state of a pair; other spellings of its name lead here, unknown ones are told why (404)."""
    try:
        page = queries.EntryPage.latest(key)
    except Entry.DoesNotExist:
        found = queries.search(key)
        if len(found) == 1:
            return redirect("website:entry", key=found[0].key, permanent=True)
        context = {"query": key, "entries": found}
        return render(request, "website/search.html", context, status=404)
    return _shown(request, page)


@require_safe
def entry_run(request: HttpRequest, key: str, run: str) -> HttpResponse:
    """Show a pair as one run left it; this page doesn't change any more."""
    try:
        page = queries.EntryPage.of_run(key, run)
    except Job.DoesNotExist as error:
        message = f"Run {run} has no pair {key}."
        raise Http404(message) from error
    return _shown(request, page)


def _shown(request: HttpRequest, page: EntryPage) -> HttpResponse:
    context: dict[str, Any] = {
        "view": page,
        "entry": page.entry,
        "job": page.job,
        "result": page.result,
        "notices": notices_of(page),
        "facts": facts_of(page.entry),
        "model": model_tab(page.entry),
    }
    if page.result is None:
        code = page.job.code if page.job else ""
        notices = context["notices"]
        deciding = next((notice for notice in notices if notice.code == code), None)
        context["deciding"] = deciding
        context["advice"] = deciding.advice if deciding else advice_for(code)
        context["notices"] = [notice for notice in notices if notice is not deciding]
        context["meaning"] = meaning_of(code)
        return render(request, "website/entry_without_result.html", context)
    context |= {
        "changes": table_one.changes(page.result),
        "sections": table_one.sections(page.result),
        "without_value": table_one.without_value(page.result),
        "verdict_meaning": VERDICTS[page.result.verdict],
        "downloads": downloads(page),
        "viewer": _viewer(page),
        "story": story_of(page.result),
        "provenance": provenance_of(page),
        **_residue_context(page),
    }
    return render(request, "website/entry.html", context)


def _viewer(page: EntryPage) -> dict[str, Any]:
    """Return what the viewer needs: addresses of the files, the contour, and mean and spread of the map."""
    found, result = page.artifacts, page.result
    kinds = {"initial": ArtifactKind.INITIAL_MODEL, "refined": ArtifactKind.REFINED_MODEL, "map": ArtifactKind.BOXED_MAP}
    urls = {name: file_url(page, found[kind]) for name, kind in kinds.items() if kind in found}
    mean = result.value("initial", "map_mean") if result else None
    spread = result.value("initial", "map_sd") if result else None
    return {"urls": urls, "contour": page.contour, "mean": mean, "sd": spread}


def _residue_context(page: EntryPage) -> dict[str, Any]:
    artifact = page.artifacts.get(ArtifactKind.RESIDUES)
    if artifact is None:
        return {"track": None}
    try:
        table = ResidueTable.open(artifact)
    except FileNotFoundError:
        return {"track": None}
    outliers, count = table.outliers()
    return {"track": {"chains": table.chains(), "series": table.series}, "outliers": outliers, "outlier_count": count}


def _artifact(key: str, run: str, **wanted: str) -> list[Artifact]:
    return list(Artifact.objects.filter(result__entry__key=key, result__run__label=run, **wanted))


@require_safe
def residues(request: HttpRequest, key: str, run: str) -> JsonResponse:
    """Give the residues of one chain (``?chain=A``), both states side by side."""
    found = _artifact(key, run, kind=ArtifactKind.RESIDUES)
    chain = request.GET.get("chain")
    if not found or chain is None:
        message = "There are no residues of this pair." if chain else "Say which chain: ?chain=A"
        raise Http404(message)
    try:
        table = ResidueTable.open(found[0], chain)
    except FileNotFoundError as error:
        message = "The file with the residues is not in the storage."
        raise Http404(message) from error
    data = {"chain": chain, "series": table.series, "flagNames": table.flags, **table.chain()}
    if not data["number"]:
        message = f"There is no chain {chain}."
        raise Http404(message)
    return JsonResponse(data, headers={"Cache-Control": f"public, max-age={YEAR}, immutable"})


@require_safe
def file(request: HttpRequest, key: str, run: str, name: str) -> HttpResponseBase:
    """Send a file of a result; only names that are in the table of files exist."""
    found = [artifact for artifact in _artifact(key, run) if artifact.file_name == name]
    if not found:
        message = f"Run {run} has no file {name} of {key}."
        raise Http404(message)
    try:
        return send(request, found[0], f"{key}_{run}_{name}")
    except FileNotFoundError as error:
        message = f"{name} of {key} is not in the storage."
        raise Http404(message) from error
