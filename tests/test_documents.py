"""What the pages say of the code and of each other is so."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path

import grimp

from rediffuse.prompts import Vocabulary, understand
from rediffuse.serving.request import parsed

CHECKOUT = Path(__file__).parents[1]
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")])


def section(page: str, title: str) -> str:
    """What stands below a heading of docs/`page`."""
    return (CHECKOUT / "docs" / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def arrows() -> Iterator[tuple[str, str]]:
    """From and to, of each arrow between two packages; a node whose label is a list stands for all of them."""
    drawn = section("architecture.md", "The packages and their arrows").split("```mermaid")[1].split("```")[0]
    labels = {
        name: label for name, label in re.findall(r'(\w+)\["([a-z_, ]+)', drawn) if name not in ("stage", "stages")
    }
    plain = re.sub(r'\[".*?"\]', "", drawn)
    for line in filter(lambda line: "-->" in line, plain.splitlines()):
        ends = [[name.strip() for name in end.split("&")] for end in line.split("-->")]
        for before, after in pairwise(ends):
            for one, other in product(before, after):
                for target in labels.get(other, other).split(", "):
                    yield one, target


def test_each_arrow_between_the_packages_is_an_import() -> None:
    graph = grimp.build_graph("rediffuse", "stages", cache_dir=None)
    drawn = list(arrows())
    assert len(drawn) > 30
    assert len(set(drawn)) == len(drawn)
    for one, other in drawn:
        importer = "stages" if one == "stages" else f"rediffuse.{one}"
        found = graph.find_shortest_chains(importer, f"rediffuse.{other}", as_packages=True)
        assert any(len(chain) == 2 for chain in found), f"{one} --> {other}"


def test_each_link_of_a_page_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_proof_of_the_promise_is_a_file_of_tests() -> None:
    rows = [line for line in section("reproducibility.md", "Proofs").splitlines() if re.match(r"\| .* \|$", line)]
    named = {name for row in rows[1:] for name in row.split("|")[4].strip().split(", ") if "---" not in name}
    named = {name for name in named if re.fullmatch(r"[\w/]+", name)}
    assert len(named) > 20
    missing = [name for name in named if not any((CHECKOUT / "tests" / f"{name}{end}").exists() for end in (".py", ""))]
    assert not missing


def test_what_the_page_of_the_server_asks_for_is_allowed() -> None:
    page = (CHECKOUT / "docs" / "serving.md").read_text()
    digits = Vocabulary(tuple("0123456789"), {}, ())
    bodies = [json.loads(body) for body in re.findall(r"--json '(.+?)'", page)]
    requests = [parsed(row) for body in bodies for row in body.get("rows", [body])]
    assert len(requests) > 6
    assert all(understand(request.prompt or "", digits).variants for request in requests)
