"""The parameters of an image inside its PNG, so that the file alone says how to draw it again."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from PIL.PngImagePlugin import PngInfo, putchunk
from pydantic import ConfigDict, Field, Strict, TypeAdapter, ValidationError
from pydantic_core import from_json

from rediffuse.data.png import encode_png
from rediffuse.prompts import written
from rediffuse.serving.request import (
    Guidance,
    ImageRequest,
    Index,
    Name,
    Prompt,
    Seed,
    Share,
    Steps,
    Temperature,
    shown,
)
from rediffuse.serving.wanted import Wanted

if TYPE_CHECKING:
    from rediffuse.serving.answers import Answers

KEYWORD = "rediffuse"
"""Of the PNG's text that holds a record."""
FORMAT = 1
"""Of the record; another one, once its fields change."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = len(_SIGNATURE) + 4 + 4 + 13 + 4
"""Bytes before the record: the signature, and IHDR with its length, name and sum."""
_LONGEST = 1 << 16
"""Bytes of a record that is read."""
_CHUNKS = 1000
"""Looked through for a record; it stands before the pixels, as `png` writes it."""


@dataclass(frozen=True)
class Record:
    """How an image was drawn.

    Args:
        model: SHA-256 of the weights' file, hex.
        prompt: canonical text of what it shows; empty: without condition.
        seed, index: its noise.
        to_seed: of the other noise, on the way to which it stands; None: on no way.
        share: of that way.
        sampler, steps, guidance, temperature: as in the section `sample` of params.yaml.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: Annotated[str, Strict(), Field(pattern="^[0-9a-f]{64}$")]
    prompt: Prompt
    seed: Seed
    index: Index
    to_seed: Seed | None
    share: Share
    sampler: Name
    steps: Steps
    guidance: Guidance
    temperature: Temperature

    def request(self) -> ImageRequest:
        """What to ask the same model for, to have the same pixels again."""
        return ImageRequest(
            prompt=self.prompt,
            seed=self.seed,
            index=self.index,
            to_seed=self.to_seed,
            share=None if self.to_seed is None else self.share,
            sampler=self.sampler,
            steps=self.steps,
            guidance=self.guidance,
            temperature=self.temperature,
        )


def record_of(answers: "Answers", wanted: Wanted) -> Record:
    """What the PNG of an image says.

    Raises:
        ValueError: of a walk between images of different numbers, for which no record has room.
    """
    if wanted.towards and wanted.towards.index != wanted.origin.index:
        raise ValueError(f"a walk goes from image {wanted.origin.index} to image {wanted.towards.index}")
    settings = wanted.settings
    return Record(
        model=answers.identity,
        prompt=written(wanted.terms),
        seed=wanted.origin.seed,
        index=wanted.origin.index,
        to_seed=wanted.towards.seed if wanted.towards else None,
        share=float(wanted.share),
        sampler=settings.sampler,
        steps=settings.steps,
        guidance=float(settings.guidance),
        temperature=float(settings.temperature),
    )


def png(image: np.ndarray, record: Record) -> bytes:
    """An image, C×H×W, uint8, as a PNG with its record: the same bytes for the same pixels and record.

    The record is canonical JSON (sorted keys, floats by repr) in an iTXt chunk of KEYWORD.
    """
    pixels = np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
    plain = encode_png(pixels)
    return plain[:_HEADER] + _text_chunk(canonical(record)) + plain[_HEADER:]


def canonical(record: Record) -> str:
    """The record as JSON that is the same text for the same record."""
    fields = asdict(record) | {"format": FORMAT}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_record(content: bytes) -> Record:
    """The record of a PNG that `png` wrote; nothing is decompressed, and no pixel is looked at.

    Raises:
        ValueError: what this is, or what is wrong with its record, in one line.
    """
    try:
        fields = from_json(_text(content), allow_inf_nan=False)
    except ValueError as error:
        if isinstance(error, _RecordError):
            raise
        raise _RecordError("its record is no JSON") from None
    if not isinstance(fields, dict):
        raise _RecordError("its record is no JSON object")
    number = fields.pop("format", None)
    if type(number) is not int or number != FORMAT:
        raise _RecordError(f"its record has the format {shown(number)}; {FORMAT} is what can be read here")
    try:
        return _READ.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _RecordError(f"{shown(first['loc'][0])} of its record: {first['msg'].lower()}") from None


class _RecordError(ValueError):
    """A PNG whose record can't be read."""


_READ = TypeAdapter(Record)


def _text_chunk(text: str) -> bytes:
    info, chunk = PngInfo(), io.BytesIO()
    info.add_itxt(KEYWORD, text)
    for kind, content, *_ in info.chunks:
        putchunk(chunk, kind, content)
    return chunk.getvalue()


def _text(content: bytes) -> str:
    """The text of KEYWORD."""
    # Of iTXt: keyword, 0, compressed or not, its method, language, 0, translated keyword, 0.
    start = KEYWORD.encode() + b"\0"
    for kind, body in _chunks(content):
        if kind == b"iTXt" and body.startswith(start):
            if len(body) > _LONGEST:
                raise _RecordError(f"its record has {len(body)} bytes; at most {_LONGEST} are read")
            flags, rest = body[len(start) :][:2], body[len(start) + 2 :]
            if flags != b"\0\0" or rest.count(b"\0") < 2:
                raise _RecordError("its record is compressed or damaged; only the file as it was written can be read")
            return rest.split(b"\0", 2)[2].decode("utf-8")
    raise _RecordError("this PNG holds no record of rediffuse's")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG before its pixels, each with its name; of a damaged file those before the damage."""
    if not content.startswith(_SIGNATURE):
        raise _RecordError("this is no PNG")
    place = len(_SIGNATURE)
    for _ in range(_CHUNKS):
        if place + 12 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if kind in (b"IDAT", b"IEND") or end + 4 > len(content):
            return
        body = content[place + 8 : end]
        if kind == b"iTXt" and zlib.crc32(kind + body) != struct.unpack_from(">I", content, end)[0]:
            raise _RecordError("a text in this PNG is damaged: its sum is wrong")
        yield kind, body
        place = end + 4
