"""Other forms of the EMDB header, turned into the tree of schema 3 so that one reader serves all.

The JSON of the EMDB's API (``/emdb/api/entry/EMD-…``) has the names of the XML; text of elements with attributes is in
``valueOf_``, and the processing of all methods is in ``image_processing``. Headers of schema 1.9 have other names; the
EMDB stopped writing them on 9 February 2022, mirrors still hold them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, SubElement

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 40
"""Levels of nesting that are followed; those of real entries stay below twenty."""
PROCESSING_OF = {
    "singleparticle": "singleparticle_processing",
    "icosahedral": "singleparticle_processing",
    "helical": "helical_processing",
    "subtomogramaveraging": "subtomogram_averaging_processing",
    "tomography": "tomography_processing",
    "twodcrystal": "crystallography_processing",
    "electroncrystallography": "crystallography_processing",
}
"""Element of schema 3 that holds the processing, by the letters of the method."""
METHOD_OF = {"icosahedral": "singleParticle", "twodcrystal": "electronCrystallography"}
"""Methods of schema 1.9 that have another name in schema 3."""
COPIED = (
    ("deposition/status", "admin/current_status/code"),
    ("deposition/title", "admin/title"),
    ("deposition/depositionDate", "admin/key_dates/deposition"),
    ("deposition/headerReleaseDate", "admin/key_dates/header_release"),
    ("deposition/mapReleaseDate", "admin/key_dates/map_release"),
    ("admin/lastUpdate", "admin/key_dates/update"),
    ("map/file", "map/file"),
    ("map/spaceGroupNumber", "map/symmetry/space_group"),
    ("map/dimensions/numColumns", "map/dimensions/col"),
    ("map/dimensions/numRows", "map/dimensions/row"),
    ("map/dimensions/numSections", "map/dimensions/sec"),
    ("map/cell/cellA", "map/cell/a"),
    ("map/cell/cellB", "map/cell/b"),
    ("map/cell/cellC", "map/cell/c"),
    ("map/cell/cellAlpha", "map/cell/alpha"),
    ("map/cell/cellBeta", "map/cell/beta"),
    ("map/cell/cellGamma", "map/cell/gamma"),
    ("map/axisOrder/axisOrderFast", "map/axis_order/fast"),
    ("map/axisOrder/axisOrderMedium", "map/axis_order/medium"),
    ("map/axisOrder/axisOrderSlow", "map/axis_order/slow"),
    ("map/pixelSpacing/pixelX", "map/pixel_spacing/x"),
    ("map/pixelSpacing/pixelY", "map/pixel_spacing/y"),
    ("map/pixelSpacing/pixelZ", "map/pixel_spacing/z"),
    ("map/statistics/minimum", "map/statistics/minimum"),
    ("map/statistics/maximum", "map/statistics/maximum"),
    ("map/statistics/average", "map/statistics/average"),
    ("map/statistics/std", "map/statistics/std"),
    ("map/annotationDetails", "map/annotation_details"),
)
"""Single elements of schema 1.9 and where schema 3 has them."""
REPEATED = (
    ("deposition/fittedPDBEntryIdList/fittedPDBEntryId", "crossreferences/pdb_list", "pdb_reference", "pdb_id"),
    ("deposition/supersededByList/entry", "admin/superseded_by_list", "entry", "id"),
    ("supplement/maskSet/mask", "interpretation/segmentation_list", "segmentation", "file"),
)
"""Elements of schema 1.9 that may occur several times, and the list, row and element of schema 3."""


def from_json(data: bytes) -> Element:
    """Return the tree of an entry in JSON.

    Raises
    ------
    ValueError
        If this isn't a JSON object of an EMDB entry.
    """
    content = json.loads(data.decode("utf-8", errors="replace"))
    if not isinstance(content, dict) or not {"emdb_id", "admin", "map"} & set(content):
        message = "it has none of emdb_id, admin and map"
        raise ValueError(message)
    root = Element("emd")
    _fill(root, content, 0)
    for determination in root.iterfind("structure_determination_list/structure_determination"):
        name = PROCESSING_OF.get(_letters(determination.findtext("method") or ""), "singleparticle_processing")
        for processing in determination.iterfind("image_processing"):
            processing.tag = name
    return root


def from_version_1(root: Element) -> Element:
    """Return a header of schema 1.9 as a tree of schema 3.

    The intervals of the cell (``spacing``) are left out where the axes are permuted: schema 1.9 names them by column,
    row and section, and archives have filled them both ways.
    """
    tree = Element("emd")
    code = root.get("accessCode", "")
    if code:
        tree.set("emdb_id", code if code.upper().startswith("EMD") else f"EMD-{code}")
    for old, new in COPIED:
        element = root.find(old)
        if element is not None:
            _place(tree, new).text = element.text
    for old, where, row, name in REPEATED:
        for element in root.iterfind(old):
            SubElement(SubElement(_place(tree, where), row), name).text = element.text
    for element in root.iterfind("map/contourLevel"):
        contour = SubElement(_place(tree, "map/contour_list"), "contour", primary="true")
        SubElement(contour, "level").text = element.text
        SubElement(contour, "source").text = element.get("source", "").upper()
    speeds = [(root.findtext(f"map/axisOrder/axisOrder{name}") or "").strip().upper() for name in ("Fast", "Medium", "Slow")]
    if speeds == ["X", "Y", "Z"]:
        for old, new in (("Col", "x"), ("Row", "y"), ("Sec", "z")):
            _place(tree, f"map/spacing/{new}").text = root.findtext(f"map/spacing/spacing{old}")
    _processing(root, tree)
    return tree


def _processing(root: Element, tree: Element) -> None:
    method = " ".join((root.findtext("processing/method") or "").split())
    determination = _place(tree, "structure_determination_list/structure_determination")
    if method:
        SubElement(determination, "method").text = METHOD_OF.get(_letters(method), method)
    name = PROCESSING_OF.get(_letters(method), "singleparticle_processing")
    for reconstruction in root.iterfind("processing/reconstruction"):
        final = SubElement(SubElement(determination, name), "final_reconstruction")
        resolution = reconstruction.find("resolutionByAuthor")
        if resolution is not None:
            SubElement(final, "resolution").text = resolution.text
        for old, new in (("resolutionMethod", "resolution_method"), ("details", "details")):
            SubElement(final, new).text = reconstruction.findtext(old)
        software = SubElement(SubElement(final, "software_list"), "software")
        SubElement(software, "name").text = reconstruction.findtext("software")
        symmetry = root.findtext(f"processing/{method}/appliedSymmetry") if method.isalpha() else None
        SubElement(SubElement(final, "applied_symmetry"), "point_group").text = symmetry


def _place(tree: Element, path: str) -> Element:
    """Return the element at a path, made where it is missing."""
    for name in path.split("/"):
        found = tree.find(name)
        tree = SubElement(tree, name) if found is None else found
    return tree


def _fill(element: Element, content: dict[str, Any], depth: int) -> None:
    """Turn members into elements; single values become attributes too, because JSON doesn't tell them apart."""
    if depth > MAX_DEPTH:
        message = "it is nested too deeply"
        raise ValueError(message)
    for key, value in content.items():
        if key == "valueOf_":
            element.text = _text(value)
            continue
        for member in _members(value):
            child = SubElement(element, key)
            if isinstance(member, dict):
                _fill(child, member, depth + 1)
            elif not isinstance(member, list):
                child.text = _text(member)
                element.set(key, child.text)


def _members(value: object) -> Iterable[object]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())
