#!/usr/bin/env python3
"""Refine model-map pairs with Ceres and with other programs, and judge all models by the same metrics.

    benchmarks/refinement.py PAIRS [NAME ...] [--servalcat PROGRAM --monomers DIR] [--open 'PYTHON SCRIPT']
                             [--judge 'PYTHON SCRIPT'] [--folder DIR] [--markdown FILE] [--arguments WORDS]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz, meta.json (``resolution``) and perhaps
published_refined.pdb. All programs start from the same files: the map with its corner at the origin, the model moved
with it and without hydrogens. All models are judged without hydrogens, each gets the judge's own. The other program
is called with MODEL MAP RESOLUTION OUTPUT, the judge with MODEL MAP RESOLUTION -o FILE; without one,
`ceres validate` judges. What lies in the folder from an earlier run is not done again; remove FOLDER/PAIR/Ceres to
measure a new version of ours beside the others' old results.

The table says where ours misses a bar (bars.py); the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

# This file has the name of the package that it measures, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

from benchmarks.beside.bars import DEPOSITED, OPEN, OURS, PUBLISHED, SERVALCAT, Row, mean_emringer, missed
from benchmarks.beside.programs import (
    Pair,
    ProgramError,
    Usage,
    canonical,
    judge,
    run_ceres,
    run_open,
    run_servalcat,
    without_hydrogens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COLUMNS: dict[str, tuple[str, int]] = {
    "cc_mask": ("CC_mask", 3),
    "q_score": ("Q", 3),
    "emringer": ("EMRinger", 2),
    "d_fsc_model_05_masked": ("d FSC 0.5 Å", 2),
    "clashscore": ("clash", 2),
    "rama_favored": ("fav %", 1),
    "rama_outliers": ("out %", 2),
    "rotamer_outliers": ("rota %", 2),
    "cbeta_deviations": ("Cβ", 0),
    "rama_z": ("Rama-Z", 2),
    "molprobity_score": ("MolProbity", 2),
    "bonds_rmsd": ("bonds Å", 4),
    "angles_rmsd": ("angles °", 2),
}
USED = ("wall s", "CPU s", "MB")
MARK = "✗"
"""Stands beside a value of ours that misses a bar."""


def main() -> int:
    """Run the comparison and print it."""
    options = _options()
    rows: list[Row] = []
    resolutions: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for source in sorted(options.pairs.iterdir()):
            if (source / "meta.json").is_file() and (not options.names or source.name in options.names):
                pair = canonical(source, folder.resolve() / source.name)
                resolutions[pair.name] = pair.resolution
                rows += _compared(pair, options)
    text = report(rows, resolutions)
    sys.stdout.write(text)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")
    return int(any(_misses(rows, name, resolution) for name, resolution in resolutions.items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--servalcat", default=shutil.which("servalcat"), help="program to compare with")
    parser.add_argument("--monomers", type=Path, default=os.environ.get("CLIBD_MON"), help="monomer library for servalcat")
    parser.add_argument("--cycles", type=int, default=10, help="cycles of servalcat")
    parser.add_argument("--open", type=shlex.split, default=[], metavar="COMMAND", help="another program to compare with")
    parser.add_argument("--judge", type=shlex.split, default=[], metavar="COMMAND", help="program that measures all models")
    parser.add_argument("--threads", type=int, default=2, help="threads of Ceres; the others have one")
    parser.add_argument("--arguments", type=shlex.split, default=[], help="more arguments for ceres refine")
    parser.add_argument("--folder", type=Path, help="keep all files there, and don't do again what is there already")
    parser.add_argument("--markdown", type=Path, help="also write the report there")
    return parser.parse_args()


def _compared(pair: Pair, options: argparse.Namespace) -> list[Row]:
    """Return the models of a pair with their metrics."""
    makers: dict[str, Callable[[Path], tuple[Path, Usage | None]]] = {DEPOSITED: lambda _folder: (pair.model, None)}
    if pair.published is not None:
        published = pair.published
        makers[PUBLISHED] = lambda _folder: (published, None)
    if options.servalcat:
        makers[SERVALCAT] = lambda folder: run_servalcat(pair, folder, options.servalcat, options.monomers, options.cycles)
    if options.open:
        makers[OPEN] = lambda folder: run_open(pair, folder, options.open)
    makers[OURS] = lambda folder: run_ceres(pair, folder, options.threads, options.arguments)
    rows = []
    for maker, make in makers.items():
        rows.append(_made(pair, maker, make, options.judge))
        sys.stderr.write("  ".join(f"{cell:>10}" for cell in _cells(rows[-1], {})) + "\n")
    return rows


def _made(pair: Pair, maker: str, make: Callable[[Path], tuple[Path, Usage | None]], judging: Sequence[str]) -> Row:
    """Make a model and judge it; a program that fails has a row that says so."""
    folder = pair.folder / maker.replace(" ", "_")
    done = folder / "row.json"
    if done.is_file():
        return Row(**json.loads(done.read_text()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        model, usage = make(folder)
        metrics = judge(without_hydrogens(model) if usage else model, pair, folder, judging)
    except (ProgramError, OSError) as fault:
        return Row(pair.name, maker, fault=str(fault))
    row = Row(pair.name, maker, {key: metrics.get(key) for key in COLUMNS}, **(asdict(usage) if usage else {}))
    done.write_text(json.dumps(asdict(row)))
    return row


def report(rows: Sequence[Row], resolutions: dict[str, float]) -> str:
    """Return the table in Markdown, and what ours misses in words."""
    head = ["pair", "model", *(title for title, _ in COLUMNS.values()), *USED]
    lines = [head, ["---"] * len(head)]
    sentences = []
    for row in rows:
        misses = _misses(rows, row.pair, resolutions[row.pair]) if row.maker == OURS else {}
        lines.append(_cells(row, misses))
        sentences += [f"* {row.pair}, {COLUMNS[key][0]}: {'; '.join(texts)}." for key, texts in misses.items()]
        if row.fault:
            sentences.append(f"* {row.pair}, {row.maker}: {row.fault.splitlines()[0]}")
    scores = mean_emringer(rows)
    if scores is not None:
        words = "not below" if scores[1] >= scores[0] else "BELOW"
        sentences.append(f"* EMRinger on average over the pairs: {scores[1]:.2f}, {words} the deposited {scores[0]:.2f}.")
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"{table}\n\n{MARK} misses a bar:\n\n" + "\n".join(sentences) + "\n"


def _misses(rows: Sequence[Row], pair: str, resolution: float) -> dict[str, list[str]]:
    return missed([row for row in rows if row.pair == pair], resolution)


def _cells(row: Row, misses: dict[str, list[str]]) -> list[str]:
    shown = []
    for key, (_, digits) in COLUMNS.items():
        value = row.metrics.get(key)
        text = "–" if value is None else f"{value:.{digits}f}"
        shown.append(f"{text} {MARK}" if key in misses else text)
    used = ["" if value is None else f"{value:.{digits}f}" for value, digits in ((row.wall, 1), (row.cpu, 1), (row.memory, 0))]
    name = f"**{row.maker}**" if row.maker == OURS else row.maker
    return [row.pair, f"{name} (failed)" if row.fault else name, *shown, *used]


if __name__ == "__main__":
    raise SystemExit(main())
