"""Damaged and hostile files: curation of every one ends with a typed finding or a pass, soon and within memory.

The files of one small entry are changed byte by byte, value by value and by the tricks that are known of their formats.
Another process curates them, so that a crash, a hang or a file that swallows all memory is seen from outside. The suite
tries some hundred changes; CERES_MUTATIONS=2000 tries more. Each number always makes the same change.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from curation.archive import Archive
from curation.curate import curate
from curation.findings import Code
from curation.holdings import list_pairs
from curation.identifiers import parse_pair
from refinement.errors import InputError
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi

COUNT = int(os.environ.get("CERES_MUTATIONS", "240"))
SECONDS = 30
"""Processor time after which the system ends the process."""
MEMORY = 2 << 30
KEY = "9zaa_0042"
EXTREMES = (
    "1e400", "-1e308", "1e-320", "nan", "inf", "-inf", "0", "-0", "-1", "1e30", "2147483648", "-9223372036854775809", "9" * 400,
    ".", "?", "''", "1.0.0", "0x10", "1,5", "١٢", "½", "NULL", "1(2)", "\x00", "é" * 30, "A" * 100_000, "1_0", "--1",
)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 3, 7, 101, 255, 1 << 15, 1 << 20, 1 << 28, (1 << 31) - 1, -(1 << 31), 20_000)
FLOATS = (0.0, -1.0, 1.0, 1e-30, 1e30, 3e38, float("inf"), float("-inf"), float("nan"), 1e-45)
NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
NAME = re.compile(rb"[A-Za-z_]{3,}")


def flip(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 30))):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def drop(rng: random.Random, data: bytes) -> bytes:
    first = rng.randrange(len(data) + 1)
    return data[:first] + data[first + rng.randrange(1, 200) :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    first = rng.randrange(len(data) + 1)
    return data[:first] + data[first : first + rng.randrange(1, 400)] * rng.choice((2, 3, 200)) + data[first:]


def insert(rng: random.Random, data: bytes) -> bytes:
    first = rng.randrange(len(data) + 1)
    return data[:first] + rng.randbytes(rng.choice((1, 10, 5000))) + data[first:]


def wipe(rng: random.Random, data: bytes) -> bytes:
    first, length = rng.randrange(len(data) + 1), rng.randrange(1, 500)
    return data[:first] + rng.choice((b"\0", b"\xff", b" "))[:1] * length + data[first + length :]


def extreme(rng: random.Random, data: bytes) -> bytes:
    return _replace(rng, data, NUMBER, rng.choice((1, 1, 5)), lambda _: rng.choice(EXTREMES).encode())


def renamed(rng: random.Random, data: bytes) -> bytes:
    words = NAME.findall(data)
    return _replace(
        rng, data, NAME, rng.choice((1, 3)), lambda word: rng.choice((b"", word.upper(), word[::-1], word * 4, rng.choice(words)))
    )


def lines(rng: random.Random, data: bytes) -> bytes:
    rows = data.split(b"\n")
    for _ in range(rng.choice((1, 4, 20))):
        k, m = rng.randrange(len(rows)), rng.randrange(len(rows))
        action = rng.randrange(4)
        if action == 0 and len(rows) > 1:
            del rows[k]
        elif action == 1:
            rows.insert(m, rows[k])
        elif action == 2:
            rows[k], rows[m] = rows[m], rows[k]
        else:
            rows[k] = rng.choice(
                (b";", b"loop_", b"data_x", b"'", b'"', b"#", b"\xff\xfe", rows[k] * 3, rows[k][: len(rows[k]) // 2])
            )
    return b"\n".join(rows)


def recoded(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", errors="replace")
    return rng.choice((b"", b"\xef\xbb\xbf", b"\xff\xfe")) + text.encode(rng.choice(("utf-16", "utf-32", "utf-8", "utf-7")))


def foreign(rng: random.Random, data: bytes) -> bytes:
    del data
    return rng.choice(
        (
            b"",
            b"<html><body>404</body></html>",
            b"\n" * 1000,
            b"PK\x03\x04" + bytes(100),
            b"data_\n" * 20_000,
            b"{}",
            b"[]",
            b"{" * 50_000,
            b"loop_\n_a.b\n" + b"1\n" * 500_000,
            b"<emd>" * 50_000,
            b"data_9ZAA\n_atom_site.Cartn_x 1\n",
        )
    )


def bomb(rng: random.Random, data: bytes) -> bytes:
    del data
    size = rng.choice((20 << 20, 300 << 20))
    return gzip.compress(rng.choice((b"\0", b"#\n", b"1 "))[:2] * (size // 2), 6)


def entities(rng: random.Random, data: bytes) -> bytes:
    table = b"".join(b'<!ENTITY a%d "%s">' % (k + 1, b"&a%d;" % k * 10) for k in range(9))
    doctype = rng.choice(
        (
            b'<!DOCTYPE emd [<!ENTITY a0 "ha">' + table + b"]>",
            b'<!DOCTYPE emd [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>',
            b'<!DOCTYPE emd [<!ENTITY a9 "' + b"A" * 1_000_000 + b'">]>',
        )
    )
    return data.replace(b"<emd ", doctype + b"<emd ").replace(b"A tiny map", b"&a9;" * 100)


def nested(rng: random.Random, data: bytes) -> bytes:
    depth = rng.choice((100, 5_000, 200_000))
    return data.replace(b"</admin>", b"<x>" * depth + b"</x>" * depth + b"</admin>")


def columns(rng: random.Random, data: bytes) -> bytes:
    many = b"".join(b"_extra.c%d\n" % k for k in range(20_000))
    rows = b"1 " * 20_000 * rng.choice((1, 20))
    return data + b"\nloop_\n" + many + rows + b"\n"


def header_words(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 6))):
        word = rng.randrange(56)
        value = struct.pack("<f", rng.choice(FLOATS)) if 10 <= word < 22 or 49 <= word < 52 else None
        out[4 * word : 4 * word + 4] = value if value and rng.random() < 0.9 else struct.pack("<i", rng.choice(INTEGERS))
    return bytes(out)


def huge_promise(rng: random.Random, data: bytes) -> bytes:
    n = rng.choice((1000, 1290, 20_000, 1 << 30))
    out = bytearray(data[:1024])
    out[:12] = out[28:40] = struct.pack("<3i", n, n, n)
    return bytes(out) + bytes(rng.choice((0, 1 << 20)))


def voxels(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    value = struct.pack("<f", rng.choice(FLOATS))
    first = 1024 + 4 * rng.randrange((len(data) - 1024) // 4)
    last = len(out) if rng.random() < 0.5 else first + 4 * rng.randrange(1, 200)
    last = min(last, len(out))
    out[first:last] = value * ((last - first) // 4)
    return bytes(out)


def turned(rng: random.Random, data: bytes) -> bytes:
    """Return the map with its bytes in the other order, or its machine stamp alone changed."""
    words = struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])
    if rng.random() < 0.5:
        return struct.pack(f">{len(words)}I", *words)
    return data[:212] + rng.choice((b"\x11\x11\0\0", bytes(4), b"DDDD")) + data[216:]


BYTES = (flip, cut, drop, repeat, insert, wipe)
TEXT = (extreme, extreme, extreme, renamed, renamed, lines, lines, recoded)
MAP = (header_words, header_words, header_words, huge_promise, voxels, voxels, turned)
FILES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "model": (f"pdb/data/structures/divided/mmCIF/za/{KEY[:4]}.cif.gz", (*BYTES, *TEXT, *TEXT, columns)),
    "header": ("emdb/structures/EMD-0042/header/emd-0042.xml", (*BYTES, *TEXT, entities, nested)),
    "map": ("emdb/structures/EMD-0042/map/emd_0042.map.gz", (*BYTES, *MAP)),
    "half": ("emdb/structures/EMD-0042/other/emd_0042_half_map_2.map.gz", (*BYTES, *MAP)),
    "holdings": ("pdb/holdings/current_file_holdings.json.gz", (*BYTES, extreme, renamed, recoded)),
}
WEIGHTS = (6, 4, 4, 2, 1)


def mutate(number: int, source: Path, target: Path) -> str:
    """Write the entry with one file changed and return what was done."""
    rng = random.Random(number)  # noqa: S311 - the same number always makes the same change
    name = rng.choices(list(FILES), WEIGHTS)[0]
    path, kinds = FILES[name]
    shutil.copytree(source, target, dirs_exist_ok=True)
    data = (source / path).read_bytes()
    packed = data[:2] == b"\x1f\x8b"
    choice = rng.random()
    if choice < 0.06:
        kind, changed = foreign, foreign(rng, data)
        changed = gzip.compress(changed, 1) if packed else changed
    elif packed and choice < 0.08:
        kind, changed = bomb, bomb(rng, data)
    elif packed and choice < 0.2:
        kind = rng.choice(BYTES)
        changed = kind(rng, data)
    else:
        kind = rng.choice(kinds)
        changed = kind(rng, gzip.decompress(data) if packed else data)
        changed = gzip.compress(changed, 1) if packed else changed
    (target / path).write_bytes(changed)
    return f"{name} {kind.__name__}"


def judge(number: int, source: Path, folder: Path) -> dict[str, Any]:
    """Curate one changed entry; what raises here, other than an error for people, is a fault of ours."""
    done = mutate(number, source, folder / "archive")
    started = time.process_time()
    archive = Archive(folder / "archive")
    codes: list[str] = []
    if done.startswith(("holdings", "header", "model")):
        try:
            list_pairs(archive)
        except InputError as fault:
            codes.append(fault.code)
    result = curate(parse_pair(KEY), archive, folder / "work")
    codes += [str(finding.code) for finding in result.findings]
    json.dumps([result.facts, *(finding.as_dict() for finding in result.findings)], allow_nan=False)
    if result.passed:
        read_structure(folder / "work/model.cif.gz")
    outcome = result.code or "pass"
    return {"done": done, "outcome": outcome, "codes": codes, "seconds": time.process_time() - started}


def work(source: Path, folder: Path, first: int, count: int) -> None:
    """Judge some changes and say of each what came out, before the next begins."""
    for number in range(first, first + count):
        print(json.dumps({"number": number, "begins": True}), flush=True)  # noqa: T201 - this is the process's answer
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        answer = judge(number, source, folder)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({"number": number, **answer, "memory": most_memory()}), flush=True)  # noqa: T201


def most_memory() -> int:
    """Return the most memory (bytes) that this process has had; getrusage would count that of its parent too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def _replace(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], count: int, new: Callable[[bytes], bytes]) -> bytes:
    for _ in range(count):
        hits = list(pattern.finditer(data))
        if hits:
            hit = rng.choice(hits)
            data = data[: hit.start()] + new(hit[0]) + data[hit.end() :]
    return data


