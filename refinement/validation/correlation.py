"""Map–model correlation coefficients: CC_mask, CC_box, CC_volume, CC_peaks, per chain, per residue.

Definitions of Afonine et al. 2018, Acta Cryst. D74, 814-840 (CC_peaks: Urzhumtsev et al. 2014): the model map
holds the terms with d ≥ d_min, and the primary map enters as it was deposited. All are Pearson coefficients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.maps.masks import molecular_mask
from refinement.maps.scattering import model_map, scattering_factors
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

MAIN_CHAIN = ("N", "CA", "C", "O", "CB")
"""Atoms of protein residues that make up the main chain; Cβ is one of them here, and all other atoms are side chain."""
RADIUS_STEP = 0.1
"""Step (Å) in which the image radius is searched for local correlations; it is that coarse in the reference program."""
KEYS = ("cc_mask", "cc_box", "cc_volume", "cc_peaks", "cc_main_chain", "cc_side_chain")


@dataclass(frozen=True, slots=True, eq=False)
class Correlations:
    """Map–model correlations.

    Attributes
    ----------
    summary : dict[str, float | None]
        The keys of `KEYS`.
    reasons : dict[str, str]
        Why a value is missing.
    columns : dict[str, NDArray[float32]]
        ``cc`` per residue; 0 where the map is flat around it.
    chains : dict[str, float]
        CC of each chain by name.
    radius : float
        Radius (Å) of the spheres round atoms that the local values are made with.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    chains: dict[str, float] = field(default_factory=dict)
    radius: float = math.nan


def correlations(
    structure: Structure, density: Density, resolution: float, *, calculated: NDArray[np.float32] | None = None
) -> Correlations:
    """Return all correlations of a model with a map.

    Parameters
    ----------
    structure : Structure
        The model, hydrogens included if it has them.
    density : Density
        The primary map as deposited.
    resolution : float
        Consensus resolution of the pair in Å.
    calculated : NDArray[float32], shape of the map, optional
        The model map, if it has been made already with `refinement.maps.scattering.model_map`.
    """
    observed = density.values
    if calculated is None:
        calculated = model_map(structure, density, resolution)
    mask = molecular_mask(structure, density)
    count = int(np.count_nonzero(mask))
    sums = _global(observed, calculated, mask, top_level(observed, count), top_level(calculated, count))
    values = dict(zip(("cc_mask", "cc_box", "cc_volume", "cc_peaks"), sums, strict=True))
    radius = local_radius(resolution, float(structure.b_iso.mean()))
    local = _local_function(structure, density, calculated, radius)
    in_residue = local(structure.residue, len(structure.residues))
    names = structure.residues.chain[structure.residue]
    chain_names, chain_of_atom = np.unique(names, return_inverse=True)
    in_chain = local(chain_of_atom, len(chain_names))
    protein = structure.residues.kind[structure.residue] == ResidueKind.PROTEIN
    in_part = local((protein & np.isin(structure.names, MAIN_CHAIN)).astype(np.int64), 2)
    values["cc_side_chain"], values["cc_main_chain"] = in_part.tolist()
    summary = {key: float(values[key]) if math.isfinite(values[key]) else None for key in KEYS}
    by_name = dict(zip(chain_names.tolist(), np.nan_to_num(in_chain).tolist(), strict=True))
    return Correlations(
        summary,
        {key: "not_applicable" for key, value in summary.items() if value is None},
        {"cc": np.nan_to_num(in_residue).astype(np.float32)},
        {name: by_name[name] for name in structure.chain_names},
        radius,
    )


def local_radius(resolution: float, mean_b: float) -> float:
    """Return the radius (Å) of local correlations: the larger of resolution and image radius, from 3 to 10 Å."""
    return min(max(resolution, image_radius(resolution, mean_b, step=RADIUS_STEP), 3.0), 10.0)


def image_radius(resolution: float, b_iso: float, *, atomic_number: int = 6, step: float = 0.005) -> float:
    """Return twice the first inflection radius (Å) of an atom's image at a resolution.

    The image is the atom's density (electron scattering, B in Å²) without the terms beyond the resolution. The
    inflection is placed half-way between the two points of a radial grid of `step` Å where the curvature changes.
    """
    a, b = scattering_factors(np.array([atomic_number], dtype=np.uint8))
    s = np.linspace(0.0, 1.0 / resolution, 401)
    factor = (a[0] * np.exp(-0.25 * (b[0] + b_iso) * s[:, None] ** 2)).sum(axis=1)
    r = np.arange(0.0, max(15.0, resolution), step)
    simpson = np.ones(len(s))
    simpson[1:-1:2], simpson[2:-1:2] = 4.0, 2.0
    image = np.sinc(2.0 * r[:, None] * s) @ (simpson * s * s * factor)
    convex = np.nonzero(np.diff(image, 2) > 0.0)[0]
    return float(r[convex[0]] + r[convex[0] + 1]) if len(convex) else 0.0


def top_level(values: NDArray[np.float32], count: int) -> float:
    """Return the value of rank `count` from the top: at least `count` points are at or above it."""
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
    key = _key_of_rank(bits, min(max(count, 1), bits.size))
    pattern = key ^ 0x80000000 if key & 0x80000000 else key ^ 0xFFFFFFFF
    return float(np.array([pattern], dtype=np.uint32).view(np.float32)[0])


