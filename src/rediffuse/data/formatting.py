"""From the bytes of an image file to pixels of one size: pure functions, the same pixels on every run.

Decoding makes whatever a real folder holds plain: EXIF rotation is applied, transparency composited on white, CMYK and
other colour spaces become RGB, 16-bit grey is divided by 257 (65535 / 257 = 255), an animation gives its first frame,
and RGB with three equal channels becomes grey. Formatting takes the centre square and resizes it with a filter that
does not alias.
"""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# An allow-list: other formats of Pillow start programs (EPS) or are no images (PDF).
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


class UndecodableError(Exception):
    """Bytes that give no image; the message says why, and is the same on every run."""


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Args:
        pixels: uint8, H×W where every pixel is grey, else H×W×3.
        mode: Pillow's name of how the file stores them: L, RGB, RGBA, P, CMYK, I;16, ...
    """

    pixels: np.ndarray
    mode: str

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def decode(content: bytes) -> Picture:
    """The image in a file's bytes, upright and as uint8.

    Raises:
        UndecodableError: the bytes are no image of an allowed format, are damaged or cut off, or hold what has no
            fixed range (floats, integers beyond 16 bits).
    """
    if not content:
        raise UndecodableError("0 bytes")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # verify() passes a truncated JPEG: only loading tells.
            image.load()
            mode = image.mode
            plain = _plain(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise UndecodableError(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UndecodableError(" ".join(str(error).split()) or type(error).__name__) from None
    pixels = np.asarray(plain)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return Picture(pixels=pixels, mode=mode)


def square(pixels: np.ndarray, size: int, channels: int) -> np.ndarray:
    """The centre square of an image, resized (Lanczos, antialiased) to size × size.

    Args:
        pixels: uint8, H×W or H×W×3, as `decode` gives them.
        size: pixels a side.
        channels: 1 (luma, ITU-R 601) or 3.

    Returns:
        uint8, channels × size × size.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(pixels[top : top + side, left : left + side]).convert("L" if channels == 1 else "RGB")
    if side != size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def _plain(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range; store 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise ValueError("integer pixels beyond 16 bits have no fixed range; store 8 or 16 bits")
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("L" if image.mode == "1" else "RGB")
