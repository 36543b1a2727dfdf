"""A PNG says how it was drawn, in the same bytes everywhere; of a hostile file one line says what is wrong."""

import dataclasses
import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rediffuse.serving.record import Record, canonical, png, read_record
from tests.data.planted import pixels

RECORD = Record(
    model="0123456789abcdef" * 4,
    prompt='cat and ("Åland | 3":-0.5)',
    seed=-(2**63),
    index=7,
    to_seed=2**63 - 1,
    share=0.1,
    sampler="dpmpp_2m",
    steps=20,
    guidance=1.5,
    temperature=1.0,
)
TEXT = (
    '{"format":1,"guidance":1.5,"index":7,"model":"' + "0123456789abcdef" * 4 + '",'
    '"prompt":"cat and (\\"Åland | 3\\":-0.5)","sampler":"dpmpp_2m","seed":-9223372036854775808,'
    '"share":0.1,"steps":20,"temperature":1.0,"to_seed":9223372036854775807}'
)
GREY = pixels(1, 8, 8, 1)[None]


def test_a_record_is_canonical_json_that_any_reader_of_png_finds() -> None:
    assert canonical(RECORD) == TEXT
    for image in (GREY, pixels(2, 9, 5).transpose(2, 0, 1), pixels(3, 160, 150).transpose(2, 0, 1)):
        content = png(image, RECORD)
        with Image.open(io.BytesIO(content)) as opened:
            assert opened.text == {"rediffuse": TEXT}
            shown = np.array(opened)
        assert np.array_equal(shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1), image)
        assert read_record(content) == RECORD


def test_another_process_writes_the_same_bytes() -> None:
    code = (
        "import sys, hashlib, numpy as np\nfrom rediffuse.serving.record import *\n"
        f"image = np.frombuffer(bytes.fromhex({GREY.tobytes().hex()!r}), np.uint8).reshape(1, 8, 8)\n"
        f"sys.stdout.write(hashlib.sha256(png(image, {RECORD!r})).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == hashlib.sha256(png(GREY, RECORD)).hexdigest()


def test_each_field_changes_the_bytes_and_comes_back() -> None:
    changes: dict[str, Any] = {
        "model": "f" * 64,
        "prompt": "",
        "seed": 0,
        "index": 2**31 - 1,
        "to_seed": None,
        "share": 1.0,
        "sampler": "ddim",
        "steps": 1,
        "guidance": 0.1 + 0.2,
        "temperature": 5e-324,
    }
    assert changes.keys() == {field.name for field in dataclasses.fields(Record)}
    contents = {png(GREY, RECORD)}
    for name, value in changes.items():
        changed = dataclasses.replace(RECORD, **{name: value})
        assert read_record(png(GREY, changed)) == changed
        contents.add(png(GREY, changed))
    assert len(contents) == len(changes) + 1


def with_text(text: str, **how: Any) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    info.add_itxt("rediffuse", text, **how)
    Image.fromarray(GREY[0]).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def changed(**fields: Any) -> bytes:
    return with_text(json.dumps(json.loads(TEXT) | fields))


def without(name: str) -> bytes:
    return with_text(json.dumps({key: value for key, value in json.loads(TEXT).items() if key != name}))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


GOOD = png(GREY, RECORD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is no PNG"),
        (b"GIF89a" + GOOD, "this is no PNG"),
        (GOOD[:60], "holds no record"),
        (GOOD[:33] + GOOD[33 + 12 + len(TEXT.encode()) + 14 :], "holds no record"),
        (GOOD[:33] + chunk(b"zTXt", b"") * 1000 + GOOD[33:], "holds no record"),
        (GOOD[:33] + struct.pack(">I", 2**32 - 1) + GOOD[37:], "holds no record"),
        (GOOD.replace(b'"steps":20', b'"steps":21'), "its sum is wrong"),
        (with_text(TEXT, zip=True), "compressed or damaged"),
        (with_text("0" * 2**22, zip=True), "compressed or damaged"),
        (with_text("[" * 65_000), "is no JSON"),
        (with_text(TEXT + " " * 66_000), "at most 65536 are read"),
        (with_text("{'steps': 20}"), "is no JSON"),
        (with_text("[1]"), "is no JSON object"),
        (with_text(TEXT.replace("1.5", "NaN")), "is no JSON"),
        (with_text(TEXT.replace("1.5", "1e999")), "'guidance' of its record"),
        (GOOD[:33] + chunk(b"iTXt", b"rediffuse\0\0\0") + GOOD[33:], "compressed or damaged"),
        (GOOD[:33] + chunk(b"iTXt", b"rediffuse\0\0\0\0\0\xff") + GOOD[33:], "is no JSON"),
        (changed(format=2), "has the format 2; 1 is what can be read here"),
        (changed(format=True), "has the format True"),
        (without("format"), "has the format None"),
        (without("seed"), "'seed' of its record"),
        (changed(other=1), "'other' of its record"),
        (changed(seed="4"), "'seed' of its record"),
        (changed(seed=True), "'seed' of its record"),
        (changed(seed=2**63), "'seed' of its record"),
        (changed(seed=1.0), "'seed' of its record"),
        (changed(index=-1), "'index' of its record"),
        (changed(share=1.5), "'share' of its record"),
        (changed(prompt="x" * 2001), "'prompt' of its record"),
        (changed(prompt=None), "'prompt' of its record"),
        (changed(model="../../etc"), "'model' of its record"),
        (changed(steps=0), "'steps' of its record"),
        (changed(guidance=-1), "'guidance' of its record"),
        (changed(temperature=11), "'temperature' of its record"),
        (changed(sampler=5), "'sampler' of its record"),
    ],
)
def test_of_what_is_no_record_a_line_says_why(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read_record(content)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_gives_its_record_or_a_line(place: int, noise: bytes) -> None:
    try:
        read = read_record(GOOD[:place] + noise + GOOD[place + len(noise) :])
    except ValueError:
        return
    assert read == RECORD
