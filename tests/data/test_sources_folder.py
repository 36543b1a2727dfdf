"""Folders of image files: classes, parts, depth, links, pipes and odd names."""

import os
import socket
import threading
from pathlib import Path

import pytest

from rediffuse.data.sources import Row
from rediffuse.data.sources.tree import Entry, read, top, walk
from rediffuse.errors import UserError
from tests.data.planted import encoded, image_file, opened, pixels, refusal


def rows_of(folder: Path, labels: str = "folders") -> dict[str, Row]:
    return {row.id: row for row in opened("folder", folder, folder__labels=labels)}


def test_rows_are_sorted_bytewise_and_hidden_files_skipped(tmp_path: Path) -> None:
    names = ("dog/b.png", "cat/z.png", "cat/a.png", "cat/.thumb.png", ".git/x.png", "cat/ü.png", "cat-big/a.png")
    for seed, name in enumerate(names):
        image_file(tmp_path / name, seed)
    (tmp_path / "README.md").write_text("not an image, and not looked at")
    (tmp_path / "dog" / "notes.txt").write_text("in a class folder: it makes a row, which clean will reject")
    source = opened("folder", tmp_path)
    assert source.classes == ("cat", "cat-big", "dog")
    rows = [(row.id, row.label, row.split) for row in source]
    assert rows == [
        ("cat-big/a.png", 1, None),
        ("cat/a.png", 0, None),
        ("cat/z.png", 0, None),
        ("cat/ü.png", 0, None),
        ("dog/b.png", 2, None),
        ("dog/notes.txt", 2, None),
    ]
    assert rows == sorted(rows, key=lambda row: row[0].encode())
    assert next(iter(source)).content == (tmp_path / "cat-big" / "a.png").read_bytes()


def test_folders_inside_a_class_belong_to_the_class(tmp_path: Path) -> None:
    for seed, name in enumerate(("cat/2024/05/a.png", "cat/b.png", "dog/x/a.png")):
        image_file(tmp_path / name, seed)
    assert {name: row.label for name, row in rows_of(tmp_path).items()} == {
        "cat/2024/05/a.png": 0,
        "cat/b.png": 0,
        "dog/x/a.png": 1,
    }


@pytest.mark.parametrize("validation", ["val", "validation"])
def test_train_val_and_test_are_the_sources_own_parts(tmp_path: Path, validation: str) -> None:
    for part in ("test", validation, "train"):
        for name in ("cat", "dog"):
            image_file(tmp_path / part / name / "deep" / "a.png", 0)
    rows = [(row.split, row.id, row.label) for row in opened("folder", tmp_path)]
    assert rows == [
        (part, f"{folder}/{name}/deep/a.png", label)
        for part, folder in (("train", "train"), ("val", validation), ("test", "test"))
        for label, name in enumerate(("cat", "dog"))
    ]
    (tmp_path / "test" / "bird").mkdir()
    assert "the class bird is in test/, but not in train/" in refusal("folder", tmp_path)


def test_a_part_alone_is_the_whole_and_no_class(tmp_path: Path) -> None:
    image_file(tmp_path / "train" / "cat" / "a.png", 0)
    source = opened("folder", tmp_path)
    assert source.classes == ("cat",)
    assert [(row.id, row.split) for row in source] == [("train/cat/a.png", None)]


def test_folder_takes_classes_that_are_called_train_and_test_where_they_are_listed(tmp_path: Path) -> None:
    for seed, name in enumerate(("train/a.png", "test/a.png", "bus/deep/a.png")):
        image_file(tmp_path / name, seed)
    assert refusal("folder", tmp_path) == (
        f"{tmp_path}: train/ and test/ are parts, but bus/ lies beside them; move it away; "
        "if they are classes, list them in prepare.classes"
    )
    source = opened("folder", tmp_path, classes=["train", "test", "bus"])
    assert [(row.label, row.split) for row in source] == [(2, None), (1, None), (0, None)]


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ("folders", ["train/1.png", "test/2.png"], "train/ and test/ are parts, but hold no class folders"),
        ("folders", ["Train/a/1.png", "Test/a/2.png", "x.png"], "Train/ and Test/ are parts, but x.png lies beside"),
        (
            "folders",
            ["train/a/1.png", "val/a/2.png", "validation/a/3.png"],
            "train/, val/ and validation/ are parts, but",
        ),
        ("none", ["train/a/1.png", "test/a/2.png", "preview.png"], "are parts, but preview.png lies beside them"),
        ("none", ["train/1.png", "test/2.png", "more/3.png"], "are parts, but more/ lies beside them; move it away"),
        ("none", ["test/1.png", "Test/2.png"], "are parts, but two of them are the same one; keep one folder a part"),
    ],
)
def test_a_test_set_is_never_dropped_in_silence(tmp_path: Path, labels: str, names: list[str], expected: str) -> None:
    for seed, name in enumerate(names):
        image_file(tmp_path / name, seed)
    message = refusal("folder", tmp_path, folder__labels=labels)
    assert message.startswith(f"{tmp_path}: ")
    assert expected in message


