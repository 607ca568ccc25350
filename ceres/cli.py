"""The ``ceres`` command: refine, validate and curate without database and without Django.

Exit status: 0 done, 2 unusable input, 3 excluded by curation, 1 a fault of ours.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ceres.outputs import STANDARD_OUTPUT, require_files, require_folder, write_extras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ceres.terminal import Terminal
    from curation.archive import Archive
    from curation.identifiers import Pair

DONE, FAULT, UNUSABLE, EXCLUDED, INTERRUPTED = 0, 1, 2, 3, 130

ONE_THREAD_EACH = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""Linear algebra works on small arrays here: more threads only get in the way of each other."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG,
)  # fmt: skip


class UsageError(Exception):
    """The command line makes no sense."""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"Try {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    for name in ONE_THREAD_EACH:
        os.environ.setdefault(name, "1")
    from ceres.terminal import Terminal

    words = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(as_json="--json" in words)
    options = argparse.Namespace()
    try:
        _parser().parse_args(words, options)
        terminal = Terminal(as_json=options.json, quiet=options.quiet or getattr(options, "csv", None) == STANDARD_OUTPUT)
        return int(options.command(options, terminal))
    except UsageError as fault:
        terminal.complain(*fault.args, code="usage")
        return UNUSABLE
    except KeyboardInterrupt:
        terminal.complain("stopped; nothing was written.", code="interrupted", status=INTERRUPTED)
        return INTERRUPTED
    except Exception as fault:  # the last line of defence: people see a sentence, the log has the rest
        return _explain(fault, terminal, getattr(options, "output", None), debug="--debug" in words)


def _explain(fault: Exception, terminal: Terminal, output: Path | None, *, debug: bool) -> int:
    """Say what went wrong in one sentence and return the exit status."""
    from refinement.errors import CeresError

    if debug:
        traceback.print_exception(fault)
    if isinstance(fault, CeresError):
        terminal.complain(fault.message, fault.hint, code=fault.code)
        return UNUSABLE
    if isinstance(fault, MemoryError):
        terminal.complain("there isn't enough memory for this map and model.", "Cut the map around the model.", code="memory")
        return UNUSABLE
    if isinstance(fault, OSError) and fault.errno in (*DISK_FULL, *NOT_WRITABLE):
        full = fault.errno in DISK_FULL
        where = fault.filename or output or "the output folder"
        message = f"the disk is full: {where} can't be written." if full else f"{where} can't be used: {fault.strerror}."
        hint = (
            "Make room or choose another place with -o."
            if full
            else "Check the path and its permissions, or choose another with -o."
        )
        terminal.complain(message, hint, code="disk_full" if full else "not_writable")
        return UNUSABLE
    terminal.complain(
        f"internal error ({type(fault).__name__}). This is a fault of Ceres, not of your files.",
        f"The details are in {_write_fault(fault)}; please report it with them.",
        code="internal",
        status=FAULT,
    )
    return FAULT


def _write_fault(fault: Exception) -> str:
    """Write the traceback where it can be found, and return the place."""
    from refinement import __version__

    lines = [f"Ceres {__version__}, Python {platform.python_version()}\n", f"{sys.argv}\n", *traceback.format_exception(fault)]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="ceres-", suffix=".log", delete=False, encoding="utf-8") as log:
            log.writelines(lines)
            return log.name
    except OSError:
        sys.stderr.writelines(lines)
        return "the lines above"


def _parser() -> argparse.ArgumentParser:
    from refinement import __version__

    parser = _Parser(prog="ceres", description="Refine and validate cryo-EM models.")
    parser.add_argument("--version", action="version", version=f"ceres {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_refine(commands)
    _add_validate(commands)
    _add_curate(commands)
    _add_run(commands)
    return parser


def _add_refine(commands: Any) -> None:
    command = commands.add_parser("refine", help="refine a model against a map and validate it before and after")
    _add_inputs(command)
    _add_engine(command)
    command.add_argument(
        "--ncs", metavar="HOW", help="copies of one molecule: auto, constraints, restraints or off (default: the protocol's)"
    )
    command.add_argument("--dock", action="store_true", help="accept a model outside the map and search for its place")
    command.add_argument(
        "--cross-validate", action="store_true", help="refine into the first half-map too, and compare with the second"
    )
    command.add_argument(
        "--reference", type=Path, metavar="FILE", help="another model of the same molecule, whose torsions are held"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    _finish(command, _refine)


def _add_validate(commands: Any) -> None:
    command = commands.add_parser("validate", help="validate a model against a map")
    _add_inputs(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    command.add_argument("--csv", metavar="FILE", help="write Table 1 as CSV too (- prints it and nothing else)")
    command.add_argument("--html", type=Path, metavar="FILE", help="write a page with Table 1 and its figures too")
    command.add_argument(
        "--reference", type=Path, action="append", default=[], dest="references", metavar="FILE", help="values of other models"
    )
    _finish(command, _validate)


def _add_curate(commands: Any) -> None:
    command = commands.add_parser("curate", help="tell whether a pair of the archives may be refined, and why not")
    _add_pair(command)
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the curated model here")
    _finish(command, _curate)


def _add_run(commands: Any) -> None:
    command = commands.add_parser("run", help="curate, refine and validate a pair of the archives")
    _add_pair(command)
    _add_engine(command)
    command.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder for the results (default: PDB_EMDB here)")
    _finish(command, _run)


def _add_inputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", type=Path, metavar="MODEL", help="mmCIF or PDB file, may be gzipped")
    command.add_argument("map", type=Path, metavar="MAP", help="MRC/CCP4 file, may be gzipped")
    command.add_argument("-d", "--resolution", metavar="Å", help="resolution of the map")
    command.add_argument(
        "--half-map", type=Path, action="append", default=[], dest="half_maps", metavar="FILE", help="half-map; give both"
    )
    command.add_argument("--contour", type=_finite, metavar="LEVEL", help="recommended contour level")
    _add_library(command)


def _add_engine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--protocol", default="default", metavar="NAME", help="name of the protocol (default: default)")
    command.add_argument("--threads", type=int, metavar="N", help="threads to use (default: all processors)")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="seed of random numbers (default: 0)")


def _add_pair(command: argparse.ArgumentParser) -> None:
    command.add_argument("pdb_id", metavar="PDB_ID", help="such as 6udk")
    command.add_argument("emdb_id", metavar="EMDB_ID", help="such as EMD-20740")
    command.add_argument(
        "--archive",
        default=os.environ.get("CERES_ARCHIVE") or "public",
        metavar="URL_OR_DIR",
        help="where pdb/ and emdb/ are: a folder, a URL, or several with commas (default: the public archives)",
    )
    command.add_argument("--cache", type=Path, default=_default_cache(), metavar="DIR", help="where downloads are kept")
    command.add_argument("--strict", action="store_true", help="apply the exclusion rules literally, as in 2020")
    _add_library(command)


def _add_library(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--library", type=Path, action="append", default=[], dest="libraries", metavar="CIF", help="restraints for a ligand"
    )


def _finish(command: argparse.ArgumentParser, function: Any) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    command.add_argument("--quiet", action="store_true", help="no progress bars and no tables")
    command.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    command.set_defaults(command=function)


def _default_cache() -> Path:
    given = os.environ.get("CERES_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else (Path(base) if base else Path.home() / ".cache") / "ceres"


def _refine(options: argparse.Namespace, terminal: Terminal) -> int:
    resolution, threads = _resolution(options), _threads(options)
    require_folder(options.output)
    with terminal.refinement() as (progress, listen):
        from refinement.run import refine_files

        table = refine_files(
            options.model,
            options.map,
            resolution=resolution,
            half_maps=options.half_maps,
            contour=options.contour,
            libraries=options.libraries,
            protocol=options.protocol,
            threads=threads,
            seed=options.seed,
            dock=options.dock,
            ncs=options.ncs,
            cross_validate=options.cross_validate,
            reference=options.reference,
            output=options.output,
            progress=progress,
            listen=listen,
        )
    _show(table, options.output, "refined.cif.gz", terminal)
    return DONE


def _validate(options: argparse.Namespace, terminal: Terminal) -> int:
    resolution = _resolution(options)
    require_folder(options.output)
    require_files(options.csv, options.html, as_json=options.json)
    with terminal.progress() as progress:
        from refinement.run import validate_files

        table = validate_files(
            options.model,
            options.map,
            resolution=resolution,
            half_maps=options.half_maps,
            contour=options.contour,
            libraries=options.libraries,
            references=options.references,
            output=options.output,
            progress=progress,
        )
    write_extras(table, options.output, options.csv, options.html)
    _show(table, options.output, "table_one.json", terminal)
    return DONE


def _curate(options: argparse.Namespace, terminal: Terminal) -> int:
    pair = _pair(options)
    if options.output is not None:
        require_folder(options.output)
    with tempfile.TemporaryDirectory(prefix="ceres-") as scratch, _archive(options) as archive:
        curated = _curated(pair, options, archive, options.output or Path(scratch), terminal)
        content = _described(curated)
    terminal.answer(content)
    return DONE if curated.passed else EXCLUDED


def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    pair = _pair(options)
    output, threads = options.output or Path(pair.key), _threads(options)
    require_folder(output)
    # The archive stays open while its maps are in use.
    with tempfile.TemporaryDirectory(prefix="ceres-") as scratch, _archive(options) as archive:
        curated = _curated(pair, options, archive, Path(scratch), terminal)
        if not curated.passed:
            terminal.answer(_described(curated))
            return EXCLUDED
        with terminal.refinement() as (progress, listen):
            from refinement.run import refine_files

            table = refine_files(
                curated.model_path,
                curated.map_path,
                resolution=curated.resolution,
                half_maps=curated.half_map_paths,
                contour=curated.contour,
                libraries=curated.libraries,
                operators=curated.operators,
                protocol=options.protocol,
                threads=threads,
                seed=options.seed,
                output=output,
                progress=progress,
                listen=listen,
            )
    _show(table, output, "refined.cif.gz", terminal, {**_described(curated), "output": str(output)})
    return DONE


def _pair(options: argparse.Namespace) -> Pair:
    from curation.identifiers import Pair, normalise_emdb_id, normalise_pdb_id

    return Pair(emdb_id=normalise_emdb_id(options.emdb_id), pdb_id=normalise_pdb_id(options.pdb_id))


def _archive(options: argparse.Namespace) -> Archive:
    """Open the archive of the command line; CERES_CACHE_GB limits its cache as it does that of the service."""
    from curation.archive import Archive
    from refinement.errors import InputError

    given = os.environ.get("CERES_CACHE_GB", "0").strip()
    if not given.isdecimal():
        message = f"CERES_CACHE_GB is {given!r}."
        raise InputError("setting_invalid", message, "Write a number of gigabytes, 0 for no limit.")
    root = None if options.archive == "public" else options.archive
    return Archive(root, options.cache, budget=int(given) * 10**9 or None)


def _curated(pair: Pair, options: argparse.Namespace, archive: Archive, workdir: Path, terminal: Terminal) -> Any:
    """Curate the pair of the command line and show what was found."""
    from curation.curate import curate

    with terminal.progress() as progress:
        curated = curate(pair, archive, workdir, strict=options.strict, libraries=options.libraries, progress=progress)
    terminal.curated(curated, f"{pair.pdb_id} · {pair.emdb_id}")
    return curated


def _described(curated: Any) -> dict[str, Any]:
    return {
        "pair": curated.facts["pair"],
        "outcome": curated.outcome,
        "code": curated.code,
        "resolution": curated.resolution,
        "contour": curated.contour,
        "findings": [finding.as_dict() for finding in curated.findings],
        "facts": curated.facts,
    }


def _show(table: dict[str, Any], output: Path, main_file: str, terminal: Terminal, curated: dict[str, Any] | None = None) -> None:
    """Show Table 1 and where the files are, or give the same as JSON, with the curation in front of it."""
    from refinement.output import clean

    if "refined" in table:
        terminal.outcome(table)
    else:
        terminal.table_one(table)
    terminal.say(f"\n{output / main_file}   {table['timings_s']['total']:.1f} s")
    content = clean(table)
    terminal.answer(content if curated is None else {**curated, "table_one": content})


def _resolution(options: argparse.Namespace) -> float:
    from refinement.errors import InputError

    hint = "Give the resolution of the map in Å, such as -d 3.2."
    if options.resolution is None:
        message = f"no resolution was given for {options.map}."
        raise InputError("resolution_missing", message, hint)
    try:
        value = float(options.resolution)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        message = f"{options.resolution} is no resolution for {options.map}."
        raise InputError("resolution_invalid", message, hint)
    return value


def _threads(options: argparse.Namespace) -> int | None:
    if options.threads is not None and options.threads < 1:
        message = f"{options.threads} threads can't work."
        raise UsageError(message, "Give a number from 1 on with --threads.")
    return None if options.threads is None else int(options.threads)


def _finite(text: str) -> float:
    """Read a number for the parser."""
    value = float(text)
    if not math.isfinite(value):
        message = f"{text} is not a finite number"
        raise argparse.ArgumentTypeError(message)
    return value


if __name__ == "__main__":
    sys.exit(main())
