"""The table of all results, its CSV file, and the pairs without a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.http import Http404, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe
from django_tables2 import RequestConfig

from ceres.models import Run
from ceres.website import formats, queries
from ceres.website.export import csv_lines
from ceres.website.filters import ResultsFilter
from ceres.website.glossary import meaning_of
from ceres.website.table_one import HEADLINES, label_of
from ceres.website.tables import PRESETS, ResultsTable, chosen_metrics

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

ROWS = 50


def _plain(request: HttpRequest, name: str) -> str:
    """Return a field of the address without NUL, which PostgreSQL refuses to compare with."""
    return request.GET.get(name, "").replace("\0", "\ufffd")


def _run(request: HttpRequest) -> str:
    """Return the label of ``?run=``, "" for the latest results; 404 for a run that doesn't exist."""
    label = _plain(request, "run")
    if label and not Run.objects.filter(label=label).exists():
        message = f"There is no run {label}."
        raise Http404(message)
    return label


def _without_empty(query: QueryDict) -> QueryDict:
    """Return the query without the fields that a form sent empty, so that addresses stay short."""
    short = QueryDict(mutable=True)
    for name, values in query.lists():
        if kept := [value for value in values if value]:
            short.setlist(name, kept)
    return short


@require_safe
def results(request: HttpRequest) -> HttpResponse:
    """Show the table; the whole state is in the address."""
    if any(value == "" for _, values in request.GET.lists() for value in values):
        return redirect(f"{request.path}?{_without_empty(request.GET).urlencode()}")
    run = _run(request)
    filters = ResultsFilter(request.GET, queryset=queries.jobs_of(run))
    metrics = chosen_metrics(request.GET.getlist("cols"))
    table = ResultsTable(filters.qs, metrics, run)
    RequestConfig(request, paginate={"per_page": ROWS}).configure(table)
    context = {
        "page": "results",
        "table": table,
        "filters": filters,
        "run": run,
        "runs": queries.runs(),
        "metrics": [(key, label_of(key), key in metrics) for key in HEADLINES],
        "presets": list(PRESETS),
        "query": request.GET.urlencode(),
        "pages": list(table.page.paginator.get_elided_page_range(table.page.number, on_each_side=2, on_ends=1)),
        "gap": Paginator.ELLIPSIS,
    }
    return render(request, "website/results.html", context)


@require_safe
def results_csv(request: HttpRequest) -> StreamingHttpResponse:
    """Stream all metrics of the filtered set."""
    run = _run(request)
    jobs = ResultsFilter(request.GET, queryset=queries.jobs_of(run)).qs.order_by("entry__key")
    name = f"ceres_{run or 'latest'}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(csv_lines(jobs), content_type="text/csv; charset=utf-8", headers=headers)


@require_safe
def excluded(request: HttpRequest) -> HttpResponse:
    """List the refused and failed pairs by reason."""
    run, code = _run(request), _plain(request, "code")
    reasons = queries.excluded_by_reason(run)
    total = sum(row["count"] for row in reasons)
    for row in reasons:
        row["label"] = formats.spelled(row["code"])
        row["meaning"] = meaning_of(row["code"])
        row["width"] = round(100 * row["count"] / total, 1)
    paginator = Paginator(queries.excluded_jobs(run, code), ROWS)
    jobs = paginator.get_page(request.GET.get("page"))
    context = {
        "page": "excluded",
        "reasons": reasons,
        "total": total,
        "code": code,
        "jobs": jobs,
        "run": run,
        "runs": queries.runs(),
        "pages": list(paginator.get_elided_page_range(jobs.number, on_each_side=2, on_ends=1)),
        "gap": Paginator.ELLIPSIS,
    }
    return render(request, "website/excluded.html", context)
