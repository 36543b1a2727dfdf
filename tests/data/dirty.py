"""What a real folder of images holds, planted on purpose, each file with the verdict it should get.

The verdicts are those of params.yaml as it ships: whatever can be converted is, floating-point pixels are rejected.
"""

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.planted import encoded, pixels

CLASSES = ("cat", "dog")
SIDE = 40
ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One file and what should become of it.

    Args:
        name: the path below the folder, as `os.fsdecode` gives it.
        content: the file's bytes.
        link: in place of content, where a symbolic link leads; "{folder}" stands for the folder's own path.
        pipe: in place of content, a FIFO.
        reason: of `manifest.FAULTS`, or None: it can be decoded.
        conversions: of `manifest.CONVERSIONS`, in their order.
        findings: of `manifest.CHECKS`, what this file was planted for.
    """

    name: str
    content: bytes = b""
    link: str | None = None
    pipe: bool = False
    reason: str | None = None
    conversions: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(array: np.ndarray, colour_type: int, bits: int, *, extra: bytes = b"") -> bytes:
    """A PNG as Pillow doesn't write it: H×W or H×W×channels of any depth, with chunks before the pixels."""
    height, width = array.shape[:2]
    rows = array.reshape(height, -1)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    elif bits == 8:
        lines = [row.astype(np.uint8).tobytes() for row in rows]
    else:
        ones = (rows[..., None] >> np.arange(bits)[::-1] & 1).reshape(height, -1)
        lines = [np.packbits(row.astype(np.uint8)).tobytes() for row in ones]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image file as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(array: np.ndarray, orientation: int, kind: str = "PNG") -> bytes:
    """A file that has to be shown as EXIF orientation says."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(array, kind, exif=exif)


def good(seed: int, side: int = SIDE) -> np.ndarray:
    """An image nothing is wrong with, unlike any of another seed: random colours on a grid of 8×8, smooth between."""
    small = Image.fromarray(pixels(seed, 8, 8))
    return np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))


def with_size(content: bytes, width: int, height: int) -> bytes:
    """A PNG whose header says another size, and says it with a sound checksum."""
    header = struct.pack(">II", width, height) + content[24:29]
    return content[:8] + chunk(b"IHDR", header) + content[33:]


def bombs() -> list[Planted]:
    """Small files that claim a lot of memory."""
    png, colour = encoded(good(100)), good(101)
    # Older versions of Pillow fill the first frame of an animation while they open the file.
    frame = struct.pack(">IIIIIHHBB", 0, 100_000, 100_000, 0, 0, 1, 10, 1, 0)
    animated = png[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", frame) + png[33:]
    gif = bytearray(encoded(colour[..., 0], "GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    bmp = bytearray(encoded(colour, "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    webp = b"VP8L" + struct.pack("<IBI", 5, 0x2F, 16383 | 16383 << 14) + b"\0"
    packer = zlib.compressobj(9, wbits=-15)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    gibibyte = zlib.compress(b"")[:2] + mebibyte * 1024
    text, international, profile = (
        png[:33] + chunk(name, head + gibibyte) + png[33:]
        for name, head in ((b"zTXt", b"comment\0\0"), (b"iTXt", b"comment\0\1\0\0\0"), (b"iCCP", b"profile\0\0"))
    )
    jpeg = encoded(colour, "JPEG")
    start = jpeg.index(b"\xff\xc0")
    many = "too_many_pixels"
    line = png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 90_000_000, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")
    return [
        Planted(name="cat/bomb_line.png", content=line + chunk(b"IEND", b""), reason=many),
        Planted(name="cat/bomb.png", content=with_size(png, 100_000, 100_000), reason=many),
        Planted(name="cat/bomb_animated.png", content=with_size(animated, 100_000, 100_000), reason=many),
        Planted(name="cat/bomb.gif", content=bytes(gif), reason=many),
        Planted(name="cat/bomb.bmp", content=bytes(bmp), reason=many),
        Planted(name="cat/bomb.webp", content=b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp, reason=many),
        Planted(
            name="cat/bomb.jpg",
            content=jpeg[: start + 5] + struct.pack(">HH", 65535, 65535) + jpeg[start + 9 :],
            reason=many,
        ),
        Planted(name="cat/bomb.ppm", content=b"P6 90000 90000 255\n" + bytes(300), reason=many),
        Planted(name="cat/bomb_ztxt.png", content=text, reason="damaged"),
        Planted(name="cat/bomb_itxt.png", content=international, reason="damaged"),
        Planted(name="cat/bomb_iccp.png", content=profile, reason="damaged"),
    ]


def undecodable() -> list[Planted]:
    """What is no image, or none any more."""
    png, jpeg = encoded(good(110)), encoded(good(111), "JPEG")
    flipped = bytearray(png)
    flipped[png.index(b"IDAT") + 100] ^= 1
    header = bytearray(png)
    header[12:16] = b"IHDX"
    float64 = encoded(good(112)[..., 0].astype(np.float32) / 255, "TIFF")
    where = float64.index(struct.pack("<HHI", 258, 3, 1)) + 8
    float64 = float64[:where] + struct.pack("<H", 64) + float64[where + 2 :]
    wide = np.arange(SIDE**2, dtype=np.int32).reshape(SIDE, SIDE) * 100
    return [
        Planted(name="cat/empty.png", reason="empty"),
        Planted(name="cat/html.png", content=b"<!doctype html><title>404</title>", reason="unknown_format"),
        Planted(
            name="cat/eps.png", content=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", reason="unknown_format"
        ),
        Planted(name="cat/pdf.jpg", content=b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", reason="unknown_format"),
        Planted(name="cat/notes.txt", content=b"PNG files of cats\n", reason="unknown_format"),
        Planted(name="cat/float64.tif", content=float64, reason="unknown_format"),
        Planted(name="cat/cut.png", content=png[: len(png) // 2], reason="damaged"),
        Planted(name="cat/cut_end.png", content=png[:-12], reason="damaged"),
        Planted(name="cat/cut.jpg", content=jpeg[:-100], reason="damaged"),
        Planted(name="cat/cut.gif", content=encoded(good(113)[..., 0], "GIF")[:900], reason="damaged"),
        Planted(name="cat/cut.webp", content=encoded(good(114), "WEBP")[:100], reason="damaged"),
        Planted(name="cat/cut.tif", content=encoded(good(115), "TIFF")[:2000], reason="damaged"),
        Planted(name="cat/cut.bmp", content=encoded(good(116), "BMP")[:-100], reason="damaged"),
        Planted(name="cat/flipped.png", content=bytes(flipped), reason="damaged"),
        Planted(name="cat/header.png", content=bytes(header), reason="damaged"),
        Planted(name="cat/signature.jpg", content=b"\xff\xd8\xff", reason="damaged"),
        Planted(name="cat/int32.tif", content=encoded(wide, "TIFF"), reason="unbounded"),
        Planted(
            name="cat/float.tif",
            content=encoded(good(117)[..., 0].astype(np.float32) / 255, "TIFF"),
            reason="floating_point",
        ),
    ]


def unusual() -> list[Planted]:
    """Images that are stored in a way that takes a conversion; and, with no conversion, such as only look so."""
    grey, colour = good(120)[..., 0], good(121)
    wide = good(122).astype(np.uint16) * 257 + 3
    cmyk = Image.fromarray(good(123)).convert("CMYK")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    palette = Image.fromarray(good(124)).quantize(32)
    frames = [Image.fromarray(good(seed)) for seed in (125, 126)]
    half, opaque = np.full((SIDE, SIDE, 1), 255, np.uint8), np.full((SIDE, SIDE, 1), 255, np.uint8)
    half[: SIDE // 2] = 60
    clear = np.concatenate([good(127), half], axis=-1)
    solid = np.concatenate([good(128), opaque], axis=-1)
    many: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    return [
        Planted(name="cat/wide_grey.png", content=encoded(wide[..., 0]), conversions=("sixteen_bit",)),
        Planted(name="cat/wide.png", content=raw_png(wide, 2, 16), conversions=("sixteen_bit",)),
        Planted(name="cat/wide.tif", content=encoded(wide[..., 1].astype(">u2"), "TIFF"), conversions=("sixteen_bit",)),
        Planted(name="cat/wide.pgm", content=encoded(wide[..., 2], "PPM"), conversions=("sixteen_bit",)),
        Planted(name="cat/cmyk.jpg", content=saved(cmyk, "JPEG"), conversions=("cmyk",)),
        Planted(
            name="cat/cmyk_turned.jpg",
            content=saved(cmyk, "JPEG", exif=exif, quality=60),
            conversions=("cmyk", "rotation"),
        ),
        Planted(name="cat/palette.png", content=saved(palette), conversions=("palette",)),
        Planted(
            name="cat/palette_clear.png",
            content=saved(palette, transparency=bytes([0, 128]) + bytes([255]) * 30),
            conversions=("palette", "transparency"),
        ),
        Planted(name="cat/rgba.png", content=encoded(clear), conversions=("transparency",)),
        Planted(name="cat/rgba_opaque.png", content=encoded(solid)),
        Planted(name="cat/la.png", content=encoded(clear[..., 2:]), conversions=("transparency",)),
        Planted(name="cat/one_bit.png", content=saved(Image.fromarray(grey).convert("1"))),
        Planted(name="cat/turned.jpg", content=turned(colour, 6, "JPEG"), conversions=("rotation",)),
        Planted(name="cat/turned.png", content=turned(good(129), 3), conversions=("rotation",)),
        Planted(name="cat/upright.jpg", content=turned(good(130), 1, "JPEG")),
        Planted(name="cat/animated.gif", content=saved(frames[0], "GIF", **many), conversions=("palette", "animation")),
        Planted(name="cat/animated.png", content=saved(frames[0], "PNG", **many), conversions=("animation",)),
        Planted(name="cat/animated.webp", content=saved(frames[0], "WEBP", **many), conversions=("animation",)),
        Planted(name="cat/pages.tif", content=saved(frames[1], "TIFF", **many), conversions=("animation",)),
    ]


def findable() -> list[Planted]:
    """Sound images that are still not what anyone wants to train on."""
    nearly_flat = np.full((SIDE, SIDE), 128, np.uint8)
    nearly_flat[0, 0] = 90
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[..., 0] = 255
    ghost = Image.fromarray(np.dstack([good(140), np.zeros((SIDE, SIDE), np.uint8)]))
    faint = pixels(141, SIDE, SIDE) // 64
    return [
        Planted(name="dog/blank.png", content=encoded(np.full((SIDE, SIDE), 77, np.uint8)), findings=("blank",)),
        Planted(name="dog/blank_red.png", content=encoded(red), findings=("blank",)),
        Planted(
            name="dog/blank_on_white.png", content=saved(ghost), conversions=("transparency",), findings=("blank",)
        ),
        Planted(name="dog/dark.png", content=encoded(faint), findings=("dark",)),
        Planted(name="dog/bright.png", content=encoded(255 - faint[::-1]), findings=("bright",)),
        Planted(name="dog/nearly_flat.png", content=encoded(nearly_flat), findings=("low_information",)),
        Planted(name="dog/huge.png", content=encoded(good(142, 900)), findings=("size_outlier",)),
        Planted(name="dog/long.png", content=encoded(good(143, 160)[:10]), findings=("aspect_outlier",)),
        Planted(name="dog/z_copy.png", content=encoded(good(0)), findings=("duplicate",)),
        Planted(name="dog/z_repacked.bmp", content=encoded(good(1), "BMP"), findings=("duplicate",)),
    ]


def odd_names() -> list[Planted]:
    """Sound images whose names need care."""
    names = [os.fsdecode(b"\xff\xfe.png"), "two\nlines.png", "ünïcode.png", "tab\tand 'quotes\".png", "-rf.png"]
    return [
        *(Planted(name=f"dog/{name}", content=encoded(good(150 + i))) for i, name in enumerate(names)),
        Planted(name="dog/Case.png", content=encoded(good(160)), findings=("name_collision",)),
        Planted(name="dog/case.png", content=encoded(good(161)), findings=("name_collision",)),
    ]


def refused() -> list[Planted]:
    """What a source must not read: it leads out of the folder, nowhere, in a circle, or waits for ever."""
    return [
        Planted(name="dog/link_out.png", link="{folder}/../outside.png", reason="refused"),
        Planted(name="dog/link_dead.png", link="gone.png", reason="refused"),
        Planted(name="dog/link_loop.png", link="link_loop.png", reason="refused"),
        Planted(name="dog/pipe.png", pipe=True, reason="refused"),
    ]


def ordinary(count: int = 24) -> list[Planted]:
    """Images nothing is wrong with, of both classes in turn, of slightly different sizes."""
    return [
        Planted(name=f"{CLASSES[i % 2]}/{i:04d}.png", content=encoded(good(i, SIDE + i % 5 if i > 1 else SIDE)))
        for i in range(count)
    ]


def everything(count: int = 24) -> list[Planted]:
    """All of the above."""
    return [
        *ordinary(count), *bombs(), *undecodable(), *unusual(), *findable(), *odd_names(), *refused(),
    ]  # fmt: skip


def write(folder: Path, planted: list[Planted]) -> None:
    """Make a folder of these files, and beside it outside.png, to which a link leads."""
    for one in planted:
        file = folder / one.name
        file.parent.mkdir(parents=True, exist_ok=True)
        if one.link is not None:
            file.symlink_to(one.link.format(folder=folder.resolve()))
        elif one.pipe:
            os.mkfifo(file)
        else:
            file.write_bytes(one.content)
    folder.parent.joinpath("outside.png").write_bytes(encoded(good(999)))
