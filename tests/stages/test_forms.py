"""The same images, brought in any form, become the same examples."""

from pathlib import Path

import numpy as np
import pytest

from rediffuse.data.card import Card
from rediffuse.data.sources.idx import Idx
from rediffuse.workspace import Workspace
from stages.clean import clean
from stages.prepare import prepare
from stages.split import split
from tests.data.planted import decoded, idx_pair, params_with, parquet_files, table_folder, tar_files

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist

FORMS = {
    "idx": {},
    "folder": {
        "prepare__folder": {"labels": "table", "table": "metadata.csv"},
        "prepare__columns__split": "split",
    },
    "parquet": {},
    "webdataset": {},
}


def made_of(root: Path, form: str, workers: int) -> Workspace:
    """The stages up to split, on the data in root/form."""
    workspace = Workspace.at(root / "made" / form)
    params = params_with(prepare__source=form, prepare__path=str(root / form), runtime__workers=workers, **FORMS[form])
    for stage in (prepare, clean, split):
        stage(params, workspace)
    return workspace


def agree(root: Path, workers: int = 1) -> Card:
    """Write what the IDX form in root/idx holds in every other form, and see that all become the same examples."""
    rows = list(Idx(root / "idx"))
    images = np.stack([decoded(row.content) for row in rows])
    labels, parts = [str(row.label) for row in rows], [str(row.split) for row in rows]
    table_folder(root / "folder", images, labels, parts)
    parquet_files(root / "parquet", images, labels, parts, rows=10_000)
    tar_files(root / "webdataset", images, labels, parts)
    first, *others = [made_of(root, form, workers) for form in FORMS]
    for other in others:
        assert other.examples.read_bytes() == first.examples.read_bytes()
        assert Card.read(other.card).digest == Card.read(first.card).digest
    return Card.read(first.card)


def test_four_forms_give_the_same_examples(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for prefix, count in (("train-", 150), ("t10k-", 30)):
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[1] = images[0]
        idx_pair(tmp_path / "idx", prefix, images, [i % 5 for i in range(count)])
    card = agree(tmp_path)
    assert (card.count, card.shape) == (178, (1, 28, 28))


@pytest.mark.slow
@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_four_forms_of_fashion_mnist_give_the_same_examples(tmp_path: Path) -> None:
    (tmp_path / "idx").symlink_to(FASHION_MNIST)
    assert agree(tmp_path, workers=2).count == 70_000
