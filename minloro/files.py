"""Write files whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO


def replace_file(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`, which is never half a file."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8."""
    replace_file(path, lambda file: file.write(text.encode()))


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write the columns' names and the rows; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((columns, *rows))
    write_text(path, text.getvalue())


def write_json(path: str | Path, content: dict) -> None:
    """Write indented JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")
