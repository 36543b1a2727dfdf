import io

import numpy as np
import pytest
from PIL import Image

from rediffuse.data.formatting import UndecodableError, decode, square
from tests.data.planted import encoded, pixels


def of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_png_pixels_come_back_as_they_are() -> None:
    colour, grey = pixels(0, 5, 7), pixels(1, 5, 7, channels=1)
    assert np.array_equal(decode(encoded(colour)).pixels, colour)
    assert np.array_equal(decode(encoded(grey)).pixels, grey)
    assert decode(encoded(colour)).mode == "RGB"


def test_rgb_with_equal_channels_is_grey() -> None:
    grey = pixels(0, 4, 4, channels=1)
    picture = decode(encoded(np.stack([grey] * 3, axis=-1)))
    assert np.array_equal(picture.pixels, grey)
    assert picture.mode == "RGB"


def test_sixteen_bits_are_divided_by_257_and_never_clipped() -> None:
    wide = np.array([[0, 128, 129, 257, 40000, 65535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        assert decode(encoded(wide, kind)).pixels.tolist() == [[0, 0, 1, 1, 156, 255]]


def test_transparency_is_laid_on_white() -> None:
    assert decode(of(Image.new("RGBA", (1, 1), (255, 0, 0, 0)))).pixels.tolist() == [[255]]
    assert decode(of(Image.new("RGBA", (1, 1), (255, 0, 0, 51)))).pixels.tolist() == [[[255, 204, 204]]]
    assert decode(of(Image.new("LA", (1, 1), (10, 0)))).pixels.tolist() == [[255]]
    assert decode(of(Image.new("L", (1, 1), 7), transparency=7)).pixels.tolist() == [[255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    assert decode(of(palette)).pixels.tolist() == [[[9, 9, 9], [200, 0, 0]]]
    assert decode(of(palette, transparency=1)).pixels.tolist() == [[9, 255]]


def test_cmyk_becomes_rgb() -> None:
    picture = decode(of(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert picture.mode == "CMYK"
    assert picture.pixels[0, 0].tolist() == [255, 0, 0]


def test_exif_rotation_is_applied() -> None:
    array = pixels(0, 3, 5)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    assert np.array_equal(decode(encoded(array, exif=exif)).pixels, np.rot90(array, -1))


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    assert (decode(of(frames[0], "GIF", save_all=True, append_images=frames[1:])).pixels == 10).all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "0 bytes"),
        (b"<!doctype html><title>404</title>", "not an image of a known format"),
        (encoded(pixels(0, 64, 64), "JPEG")[:-200], "truncated"),
        (encoded(pixels(0, 64, 64))[:-2000], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "not an image of a known format"),
        (encoded(np.array([[0.5]], dtype=np.float32), "TIFF"), "floating-point"),
        (encoded(np.array([[70000]], dtype=np.int32), "TIFF"), "beyond 16 bits"),
        (encoded(pixels(0))[:16] + (100_000).to_bytes(4, "big") * 2 + encoded(pixels(0))[24:], ""),
    ],
)
def test_what_is_no_image_is_refused_in_the_same_words_each_time(content: bytes, expected: str) -> None:
    messages = set()
    for _ in range(2):
        with pytest.raises(UndecodableError) as caught:
            decode(content)
        messages.add(str(caught.value))
    (message,) = messages
    assert expected in message
    assert message
    assert " at 0x" not in message


def test_square_takes_the_centre() -> None:
    wide = pixels(0, 4, 9)
    assert np.array_equal(square(wide, 4, 3), wide[:, 2:6].transpose(2, 0, 1))
    tall = pixels(1, 9, 4, channels=1)
    assert np.array_equal(square(tall, 4, 1), tall[None, 2:6])


def test_square_repeats_grey_and_weighs_colour() -> None:
    grey = pixels(0, 4, 4, channels=1)
    assert np.array_equal(square(grey, 4, 3), np.stack([grey] * 3))
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    assert (square(red, 4, 1) == round(255 * 0.299)).all()


def test_square_does_not_alias() -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = square(stripes, 8, 1)
    assert abs(small.astype(int) - 127.5).max() < 12  # sampling every eighth column would give 255
