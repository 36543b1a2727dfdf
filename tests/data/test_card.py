from pathlib import Path

import pytest

from rediffuse.data.card import Card
from rediffuse.errors import UserError

CARD = Card(
    modality="image",
    shape=(1, 8, 8),
    classes=("cat", "dog"),
    count=3,
    class_counts={"cat": 2, "dog": 1},
    mean=-0.25,
    std=0.5,
    source="folder",
    digest="ab" * 32,
)


def test_a_card_reads_back_as_it_was_written(tmp_path: Path) -> None:
    CARD.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == CARD


def test_a_missing_or_foreign_card_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    with pytest.raises(UserError, match=r"card\.json is missing"):
        Card.read(path)
    for content in ("", "[]", "{}", '{"shape": [1, 8], "classes": []}', '{"shape": [1, 8, 8], "classes": [], "x": 1}'):
        path.write_text(content)
        with pytest.raises(UserError, match=r"card\.json is not a data card \(.+\); run the stage clean again$"):
            Card.read(path)
