#!/usr/bin/env python
"""Build ``refinement/tables`` from the reference data: ``build_tables.py REFERENCE [-o FOLDER]``.

Every table is made from named source files only, and the same sources give the same bytes. The script
also writes ``PROVENANCE.md``: origin, licence, citation and checksums of what went in and what came out.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

TARGET = Path(__file__).resolve().parent.parent / "refinement" / "tables"

RICHARDSON = "CC BY 4.0 (Richardson laboratory, Duke University)"
CCP4 = "LGPL-3 (CCP4 monomer library)"
CCTBX = "BSD-3-Clause-LBNL (values read from cctbx-base 2025.11)"
PROBE = "Apache-2.0 (values of the probe and reduce atom tables)"


@dataclass(frozen=True)
class Table:
    """One built file: its sources, how it is made, and what to say about it."""

    name: str
    sources: tuple[str, ...]
    build: Callable[[list[Path]], bytes]
    origin: str
    licence: str
    cite: str


# ------------------------------------------------------------------------------------------- containers


def packed(text: str) -> bytes:
    """Compress text without a time stamp."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write a compressed .npz (numpy gives its members a fixed date)."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def text_of(path: Path) -> str:
    """Read a text file, gzipped or not."""
    data = path.read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()


def rows_of(path: Path) -> Iterable[dict[str, str]]:
    """Read a CSV table."""
    return csv.DictReader(io.StringIO(text_of(path)))


def plain(paths: list[Path]) -> bytes:
    """Take over one CSV table with normalised line ends."""
    return ("\n".join(line.rstrip() for line in text_of(paths[0]).splitlines()) + "\n").encode()


# ---------------------------------------------------------------------------------------------- monomers

COMPOUND_CATEGORIES = frozenset(
    {
        "_chem_comp_atom.",
        "_chem_comp_bond.",
        "_chem_comp_angle.",
        "_chem_comp_tor.",
        "_chem_comp_chir.",
        "_chem_comp_plane_atom.",
    }
)


def monomers(paths: list[Path]) -> bytes:
    """Merge into one CIF document the list of compounds, a block per compound, links and modifications."""
    out = gemmi.cif.Document()
    listing = out.add_new_block("comp_list").init_loop("_chem_comp.", list(COMPOUND_COLUMNS))
    for path in paths[1:]:
        document = gemmi.cif.read(str(path))
        table = document["comp_list"].find("_chem_comp.", [*COMPOUND_COLUMNS[:4], *(f"?{c}" for c in COMPOUND_COLUMNS[4:])])
        for row in table:
            listing.add_row([row[i] if row.has(i) else "." for i in range(len(COMPOUND_COLUMNS))])
        for block in document:
            if block.name.startswith("comp_") and block.name != "comp_list":
                for category in block.get_mmcif_category_names():
                    if category not in COMPOUND_CATEGORIES:
                        block.find_mmcif_category(category).erase()
                out.add_copied_block(block)
    for block in gemmi.cif.read(str(paths[0])):
        if block.name.startswith(("link_", "mod_")):
            out.add_copied_block(block)
    return packed(out.as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.NoBlankLines)))


COMPOUND_COLUMNS = ("id", "three_letter_code", "name", "group", "number_atoms_all", "number_atoms_nh", "desc_level")


def energy_types(paths: list[Path]) -> bytes:
    """Repack the atom and bond types of the library, without comments."""
    return packed(gemmi.cif.read(str(paths[0])).as_string(gemmi.cif.WriteOptions(gemmi.cif.Style.NoBlankLines)))


# -------------------------------------------------------------------------------------------------- grids


def contour_grid(path: Path) -> NDArray[np.float32]:
    """Read a text grid (header, then one line of centre coordinates and value per non-zero cell)."""
    lines = text_of(path).splitlines()
    axes = [line.split(":")[1].split() for line in lines if line.startswith("#   x")]
    lower = np.array([float(a[0]) for a in axes])
    bins = np.array([int(a[2]) for a in axes])
    width = (np.array([float(a[1]) for a in axes]) - lower) / bins
    table = np.array([line.split() for line in lines if line and not line.startswith("#")], dtype=np.float64)
    cells = np.floor((table[:, :-1] - lower) / width).astype(np.int64)
    grid = np.zeros(tuple(bins), dtype=np.float32)
    grid[tuple(cells.T)] = table[:, -1]
    return grid


