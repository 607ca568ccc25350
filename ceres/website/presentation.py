"""Findings, composition and provenance in words; the templates only place them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ceres.findings import advice_for, numbers_in_words
from ceres.models import Stage
from ceres.website import formats
from curation.findings import GLOSSARY, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ceres.models import Entry
    from ceres.website.queries import EntryPage

SEVERITIES: dict[str, str] = {Severity.REFUSE: "Excluded", Severity.WARN: "Warning", Severity.NOTE: "Note"}
"""Words for the severities, the gravest first."""

LONGEST_STEPS = 4
SHORTEST_SHOWN = 0.05
"""Seconds; shorter steps aren't named."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A finding of curation."""

    code: str
    severity: str
    label: str
    title: str
    anchor: str
    sentence: str
    hint: str
    numbers: list[tuple[str, str]]
    advice: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what goes with it."""

    label: str
    text: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result came from."""

    facts: list[Fact]
    inputs: list[Fact]
    archive: list[Fact]
    settings: list[Fact]


def notices_of(page: EntryPage) -> list[Notice]:
    """Return the findings of curation, the gravest first."""
    order = list(SEVERITIES)
    findings = sorted(page.findings, key=lambda row: order.index(row["severity"]) if row["severity"] in order else len(order))
    known = {code.value for code in GLOSSARY}
    return [
        Notice(
            code=row["code"],
            severity=row["severity"],
            label=SEVERITIES.get(row["severity"], formats.spelled(row["severity"])),
            title=formats.spelled(row["code"]),
            anchor=f"code-{row['code'].lower()}" if row["code"] in known else "",
            sentence=row["sentence"],
            hint=row.get("hint", ""),
            numbers=numbers_in_words(row.get("numbers") or {}),
            advice=advice_for(row["code"], row.get("numbers")) if row["severity"] == Severity.REFUSE else "",
        )
        for row in findings
    ]


def facts_of(entry: Entry) -> list[Fact]:
    """Return what is known about the map; `ceres.website.model_tab` has the model."""
    header, grid = entry.facts.get("header") or {}, entry.facts.get("map") or {}
    rows = [
        Fact("Grid", _grid(grid)),
        Fact("Recommended contour", _plain(header.get("contour"))),
        Fact("Method", formats.method(entry.method)),
        Fact("Symmetry", ", ".join(header.get("symmetry", []))),
        Fact("Half-maps", ", ".join(header.get("half_map_files", []))),
    ]
    return [row for row in rows if row.text]


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:g}".replace("-", formats.MINUS)


def _grid(grid: Mapping[str, Any]) -> str:
    if not grid.get("dims"):
        return ""
    points = " × ".join(str(count) for count in grid["dims"])
    steps = sorted({f"{step:.3f}" for step in grid.get("voxel", [])})
    return f"{points} points, {' / '.join(steps)} Å apart" if steps else f"{points} points"


def provenance_of(page: EntryPage) -> Provenance:
    """Return inputs, versions, settings and timings of a result."""
    result, job = page.result, page.job
    if result is None or job is None:
        return Provenance([], [], [], [])
    run = job.run
    facts = [
        Fact("Run", run.label),
        Fact("Published", f"{result.published_at:%d %B %Y, %H:%M} UTC"),
        Fact("Engine", run.engine_version),
        Fact("Other versions", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))),
        Fact("Stages", ", ".join(f"{stage} {job.timings[stage]:.1f} s" for stage in Stage.values if stage in job.timings)),
        Fact("Engine’s time", _longest(result.timings)),
        Fact("Settings, hash", "", checksum=run.settings_hash),
    ]
    return Provenance(
        facts=[fact for fact in facts if fact.text or fact.checksum],
        inputs=[
            _file(formats.spelled(role), row) for role, row in sorted(result.inputs.items(), key=_role) if isinstance(row, dict)
        ],
        archive=[_file(row.get("name", ""), row) for row in result.inputs.get("archive_files", [])],
        settings=[Fact(formats.spelled(name), _word(value)) for name, value in sorted(result.settings.items())],
    )


def _role(item: tuple[str, Any]) -> tuple[bool, str]:
    """Order files by what they are, the model first."""
    return item[0] != "model", item[0].replace("half", "~half")


def _file(label: str, row: Mapping[str, Any]) -> Fact:
    size = formats.file_size(row["bytes"]) if isinstance(row.get("bytes"), int) else ""
    said = filter(None, [str(row.get("name", "")) if row.get("name") != label else "", size])
    return Fact(label, ", ".join(said), checksum=str(row.get("sha256", "")))


def _longest(timings: Mapping[str, Any]) -> str:
    """Return the total time and the steps that took most of it."""
    seconds = {name: float(value) for name, value in timings.items() if isinstance(value, int | float)}
    total = seconds.pop("total", sum(seconds.values()))
    steps = sorted(seconds.items(), key=lambda step: -step[1])[:LONGEST_STEPS]
    shown = [f"{name} {value:.1f} s" for name, value in steps if value >= SHORTEST_SHOWN]
    return f"{total:.1f} s in all" + (f", of it {', '.join(shown)}" if shown else "") if timings else ""


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_word(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(_word(item) for item in value) or "none"
    return "none" if value is None else str(value)
