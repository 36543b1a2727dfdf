import pickle
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rediffuse.data.decoding import DecodePolicy, Picture, UndecodableError, decode
from rediffuse.data.manifest import CONVERSIONS
from tests.data import dirty
from tests.data.dirty import chunk, raw_png, saved, turned
from tests.data.planted import ROOT, encoded, params_with, pixels

POLICY = DecodePolicy()
GREEN = DecodePolicy(background=(0, 200, 0))


def refusal(content: bytes, policy: DecodePolicy = POLICY) -> tuple[str, str]:
    with pytest.raises(UndecodableError) as caught:
        decode(content, policy)
    return caught.value.reason, caught.value.detail


def tiff(array: np.ndarray, **options: object) -> bytes:
    return encoded(array, "TIFF", **options)


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value in a tag of one short."""
    where = content.index(struct.pack("<HHI", tag, 3, 1)) + 8
    return content[:where] + struct.pack("<H", value) + content[where + 2 :]


def test_every_planted_file_gets_its_verdict() -> None:
    found, expected = {}, {}
    for one in dirty.everything():
        if one.link is None and not one.pipe:
            expected[one.name] = (one.reason, one.conversions)
            try:
                found[one.name] = (None, decode(one.content, POLICY).conversions)
            except UndecodableError as error:
                found[one.name] = (error.reason, ())
    assert found == expected
    assert set(CONVERSIONS) - {name for _, names in found.values() for name in names} == {"floating_point"}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_what_the_policy_rejects_is_refused_by_its_name(name: str) -> None:
    policy = replace(POLICY, floating_point="convert")
    strict = replace(policy, **{name: "reject"})
    floats = dirty.Planted(name="float", content=tiff(np.eye(4, dtype=np.float32)), conversions=("floating_point",))
    refused = 0
    for one in [floats, *dirty.unusual()]:
        assert decode(one.content, policy).conversions == one.conversions
        if name in one.conversions:
            reason, detail = refusal(one.content, strict)
            assert reason == name
            assert detail.endswith(f"; clean.decode.{name} is reject")
            refused += 1
        else:
            assert decode(one.content, strict).conversions == one.conversions
    assert refused


def test_png_pixels_come_back_as_they_are() -> None:
    colour, grey = pixels(0, 5, 7), pixels(1, 5, 7, channels=1)
    assert np.array_equal(decode(encoded(colour), POLICY).pixels, colour)
    assert np.array_equal(decode(encoded(grey), POLICY).pixels, grey)
    assert decode(encoded(colour), POLICY).mode == "RGB"
    assert decode(saved(Image.fromarray(grey > 99)), POLICY).pixels.tolist() == np.where(grey > 99, 255, 0).tolist()


def test_rgb_with_equal_channels_is_grey() -> None:
    grey = pixels(0, 4, 4, channels=1)
    colour = np.stack([grey] * 3, axis=-1)
    picture = decode(encoded(colour), POLICY)
    assert np.array_equal(picture.pixels, grey)
    assert picture.pixels.flags.c_contiguous
    assert picture.mode == "RGB"
    for channel in range(3):
        other = colour.copy()
        other[3, 3, channel] ^= 1
        assert np.array_equal(decode(encoded(other), POLICY).pixels, other)


WIDE = np.array([[0, 128, 129, 257, 40000, 65407, 65535]], dtype=np.uint16)
NARROW = [[0, 0, 1, 1, 156, 255, 255]]


@pytest.mark.parametrize(
    "content",
    [
        encoded(WIDE),
        tiff(WIDE),
        tiff(WIDE.astype(">u2")),
        tiff(WIDE, compression="tiff_lzw"),
        with_tag(tiff(65535 - WIDE), 262, 0),
        encoded(WIDE, "PPM"),
        raw_png(np.stack([WIDE] * 3, axis=-1), 2, 16),
        raw_png(np.stack([WIDE, np.full_like(WIDE, 65535)], axis=-1), 4, 16),
        raw_png(np.stack([*[WIDE] * 3, np.full_like(WIDE, 65535)], axis=-1), 6, 16),
        b"P6 7 1 65535\n" + np.stack([WIDE] * 3, axis=-1).astype(">u2").tobytes(),
        b"P2 7 1 65535\n" + " ".join(map(str, WIDE[0])).encode(),
    ],
)
def test_sixteen_bits_are_divided_by_257_and_never_clipped(content: bytes) -> None:
    picture = decode(content, POLICY)
    assert picture.pixels.tolist() == NARROW
    assert picture.conversions == ("sixteen_bit",)
    assert refusal(content, replace(POLICY, sixteen_bit="reject"))[0] == "sixteen_bit"


def test_sixteen_bit_colour_keeps_every_channel_and_its_alpha() -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (6, 9, 4))
    exact = np.floor(wide / 257 + 0.5)
    assert np.array_equal(decode(raw_png(wide[..., :3], 2, 16), POLICY).pixels, exact[..., :3])
    layer, alpha = exact[..., :3], exact[..., 3:]
    blend = np.floor((layer * alpha + np.array([0, 200, 0]) * (255 - alpha)) / 255 + 0.5)
    picture = decode(raw_png(wide, 6, 16), GREEN)
    assert np.array_equal(picture.pixels, blend)
    assert picture.conversions == ("sixteen_bit", "transparency")
    assert picture.mode == "RGBA"
    blend = np.floor((layer[..., :1] * alpha + np.array([0, 200, 0]) * (255 - alpha)) / 255 + 0.5)
    assert np.array_equal(decode(raw_png(wide[..., [0, 3]], 4, 16), GREEN).pixels, blend)


def test_sixteen_bit_colour_may_be_interlaced() -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (11, 13, 3))
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    lines = [line for x, y, right, down in passes for line in wide[y::down, x::right].astype(">u2")]
    header = struct.pack(">IIBBBBB", 13, 11, 16, 2, 0, 0, 1)
    data = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert np.array_equal(decode(content, POLICY).pixels, np.floor(wide / 257 + 0.5))


def test_only_a_tiff_of_several_wide_channels_keeps_its_high_bytes() -> None:
    wide = np.random.default_rng(0).integers(0, 65536, (4, 4, 3))
    flat = tiff((wide >> 8).astype(np.uint8))
    # Pillow doesn't write one: 16 bits a sample, and the samples at the end.
    at = flat.index(struct.pack("<HHI", 258, 3, 3)) + 8
    bits = struct.unpack("<I", flat[at : at + 4])[0]
    content = bytearray(flat)
    content[bits : bits + 6] = struct.pack("<HHH", 16, 16, 16)
    at = flat.index(struct.pack("<HH", 273, 4)) + 8
    content[at : at + 4] = struct.pack("<I", len(flat))
    picture = decode(bytes(content) + wide.astype("<u2").tobytes(), POLICY)
    assert np.array_equal(picture.pixels, wide >> 8)
    assert picture.conversions == ("sixteen_bit",)


def test_integers_without_a_fixed_range_are_unbounded() -> None:
    for content in (tiff(np.array([[70000]], np.int32)), tiff(np.array([[7]], np.int32))):
        assert refusal(content) == ("unbounded", "integers beyond 16 bits, or with a sign, have no fixed range")


def test_floats_are_rejected_or_stretched_from_0_to_1_and_never_clipped() -> None:
    convert = replace(POLICY, floating_point="convert")
    picture = decode(tiff(np.array([[0, 0.5, 0.2, 1]], np.float32)), convert)
    assert picture.pixels.tolist() == [[0, 128, 51, 255]]
    assert (picture.mode, picture.conversions) == ("F", ("floating_point",))
    assert refusal(tiff(np.array([[0.5]], np.float32)))[0] == "floating_point"
    for value in (-0.01, 1.01, np.nan, np.inf):
        assert refusal(tiff(np.array([[0.5, value]], np.float32)), convert)[0] == "unbounded"


def test_transparency_is_laid_on_the_background_and_counted_where_it_shows() -> None:
    def over(content: bytes, policy: DecodePolicy = GREEN) -> tuple[list[object], tuple[str, ...]]:
        picture = decode(content, policy)
        return picture.pixels.tolist(), picture.conversions

    clear = ("transparency",)
    red = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    assert over(saved(red)) == ([[[51, 160, 0]]], clear)
    assert over(saved(red), POLICY) == ([[[255, 204, 204]]], clear)
    assert over(saved(red, "WEBP", lossless=True, exact=True)) == ([[[51, 160, 0]]], clear)
    assert over(saved(red, "TIFF")) == ([[[51, 160, 0]]], clear)
    assert over(saved(Image.new("RGBA", (1, 1), (1, 2, 3, 255)))) == ([[[1, 2, 3]]], ())
    assert over(saved(Image.new("LA", (1, 1), (10, 0)))) == ([[[0, 200, 0]]], clear)
    assert over(saved(Image.new("LA", (1, 1), (10, 0))), POLICY) == ([[255]], clear)
    assert over(saved(Image.new("LA", (1, 1), (10, 255)))) == ([[10]], ())
    assert over(saved(Image.new("L", (1, 1), 7), transparency=7)) == ([[[0, 200, 0]]], clear)
    assert over(saved(Image.new("L", (1, 1), 7), transparency=8)) == ([[7]], ())
    assert over(saved(Image.new("RGB", (1, 1), (7, 8, 9)), transparency=(7, 8, 9))) == ([[[0, 200, 0]]], clear)
    assert over(saved(Image.new("RGB", (1, 1), (7, 8, 9)), transparency=(7, 8, 1))) == ([[[7, 8, 9]]], ())


@pytest.mark.parametrize(("bits", "levels"), [(1, [0, 255]), (2, [0, 85, 170, 255]), (4, list(range(0, 256, 17)))])
def test_the_transparent_level_of_a_png_of_few_bits_is_the_one_that_shows_through(bits: int, levels: list[int]) -> None:
    steps = np.arange(2**bits)[None]
    assert decode(raw_png(steps, 0, bits), POLICY).pixels.tolist() == [levels]
    keyed = raw_png(steps, 0, bits, extra=chunk(b"tRNS", struct.pack(">H", 1)))
    assert decode(keyed, DecodePolicy(background=(9, 9, 9))).pixels.tolist() == [[levels[0], 9, *levels[2:]]]


def test_the_transparent_colour_of_a_wide_png_is_compared_in_all_its_bits() -> None:
    for array, kind, key in (
        (WIDE, 0, struct.pack(">H", 129)),
        (np.stack([WIDE] * 3, -1), 2, struct.pack(">H", 129) * 3),
    ):
        picture = decode(raw_png(array, kind, 16, extra=chunk(b"tRNS", key)), DecodePolicy(background=(9, 9, 9)))
        assert picture.pixels.tolist() == [[0, 0, 9, 1, 156, 255, 255]]
        assert picture.conversions == ("sixteen_bit", "transparency")


def test_a_palette_gives_its_colours_and_its_alpha() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 200, 0, 0])
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        picture = decode(saved(image, kind), POLICY)
        assert (picture.pixels.tolist(), picture.conversions) == ([[[9, 9, 9], [200, 0, 0]]], ("palette",))
    for content in (saved(image, transparency=1), saved(image, "GIF", transparency=1)):
        picture = decode(content, GREEN)
        assert picture.pixels.tolist() == [[[9, 9, 9], [0, 200, 0]]]
        assert picture.conversions == ("palette", "transparency")
    both = Image.new("PA", (2, 1))
    both.putpalette([9, 9, 9, 200, 0, 0])
    both.putpixel((0, 0), (1, 255))
    picture = decode(saved(both, "TIFF"), GREEN)
    assert picture.pixels.tolist() == [[[200, 0, 0], [0, 200, 0]]]
    assert (picture.mode, picture.conversions) == ("PA", ("palette", "transparency"))
    half = decode(saved(image, transparency=bytes([255, 51])), GREEN)
    assert half.pixels.tolist() == [[[9, 9, 9], [40, 160, 0]]]


def test_other_colour_spaces_become_rgb() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        picture = decode(saved(red, kind), POLICY)
        assert (picture.mode, picture.conversions) == ("CMYK", ("cmyk",))
        assert picture.pixels[0, 0].tolist() == [255, 0, 0]
    lab = decode(saved(Image.new("LAB", (2, 2), (255, 128, 128)), "TIFF"), POLICY)
    assert (lab.mode, lab.conversions) == ("LAB", ("cmyk",))
    assert lab.pixels.min() > 250
    assert decode(encoded(np.full((8, 8, 3), (0, 0, 255), np.uint8), "JPEG"), POLICY).conversions == ()


TURNS = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_rotation_is_applied_and_counted_where_it_changes_something(orientation: int) -> None:
    array = np.array(TURNS[1], np.uint8)
    exif = Image.Exif()
    exif[dirty.ORIENTATION] = orientation
    packed = tiff(array, exif=exif, compression="tiff_lzw")
    webp = encoded(array, "WEBP", exif=exif, lossless=True)
    for content in (turned(array, orientation), turned(array, orientation, "TIFF"), packed, webp):
        picture = decode(content, POLICY)
        assert picture.pixels.tolist() == TURNS[orientation]
        assert picture.conversions == (("rotation",) if orientation > 1 else ())
        assert (picture.height, picture.width) == np.shape(TURNS[orientation])


def test_exif_that_can_not_be_read_is_ignored() -> None:
    array = np.array(TURNS[1], np.uint8)
    for exif in (b"Exif\0\0nonsense", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01x\0\0\0", b"MM\0*"):
        picture = decode(encoded(array, exif=exif), POLICY)
        assert (picture.pixels.tolist(), picture.conversions) == (TURNS[1], ())
    assert decode(turned(array, 9), POLICY).conversions == ()


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_an_animation_gives_its_first_frame(kind: str, options: dict[str, bool]) -> None:
    frames = [Image.fromarray(pixels(seed, 9, 9) // 64 * 64) for seed in range(3)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    picture = decode(content, POLICY)
    assert np.array_equal(picture.pixels, np.asarray(frames[0]))
    assert "animation" in picture.conversions
    assert decode(saved(frames[0], kind, **options), POLICY).conversions == picture.conversions[:-1]
    hidden = saved(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)
    assert np.array_equal(decode(hidden, POLICY).pixels, np.asarray(frames[0]))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_the_limit_on_pixels_is_the_policys_alone_and_exact(
    kind: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    content = encoded(pixels(0, 7, 9), kind)
    assert decode(content, DecodePolicy(max_pixels=63)).pixels.shape == (7, 9, 3)
    reason, detail = refusal(content, DecodePolicy(max_pixels=62))
    assert reason == "too_many_pixels"
    # A WebP's canvas is allocated while it is opened: Pillow is to find it too large before that.
    size = "63" if kind == "WEBP" else "9×7"
    assert detail == f"{size} pixels; clean.decode.max_pixels is 62"
    assert Image.MAX_IMAGE_PIXELS == 5
    assert not recwarn.list


def test_what_a_header_claims_is_refused_before_anything_else_is_looked_at() -> None:
    png = encoded(pixels(0))
    claim = png[:16] + struct.pack(">II", 100_000, 100_000) + png[24:50]
    assert refusal(claim) == ("too_many_pixels", "100000×100000 pixels; clean.decode.max_pixels is 100000000")


def test_bombs_are_refused_without_the_memory_they_ask_for(tmp_path: Path) -> None:
    bombs = dirty.bombs()
    for i, one in enumerate(bombs):
        tmp_path.joinpath(f"{i:02d}").write_bytes(one.content)
    script = f"""
