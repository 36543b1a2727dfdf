import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from rediffuse.data import cleaning
from rediffuse.data.card import Card
from rediffuse.data.manifest import CHECKS
from rediffuse.data.passes import Looking, look_at
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from tests.data import dirty
from tests.data.planted import contents, encoded, image_file, params_with, pixels


def cleaned(root: Path, **changes: object) -> tuple[Workspace, dict[str, object]]:
    workspace, params = Workspace.at(root), params_with(**changes)
    prepare(params, workspace)
    return workspace, clean(params, workspace)


def reasons(workspace: Workspace) -> dict[str, tuple[str, str]]:
    table = pd.read_parquet(workspace.rejected)
    return {row.id: (row.reason, row.detail) for row in table.itertuples()}


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics without the counts that are 0."""
    return {
        name: {key: count for key, count in value.items() if count} if isinstance(value, dict) else value
        for name, value in metrics.items()
    }


def checks(**changes: dict[str, Any]) -> dict[str, Any]:
    """clean.checks of params.yaml with a few settings changed."""
    settings = params_with().clean.checks.model_dump()
    return {name: value | changes.get(name, {}) for name, value in settings.items()}


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
        "cat/empty.png": ("empty", "0 bytes"),
        "cat/page.png": (
            "unknown_format",
            "not an image of a known format (PNG, JPEG, GIF, BMP, TIFF, WEBP, PPM)",
        ),
        "dog/as-cat.png": ("duplicate", "the same pixels as cat/1.png, but labelled dog and not cat"),
        "dog/cut.jpg": ("damaged", reasons(workspace)["dog/cut.jpg"][1]),
        "dog/red.png": ("blank", "levels 0 apart, at most 0 is blank"),
        "dog/red2.png": ("blank", "levels 0 apart, at most 0 is blank"),
    }
    assert summary(metrics) == {
        "found": 14,
        "kept": 7,
        "quarantined": 0,
        "rejected": 7,
        "reasons": {"empty": 1, "unknown_format": 1, "damaged": 1, "blank": 2, "duplicate": 2},
        "converted": {"sixteen_bit": 1},
        "findings": {},
        "given_overlap": {},
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
    workspace, metrics = cleaned(tmp_path)
    assert reasons(workspace) == {
        "train/cat/leak.png": ("duplicate", "the same pixels as test/dog/1.png, but labelled cat and not dog")
    }
    assert pd.read_parquet(workspace.manifest)["given_split"].tolist() == ["train"] * 4 + ["test"] * 4
    assert metrics["given_overlap"] == {"train_val": 0, "train_test": 1, "val_test": 0}


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
    assert sorted(first) == [
        "card.json",
        "examples.npy",
        "manifest.parquet",
        "quarantined.parquet",
        "rejected.parquet",
    ]
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
        "7 of 14 images are rejected: 2 as duplicate ('cat/again.png': the same pixels as cat/0.png), "
        "2 as blank ('dog/red.png': levels 0 apart, at most 0 is blank), 1 as empty ('cat/empty.png': 0 bytes); "
        "allowed is a share of clean.max_rejected_share (0.49), and one image has to stay"
    )
    (tmp_path / "raw" / "bird").mkdir()
    assert "the class 'bird' is left without images (it has none)" in refusal()
    (tmp_path / "raw" / "bird" / "a.png").touch()
    assert "the class 'bird' is left without images (1 empty)" in refusal()
    shutil.rmtree(tmp_path / "raw")
    for i in range(3):
        image_file(tmp_path / "raw" / "cat" / f"{i}.png", i, height=2, width=3)
    assert "the commonest shorter side of the images is 2; set clean.size to 4 to 1024 pixels" in refusal()
    shutil.rmtree(tmp_path / "raw")
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    (tmp_path / "raw" / "cat" / "a.png").touch()
    assert "1 of 1 images are rejected: 1 as empty" in refusal()


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
    assert "the source's own test set is left without images (2 empty)" in refusal()
    image_file(test / "c.png", 9)
    assert cleaned(tmp_path)[1]["kept"] == 7


def test_a_damaged_manifest_of_shards_is_one_line(tmp_path: Path) -> None:
    image_file(tmp_path / "raw" / "cat" / "0.png", 0)
    workspace, _ = cleaned(tmp_path)
    (workspace.prepared / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"manifest\.json is not a manifest of shards"):
        clean(params_with(), workspace)


def test_what_is_set_aside_is_listed_apart_and_counted(tmp_path: Path) -> None:
    faulty_folder(tmp_path / "raw")
    (tmp_path / "raw" / "dog" / "night.png").write_bytes(encoded(pixels(20) // 100))
    workspace, metrics = cleaned(tmp_path, clean__checks=checks(dark={"action": "quarantine"}))
    assert (metrics["found"], metrics["kept"], metrics["quarantined"], metrics["rejected"]) == (15, 7, 1, 7)
    aside = pd.read_parquet(workspace.quarantined)
    assert aside[["id", "reason"]].to_numpy().tolist() == [["dog/night.png", "dark"]]
    assert "is dark" in aside["detail"][0]
    cleaned(tmp_path, clean__checks=checks(dark={"action": "keep"}))
    assert pd.read_parquet(workspace.manifest).set_index("id")["findings"]["dog/night.png"] == "dark"


def test_near_duplicates_are_one_group_or_leave_one_image(tmp_path: Path) -> None:
    photograph = load_sample_image("flower.jpg")[:400, :400]
    large, small = Image.fromarray(photograph), Image.fromarray(photograph).resize((200, 200))
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    small.save(tmp_path / "raw" / "cat" / "a.jpg", quality=80)
    large.save(tmp_path / "raw" / "cat" / "b.png")
    image_file(tmp_path / "raw" / "cat" / "c.png", 0, height=200, width=200)
    workspace, metrics = cleaned(tmp_path, clean__size=32)
    assert pd.read_parquet(workspace.manifest).set_index("id")["group"].to_dict() == {
        "cat/a.jpg": "cat/a.jpg",
        "cat/b.png": "cat/a.jpg",
        "cat/c.png": "cat/c.png",
    }
    assert summary(metrics)["findings"] == {"near_duplicate": 1}
    cleaned(tmp_path, clean__size=32, clean__checks=checks(near_duplicate={"action": "drop"}))
    assert reasons(workspace) == {"cat/a.jpg": ("near_duplicate", "nearly the same as cat/b.png")}


def test_what_is_left_of_a_group_is_one_and_nobody_else_joins_it(tmp_path: Path) -> None:
    photograph = Image.fromarray(load_sample_image("flower.jpg")[:400, :400])
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    photograph.resize((180, 180)).save(tmp_path / "raw" / "cat" / "a.png")
    image_file(tmp_path / "raw" / "cat" / "b.png", 0, height=200, width=200)
    photograph.resize((200, 200)).save(tmp_path / "raw" / "cat" / "c.png")
    (tmp_path / "raw" / "cat" / "d.png").write_bytes((tmp_path / "raw" / "cat" / "a.png").read_bytes())
    settings = checks(near_duplicate={"action": "drop"}, duplicate={"action": "keep"})
    workspace, _ = cleaned(tmp_path, clean__size=32, clean__checks=settings)
    # Both small ones go, though one is an exact copy of the other and might have stayed as that.
    assert set(reasons(workspace)) == {"cat/a.png", "cat/d.png"}
    groups = pd.concat(map(pd.read_parquet, (workspace.manifest, workspace.rejected))).set_index("id")["group"]
    assert groups.to_dict() == {
        "cat/a.png": "cat/c.png",
        "cat/b.png": "cat/b.png",
        "cat/c.png": "cat/c.png",
        "cat/d.png": "cat/c.png",
    }


def test_of_equal_images_the_one_with_a_label_stays(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        image_file(tmp_path / "raw" / f"{name}.png", seed)
    (tmp_path / "raw" / "metadata.csv").write_text("file_name,label\nb.png,cat\nc.png,cat\n")
    workspace, _ = cleaned(tmp_path, prepare__folder={"labels": "table", "table": "metadata.csv"})
    assert reasons(workspace) == {"a.png": ("duplicate", "the same pixels as b.png")}


def test_an_image_that_goes_takes_no_copy_with_it(tmp_path: Path) -> None:
    image_file(tmp_path / "raw" / "b.png", 0)
    (tmp_path / "raw" / "a.png").write_bytes((tmp_path / "raw" / "b.png").read_bytes())
    image_file(tmp_path / "raw" / "c.png", 1)
    (tmp_path / "raw" / "metadata.csv").write_text("file_name,label\na.png,\nb.png,cat\nc.png,cat\n")
    workspace, _ = cleaned(
        tmp_path,
        prepare__folder={"labels": "table", "table": "metadata.csv"},
        clean__checks=checks(missing_label={"action": "drop"}),
    )
    assert reasons(workspace) == {"a.png": ("missing_label", "no label, where other images have one")}
    assert pd.read_parquet(workspace.manifest)["id"].tolist() == ["b.png", "c.png"]


def test_images_that_only_formatting_makes_equal_are_one_group(tmp_path: Path) -> None:
    grey = 100 + pixels(0, channels=1) % 100
    # Luma is 0.299 R + 0.587 G + 0.114 B: what red gains, blue loses.
    colour = np.stack([grey + 38, grey, grey - 100], axis=-1)
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    (tmp_path / "raw" / "cat" / "a.png").write_bytes(encoded(colour))
    (tmp_path / "raw" / "cat" / "b.png").write_bytes(encoded(luma))
    workspace, metrics = cleaned(tmp_path, clean__channels=1)
    assert metrics["kept"] == 2
    assert summary(metrics)["findings"] == {}
    assert pd.read_parquet(workspace.manifest)["group"].tolist() == ["cat/a.png", "cat/a.png"]


def test_neither_workers_nor_shards_change_an_example(tmp_path: Path) -> None:
    for place in ("one", "two", "many"):
        faulty_folder(tmp_path / place / "raw")
    one, _ = cleaned(tmp_path / "one", prepare__shard_rows=4)
    two, _ = cleaned(tmp_path / "two", prepare__shard_rows=4, runtime__workers=2)
    assert len(list(one.prepared.glob("*.parquet"))) > 1
    assert contents(one.clean) == contents(two.clean)
    many, _ = cleaned(tmp_path / "many", prepare__shard_rows=1000)
    assert contents(many.clean)["examples.npy"] == contents(one.clean)["examples.npy"]
    for name in ("manifest.parquet", "rejected.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(many.clean / name), pd.read_parquet(one.clean / name))


def test_only_shards_that_changed_are_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        image_file(tmp_path / "raw" / "cat" / f"{i:03}.png", i)
    looked: list[int] = []

    def counting(task: Looking, folder: Path) -> None:
        looked.append(task.rows)
        look_at(task, folder)

    monkeypatch.setattr(cleaning, "look_at", counting)
    workspace, _ = cleaned(tmp_path, prepare__shard_rows=10)
    assert sum(looked) == 60
    looked.clear()
    first = contents(workspace.clean)
    shutil.rmtree(workspace.clean)
    cleaned(tmp_path, prepare__shard_rows=10)
    assert not looked
    assert contents(workspace.clean) == first
    cleaned(tmp_path, prepare__shard_rows=10, clean__checks=checks(dark={"level": 100.0}))
    assert not looked
    image_file(tmp_path / "raw" / "cat" / "029a.png", 99)
    cleaned(tmp_path, prepare__shard_rows=10)
    assert 1 <= sum(looked) <= 40
    fresh = Workspace(root=tmp_path / "fresh", home=tmp_path / "fresh")
    shutil.copytree(tmp_path / "raw", fresh.root / "raw")
    cleaned(fresh.root, prepare__shard_rows=10)
    assert contents(fresh.clean) == contents(workspace.clean)


@pytest.mark.slow
def test_ray_writes_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    for place in ("local", "ray"):
        faulty_folder(tmp_path / place / "raw")
    local, _ = cleaned(tmp_path / "local", prepare__shard_rows=4)
    other, _ = cleaned(tmp_path / "ray", prepare__shard_rows=4, runtime__engine="ray", runtime__workers=2)
    assert contents(other.clean) == contents(local.clean)


@settings(deadline=None, max_examples=7, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    actions=st.fixed_dictionaries({name: st.sampled_from(["keep", "quarantine", "drop"]) for name in CHECKS}),
    seed=st.integers(0, 1000),
)
def test_whatever_the_actions_every_row_is_in_one_table(tmp_path: Path, actions: dict[str, str], seed: int) -> None:
    shutil.rmtree(tmp_path)
    dirty.write(tmp_path / "raw", dirty.everything(8))
    draw = np.random.default_rng(seed)
    files = sorted((tmp_path / "raw").glob("*/*.png"))
    for file in draw.choice(np.array(files, object), 5, replace=False):
        if file.is_file() and not file.is_symlink():
            (file.parent / f"again-{file.name}").write_bytes(file.read_bytes())
    chosen = checks(**{name: {"action": action} for name, action in actions.items()})
    workspace, metrics = cleaned(tmp_path, clean__size=16, clean__checks=chosen)
    tables = {name: pd.read_parquet(getattr(workspace, name)) for name in ("manifest", "rejected", "quarantined")}
    ids = pd.concat([table["id"] for table in tables.values()])
    assert ids.is_unique
    assert len(ids) == metrics["found"] == metrics["kept"] + metrics["rejected"] + metrics["quarantined"]
    for name, table in tables.items():
        assert len(table) == metrics[{"manifest": "kept"}.get(name, name)]
    gone = pd.concat([tables["rejected"], tables["quarantined"]])["reason"].value_counts()
    assert gone.to_dict() == summary(metrics)["reasons"]
    for name, action in actions.items():
        assert action != "keep" or name not in gone
        assert action == "drop" or name not in set(tables["rejected"]["reason"])
        assert action == "quarantine" or name not in set(tables["quarantined"]["reason"])
