"""The page of a run: Table 1, figures and lists in one file without scripts and outside files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.report.curve_section import curve_figures
from refinement.report.figures import histogram, problems_of, residue_tracks
from refinement.report.lists import plain_table, record_tables
from refinement.report.markup import document, tag
from refinement.report.ramachandran_plot import ramachandran_plots
from refinement.report.table_section import glance, table_one

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from refinement.report.run_files import ResidueColumns, RunFiles

STYLE = Path(__file__).with_name("page.css")
OPEN_TRACKS = 8
"""Chains shown at once; the others unfold."""
WORST = 25
"""Residues in the list of those to look at."""


def report(run: RunFiles) -> str:
    """Return the page about a run."""
    state = run.states[-1]
    residues, details = run.residues[state], run.table.get("details", {}).get(state, {})
    sections = [
        _section("table-1", "Table 1", [table_one(run)]),
        _panels("ramachandran", "Ramachandran plots", ramachandran_plots(residues)),
        _tracks(residues),
        _section("look", "Residues to look at", _worst(residues)),
        _panels("curves", "Curves", curve_figures(run, state), "panels pair"),
        _panels("b-factors", "B factors", _b_factors(details), "panels pair"),
        *(_section(name, title, content) for name, title, content in record_tables(details)),
        _section("made", "How this was made", [_facts(run)]),
    ]
    present = [section for section in sections if section is not None]
    model = _input_name(run, "model")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{model} · validation"),
        tag("style", STYLE.read_text(encoding="utf-8")),
    )
    main = tag("main", _header(run, model, details, present), glance(run), *present)
    return document(tag("html", head, tag("body", main), lang="en"))


def _header(run: RunFiles, model: str, details: dict[str, Any], sections: Sequence[Element]) -> Element:
    resolution = run.table[run.states[-1]].get("resolution")
    facts = [f"in {_input_name(run, 'map')}"]
    facts += [f"{resolution:.2f} Å"] if resolution else []
    made_of = details.get("composition", {})
    if made_of:
        facts.append(f"{made_of['atoms']:,} atoms in {made_of['chains']:,} {'chain' if made_of['chains'] == 1 else 'chains'}")
        names = (("protein", "residues"), ("nucleic", "nucleotides"), ("ligand", "ligands"), ("ion", "ions"), ("water", "waters"))
        facts += [f"{made_of[kind]:,} {name if made_of[kind] != 1 else name[:-1]}" for kind, name in names if made_of[kind]]
    links = [tag("li", tag("a", section[0].text or "", href=f"#{section.get('id')}")) for section in sections]
    title = "after refinement" if "refined" in run.states else "validation"
    return tag(
        "header",
        tag("h1", f"{model}, {title}"),
        tag("p", " · ".join(facts), class_="lead"),
        tag("nav", tag("ul", *links), aria_label="Contents"),
    )


def _section(name: str, title: str, content: Sequence[Element]) -> Element | None:
    return tag("section", tag("h2", title), *content, id=name) if content else None


def _panels(name: str, title: str, figures: Sequence[Element], class_: str = "panels") -> Element | None:
    return _section(name, title, [tag("div", *figures, class_=class_)] if figures else [])


def _tracks(residues: ResidueColumns) -> Element | None:
    figures = residue_tracks(residues)
    legend = tag(
        "ul",
        *(
            tag("li", tag("svg", tag("path", d="M1 5h22", class_=f"line series-{k}"), viewBox="0 0 24 10", class_="key"), name)
            for k, name in enumerate(("CC", "Q-score (σ 0.4)"), start=1)
        ),
        *(tag("li", f"{problem.letter}\N{EN SPACE}{problem.name}") for problem in problems_of(residues)),
        class_="legend track",
    )
    content = [legend, *figures[:OPEN_TRACKS]]
    if len(figures) > OPEN_TRACKS:
        rest = figures[OPEN_TRACKS:]
        content.append(tag("details", tag("summary", f"{len(rest)} more chains"), *rest))
    return _section("chains", "Along the chains", content if figures else [])


def _worst(residues: ResidueColumns) -> list[Element]:
    """Return the list of residues with most problems, those that fit worst first among equals."""
    problems = problems_of(residues)
    masks = [problem.rows(residues) for problem in problems]
    count = np.zeros(len(residues), dtype=np.int64)
    for mask in masks:
        count += mask
    rows = np.flatnonzero(count > 0)
    if not len(rows):
        return []
    fit = np.nan_to_num(residues.column("cc")[rows], nan=1.0)
    order = rows[np.lexsort((fit, -count[rows]))][:WORST]
    table = [
        [
            residues.label(row),
            ", ".join(problem.name for problem, mask in zip(problems, masks, strict=True) if mask[row]),
            *(_two(residues.column(name)[row]) for name in ("cc", "q_score", "b_iso")),
        ]
        for row in order.tolist()
    ]
    note = f"{len(rows)} residues have something; the {len(order)} with most, worst fit first." if len(rows) > WORST else ""
    return [plain_table(("Residue", "What", "CC", "Q-score", "B, Å²"), table, note)]


def _two(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def _b_factors(details: dict[str, Any]) -> list[Element]:
    found = details.get("b_factors") or {}
    if not found.get("histogram"):
        return []
    whole = found["all"]
    note = f"Mean {whole['mean']:.1f} Å², from {whole['min']:.1f} to {whole['max']:.1f} Å²; hydrogens left out."
    drawn = histogram("All atoms", found["histogram"]["edges"], found["histogram"]["counts"], x_label="B, Å²", note=note)
    rows = [
        [kind.capitalize(), *(f"{values[name]:.1f}" for name in ("mean", "min", "max"))]
        for kind, values in found["kinds"].items()
    ]
    table = plain_table(("Kind of residue", "Mean B, Å²", "Smallest", "Largest"), rows, "")
    return [drawn, tag("div", tag("h3", "By kind"), table)]


def _facts(run: RunFiles) -> Element:
    facts = [
        (role.replace("_", " ").capitalize(), f"{file['name']}, {file['bytes']:,} bytes, sha256 {file['sha256']}")
        for role, file in run.table["inputs"].items()
    ]
    settings = {key: value for key, value in run.table["settings"].items() if isinstance(value, str | int | float)}
    facts.append(("Settings", ", ".join(f"{key} {value}" for key, value in settings.items())))
    facts.append(("Versions", ", ".join(f"{name} {number}" for name, number in run.table["versions"].items())))
    facts.append(("Time", f"{run.table['timings_s'].get('total', 0.0):.1f} s"))
    pairs = [element for name, text in facts for element in (tag("dt", name), tag("dd", text))]
    return tag("dl", *pairs, class_="facts")


def _input_name(run: RunFiles, role: str) -> str:
    return str(run.table["inputs"].get(role, {}).get("name", role))
