"""Images with planted near duplicates: what is real at 28 pixels, and made without any download at 224."""

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import sklearn.datasets
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from rediffuse.data.decoding import DecodePolicy
from rediffuse.data.looking import look
from rediffuse.data.sources import Row

Change = Callable[[Image.Image, np.random.Generator], Image.Image]

_CUBIC = Image.Resampling.BICUBIC


def encoded(kind: str, quality: int) -> Change:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, kind, quality=quality)
        return Image.open(buffer).convert(image.mode)

    return change


def resized(factor: float, *, back: bool) -> Change:
    def change(image: Image.Image, _: np.random.Generator) -> Image.Image:
        other = image.resize((round(image.width * factor), round(image.height * factor)), _CUBIC)
        return other.resize(image.size, _CUBIC) if back else other

    return change


def cropped(share: float) -> Change:
    """A part at a random place, both sides shorter by this share, by one pixel at least."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        across, down = max(1, round(image.width * share)), max(1, round(image.height * share))
        left, top = (int(random.integers(0, cut + 1)) for cut in (across, down))
        return image.crop((left, top, left + image.width - across, top + image.height - down))

    return change


def enhanced(kind: type[ImageEnhance._Enhance], factor: float) -> Change:
    return lambda image, _: kind(image).enhance(factor)  # type: ignore[call-arg]


def flipped(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def noisy(image: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(image) + random.normal(0, 5, np.asarray(image).shape)
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


KINDS: dict[str, Change] = {
    "exact copy": lambda image, _: image,
    "JPEG 90": encoded("JPEG", 90),
    "JPEG 75": encoded("JPEG", 75),
    "JPEG 50": encoded("JPEG", 50),
    "WebP 80": encoded("WEBP", 80),
    "75 % and back": resized(0.75, back=True),
    "50 % and back": resized(0.5, back=True),
    "200 %": resized(2, back=False),
    "crop by 2 %": cropped(0.02),
    "crop by 5 %": cropped(0.05),
    "crop by 10 %": cropped(0.1),
    "flip": flipped,
    "brightness +10 %": enhanced(ImageEnhance.Brightness, 1.1),
    "brightness -10 %": enhanced(ImageEnhance.Brightness, 0.9),
    "contrast +10 %": enhanced(ImageEnhance.Contrast, 1.1),
    "contrast -10 %": enhanced(ImageEnhance.Contrast, 0.9),
    "noise of 5 levels": noisy,
    "rotated by 2°": lambda image, _: image.rotate(2, _CUBIC),
}
"""What is done to an image to make a near duplicate of it; the last is beyond what the search promises."""


def views_of(images: Iterator[Image.Image] | list[Image.Image]) -> np.ndarray:
    """Their views as the stage `clean` makes them, under its default policy."""
    parts, batch = [], []
    for number, image in enumerate(images):
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=0)
        batch.append(Row(id=str(number), content=buffer.getvalue(), label=None, origin=""))
        if len(batch) == 256:
            parts.append(look(batch, DecodePolicy(), "center_crop")[1])
            batch = []
    parts.append(look(batch, DecodePolicy(), "center_crop")[1])
    return np.concatenate(parts)


def fashion(folder: Path = Path("/usr/share/datasets/fashion-mnist")) -> np.ndarray:
    """Fashion-MNIST (Debian: dataset-fashion-mnist): uint8, 70,000×28×28."""
    files = [folder / f"{part}-images-idx3-ubyte.gz" for part in ("train", "t10k")]
    contents = [gzip.decompress(file.read_bytes()) for file in files]
    return np.concatenate([np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28) for content in contents])


def photographs() -> list[Image.Image]:
    """Tiles of 224×224 out of three photographs that come with scikit-learn and matplotlib, none near another."""
    samples = Path(sklearn.datasets.__file__).parent / "images"
    files = [samples / "china.jpg", samples / "flower.jpg"]
    files.append(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    tiles = []
    for photograph in (Image.open(file).convert("RGB") for file in files):
        for side in (200, 100, 66, 50):
            for top in range(0, photograph.height - side + 1, side):
                for left in range(0, photograph.width - side + 1, side):
                    tile = photograph.crop((left, top, left + side, top + side))
                    tiles.append(tile.resize((224, 224), _CUBIC))
    return tiles


def drawn(random: np.random.Generator, count: int, garments: np.ndarray) -> list[Image.Image]:
    """Clouds, shapes, collages of garments, single garments, and cards of one template with other words: 224×224."""
    makers = (_cloud, _shapes, _template, *[lambda random: _collage(random, garments)] * 2)
    return [makers[number % len(makers)](random) for number in range(count)]  # type: ignore[no-untyped-call]


def _cloud(random: np.random.Generator) -> Image.Image:
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.fftfreq(224))
    frequency[0, 0] = 1
    spectra = np.fft.fft2(random.normal(size=(3, 224, 224)) + 2 * random.normal(size=(1, 224, 224)))
    planes = np.fft.ifft2(spectra / frequency ** random.uniform(1, 2)).real
    planes = (planes - planes.mean(axis=(1, 2), keepdims=True)) / planes.std(axis=(1, 2), keepdims=True)
    levels = np.clip(128 + planes * random.uniform(20, 60, (3, 1, 1)) + random.uniform(-40, 40, (3, 1, 1)), 0, 255)
    return Image.fromarray(levels.transpose(1, 2, 0).astype(np.uint8))


def _shapes(random: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (224, 224), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(3, 12))):
        left, top = (int(value) for value in random.integers(-20, 200, 2))
        width, height = (int(value) for value in random.integers(10, 120, 2))
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((left, top, left + width, top + height), fill=_colour(random))
    return image


def _template(random: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", (224, 224), (235, 235, 225))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 224, 40), fill=(40, 80, 160))
    draw.rectangle((20, 150, 204, 210), outline=(0, 0, 0), width=3)
    draw.ellipse((150, 60, 200, 110), fill=(200, 60, 40))
    word = "".join(random.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), int(random.integers(4, 8))))
    draw.text((25, 65), word, fill=(0, 0, 0), font=ImageFont.load_default(28))
    return image


def _collage(random: np.random.Generator, garments: np.ndarray) -> Image.Image:
    side = int(random.integers(1, 4))
    chosen = garments[random.integers(0, len(garments), side * side)].reshape(side, side, 28, 28)
    grey = chosen.transpose(0, 2, 1, 3).reshape(28 * side, 28 * side, 1)
    return Image.fromarray((grey * random.uniform(0.5, 1, 3)).astype(np.uint8)).resize((224, 224), _CUBIC)


def _colour(random: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue
