"""What curation hands to refinement, as a file in the work folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ceres.pipeline.outcome import WorkMissingError
from refinement.operators import Operators

if TYPE_CHECKING:
    from curation.curate import Curated

NAME = "curated.json"


@dataclass(frozen=True, slots=True)
class Handover:
    """Input of a refinement: files, resolution in Å, contour level in the unit of the map, operators between copies.

    An operator is the nine elements of its matrix, row by row, and the three of its vector in Å.
    """

    model: str
    density: str
    resolution: float
    half_maps: tuple[str, ...] = ()
    contour: float | None = None
    libraries: tuple[str, ...] = ()
    operators: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, curated: Curated) -> Handover:
        """Take over what curation found usable."""
        if curated.model_path is None or curated.map_path is None or curated.resolution is None:
            message = "a pair that passed curation has a model, a map and a resolution"
            raise ValueError(message)
        return cls(
            model=str(curated.model_path),
            density=str(curated.map_path),
            resolution=curated.resolution,
            half_maps=tuple(map(str, curated.half_map_paths)),
            contour=curated.contour,
            libraries=tuple(map(str, curated.libraries)),
            operators=_rows(curated.operators),
        )

    @property
    def exact_operators(self) -> Operators | None:
        """Exact motions between the copies, None if none are known."""
        if not self.operators:
            return None
        table = np.array(self.operators)
        return Operators(table[:, :9].reshape(-1, 3, 3), table[:, 9:])

    def write(self, folder: Path) -> None:
        """Write the file into the work folder."""
        temporary = folder / f"{NAME}.part"
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> Handover:
        """Read the file back.

        Raises
        ------
        WorkMissingError
            If it, or a file that it names, is gone.
        """
        path = folder / NAME
        if not path.exists():
            raise WorkMissingError(NAME)
        row = json.loads(path.read_text(encoding="utf-8"))
        names = {name: tuple(row[name]) for name in ("half_maps", "libraries")}
        # handovers that an earlier version wrote have no operators
        handover = cls(**{**row, **names, "operators": tuple(map(tuple, row.get("operators", ())))})
        for name in (handover.model, handover.density, *handover.half_maps, *handover.libraries):
            if not Path(name).exists():
                raise WorkMissingError(name)
        return handover


def _rows(operators: Operators | None) -> tuple[tuple[float, ...], ...]:
    if operators is None:
        return ()
    return tuple(map(tuple, np.column_stack([operators.rotation.reshape(-1, 9), operators.shift]).tolist()))
