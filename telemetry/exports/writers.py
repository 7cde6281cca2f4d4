"""The formats of an export, one small class each: opened on a path, given pages of rows, closed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow
from pyarrow import parquet

from console.export import cell
from telemetry.queries import TraceRow
from telemetry.trace import PAYLOAD_COLUMNS

Values = Mapping[str, Any]
Columns = Mapping[str, str]  # by name, the type as it is annotated in TraceRow
MONEY = pyarrow.decimal128(38, 12)


def columns(*, with_payloads: bool) -> Columns:
    return TraceRow.__annotations__ | (dict.fromkeys(PAYLOAD_COLUMNS, "str") if with_payloads else {})


class Writer(Protocol):
    def write(self, rows: Sequence[Values]) -> None: ...

    def close(self) -> None: ...


class CsvWriter:
    """Texts that a spreadsheet would run as formulas are quoted; lists are joined by commas."""

    def __init__(self, path: Path, shape: Columns) -> None:
        self._names = tuple(shape)
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerow(self._names)

    def write(self, rows: Sequence[Values]) -> None:
        self._csv.writerows([_cell(row[name]) for name in self._names] for row in rows)

    def close(self) -> None:
        self._file.close()


def _cell(value: Any) -> Any:
    return cell(",".join(map(str, value)) if isinstance(value, list | tuple) else value)


class JsonLinesWriter:
    """Amounts are texts, since JSON numbers are not exact; requests and responses are JSON themselves."""

    def __init__(self, path: Path, shape: Columns) -> None:
        self._names = tuple(shape)
        self._file = path.open("wb")

    def write(self, rows: Sequence[Values]) -> None:
        for row in rows:
            line = {name: _json(name, row[name]) for name in self._names}
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))

    def close(self) -> None:
        self._file.close()


def _json(name: str, value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if name in PAYLOAD_COLUMNS and value:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:  # an answer is kept as it came
            return value
    return value


class ParquetWriter:
    """One row group a page; amounts are decimals, times are UTC milliseconds."""

    def __init__(self, path: Path, shape: Columns) -> None:
        self._schema = pyarrow.schema([(name, _arrow(kind)) for name, kind in shape.items()])
        self._parquet = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[Values]) -> None:
        if rows:
            self._parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows], schema=self._schema))

    def close(self) -> None:
        self._parquet.close()


def _arrow(annotation: str) -> pyarrow.DataType:
    """The type of a field of TraceRow, as it is annotated there."""
    if "Decimal" in annotation:
        return MONEY
    if "datetime" in annotation:
        return pyarrow.timestamp("ms", tz="UTC")
    if annotation.startswith("Sequence"):
        return pyarrow.list_(pyarrow.string())
    return pyarrow.int64() if annotation.startswith("int") else pyarrow.string()


WRITERS: Mapping[str, Callable[[Path, Columns], Writer]] = {
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
    "parquet": ParquetWriter,
}


def value_of(row: TraceRow, name: str) -> Any:
    value = getattr(row, name)
    return list(value) if isinstance(value, tuple | list) else value
