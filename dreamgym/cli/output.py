"""What commands print: tables for people, JSON for scripts."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """Print a value for scripts."""
    print(json.dumps(value, default=str))


def print_table(header: list[str] | None, rows: list[list[str]]) -> None:
    """Print rows in columns; the first is flush left, as are columns of words, and numbers are flush right."""
    table = [header, *rows] if header else rows
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    right = [all(_is_number(row[i]) for row in rows) for i in range(len(table[0]))]
    for row in table:
        cells = [
            f"{cell:>{width}}" if r else f"{cell:{width}}" for cell, width, r in zip(row, widths, right, strict=True)
        ]
        print("  " + "  ".join(cells).rstrip())


def _is_number(cell: str) -> bool:
    return not cell or cell.strip("+-%.0123456789,") == ""
