import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rediffuse.data.card import Card
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from tests.data.planted import contents, encoded, image_file, params_with, pixels


def cleaned(root: Path, **changes: object) -> tuple[Workspace, dict[str, object]]:
    workspace, params = Workspace.at(root), params_with(**changes)
    prepare(params, workspace)
    return workspace, clean(params, workspace)


def reasons(workspace: Workspace) -> dict[str, tuple[str, str]]:
    table = pd.read_parquet(workspace.rejected)
    return {row.id: (row.reason, row.detail) for row in table.itertuples()}


def faulty_folder(raw: Path) -> None:
    """Six sound images in two classes, and one file for each thing that goes wrong in a real folder."""
    for i in range(3):
        image_file(raw / "cat" / f"{i}.png", i)
        image_file(raw / "dog" / f"{i}.png", 10 + i)
    (raw / "cat" / "again.png").write_bytes((raw / "cat" / "0.png").read_bytes())
    (raw / "dog" / "as-cat.png").write_bytes((raw / "cat" / "1.png").read_bytes())
    (raw / "cat" / "empty.png").touch()
    (raw / "cat" / "page.png").write_text("<html>404</html>")
    (raw / "dog" / "cut.jpg").write_bytes(encoded(pixels(5, 64, 64), "JPEG")[:-300])
    (raw / "dog" / "red.png").write_bytes(encoded(np.full((12, 12, 3), (255, 0, 0), np.uint8)))
    (raw / "dog" / "red2.png").write_bytes((raw / "dog" / "red.png").read_bytes())
    (raw / "dog" / "deep.png").write_bytes(encoded(np.arange(144, dtype=np.uint16).reshape(12, 12) * 400))


def test_every_planted_fault_is_listed_with_its_reason(tmp_path: Path) -> None:
    faulty_folder(tmp_path / "raw")
    workspace, metrics = cleaned(tmp_path)
    assert reasons(workspace) == {
        "cat/again.png": ("duplicate", "the same pixels as cat/0.png"),
        "cat/empty.png": ("undecodable", "0 bytes"),
        "cat/page.png": (
            "undecodable",
            "not an image of a known format (PNG, JPEG, GIF, BMP, TIFF, WEBP, PPM)",
        ),
        "dog/as-cat.png": ("duplicate", "the same pixels as cat/1.png, but labelled dog and not cat"),
        "dog/cut.jpg": ("undecodable", reasons(workspace)["dog/cut.jpg"][1]),
        "dog/red.png": ("blank", "every pixel is the same"),
        "dog/red2.png": ("blank", "every pixel is the same"),
    }
    assert metrics == {
        "found": 14,
        "kept": 7,
        "rejected": 7,
        "reasons": {"undecodable": 3, "blank": 2, "duplicate": 2},
    }
    assert json.loads(workspace.metrics("clean").read_text()) == metrics


def test_examples_manifest_and_card_agree(tmp_path: Path) -> None:
    faulty_folder(tmp_path / "raw")
    workspace, _ = cleaned(tmp_path)
    examples, manifest = np.load(workspace.examples), pd.read_parquet(workspace.manifest)
    card = Card.read(workspace.card)
    names = ["cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png", "dog/deep.png"]
    assert manifest["id"].tolist() == manifest["group"].tolist() == names
    assert manifest["mode"].tolist() == ["RGB"] * 6 + ["I;16"]
    assert examples.shape == (7, 3, 12, 12)
    for image, seed in zip(examples, (0, 1, 2, 10, 11, 12), strict=False):
        assert np.array_equal(image, pixels(seed).transpose(2, 0, 1))
    assert np.array_equal(examples[6, 0], np.rint(np.arange(144).reshape(12, 12) * 400 / 257))
    assert (card.shape, card.classes, card.count) == ((3, 12, 12), ("cat", "dog"), 7)
    assert card.class_counts == {"cat": 3, "dog": 4}
    assert (card.mean, card.std) == pytest.approx(((examples / 127.5 - 1).mean(), (examples / 127.5 - 1).std()))


