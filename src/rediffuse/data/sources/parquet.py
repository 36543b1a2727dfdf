"""Parquet files with a column of encoded images, as Hugging Face lays them out, and as `prepare` itself writes them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rediffuse.data.sources.containers import Container, containers
from rediffuse.data.sources.labels import Classes, sorted_names
from rediffuse.data.sources.source import About, GivenSplit, Row
from rediffuse.data.sources.table import as_text, check_columns, split_called
from rediffuse.errors import UserError
from rediffuse.params import PrepareParams

# Rows in memory at a time: few enough for large photographs.
_BATCH = 64
_BUFFER = 1 << 20  # bytes of a column that are read at a time
_WITHHELD = -1
_SHARD = ("image", "label", "caption", "id", "split", "origin", "fault")


class Parquet:
    """One Parquet file, or all of a folder that match a glob; the rows in their order, file by file.

    Images are a column of bytes or of structs with `bytes` (and `path`); labels are whole numbers or texts, and -1 is
    none, as Hugging Face writes it. The class names are those of prepare.classes, else those that the `huggingface`
    metadata give, else the labels found. The part of the data is a column's, else in the files' names. Files come in
    the order train, val, test, where their names say so; inside a file, rows keep theirs. A row's id is
    `FILE#POSITION`; shards that `prepare` wrote give back their own rows, ids and all.

    Raises:
        UserError: a file is missing, damaged or lacks a column, or a row holds what its column may not.
    """

    name = "parquet"
    about = About()

    def __init__(self, path: Path, section: PrepareParams) -> None:
        self._columns = section.columns
        self._files = containers(path, section.files, (".parquet",))
        declared = {self._declared(file) for file in self._files}
        if len(declared) > 1:
            raise UserError(f"{path}: not all files declare the same class names; choose with prepare.files")
        (self._names,) = declared
        if section.classes:
            self._classes = Classes(section.classes)
        else:
            self._classes = Classes(sorted_names(self._found()) if self._names is None else self._names)
        self.classes = self._classes.names

    def __iter__(self) -> Iterator[Row]:
        for file in self._files:
            with _opened(file.path) as opened:
                if tuple(opened.schema_arrow.names) == _SHARD:
                    yield from self._shard_rows(file, opened)
                else:
                    yield from self._rows(file, opened)

    def _rows(self, file: Container, opened: pq.ParquetFile) -> Iterator[Row]:
        of = self._columns
        extra = list(dict.fromkeys(name for name in (of.label, of.caption, of.split) if name))
        number = 0
        for batch in _batches(file, opened, [of.image, *extra]):
            texts = {name: batch.column(name).to_pylist() for name in extra}
            for i, (content, fault) in enumerate(_images(batch.column(of.image))):
                where = f"{file.path}: row {number}"
                label, caption, split = (texts[name][i] if name else None for name in (of.label, of.caption, of.split))
                yield Row(
                    id=f"{file.id}#{number}",
                    content=content,
                    label=self._label(label, where),
                    origin=f"{file.id}#{number}",
                    caption=as_text(caption, where, of.caption or "") or None,
                    split=self._split(file, split, where),
                    fault=fault,
                )
                number += 1

    def _shard_rows(self, file: Container, opened: pq.ParquetFile) -> Iterator[Row]:
        number = 0
        for batch in _batches(file, opened, list(_SHARD)):
            for values in batch.to_pylist():
                image, label = values.pop("image"), self._label(values.pop("label"), f"{file.path}: row {number}")
                yield Row(content=image["bytes"], label=label, **values)
                number += 1

    def _label(self, label: Any, where: str) -> int | None:
        # Hugging Face writes -1 where a label is withheld.
        if label == _WITHHELD:
            return None
        if self._names is not None and isinstance(label, int):
            if not 0 <= label < len(self._names):
                raise UserError(f"{where}: the label is {label}, but the metadata name {len(self._names)} classes")
            label = self._names[label]
        text = as_text(label, where, self._columns.label or "")
        return self._classes.position(text, where) if text else None

    def _split(self, file: Container, named: Any, where: str) -> GivenSplit | None:
        if self._columns.split is None:
            return file.part
        return split_called(as_text(named, where, self._columns.split), where) or file.part

    def _declared(self, file: Container) -> tuple[str, ...] | None:
        """Check a file's columns; the class names that its metadata give, or None."""
        with _opened(file.path) as opened:
            schema = opened.schema_arrow
        of = self._columns
        if tuple(schema.names) == _SHARD:
            return _class_names(schema, "label")
        keys = {"image": of.image, "label": of.label, "caption": of.caption, "split": of.split}
        check_columns(
            schema.names, {f"prepare.columns.{key}": name for key, name in keys.items() if name}, str(file.path)
        )
        kind = schema.field(of.image).type
        if not _is_bytes(kind) and not (pa.types.is_struct(kind) and _is_bytes(_bytes_type(kind))):
            raise UserError(
                f"{file.path}: the column {of.image!r} is {kind}; bytes, or a struct with bytes, are allowed"
            )
        label = schema.field(of.label).type if of.label else pa.int64()
        if not (pa.types.is_integer(label) or _is_text(label)):
            raise UserError(f"{file.path}: the column {of.label!r} is {label}; whole numbers or texts are allowed")
        return _class_names(schema, of.label) if of.label else None

    def _found(self) -> set[str]:
        """The distinct labels in all files."""
        found: set[str] = set()
        for file in self._files:
            with _opened(file.path) as opened:
                column = "label" if tuple(opened.schema_arrow.names) == _SHARD else self._columns.label
                for batch in _batches(file, opened, [column], rows=65536) if column else ():
                    labels = batch.column(0).unique().to_pylist()
                    found.update(as_text(label, str(file.path), column or "") for label in labels if label != _WITHHELD)
        return found - {""}


def _opened(path: Path) -> pq.ParquetFile:
    try:
        # pyarrow's defaults hold the whole file in memory.
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is no Parquet file that can be read: {' '.join(str(error).split())}") from None


def _batches(
    file: Container, opened: pq.ParquetFile, columns: Sequence[str], rows: int = _BATCH
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in opened.iter_batches(batch_size=rows, columns=columns):
            # Texts that are no UTF-8 are found nowhere else.
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file.path} is damaged: {' '.join(str(error).split())}") from None


def _images(column: pa.Array) -> Iterator[tuple[bytes, str]]:
    """The bytes and the fault of each image."""
    paths: Sequence[str | None] = [None] * len(column)
    if pa.types.is_struct(column.type):
        # flatten and not field: it gives null where the struct is.
        fields = dict(zip((field.name for field in column.type), column.flatten(), strict=True))
        column = fields["bytes"]
        if "path" in fields:
            paths = fields["path"].to_pylist()
    for content, path in zip(column.to_pylist(), paths, strict=True):
        if content is not None:
            yield content, ""
        else:
            yield b"", "a path to a file elsewhere, in place of bytes" if path else "no image"


def _class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """The names of a column's classes in Hugging Face's metadata; a name that is there twice gets its position."""
    try:
        feature = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]
        names = tuple(feature["names"]) if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return tuple(f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names))


def _bytes_type(kind: pa.DataType) -> pa.DataType:
    position = kind.get_field_index("bytes")
    return kind.field(position).type if position >= 0 else pa.null()


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