def _local_function(
    structure: Structure, density: Density, calculated: NDArray[np.float32], radius: float
) -> Callable[[NDArray[np.integer], int], NDArray[np.float64]]:
    """Return a function that correlates round the atoms of each group."""
    grid = density.grid_coordinates(structure.positions)
    step = density.step_matrix
    reach = radius * np.linalg.norm(density.grid_matrix, axis=1)
    owner = np.full(density.values.shape, -1, dtype=np.int32)
    origin = float(density.values.mean(dtype=np.float64))

    def local(group: NDArray[np.integer], count: int) -> NDArray[np.float64]:
        order = np.argsort(group, kind="stable")
        first = np.searchsorted(group[order], np.arange(count + 1))
        owner.fill(-1)
        return _grouped(density.values, calculated, owner, grid[order], first, radius, reach, step, origin)

    return local


@njit(cache=True, nogil=True, error_model="numpy")
def _key_of_rank(bits: NDArray[np.uint32], rank: int) -> int:
    """Return the sortable key of the float32 with the given rank from the top, by its upper and lower 16 bits.

    Flipping the sign bit of positive numbers and all bits of negative ones makes their patterns ascend with them.
    Two passes of counting beat a partial sort, which is slow where most voxels are equal.
    """
    upper = 0
    for shift in (16, 0):
        counts = np.zeros(1 << 16, dtype=np.int64)
        for pattern in bits:
            key = int(pattern ^ np.uint32(0xFFFFFFFF if pattern >> np.uint32(31) else 0x80000000))
            if shift == 16 or key >> 16 == upper:
                counts[(key >> shift) & 0xFFFF] += 1
        part = (1 << 16) - 1
        while rank > counts[part]:
            rank -= counts[part]
            part -= 1
        if shift == 0:
            return (upper << 16) | part
        upper = part
    return upper


@njit(cache=True, nogil=True, error_model="numpy")
def _pearson(n: float, a: float, b: float, aa: float, bb: float, ab: float) -> float:
    """Return the coefficient from a count and five sums; NaN where one side doesn't vary."""
    if n < 2:
        return math.nan
    variance = (aa - a * a / n) * (bb - b * b / n)
    # sums of squares keep about 13 digits: less than that isn't variation
    if not (aa - a * a / n > 1e-13 * aa and bb - b * b / n > 1e-13 * bb):
        return math.nan
    return (ab - a * b / n) / math.sqrt(variance)


@njit(cache=True, nogil=True, error_model="numpy")
def _global(
    observed: NDArray[np.float32],
    calculated: NDArray[np.float32],
    mask: NDArray[np.bool_],
    level_o: float,
    level_c: float,
) -> tuple[float, float, float, float]:
    """Return the coefficients in the mask, the box, the volume and at the peaks in one pass."""
    o, c, inside = observed.ravel(), calculated.ravel(), mask.ravel()
    sums = np.zeros((4, 6))
    shift = 0.0
    for p in range(len(o)):
        shift += o[p]
    shift /= len(o)
    for p in range(len(o)):
        x, y = o[p] - shift, np.float64(c[p])
        high_c = c[p] >= level_c
        for which, chosen in ((0, inside[p]), (1, True), (2, high_c), (3, high_c or o[p] >= level_o)):
            if chosen:
                row = sums[which]
                row[0] += 1.0
                row[1] += x
                row[2] += y
                row[3] += x * x
                row[4] += y * y
                row[5] += x * y
    m, b, v, k = sums
    return (
        _pearson(m[0], m[1], m[2], m[3], m[4], m[5]),
        _pearson(b[0], b[1], b[2], b[3], b[4], b[5]),
        _pearson(v[0], v[1], v[2], v[3], v[4], v[5]),
        _pearson(k[0], k[1], k[2], k[3], k[4], k[5]),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _grouped(
    observed: NDArray[np.float32],
    calculated: NDArray[np.float32],
    owner: NDArray[np.int32],
    grid: NDArray[np.float64],
    first: NDArray[np.int64],
    radius: float,
    reach: NDArray[np.float64],
    step: NDArray[np.float64],
    origin: float,
) -> NDArray[np.float64]:
    """Return the coefficient within `radius` of the atoms first[g]:first[g + 1] of each group g.

    `owner` remembers which group took a grid point last, so that no point counts twice.
    """
    nx, ny, nz = observed.shape
    out = np.empty(len(first) - 1)
    far2 = radius * radius
    for g in range(len(out)):
        n, a, b, aa, bb, ab = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for m in range(first[g], first[g + 1]):
            u, v, w = grid[m, 0], grid[m, 1], grid[m, 2]
            for i in range(math.ceil(u - reach[0]), math.floor(u + reach[0]) + 1):
                for j in range(math.ceil(v - reach[1]), math.floor(v + reach[1]) + 1):
                    x = step[0, 0] * (i - u) + step[0, 1] * (j - v)
                    y = step[1, 1] * (j - v)
                    p, q = i % nx, j % ny
                    for k in range(math.ceil(w - reach[2]), math.floor(w + reach[2]) + 1):
                        dx = x + step[0, 2] * (k - w)
                        dy = y + step[1, 2] * (k - w)
                        dz = step[2, 2] * (k - w)
                        r = k % nz
                        if dx * dx + dy * dy + dz * dz <= far2 and owner[p, q, r] != g:
                            owner[p, q, r] = g
                            o, c = observed[p, q, r] - origin, np.float64(calculated[p, q, r])
                            n += 1.0
                            a += o
                            b += c
                            aa += o * o
                            bb += c * c
                            ab += o * c
        out[g] = _pearson(n, a, b, aa, bb, ab)
    return out