def test_the_test_image_of_a_duplicate_stays(tmp_path: Path) -> None:
    for i in range(2):
        for part, seed in (("train", i), ("test", 10 + i)):
            for label in ("cat", "dog"):
                image_file(tmp_path / "raw" / part / label / f"{i}.png", seed + (20 if label == "dog" else 0))
    (tmp_path / "raw" / "train" / "cat" / "leak.png").write_bytes(
        (tmp_path / "raw" / "test" / "dog" / "1.png").read_bytes()
    )
    workspace, _ = cleaned(tmp_path)
    assert reasons(workspace) == {
        "train/cat/leak.png": ("duplicate", "the same pixels as test/dog/1.png, but labelled cat and not dog")
    }
    assert pd.read_parquet(workspace.manifest)["given_split"].tolist() == ["train"] * 4 + ["test"] * 4


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(["sound", "same", "blank", "broken"]), min_size=1, max_size=8))
def test_every_row_is_kept_or_rejected(tmp_path: Path, kinds: list[str]) -> None:
    shutil.rmtree(tmp_path)
    made = {
        "same": encoded(pixels(99)),
        "blank": encoded(np.zeros((12, 12), np.uint8)),
        "broken": b"\x89PNG and no more",
    }
    image_file(tmp_path / "raw" / "cat" / "first.png", 0)
    for i, kind in enumerate(kinds):
        (tmp_path / "raw" / "cat" / f"{i}.png").write_bytes(made.get(kind) or encoded(pixels(100 + i)))
    workspace, metrics = cleaned(tmp_path)
    kept, rejected = pd.read_parquet(workspace.manifest)["id"], pd.read_parquet(workspace.rejected)["id"]
    assert sorted([*kept, *rejected]) == sorted([*(f"cat/{i}.png" for i in range(len(kinds))), "cat/first.png"])
    assert metrics["kept"] == 1 + kinds.count("sound") + min(1, kinds.count("same"))
    assert metrics["found"] == len(kinds) + 1 == metrics["kept"] + metrics["rejected"]


def test_clean_writes_the_same_bytes_again_and_in_another_folder(tmp_path: Path) -> None:
    for place in ("here", "there"):
        faulty_folder(tmp_path / place / "raw")
    here, _ = cleaned(tmp_path / "here")
    first = contents(here.clean)
    assert sorted(first) == ["card.json", "examples.npy", "manifest.parquet", "rejected.parquet"]
    cleaned(tmp_path / "here")
    assert contents(here.clean) == first
    there, _ = cleaned(tmp_path / "there")
    assert contents(there.clean) == first


def test_the_size_is_the_commonest_shorter_side_and_the_smaller_of_two(tmp_path: Path) -> None:
    for i, side in enumerate((16, 16, 24, 24, 9)):
        image_file(tmp_path / "raw" / "cat" / f"{i}.png", i, height=side, width=30)
    workspace, _ = cleaned(tmp_path)
    assert Card.read(workspace.card).shape == (3, 16, 16)
    image_file(tmp_path / "raw" / "cat" / "more.png", 7, height=30, width=24)
    cleaned(tmp_path)
    assert Card.read(workspace.card).shape == (3, 24, 24)
    cleaned(tmp_path, clean__size=8, clean__channels=1)
    assert Card.read(workspace.card).shape == (1, 8, 8)
    assert pd.read_parquet(workspace.manifest)["height"].tolist() == [16, 16, 24, 24, 9, 30]


def test_channels_are_one_where_every_image_is_grey(tmp_path: Path) -> None:
    for i in range(3):
        image_file(tmp_path / "raw" / "cat" / f"{i}.png", i, channels=1)
    grey_as_rgb = np.stack([pixels(9, channels=1)] * 3, axis=-1)
    (tmp_path / "raw" / "cat" / "rgb.png").write_bytes(encoded(grey_as_rgb))
    workspace, _ = cleaned(tmp_path)
    assert Card.read(workspace.card).shape[0] == 1
    cleaned(tmp_path, clean__channels=3)
    assert np.array_equal(np.load(workspace.examples)[-1], grey_as_rgb.transpose(2, 0, 1))


