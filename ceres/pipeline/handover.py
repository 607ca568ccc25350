"""What curation hands to refinement, as a file in the work folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ceres.pipeline.outcome import WorkMissingError

if TYPE_CHECKING:
    from curation.curate import Curated

NAME = "curated.json"


@dataclass(frozen=True, slots=True)
class Handover:
    """Input of a refinement: files, resolution in Å, contour level in the unit of the map."""

    model: str
    density: str
    resolution: float
    half_maps: tuple[str, ...] = ()
    contour: float | None = None
    libraries: tuple[str, ...] = ()

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
        )

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
        handover = cls(**{**row, "half_maps": tuple(row["half_maps"]), "libraries": tuple(row["libraries"])})
        for name in (handover.model, handover.density, *handover.half_maps, *handover.libraries):
            if not Path(name).exists():
                raise WorkMissingError(name)
        return handover
