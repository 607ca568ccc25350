"""Addresses of the pages; they are promises."""

from __future__ import annotations

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from ceres.website.views import entry, home, pages, results, statistics


class PrintableConverter(StringConverter):
    """Text without control characters, which PostgreSQL refuses to compare with."""

    regex = r"[^/\x00-\x1f]{1,128}"


register_converter(PrintableConverter, "printable")
app_name = "website"
urlpatterns = [
    path("", home.home, name="home"),
    path("search/", home.search, name="search"),
    path("results/", results.results, name="results"),
    path("results.csv", results.results_csv, name="results-csv"),
    path("excluded/", results.excluded, name="excluded"),
    path("statistics/", statistics.findings, name="statistics"),
    path("glossary/", pages.glossary, name="glossary"),
    path("about/", pages.about, name="about"),
    path("entry/<printable:key>/", entry.entry, name="entry"),
    path("entry/<printable:key>/runs/<slug:run>/", entry.entry_run, name="entry-run"),
    path("entry/<printable:key>/runs/<slug:run>/residues.json", entry.residues, name="residues"),
    path("entry/<printable:key>/runs/<slug:run>/files/<printable:name>", entry.file, name="file"),
    path("robots.txt", pages.robots, name="robots"),
    path("favicon.ico", pages.favicon, name="favicon"),
]
