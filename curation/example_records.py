"""What the example entries say about themselves: the mmCIF file of a model and the EMDB header of a map."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import gemmi

    from refinement.maps.density import Density

RELEASE_DATE = "2026-01-07"


@dataclass(frozen=True, slots=True)
class ExampleEntry:
    """One map of the example archive, with its model if it has one.

    Attributes
    ----------
    emdb_number : str
        Number of the map.
    pdb_id : str
        Id of the model, "" for none.
    title : str
        Title of both.
    map_resolution, model_resolution : float
        Å, as the map header and the model file state it.
    """

    emdb_number: str
    pdb_id: str
    title: str
    map_resolution: float = 3.0
    model_resolution: float = 3.0


def write_model(path: Path, structure: gemmi.Structure, entry: ExampleEntry) -> None:
    """Write a model as gzipped mmCIF with the items that a released cryo-EM entry has."""
    structure = structure.clone()
    code = entry.pdb_id.upper()
    structure.name = code
    block = structure.make_mmcif_document().sole_block()
    block.name = code
    lengths = {f"length_{axis}": "1" for axis in "abc"}
    block.set_pairs("_cell.", {"entry_id": code, **lengths, **{f"angle_{name}": "90" for name in ("alpha", "beta", "gamma")}})
    block.set_pairs("_symmetry.", {"entry_id": code, "space_group_name_H-M": "P 1"})
    block.set_pairs("_struct.", {"entry_id": code, "title": entry.title})
    block.set_pairs("_exptl.", {"entry_id": code, "method": "ELECTRON MICROSCOPY"})
    volume = {"db_name": "EMDB", "db_id": f"EMD-{entry.emdb_number}", "content_type": "associated EM volume"}
    block.set_pairs("_pdbx_database_related.", {**volume, "details": entry.title})
    status = {"entry_id": code, "status_code": "REL", "recvd_initial_deposition_date": RELEASE_DATE}
    block.set_pairs("_pdbx_database_status.", status)
    revision = {"ordinal": "1", "data_content_type": "Structure model", "major_revision": "1", "minor_revision": "0"}
    block.set_pairs("_pdbx_audit_revision_history.", {**revision, "revision_date": RELEASE_DATE})
    resolution = {"resolution": f"{entry.model_resolution:.2f}", "resolution_method": "FSC 0.143 CUT-OFF"}
    block.set_pairs("_em_3d_reconstruction.", {"entry_id": code, "id": "1", "image_processing_id": "1", **resolution})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(block.as_string().encode(), mtime=0))


def write_header(path: Path, entry: ExampleEntry, density: Density, half_maps: Sequence[Density], contour: float) -> None:
    """Write the EMDB header (schema 3) of a map."""
    halves = "".join(
        f"\n      <half_map>{_map_block(f'emd_{entry.emdb_number}_half_map_{count}.map.gz', half, indent=8)}\n      </half_map>"
        for count, half in enumerate(half_maps, start=1)
    )
    text = _HEADER.format(
        number=entry.emdb_number,
        date=RELEASE_DATE,
        title=escape(entry.title),
        models=_MODELS.format(pdb_id=entry.pdb_id) if entry.pdb_id else "",
        resolution=f"{entry.map_resolution:.2f}",
        map=_map_block(f"emd_{entry.emdb_number}.map.gz", density, indent=4),
        contour=f"{contour:g}",
        halves=f"\n    <half_map_list>{halves}\n    </half_map_list>" if halves else "",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _map_block(file: str, density: Density, *, indent: int) -> str:
    (nx, ny, nz), voxel, cell = density.dims, density.voxel, density.cell
    x, y, z = np.rint(density.corner / voxel).astype(int).tolist()
    values = density.values
    lines = [
        f"<file>{file}</file>",
        "<symmetry><space_group>1</space_group></symmetry>",
        "<data_type>IMAGE STORED AS FLOATING POINT NUMBER (4 BYTES)</data_type>",
        f"<dimensions><col>{nx}</col><row>{ny}</row><sec>{nz}</sec></dimensions>",
        f"<origin><col>{x}</col><row>{y}</row><sec>{z}</sec></origin>",
        f"<spacing><x>{nx}</x><y>{ny}</y><z>{nz}</z></spacing>",
        f'<cell><a units="Å">{cell.a:.4f}</a><b units="Å">{cell.b:.4f}</b><c units="Å">{cell.c:.4f}</c>'
        '<alpha units="deg">90</alpha><beta units="deg">90</beta><gamma units="deg">90</gamma></cell>',
        "<axis_order><fast>X</fast><medium>Y</medium><slow>Z</slow></axis_order>",
        f"<statistics><minimum>{values.min():.6f}</minimum><maximum>{values.max():.6f}</maximum>"
        f"<average>{values.mean():.6f}</average><std>{values.std():.6f}</std></statistics>",
        f'<pixel_spacing><x units="Å">{voxel[0]:.4f}</x><y units="Å">{voxel[1]:.4f}</y>'
        f'<z units="Å">{voxel[2]:.4f}</z></pixel_spacing>',
    ]
    return "".join("\n" + " " * indent + line for line in lines)


_MODELS = """
    <pdb_list>
      <pdb_reference>
        <pdb_id>{pdb_id}</pdb_id>
        <relationship><in_frame>FULLOVERLAP</in_frame></relationship>
      </pdb_reference>
    </pdb_list>"""

_HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<emd emdb_id="EMD-{number}" version="3.0.11.3">
  <admin>
    <current_status><date>{date}</date><code>REL</code></current_status>
    <key_dates>
      <deposition>{date}</deposition>
      <header_release>{date}</header_release>
      <map_release>{date}</map_release>
      <update>{date}</update>
    </key_dates>
    <title>{title}</title>
    <details>Simulated from a model that was built from ideal geometry; no experiment was made.</details>
  </admin>
  <crossreferences>{models}
  </crossreferences>
  <structure_determination_list>
    <structure_determination structure_determination_id="1">
      <method>singleParticle</method>
      <aggregation_state>particle</aggregation_state>
      <singleparticle_processing image_processing_id="1">
        <final_reconstruction>
          <resolution units="Å" res_type="BY AUTHOR">{resolution}</resolution>
          <resolution_method>FSC 0.143 CUT-OFF</resolution_method>
        </final_reconstruction>
      </singleparticle_processing>
    </structure_determination>
  </structure_determination_list>
  <map format="CCP4">{map}
    <contour_list><contour primary="true"><level>{contour}</level><source>AUTHOR</source></contour></contour_list>
  </map>
  <interpretation>{halves}
  </interpretation>
</emd>
"""
