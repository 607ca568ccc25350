"""Files of results: what they are called for people, and how they are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.files.storage import storages
from django.http import FileResponse
from django.urls import reverse
from django.utils.cache import get_conditional_response

from ceres.models import Artifact, ArtifactKind

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ceres.website.queries import EntryPage

DESCRIPTIONS: dict[str, str] = {
    ArtifactKind.REFINED_MODEL: "Refined model, mmCIF",
    ArtifactKind.INITIAL_MODEL: "Deposited model as it was refined from, mmCIF",
    ArtifactKind.BOXED_MAP: "Map around the model, CCP4",
    ArtifactKind.TABLE_ONE: "Table 1, inputs, settings and timings, JSON",
    ArtifactKind.RESIDUES: "Metrics of every residue, Parquet",
    ArtifactKind.CHANGES: "Every change by residue, JSON",
    ArtifactKind.CURVES: "Curves, JSON",
    ArtifactKind.LOG_TEXT: "Log for people",
    ArtifactKind.LOG_JSON: "Log for programs, one JSON object a line",
    ArtifactKind.MANIFEST: "List of the files with their checksums",
}
"""Kinds of files in the order of the page."""

CONTENT_TYPES: dict[str, str] = {
    ".gz": "application/gzip",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".txt": "text/plain; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".cif": "chemical/x-mmcif",
    ".ccp4": "application/octet-stream",
}
SHOWN_IN_BROWSER = {".json", ".txt"}
YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Download:
    """A file to download."""

    kind: str
    description: str
    name: str
    url: str
    size: int
    sha256: str


def downloads(page: EntryPage) -> list[Download]:
    """Return the files of a page's result in the order in which people look for them."""
    found = page.artifacts
    return [_download(page, found[kind]) for kind in DESCRIPTIONS if kind in found]


def _download(page: EntryPage, artifact: Artifact) -> Download:
    return Download(
        kind=artifact.kind,
        description=DESCRIPTIONS[artifact.kind],
        name=artifact.file_name,
        url=file_url(page, artifact),
        size=artifact.size,
        sha256=artifact.sha256,
    )


def file_url(page: EntryPage, artifact: Artifact) -> str:
    """Return the address of a file; it belongs to a run, so what it gives never changes."""
    label = page.job.run.label if page.job else ""
    return reverse("website:file", args=[page.entry.key, label, artifact.file_name])


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def send(request: HttpRequest, artifact: Artifact, name: str) -> HttpResponseBase:
    """Return a response that streams an artifact under the file name `name`, or "not modified".

    Raises
    ------
    FileNotFoundError
        If the file isn't in the artifact storage.
    """
    tag = f'"{artifact.sha256}"'
    unchanged = get_conditional_response(request, etag=tag)
    if unchanged is not None:
        return unchanged
    suffix = _suffix(artifact.file_name)
    response = FileResponse(
        storages["artifacts"].open(artifact.storage_key),
        as_attachment=suffix not in SHOWN_IN_BROWSER,
        filename=name,
        content_type=CONTENT_TYPES.get(suffix, "application/octet-stream"),
    )
    response.headers["Content-Length"] = str(artifact.size)
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    if suffix in {".gz", ".parquet"}:
        # already compressed: GZipMiddleware would pack it again and take its length away
        request.META["HTTP_ACCEPT_ENCODING"] = ""
    return response
