"""Which image formats are read, and what a file says of itself before its pixels are decoded."""

import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# An allow-list: other formats of Pillow start programs (EPS) or are no images (PDF). The reader is named here, because
# Image.open would try a file with every format whose first bytes fit, and turn what each says into "can't identify".
_READERS: Mapping[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    # Also for MPO, a JPEG followed by previews or a gain map of the same photo: that is no animation.
    "JPEG": JpegImagePlugin.JpegImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
_SIGNATURE = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)|(?P<JPEG>\xff\xd8\xff)|(?P<GIF>GIF8[79]a)"
    rb"|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0)|(?P<TIFF>II[\x2a\x2b]\0|MM\0[\x2a\x2b])"
    rb"|(?P<WEBP>RIFF.{4}WEBP)|(?P<PPM>P[1-6f]\s)",
    re.DOTALL,
)
# The file is sound, but of a variety that Pillow doesn't read.
_UNREAD = re.compile(r"unknown pixel mode|cannot handle|unsupported|not (yet )?supported", re.IGNORECASE)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_ORIENTATION = 0x0112

MOST_SIDE = 1 << 18
"""Pixels along a side: what resizing holds grows with it, and a line of 2^31 bits is more than Pillow can address."""


class UndecodableError(Exception):
    """Bytes that give no image.

    Args:
        reason: one of `manifest.FAULTS`.
        detail: the same words on every run and machine.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def kind_of(content: bytes) -> str:
    """The format that the first bytes of a file show: PNG, JPEG, GIF, BMP, TIFF, WEBP or PPM.

    Raises:
        UndecodableError: empty, or unknown_format.
    """
    match = _SIGNATURE.match(content)
    if match is None or match.lastgroup is None:
        if not content:
            raise UndecodableError("empty", "0 bytes")
        raise UndecodableError("unknown_format", f"not an image of a known format ({', '.join(_READERS)})")
    return match.lastgroup


@contextmanager
def guarded(max_pixels: int) -> Iterator[None]:
    """Whatever Pillow makes of a file in here is either an image or an `UndecodableError`.

    Pillow's own limit on pixels is the given one meanwhile (in the whole process, so not for threads): it guards
    what is allocated before the size is known here, such as the canvas of a WebP or the frame of a GIF.
    """
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Pillow warns beyond its limit and stops beyond twice its limit.
            Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment]
            yield
    except (UndecodableError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+ pixels", str(error))
        raise _too_many(pixels[0] if pixels else "too many pixels", max_pixels) from None
    # Pillow's readers stumble over hostile bytes in every way there is: struct.error, KeyError, ZeroDivisionError, ...
    except Exception as error:
        detail = " ".join(re.sub(r"0x[0-9a-fA-F]+", "0x", str(error)).split())[:200]
        if not isinstance(error, (OSError, SyntaxError, ValueError)) or not re.search("[a-z]{3}", detail):
            detail = f"{type(error).__name__}: {detail}".removesuffix(": ")
        raise UndecodableError("unknown_format" if _UNREAD.search(detail) else "damaged", detail) from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def opened(kind: str, content: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """The image in a file of a known format, its header read and its pixels not. Call it `guarded`.

    Raises:
        UndecodableError: too_many_pixels; or damaged: a PNG that is cut off, or whose checksums are wrong.
    """
    if kind == "PNG":
        # Before opening: older versions of Pillow fill the frame of an animation while they open it.
        _check_size(int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big"), max_pixels)
        _check_png(content)
    image = _READERS[kind](io.BytesIO(content))
    _check_size(*image.size, max_pixels)
    return image


def bits_per_channel(kind: str, image: ImageFile.ImageFile, content: bytes) -> int:
    """How many bits a channel has in the file, before `image` is loaded: Pillow's mode alone does not tell."""
    if kind == "PNG":
        return content[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    if kind == "PPM":
        # Pillow gives the raw reader its mode only, the others the greatest value too.
        args = image.tile[0].args
        greatest = args[1] if isinstance(args, tuple) and args[0] != "F;32F" and len(args) == 2 else 0
        return 16 if image.mode == "I" or greatest > 255 else 8
    return 8


def is_inverted(image: ImageFile.ImageFile) -> bool:
    """Whether 0 is white in a TIFF: Pillow turns that around for up to 8 bits only."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def orientation(image: Image.Image) -> int:
    """The EXIF (or XMP) orientation, 1 to 8; 1 where there is none, or none that can be read."""
    if not hasattr(image, "tag_v2") and not {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"} & set(
        image.info
    ):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION)
    # Broken EXIF says nothing about the pixels.
    except Exception:
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if max(width, height) > MOST_SIDE:
        raise UndecodableError("too_many_pixels", f"{width}×{height} pixels; a side may have {MOST_SIDE}")
    if width * height > max_pixels:
        raise _too_many(f"{width}×{height} pixels", max_pixels)


def _too_many(size: str, max_pixels: int) -> UndecodableError:
    return UndecodableError("too_many_pixels", f"{size}; clean.decode.max_pixels is {max_pixels}")


def _check_png(content: bytes) -> None:
    """Pillow stops at the last pixel, and so takes a PNG that ends there or whose checksums are wrong."""
    position, view = 8, memoryview(content)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(view[position : position + 4], "big")
        name = content[position + 4 : position + 8]
        if end + 4 > len(content):
            break
        # The first letter of a chunk that can be left out is small.
        if name[0] < ord("a") and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UndecodableError("damaged", f"the checksum of the PNG's chunk {name!r} is wrong")
        if name == b"IEND":
            return
        position = end + 4
    raise UndecodableError("damaged", "the PNG is cut off: it has no end")