@pytest.mark.parametrize("labels", ["folders", "none"])
def test_a_part_that_leads_out_of_the_folder_is_missed(tmp_path: Path, labels: str) -> None:
    image_file(tmp_path / "raw" / "train" / "cat" / "1.png", 0)
    image_file(tmp_path / "elsewhere" / "cat" / "2.png", 1)
    (tmp_path / "raw" / "test").symlink_to(tmp_path / "elsewhere")
    assert refusal("folder", tmp_path / "raw", folder__labels=labels) == (
        f"{tmp_path / 'raw'}: test, which should be a part beside train/, is a link out of the folder"
    )


@pytest.mark.parametrize(
    ("labels", "names"),
    [("folders", ["Train/cat/1.png", "TEST/cat/1.png"]), ("none", ["train/1.png", "test/1.png"])],
)
def test_parts_are_found_in_any_case_flat_or_deep_whatever_macos_and_broken_links_lie_beside(
    tmp_path: Path, labels: str, names: list[str]
) -> None:
    for seed, name in enumerate((*names, "__MACOSX/x/1.png")):
        image_file(tmp_path / name, seed)
    (tmp_path / "README.md").write_text("not looked at")
    (tmp_path / "gone").symlink_to("nowhere")
    source = opened("folder", tmp_path, folder__labels=labels)
    assert source.classes == (("cat",) if labels == "folders" else ())
    assert [(row.id, row.split, row.fault) for row in source] == [
        (names[0], "train", ""),
        (names[1], "test", ""),
        ("gone", None, "a link to nothing"),
    ]


def test_classes_fix_the_order_and_refuse_another_folder(tmp_path: Path) -> None:
    image_file(tmp_path / "cat" / "a.png", 0)
    image_file(tmp_path / "dog" / "a.png", 1)
    source = opened("folder", tmp_path, classes=["dog", "bird", "cat"])
    assert source.classes == ("dog", "bird", "cat")
    assert [(row.id, row.label) for row in source] == [("cat/a.png", 2), ("dog/a.png", 0)]
    message = refusal("folder", tmp_path, classes=["dog"])
    assert "/cat: the label 'cat' is none of the classes; prepare.classes allows dog" in message


def test_folder_refuses_what_has_no_class_and_says_which_key_helps(tmp_path: Path) -> None:
    assert "is missing" in refusal("folder", tmp_path / "nowhere")
    assert "no class folders" in refusal("folder", tmp_path)
    image_file(tmp_path / "flat" / "b.png", 1)
    assert "for no labels to none" in refusal("folder", tmp_path / "flat")
    image_file(tmp_path / "flat" / "cat" / "a.png", 0)
    assert "b.png lies beside the class folders" in refusal("folder", tmp_path / "flat")


def test_without_labels_images_are_taken_at_any_depth_and_other_files_are_not(tmp_path: Path) -> None:
    for seed, name in enumerate(("b.PNG", "a/b/c.jpeg", "photo.heic", ".hidden/x.png")):
        image_file(tmp_path / name, seed)
    (tmp_path / "README.md").write_text("no image")
    source = opened("folder", tmp_path, folder__labels="none")
    assert source.classes == ()
    assert [(row.id, row.label, row.split) for row in source] == [
        (name, None, None) for name in ("a/b/c.jpeg", "b.PNG", "photo.heic")
    ]


