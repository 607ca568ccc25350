"""Copy the browser libraries from ``node_modules`` into ``static/vendor``.

The folder is not under version control: exact versions and integrity hashes are in ``package.json``
and ``package-lock.json``. References to source maps are taken out, because the hashed static storage
refuses to collect a file that refers to one that isn't there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FILES: dict[str, tuple[str, ...]] = {
    "bootstrap": ("dist/css/bootstrap.min.css", "LICENSE"),
    "ngl": ("dist/ngl.js", "LICENSE"),
    "uplot": ("dist/uPlot.esm.js", "dist/uPlot.min.css", "LICENSE"),
}
"""What the site uses of each package."""

SOURCE_MAP = re.compile(rb"\n?(?://[#@] ?sourceMappingURL=[^\n]*|/\*[#@] ?sourceMappingURL=[^*]*\*/)\n?")


def without_source_map(content: bytes) -> bytes:
    """Return the text of a script or style sheet without its source-map comments."""
    return SOURCE_MAP.sub(b"\n", content)


def vendor(modules: Path, target: Path) -> list[dict[str, str]]:
    """Copy the files of all packages and write ``VENDORED.json`` beside them.

    Parameters
    ----------
    modules : Path
        The ``node_modules`` folder.
    target : Path
        Folder to write; replaced when everything has been copied.

    Returns
    -------
    list of dict
        Package, version, licence, file and SHA-256 of every copied file.

    Raises
    ------
    FileNotFoundError
        If a package isn't installed.
    """
    fresh = target.with_name(f"{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    copied = []
    for package, names in FILES.items():
        about = json.loads((modules / package / "package.json").read_text(encoding="utf-8"))
        (fresh / package).mkdir(parents=True)
        for name in names:
            content = without_source_map((modules / package / name).read_bytes())
            destination = fresh / package / Path(name).name
            destination.write_bytes(content)
            copied.append({
                "package": package,
                "version": about["version"],
                "licence": about["license"],
                "file": f"{package}/{destination.name}",
                "sha256": hashlib.sha256(content).hexdigest(),
            })  # fmt: skip
    (fresh / "VENDORED.json").write_text(json.dumps(copied, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return copied


def main() -> int:
    """Copy and say what was copied; 2 when ``npm ci`` hasn't been run."""
    try:
        copied = vendor(ROOT / "node_modules", ROOT / "static" / "vendor")
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename} is missing: run `npm ci` first.\n")
        return 2
    versions = {row["package"]: row["version"] for row in copied}
    sys.stdout.write(f"static/vendor: {', '.join(f'{name} {version}' for name, version in versions.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