@pytest.fixture
def entry(tiny: Any, make_helix: Callable[..., gemmi.Structure]) -> Path:
    """A small entry with half-maps and an assembly."""
    unit = {"matrix[1][1]": "1", "matrix[2][2]": "1", "matrix[3][3]": "1"}
    zero = dict.fromkeys(("matrix[1][2]", "matrix[1][3]", "matrix[2][1]", "matrix[2][3]", "matrix[3][1]", "matrix[3][2]"), "0")
    vector = dict.fromkeys(("vector[1]", "vector[2]", "vector[3]"), "0")
    turn = {**unit, "matrix[1][1]": "-1", "matrix[2][2]": "-1", **zero, **vector, "vector[1]": "40", "vector[2]": "16"}
    operators = [{"id": "1", "type": "identity operation", **unit, **zero, **vector}, {"id": "2", "type": "point", **turn}]
    categories = {
        "_pdbx_struct_assembly.": {"id": ["1"], "details": ["author_defined_assembly"], "oligomeric_count": ["4"]},
        "_pdbx_struct_assembly_gen.": {"assembly_id": ["1"], "oper_expression": ["(1-2)"], "asym_id_list": ["Axp,Bxp,A,B"]},
        "_pdbx_struct_oper_list.": {key: [row[key] for row in operators] for key in operators[0]},
    }
    tiny.add("9zaa", "0042", half_maps=True, structure=make_helix(12, chains="AB"), categories=categories)
    root: Path = tiny.root
    return root


@pytest.mark.timeout(60 + 3 * COUNT)
def test_every_change_ends_with_a_finding_or_a_pass(entry: Path, tmp_path: Path) -> None:
    results: list[dict[str, Any]] = []
    faults: list[str] = []
    number = 0
    while number < COUNT:
        command = [sys.executable, __file__, str(entry), str(tmp_path / "changed"), str(number), str(COUNT - number)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        answers = [json.loads(line) for line in found.stdout.splitlines()]
        results += [answer for answer in answers if "outcome" in answer]
        number = answers[-1]["number"] + 1 if answers else COUNT
        if found.returncode:
            faults.append(f"number {number - 1}: status {found.returncode}: {found.stderr[-1500:]}")
    assert not faults, "\n".join(faults)
    assert len(results) == COUNT
    assert max(answer["memory"] for answer in results) < MEMORY
    outcomes = {answer["outcome"] for answer in results}
    assert outcomes <= {"pass", *map(str, Code)}
    assert {"pass", "PROCESSING_ERROR", "BOX_MISMATCH"} <= outcomes
    report = os.environ.get("CERES_MUTATIONS_REPORT")
    if report:
        Path(report).write_text("\n".join(map(json.dumps, results)), encoding="utf-8")


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
