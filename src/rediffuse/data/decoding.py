"""From the bytes of an image file to plain pixels under a policy: the same pixels, or the same refusal, on every run.

Whatever a real folder holds becomes uint8, grey or RGB, upright and opaque; what that took has a name
(`manifest.CONVERSIONS`), and each name a policy, convert or reject. Colour profiles are not applied.

- sixteen_bit: integers of 9 to 16 bits a channel, divided by 257 (or their own greatest value / 255) and rounded. Only
  TIFFs with several channels keep their high byte, as Pillow reads them: at most 1 level off.
- floating_point: 0 to 1 becomes 0 to 255, rounded.
- cmyk: CMYK, YCCK or LAB becomes RGB.
- palette: indices become their colours.
- transparency: laid on the background. Alpha that is opaque everywhere is dropped and not counted.
- rotation: EXIF orientation 2 to 8 is applied.
- animation: the first frame (or page) of several, as Pillow shows it.
"""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from rediffuse.data.image_files import (
    UndecodableError,
    bits_per_channel,
    guarded,
    is_inverted,
    kind_of,
    opened,
    orientation,
)
from rediffuse.data.manifest import CONVERSIONS
from rediffuse.params import CleanParams
from rediffuse.params.data import Policy

__all__ = ["DecodePolicy", "Picture", "UndecodableError", "decode"]

# Of a PNG: where its header tells the colour type, and the type.
_COLOUR_TYPE, _GREY_AND_ALPHA = 25, 4

_STRIP = 1 << 20  # values that are converted at once