import pathlib, resource
from rediffuse.data.decoding import DecodePolicy, UndecodableError, decode
files = [file.read_bytes() for file in sorted(pathlib.Path({str(tmp_path)!r}).iterdir())]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for content in files:
    try:
        decode(content, DecodePolicy())
    except UndecodableError as error:
        print(error.reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "src", capture_output=True, text=True, check=True)
    *reasons, mebibytes = run.stdout.split()
    assert reasons == [one.reason for one in bombs]
    assert int(mebibytes) < 16


def test_a_refusal_is_in_the_same_words_each_time() -> None:
    for one in [*dirty.undecodable(), *dirty.bombs()]:
        first, second = refusal(one.content), refusal(one.content)
        assert first == second
        assert first[1]
        assert "\n" not in first[1]
        assert " at 0x" not in first[1]


def test_no_bytes_make_anything_but_a_picture_or_a_refusal() -> None:
    rng = np.random.default_rng(0)
    contents = [one.content for one in dirty.unusual()]
    policy = DecodePolicy(floating_point="convert", max_pixels=100_000)
    outcomes = set()
    for _ in range(3000):
        content = bytearray(contents[rng.integers(len(contents))])
        for _ in range(rng.integers(1, 5)):
            content[rng.integers(min(len(content), 200))] = rng.integers(256)
        del content[rng.integers(len(content) // 2, 2 * len(content)) :]
        try:
            outcomes.add(type(decode(bytes(content), policy)))
        except UndecodableError as error:
            outcomes.add(error.reason)
    assert outcomes == {Picture, "damaged", "unknown_format", "too_many_pixels"}


def test_the_policy_is_that_of_params_yaml_and_can_be_sent_to_another_process() -> None:
    params = params_with().clean
    assert DecodePolicy.of(params) == POLICY
    changed = params_with(
        clean__background=(1, 2, 3), clean__decode={**params.decode.model_dump(), "cmyk": "reject", "max_pixels": 9}
    )
    policy = DecodePolicy.of(changed.clean)
    assert policy == replace(POLICY, background=(1, 2, 3), cmyk="reject", max_pixels=9)
    assert pickle.loads(pickle.dumps(policy)) == policy