def test_links_are_followed_inside_and_refused_outside(tmp_path: Path) -> None:
    cat = image_file(tmp_path / "raw" / "cat" / "a.png", 0)
    outside = image_file(tmp_path / "outside" / "secret.png", 1)
    cached = image_file(tmp_path / "cache" / "files" / "md5" / "ab" / ("c" * 30), 2)
    sibling = image_file(tmp_path / "raw-other" / "a.png", 3)
    (tmp_path / "raw" / "dog").mkdir()
    links = {
        "cat/inside.png": cat,
        "cat/cached.png": cached,
        "cat/out.png": outside,
        "cat/sibling.png": sibling,
        "cat/gone.png": tmp_path / "gone.png",
        "cat/round.png": tmp_path / "raw" / "cat" / "round.png",
        "cat/up": tmp_path / "raw",
        "cat/folder-out": tmp_path / "outside",
        "dog/cats": tmp_path / "raw" / "cat",
        "bird": tmp_path / "outside",
    }
    for name, target in links.items():
        (tmp_path / "raw" / name).symlink_to(target)
    rows = rows_of(tmp_path / "raw")
    faults = {name: row.fault for name, row in rows.items() if row.fault and not name.startswith("dog/")}
    assert faults == {
        "bird": "a link out of the folder",
        "cat/folder-out": "a link out of the folder",
        "cat/gone.png": "a link to nothing",
        "cat/out.png": "a link out of the folder",
        "cat/round.png": "a link round in a circle",
        "cat/sibling.png": "a link out of the folder",
        "cat/up": "a link back to a folder that it lies in",
    }
    assert rows["cat/inside.png"].content == rows["dog/cats/a.png"].content == cat.read_bytes()
    assert rows["cat/cached.png"].content == cached.read_bytes()
    assert (rows["dog/cats/a.png"].label, rows["cat/out.png"].label, rows["bird"].label) == (1, 0, None)
    assert all((row.content == b"") == bool(row.fault) for row in rows.values())
    assert not [row for row in rows.values() if str(tmp_path) in f"{row.id}{row.origin}{row.fault}"]


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        image_file(tmp_path / name / "x.png", 0)
        (tmp_path / name / "link").symlink_to(tmp_path / other)
    assert [(entry.id, bool(entry.fault)) for entry in walk(top(tmp_path, "images"))] == [
        ("a/link/link", True),
        ("a/link/x.png", False),
        ("a/x.png", False),
        ("b/link/link", True),
        ("b/link/x.png", False),
        ("b/x.png", False),
    ]


@pytest.mark.parametrize("labels", ["folders", "none", "table"])
def test_pipes_and_sockets_are_counted_and_never_opened(
    tmp_path: Path, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_file(tmp_path / "cat" / "a.png", 0)
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/a.png,cat\n")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    monkeypatch.chdir(tmp_path / "cat")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        rows = rows_of(tmp_path, labels)
    assert set(rows) == {"cat/a.png", "cat/pipe.png", "cat/socket.png"}
    assert {name for name, row in rows.items() if row.fault.startswith("no regular file")} == set(rows) - {"cat/a.png"}


def test_a_file_that_becomes_a_pipe_after_it_was_listed_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    raised: list[BaseException] = []

    def reading() -> None:
        try:
            read(Entry("a.png", str(pipe)))
        except UserError as error:
            raised.append(error)

    thread = threading.Thread(target=reading, daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert "no regular file any more" in str(raised)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = image_file(tmp_path / "cat" / "a.png", 0)
    open_, scandir = os.open, os.scandir

    def refusing(path: str, *rest: int) -> int:
        if path == str(file):
            raise PermissionError(13, "Permission denied", path)
        return open_(path, *rest)

    monkeypatch.setattr(os, "open", refusing)
    assert refusal("folder", tmp_path) == f"{file} can't be read: Permission denied"
    monkeypatch.setattr(os, "open", open_)

    def refusing_folder(path: str) -> object:
        if path == str(file.parent):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing_folder)
    assert refusal("folder", tmp_path) == f"{file.parent} can't be read: Permission denied"


def test_names_in_bytes_that_are_no_text_keep_apart(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    names = (b"\xff.png", b"\\xff.png", b"new\nline.png", b"A.png", b"a.png")
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path / "cat") + b"/" + name)).write_bytes(encoded(pixels(0)))
    ids = list(rows_of(tmp_path))
    assert ids == ["cat/A.png", "cat/\\\\xff.png", "cat/\\xff.png", "cat/a.png", "cat/new\\nline.png"]
    assert all(name.isprintable() for name in ids)
