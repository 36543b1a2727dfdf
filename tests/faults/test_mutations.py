"""The faults that `make faults` plants are of the code as it is now, and so are the tests that shall notice them."""

from pathlib import Path

from tests.faults.mutations import MUTANTS

CHECKOUT = Path(__file__).parents[2]


def test_each_fault_has_its_line_once_and_its_tests():
    for mutant in MUTANTS:
        assert (CHECKOUT / mutant.file).read_text().count(mutant.old) == 1, mutant.name
        for test in mutant.tests:
            file, _, name = test.partition("::")
            function = f"def {name.partition('[')[0]}(" if name else ""
            assert function in (CHECKOUT / file).read_text(), f"{mutant.name}: {test}"


def test_the_page_counts_them():
    assert f"planting {len(MUTANTS)} faults" in (CHECKOUT / "docs" / "reproducibility.md").read_text()