def grids(strip_front: str, strip_back: tuple[str, ...]) -> Callable[[list[Path]], bytes]:
    """Return a builder that packs text grids under short names."""

    def build(paths: list[Path]) -> bytes:
        arrays = {}
        for path in paths:
            name = path.name.removeprefix(strip_front)
            for tail in strip_back:
                name = name.removesuffix(tail)
            arrays[name] = contour_grid(path)
        return archive(dict(sorted(arrays.items())))

    return build


def rama_z(paths: list[Path]) -> bytes:
    """Repack the counts per secondary structure and residue type, and the calibration."""
    with np.load(paths[0], allow_pickle=False) as source:
        return archive(
            {
                "counts": source["counts"].astype(np.uint16),
                "secondary_structure": source["secondary_structure"],
                "residue_type": source["residue_type"],
                "calibration_group": source["calibration_group"],
                "calibration_mean_sd": source["calibration_mean_sd"],
            }
        )


# ---------------------------------------------------------------------------------------------------- CDL


def conformation_dependent(paths: list[Path]) -> bytes:
    """Pack CDL targets[class, phi, psi, quantity] and esds, omega-CDL mean[class, psi before, phi after]."""
    rows = list(rows_of(paths[0]))
    classes = sorted({row["class"] for row in rows})
    quantities = [c for c in rows[0] if c not in {"class", "phi", "psi", "statistic", "n"} and not c.endswith("_sd")]
    shape = (len(classes), 36, 36, len(quantities))
    targets, esds = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    for row in rows:
        cell = (classes.index(row["class"]), (int(row["phi"]) + 180) // 10, (int(row["psi"]) + 180) // 10)
        targets[cell] = [float(row[q] or "nan") for q in quantities]
        esds[cell] = [float(row[f"{q}_sd"] or "nan") for q in quantities]
    omega_rows = list(rows_of(paths[1]))
    omega_classes = sorted({row["class"] for row in omega_rows})
    omega = np.full((len(omega_classes), 36, 36, 2), np.nan, np.float32)
    for row in omega_rows:
        cell = (omega_classes.index(row["class"]), (int(row["psi_previous"]) + 180) // 10, (int(row["phi"]) + 180) // 10)
        omega[cell] = float(row["omega"]), float(row["omega_sd"])
    return archive(
        {
            "classes": np.array(classes),
            "quantities": np.array(quantities),
            "targets": targets,
            "esds": esds,
            "omega_classes": np.array(omega_classes),
            "omega": omega,
        }
    )


# ----------------------------------------------------------------------------------------- archive quality


def rna_geometry(paths: list[Path]) -> bytes:
    """Read bonds and angles between non-hydrogen atoms of nucleotides and of the links between them."""
    lines = ["group,atoms,value,sd"]
    for path in paths:
        block = gemmi.cif.read_string(text_of(path))[-1]
        link = block.name.startswith("link_")
        kind = "link" if link else "comp"
        for what, value, atoms in (("bond", "value_dist", 2), ("angle", "value_angle", 3)):
            columns = [f"atom_{k + 1}_comp_id" for k in range(atoms if link else 0)]
            columns += [f"atom_id_{k + 1}" for k in range(atoms)] + [value, f"{value}_esd"]
            for row in block.find(f"_chem_{kind}_{what}.", columns):
                *names, length, sd = (gemmi.cif.as_string(text) for text in row)
                if link:
                    names = [f"{side}:{name}" for side, name in zip(names[:atoms], names[atoms:], strict=True)]
                names = [name.replace("*", "'").replace("O1P", "OP1").replace("O2P", "OP2") for name in names]
                if not any(name.startswith("H") for name in names):
                    lines.append(f"{block.name.split('_', maxsplit=1)[1]},{'-'.join(names)},{float(length):g},{float(sd):g}")
    return ("\n".join(lines) + "\n").encode()


def archive_quality(paths: list[Path]) -> bytes:
    """Pack number, resolution, Q-score, SMOC, inclusion per EMDB entry, by resolution; integers of fixed scale."""
    rows = [row for row in rows_of(paths[0]) if row["resolution"] and row["qscore"]]
    rows.sort(key=lambda row: (float(row["resolution"]), int(row["id"])))

    def column(name: str) -> NDArray[np.int16]:
        values = np.array([float(row[name] or "nan") for row in rows])
        good = np.isfinite(values) & (np.abs(values) < 32)
        return np.where(good, np.round(np.where(good, values, 0) * 1000), -32768).astype(np.int16)

    return archive(
        {
            "emdb": np.array([int(row["id"]) for row in rows], dtype=np.int32),
            "resolution_hundredths": np.array([round(float(row["resolution"]) * 100) for row in rows], dtype=np.uint16),
            "q_score_thousandths": column("qscore"),
            "smoc_thousandths": column("smoc"),
            "atom_inclusion_thousandths": column("ai"),
        }
    )


# ------------------------------------------------------------------------------------------------- the list

MONOMERS = (
    "CCP4 monomer library 5.60 (npm moorhen 0.22.7) and 5.41 (Debian refmac-dictionary 5.41-2); "
    "F86 made with gemmi and the AceDRG tables"
)
TOP8000 = "github.com/rlabduke/rotarama_data, commit e6cf02e6e5becf466dbbc28eb73a9cb034a5c1c6"
REBUILT = "; arg and lys rebuilt from the filtered residues of github.com/rlabduke/reference_data"
TARGETS = (
    "Debian refmac-dictionary 5.41-2; peptide links of github.com/rlabduke/mon_lib at c382734; disulfide of phenix-project/geostd"
)
RNA = "suitename, rna_sugar_pucker_analysis and base_pairing of cctbx-base 2025.11; sugar targets of phenix-project/geostd"

NICHOLLS = "Nicholls 2021 Acta D77 727; Long 2017 Acta D73 112"
HINTZE = "Hintze 2016 Proteins 84 1177; Lovell 2000 Proteins 40 389"
SUITES = "Richardson 2008 RNA 14 465; Jain 2015 Methods Enzymol 558 181"
SUGARS = "Gelbin 1996 JACS 118 519; Parkinson 1996 Acta D52 57"
WORD = "Word 1999 J Mol Biol 285 1711, 1735"


def copied(name: str, source: str, origin: str, licence: str, cite: str) -> Table:
    """Declare a CSV table that is taken over as it is."""
    return Table(name, (source,), plain, origin, licence, cite)


TABLES: tuple[Table, ...] = (
    Table("monomers.cif.gz", ("monomers/list/mon_lib_list.cif", "monomers/?/*.cif"), monomers, MONOMERS, CCP4, NICHOLLS),
    Table("ener_lib.cif.gz", ("monomers/ener_lib.cif",), energy_types, MONOMERS, CCP4, NICHOLLS),
    Table("ramachandran.npz", ("ramachandran/*.data",), grids("rama8000-", (".data",)), TOP8000, RICHARDSON,
          "Lovell 2003 Proteins 50 437; Williams 2018 Protein Sci 27 293"),
    Table("rotamers.npz", ("rotamers/*.data.gz",), grids("rota8000-", (".data.gz", ".rebuilt")),
          TOP8000 + REBUILT, RICHARDSON, HINTZE),
    copied("rotamer_axes.csv", "rotamers/grids.csv", TOP8000 + REBUILT, RICHARDSON, HINTZE),
    copied("rotamer_bins.csv", "rotamers/rotamer_bins.csv", "mmtbx/rotamer of cctbx-base 2025.11", CCTBX, HINTZE),
    copied("rotamer_centres.csv", "rotamers/rotamer_centres.csv", "mmtbx/rotamer of cctbx-base 2025.11", CCTBX, HINTZE),
    copied("chi_atoms.csv", "rotamers/chi_atoms.csv", "mmtbx/rotamer of cctbx-base 2025.11", CCTBX, HINTZE),
    Table("rama_z.npz", ("rama_z/rama_z.npz",), rama_z, "github.com/rlabduke/reference_data, Top8000/rama_z, commit ac6ea71",
          RICHARDSON, "Sobolev 2020 Structure 28 1249; Hooft 1997 CABIOS 13 425"),
    Table("cablam.npz", ("cablam/*.stat.gz",), grids("cablam.8000.", (".stat.gz",)),
          "github.com/rlabduke/cablam_data, commit 140fe85f749fecd644b9e289df2ab4ed7fd3ede2", RICHARDSON,
          "Prisant 2020 Protein Sci 29 315"),
    Table("cdl.npz", ("cdl/cdl_1.2.csv.gz", "cdl/omega_cdl.csv.gz"), conformation_dependent,
          "mmtbx/conformation_dependent_library of cctbx-base 2025.11", CCTBX,
          "Berkholz 2009 Structure 17 1316; Tronrud 2010 Acta D66 834; Moriarty 2014 FEBS J 281 4061; "
          "Berkholz 2012 PNAS 109 449"),
    copied("geometry_bonds.csv", "geometry_targets/bonds.csv", TARGETS, CCP4, "Engh 1991 Acta A47 392"),
    copied("geometry_angles.csv", "geometry_targets/angles.csv", TARGETS, CCP4, "Engh 1991 Acta A47 392"),
    copied("contact_atoms.csv", "vdw/atoms.csv", "mmtbx.probe of cctbx-base 2025.11, on single residues", PROBE, WORD),
    copied("contact_radii.csv", "vdw/radii.csv", "github.com/rlabduke/probe atom table", PROBE, WORD),
    copied("mask_radii.csv", "vdw/mask_radii.csv", "van der Waals table of cctbx-base 2025.11", CCTBX,
           "Jiang 1994 J Mol Biol 243 100"),
    copied("xh_lengths.csv", "vdw/xh_lengths.csv", "github.com/rlabduke/reduce atom table", PROBE,
           "Deis 2013 Comput Cryst Newsl 4 9"),
    copied("xh_standard_residues.csv", "vdw/xh_standard_residues.csv", MONOMERS, CCP4, NICHOLLS),
    *(copied(f"rna_{name}.csv", f"rna/{name}.csv", RNA, "Apache-2.0 and BSD-3-Clause-LBNL", SUITES)
      for name in ("suite_clusters", "suite_limits", "suite_satellite_widths", "suite_widths", "pucker")),
    *(copied(f"rna_{name}.csv", f"rna/{name}.csv", RNA, "Apache-2.0 and BSD-3-Clause-LBNL", SUGARS)
      for name in ("sugar_pucker_targets", "base_pairs")),
    Table("rna_geometry.csv", ("../oracle/chem_data/mon_lib/?/[AGU].cif", "../oracle/chem_data/geostd/c/data_C.cif",
                               "../oracle/chem_data/geostd/rna_dna/chain_link_*.cif"), rna_geometry,
          "Debian refmac-dictionary 5.41-2; cytidine and links of phenix-project/geostd", CCP4, SUGARS),
    Table("archive_quality.npz", ("archive_stats/va_qscores.csv.gz",), archive_quality,
          "EMDB validation analysis (PyPI va 0.0.1.dev134, va/qscores.csv); values of EMDB, CC0", "Apache-2.0",
          "Pintilie 2020 Nat Methods 17 328; Wang 2022 Acta D78 542"),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------- provenance

HEADER = """# Where the tables come from

Written by `tools/build_tables.py`; don't edit. Data only: facts and published tables of others, repacked.
The licence of the program doesn't extend to these files; theirs is named with each of them.
sha256 of a source is that of its unpacked bytes; several sources are hashed one after the other, in the order of their names.
"""


def digest(data: bytes) -> str:
    """Return the sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def source_files(reference: Path, table: Table) -> list[Path]:
    """Resolve the sources of a table; patterns give sorted lists.

    Raises
    ------
    FileNotFoundError
        If a source is missing.
    """
    found = []
    for pattern in table.sources:
        matches = sorted(reference.glob(pattern))
        if not matches:
            message = f"{table.name} needs {pattern} in {reference}, which isn't there."
            raise FileNotFoundError(message)
        found += matches
    return found


def provenance(entries: list[tuple[Table, list[Path], bytes]]) -> str:
    """Describe every built file."""
    parts = [HEADER]
    for table, paths, data in entries:
        hashed = hashlib.sha256()
        for path in paths:
            hashed.update(text_of(path).encode() if path.suffix != ".npz" else path.read_bytes())
        parts.append(
            f"\n## {table.name}\n\n* origin: {table.origin}\n* licence: {table.licence}\n* cite: {table.cite}\n"
            f"* sources: {len(paths)} ({', '.join(f'`{s}`' for s in table.sources)}), sha256 `{hashed.hexdigest()}`\n"
            f"* built: {len(data)} bytes, sha256 `{digest(data)}`\n"
        )
    return "".join(parts)


def build_all(reference: Path, target: Path) -> list[str]:
    """Build every table from `reference` into `target`; return the names of the files written."""
    target.mkdir(parents=True, exist_ok=True)
    entries = []
    for table in TABLES:
        paths = source_files(reference, table)
        data = table.build(paths)
        (target / table.name).write_bytes(data)
        entries.append((table, paths, data))
    (target / "PROVENANCE.md").write_text(provenance(entries), encoding="utf-8")
    return [table.name for table in TABLES]


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Build refinement/tables from the reference data.")
    parser.add_argument("reference", type=Path, help="folder of the reference data")
    parser.add_argument("-o", "--output", type=Path, default=TARGET, help="folder to write (default: refinement/tables)")
    arguments = parser.parse_args()
    for name in build_all(arguments.reference, arguments.output):
        size = (arguments.output / name).stat().st_size
        sys.stdout.write(f"{size:9d}  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