@dataclass(frozen=True, kw_only=True)
class DecodePolicy:
    """What happens to an image that is stored in an unusual way: `clean.decode` and the background.

    Args:
        max_pixels: more are refused before they are decoded.
        background: RGB under transparent pixels.
    """

    sixteen_bit: Policy = "convert"
    floating_point: Policy = "reject"
    cmyk: Policy = "convert"
    palette: Policy = "convert"
    transparency: Policy = "convert"
    rotation: Policy = "convert"
    animation: Policy = "convert"
    max_pixels: int = 100_000_000
    background: tuple[int, int, int] = (255, 255, 255)

    @classmethod
    def of(cls, params: CleanParams) -> Self:
        """The policy in params.yaml."""
        return cls(**params.decode.model_dump(), background=params.background)


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    Args:
        pixels: uint8, H×W where every pixel is grey, else H×W×3; read-only.
        mode: Pillow's name of how the file stores them: L, RGB, RGBA, P, CMYK, I;16, ...
        conversions: what decoding took, in the order of `manifest.CONVERSIONS`.
    """

    pixels: np.ndarray
    mode: str
    conversions: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


def decode(content: bytes, policy: DecodePolicy) -> Picture:
    """The image in a file's bytes, upright, opaque and as uint8.

    Raises:
        UndecodableError: the bytes are no image of an allowed format (empty, unknown_format), are damaged or cut off,
            have too_many_pixels or values without a fixed range (unbounded), or take a conversion that the policy
            rejects.
    """
    kind = kind_of(content)
    taken = _Taken(policy)
    with guarded(policy.max_pixels), opened(kind, content, policy.max_pixels) as image:
        mode = image.mode
        bits = bits_per_channel(kind, image, content)
        taken.when(mode == "F", "floating_point", "floating-point pixels")
        if mode == "I" and kind != "PPM":
            raise UndecodableError("unbounded", "integers beyond 16 bits, or with a sign, have no fixed range")
        taken.when(8 < bits <= 16, "sixteen_bit", f"{bits} bits a channel")
        taken.when(mode in ("CMYK", "LAB"), "cmyk", f"pixels in {mode}")
        taken.when(mode in ("P", "PA"), "palette", "pixels are indices into a palette")
        taken.when(
            kind in ("PNG", "GIF", "TIFF", "WEBP") and getattr(image, "is_animated", False),
            "animation",
            "more frames than one",
        )
        # Pillow turns a TIFF while it loads it, and forgets how; other files may hold their EXIF after the pixels.
        turn = orientation(image) if kind == "TIFF" else 1
        taken.when(turn > 1, "rotation", f"EXIF orientation {turn}")
        image.load()
        if kind != "TIFF":
            turn = orientation(image)
            taken.when(turn > 1, "rotation", f"EXIF orientation {turn}")
        pixels, alpha = _planes(image, bits, content)
        if alpha is not None and int(alpha.min()) < 255:
            taken.when(True, "transparency", "transparent pixels")
            pixels = _laid_on(policy.background, pixels, alpha)
    if kind != "TIFF" and turn > 1:
        pixels = np.ascontiguousarray(_upright(pixels, turn))
    if pixels.ndim == 3 and _is_grey(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    return Picture(pixels=pixels, mode=mode, conversions=taken.names())


class _Taken:
    """The conversions that an image takes, each as its policy allows."""

    def __init__(self, policy: DecodePolicy) -> None:
        self._policy = policy
        self._names: set[str] = set()

    def when(self, condition: bool, name: str, what: str) -> None:
        if condition:
            if getattr(self._policy, name) == "reject":
                raise UndecodableError(name, f"{what}; clean.decode.{name} is reject")
            self._names.add(name)

    def names(self) -> tuple[str, ...]:
        return tuple(name for name in CONVERSIONS if name in self._names) if self._names else ()


def _planes(image: ImageFile.ImageFile, bits: int, content: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour, uint8 H×W or H×W×3, and alpha, uint8 H×W, or None where nothing is said of it."""
    key = image.info.get("transparency")
    if image.mode in ("L", "RGB") and bits <= 8:
        pixels = np.asarray(image)
        if key is None:
            return pixels, None
        if isinstance(image, PngImagePlugin.PngImageFile):
            # Pillow spreads grey levels of 2 and 4 bits over 0 to 255, but not the one that is transparent.
            key = np.asarray(key) * (255 // (2**bits - 1))
        return pixels, _but(pixels, key)
    if bits == 16 and isinstance(image, PngImagePlugin.PngImageFile):
        return _wide_png(image, content, key)
    if image.mode.startswith("I"):
        top = 2**bits - 1
        wide = np.asarray(image)
        return _eight(top - wide if is_inverted(image) else wide, top), None
    if image.mode == "F":
        values = np.asarray(image)
        # Not a number is neither at least 0 nor at most 1.
        if not ((values >= 0) & (values <= 1)).all():
            raise UndecodableError("unbounded", "floating-point pixels outside 0 to 1")
        return np.floor(values * np.float64(255) + 0.5).astype(np.uint8), None
    if image.mode == "1":
        pixels = np.asarray(image.convert("L"))
        return pixels, None if key is None else _but(pixels, key)
    if image.mode in ("LA", "La"):
        grey, alpha = image.convert("LA").split()
        return np.asarray(grey), np.asarray(alpha)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return np.asarray(layer.convert("RGB")), np.asarray(layer.getchannel("A"))
    return np.asarray(image.convert("RGB")), None


def _wide_png(
    image: Image.Image, content: bytes, key: int | tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """A PNG of 16 bits a channel, of which Pillow gives all 16 where it is grey, and else the high byte."""
    if image.mode == "I;16":
        wide = np.asarray(image)
    elif content[_COLOUR_TYPE] == _GREY_AND_ALPHA:
        # Two channels of two bytes come as four of one.
        pairs = _read_as(content, "RGBA").astype(np.uint16)
        wide = pairs[..., ::2] << 8 | pairs[..., 1::2]
    else:
        # As if the other byte came first: so Pillow gives the low one.
        low = _read_as(content, f"{image.mode};16L")
        wide = np.asarray(image).astype(np.uint16)
        wide <<= 8
        wide |= low
    if key is not None:
        return _eight(wide, 65535), _but(wide, key)
    narrow = _eight(wide, 65535)
    if wide.ndim == 3 and wide.shape[2] in (2, 4):
        return np.ascontiguousarray(narrow[..., 0] if wide.shape[2] == 2 else narrow[..., :3]), narrow[..., -1]
    return narrow, None


def _read_as(content: bytes, raw_mode: str) -> np.ndarray:
    """The first frame of a PNG, its bytes taken for a layout of Pillow's that they don't have; H×W×channels."""
    with PngImagePlugin.PngImageFile(io.BytesIO(content)) as image:
        image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        image.load()
        return np.asarray(image)


def _eight(wide: np.ndarray, top: int) -> np.ndarray:
    """Integers of 0 to `top` as uint8, rounded."""
    narrow = np.empty(wide.shape, np.uint8)
    # A strip of rows at a time: 32 bits for each value of a large image would be four times its size.
    rows = max(1, _STRIP // max(1, wide[:1].size))
    for top_row in range(0, len(wide), rows):
        strip = wide[top_row : top_row + rows].astype(np.uint32)
        narrow[top_row : top_row + rows] = (strip * 255 + top // 2) // top
    return narrow


def _but(pixels: np.ndarray, key: int | tuple[int, ...] | np.ndarray) -> np.ndarray:
    """Alpha that is 0 where the pixels have the one colour that is transparent, else 255."""
    other = pixels != np.asarray(key)
    opaque: np.ndarray = other.any(axis=-1) if pixels.ndim == 3 else other
    return opaque.astype(np.uint8) * np.uint8(255)


def _laid_on(background: tuple[int, int, int], pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The pixels over the background, rounded; H×W×3."""
    height, width = alpha.shape
    ground = Image.new("RGB", (width, height), background)
    ground.paste(Image.fromarray(pixels).convert("RGB"), mask=Image.fromarray(alpha))
    return np.asarray(ground)


def _upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """The pixels as EXIF orientation 2 to 8 wants them shown."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _is_grey(pixels: np.ndarray) -> bool:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    # Most colour images show it in the first row.
    return np.array_equal(red[0], green[0]) and np.array_equal(red, green) and np.array_equal(red, blue)