def test_what_can_not_be_used_is_one_line_and_leaves_the_earlier_files(tmp_path: Path) -> None:
    faulty_folder(tmp_path / "raw")
    workspace, _ = cleaned(tmp_path)
    before = contents(workspace.clean) | contents(workspace.root / "metrics")

    def refusal(**changes: object) -> str:
        with pytest.raises(UserError) as caught:
            cleaned(tmp_path, **changes)
        assert contents(workspace.clean) == {name: before[name] for name in contents(workspace.clean)}
        assert workspace.metrics("clean").read_bytes() == before["clean.json"]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert refusal(clean__max_rejected_share=0.49) == (
        "7 of 14 images are rejected, 3 of them as undecodable (the first is 'cat/empty.png': 0 bytes); "
        "allowed is a share of clean.max_rejected_share (0.49), and one image has to stay"
    )
    (tmp_path / "raw" / "bird").mkdir()
    assert "the class 'bird' is left without images (it has none)" in refusal()
    (tmp_path / "raw" / "bird" / "a.png").touch()
    assert "the class 'bird' is left without images (1 undecodable)" in refusal()
    shutil.rmtree(tmp_path / "raw")
    for i in range(3):
        image_file(tmp_path / "raw" / "cat" / f"{i}.png", i, height=2, width=3)
    assert "the commonest shorter side of the images is 2; set clean.size to 4 to 1024 pixels" in refusal()
    shutil.rmtree(tmp_path / "raw")
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    (tmp_path / "raw" / "cat" / "a.png").touch()
    assert "1 of 1 images are rejected, 1 of them as undecodable" in refusal()


def test_images_with_the_same_bytes_and_another_shape_are_no_duplicates(tmp_path: Path) -> None:
    image_file(tmp_path / "raw" / "cat" / "wide.png", 0, height=8, width=18, channels=1)
    tall = pixels(0, 8, 18, channels=1).reshape(18, 8)
    (tmp_path / "raw" / "cat" / "tall.png").write_bytes(encoded(tall))
    assert cleaned(tmp_path)[1]["kept"] == 2


def test_exactly_the_allowed_share_may_be_rejected(tmp_path: Path) -> None:
    faulty_folder(tmp_path / "raw")
    assert cleaned(tmp_path, clean__max_rejected_share=0.5)[1]["rejected"] == 7


def test_clean_before_prepare_says_which_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest\.json is missing; run the stage prepare first"):
        clean(params_with(), Workspace.at(tmp_path))


def test_a_given_test_set_that_loses_every_image_is_not_replaced_in_silence(tmp_path: Path) -> None:
    for i in range(6):
        image_file(tmp_path / "raw" / "train" / "cat" / f"{i}.png", i)
    test = tmp_path / "raw" / "test" / "cat"
    test.mkdir(parents=True)

    def refusal() -> str:
        with pytest.raises(UserError) as caught:
            cleaned(tmp_path)
        assert not Workspace.at(tmp_path).card.exists()
        return str(caught.value)

    assert refusal() == (
        "the source's own test set is left without images (it has none); it needs at least one image, "
        "or has to be left out as a whole"
    )
    (test / "a.png").touch()
    (test / "b.png").touch()
    assert "the source's own test set is left without images (2 undecodable)" in refusal()
    image_file(test / "c.png", 9)
    assert cleaned(tmp_path)[1]["kept"] == 7


def test_a_damaged_manifest_of_shards_is_one_line(tmp_path: Path) -> None:
    image_file(tmp_path / "raw" / "cat" / "0.png", 0)
    workspace, _ = cleaned(tmp_path)
    (workspace.prepared / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest of shards"):
        clean(params_with(), workspace)
