"""Exports: read back by others' readers, whatever the names, however deep the tree."""

import csv
import io
import json
import re
from typing import Any

import numpy as np
import pytest

from musicstar.concepts import formats
from musicstar.concepts.atlas import Atlas, Concept, Shape
from musicstar.concepts.hierarchy import ROOT, Orientation, Tree

nx = pytest.importorskip("networkx", reason="networkx, which came with torch, is not installed")

NAMES = (
    "bowed strings",
    "violin, low",
    "it's \"quoted\" ''twice''",
    "(a:b)[c];d\\e",
    "<x> & ]]> &amp;",
    "=HYPERLINK(1)",
    "+1",
    "-2",
    "@there",
    "'=kept",
    "'til",
    "Пианино 鋼琴 🎹",
    "two\nlines\tand\rmore",
    "\t=tab",
)


@pytest.fixture
def atlas() -> Atlas:
    n = len(NAMES)
    concepts = [Concept(name, (NAMES[0], NAMES[3]) if i else (), i, 0.9, 0.8, 1.0) for i, name in enumerate(NAMES)]
    concepts[-1] = Concept(NAMES[-1])
    return Atlas("Ours & <others'>", tuple(concepts), np.random.default_rng(3).random((n, n)).astype(np.float32))


SHAPE = Shape(Orientation.PUBLISHED, 0.8, 0.3, 3)


def written(atlas: Atlas, form: str) -> str:
    return formats.write(atlas, atlas.tree(SHAPE), SHAPE, form).decode()


def edges(tree: Tree, names: tuple[str, ...] = NAMES) -> set[tuple[str | None, str]]:
    return {(None if parent == ROOT else names[parent], names[i]) for i, parent in enumerate(tree.parents)}


def test_the_tree_that_is_written_has_levels_and_branches(atlas: Atlas) -> None:
    tree = atlas.tree(SHAPE)
    assert tree.depths.max() >= 3
    assert (tree.parents == ROOT).sum() >= 1


def test_json_nests(atlas: Atlas) -> None:
    found = json.loads(written(atlas, "json"))
    assert (found["title"], found["orientation"], found["threshold"]) == (atlas.title, "published", 0.8)
    pairs: set[tuple[str | None, str]] = set()

    def visit(node: dict[str, Any], above: str | None) -> None:
        for child in node["children"]:
            pairs.add((above, child["name"]))
            visit(child, child["name"])

    visit(found, None)
    tree = atlas.tree(SHAPE)
    assert pairs == edges(tree)
    assert NAMES[-3] in written(atlas, "json")
    assert found["children"][0]["truth_parents"] == list(atlas.concepts[tree.order[0]].parents)


def test_csv_has_a_row_of_each_concept_that_spreadsheets_take_for_text(atlas: Atlas) -> None:
    rows = list(csv.DictReader(io.StringIO(written(atlas, "csv").removeprefix("\ufeff"), newline="")))
    assert tuple(rows[0]) == formats.COLUMNS
    cells = [row[key] for row in rows for key in ("name", "parent", "truth_parents")]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))]

    def plain(cell: str) -> str:
        """What was written, without the apostrophe that was put before a formula."""
        return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell

    assert [plain(row["name"]) for row in rows] == list(NAMES)
    tree = atlas.tree(SHAPE)
    assert {(plain(row["parent"]) or None, plain(row["name"])) for row in rows} == edges(tree)
    for i, row in enumerate(rows):
        assert int(row["depth"]) == tree.depths[i]
        assert float(row["centrality"]) == pytest.approx(atlas.centrality(0.8)[i])
        if tree.parents[i] != ROOT:
            assert float(row["similarity"]) == pytest.approx(atlas.similarity[tree.parents[i], i])
    assert (rows[-1]["accuracy"], rows[-1]["truth_parents"]) == ("", "")
    first, second = re.split(r"(?<!\\);", rows[1]["truth_parents"])
    assert (first, re.sub(r"\\(.)", r"\1", second)) == (NAMES[0], NAMES[3])


def test_graphml_is_read_by_networkx(atlas: Atlas, tmp_path: Any) -> None:
    (tmp_path / "graph.graphml").write_bytes(written(atlas, "graphml").encode())
    found = nx.read_graphml(tmp_path / "graph.graphml")
    tree = atlas.tree(SHAPE)
    assert not found.is_multigraph()
    assert [found.nodes[f"n{i}"]["name"] for i in range(len(NAMES))] == list(NAMES)
    assert json.loads(found.nodes["n1"]["truth_parents"]) == [NAMES[0], NAMES[3]]
    assert found.nodes["n1"]["accuracy"] == 0.9
    assert "accuracy" not in found.nodes[f"n{len(NAMES) - 1}"]
    assert {(found.nodes[node].get("parent"), found.nodes[node]["name"]) for node in found} == edges(tree)
    either = np.triu((atlas.similarity > 0.8) | (atlas.similarity.T > 0.8), 1)
    graph = {frozenset(pair) for *pair, values in found.edges(data=True) if values["graph"]}
    assert graph == {frozenset((f"n{i}", f"n{j}")) for i, j in np.argwhere(either)}
    hung = {frozenset(pair) for *pair, values in found.edges(data=True) if values["tree"]}
    assert hung == {frozenset((f"n{i}", f"n{p}")) for i, p in enumerate(tree.parents) if p != ROOT}
    for one, two, values in found.edges(data=True):
        there = [float(atlas.similarity[i, j]) for i, j in ((int(one[1:]), int(two[1:])), (int(two[1:]), int(one[1:])))]
        assert {values["forth"], values["back"]} == set(there)


def test_a_large_graph_keeps_its_closest_edges(atlas: Atlas, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MOST_EDGES", 5)
    (tmp_path / "graph.graphml").write_bytes(written(atlas, "graphml").encode())
    found = nx.read_graphml(tmp_path / "graph.graphml")
    others = [max(values["forth"], values["back"]) for *_, values in found.edges(data=True) if not values["tree"]]
    assert len(others) == 5
    assert min(others) > 0.9


def read_newick(text: str) -> tuple[str, set[tuple[str, str, float]]]:
    """The root's name, and the parent, name and length of every other node; quoted names only."""
    tokens = re.findall(r"'(?:[^']|'')*'|[(),:;]|[0-9.e-]+", text)
    assert "".join(tokens) == text.strip()
    waiting: list[list[tuple[str, float]]] = [[]]
    pairs: set[tuple[str, str, float]] = set()
    closed: list[tuple[str, float]] = []
    for place, token in enumerate(tokens):
        if token == "(":
            waiting.append([])
        elif token == ")":
            closed = waiting.pop()
        elif token.startswith("'"):
            name = token[1:-1].replace("''", "'")
            pairs |= {(name, child, length) for child, length in closed}
            closed = []
            length = float(tokens[place + 2]) if tokens[place + 1] == ":" else 0.0
            waiting[-1].append((name, length))
    assert tokens[-1] == ";"
    [(root, _)] = waiting[0]
    return root, pairs


def test_newick_is_parsed(atlas: Atlas) -> None:
    root, pairs = read_newick(written(atlas, "newick"))
    tree = atlas.tree(SHAPE)
    assert root == atlas.title
    assert {(None if above == root else above, name) for above, name, _ in pairs} == edges(tree)
    place = {name: i for i, name in enumerate(NAMES)}
    for above, name, length in pairs:
        expected = 1.0 if above == root else 1 - atlas.similarity[place[above], place[name]]
        assert length == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("form", formats.FORMATS)
def test_a_tree_that_is_one_long_chain(form: str) -> None:
    """Deeper than Python's own recursion would go."""
    n = 3_000
    names = tuple(f"c{i}" for i in range(n))
    chain = Atlas("Chain", tuple(Concept(name) for name in names), np.zeros((n, n), np.float32))
    chain._centralities[0.8] = np.zeros(n)
    text = formats.write(chain, Tree(np.arange(n) - 1, np.arange(n)), SHAPE, form).decode()
    assert text.count("c2999") >= 1
    if form == "newick":
        assert len(read_newick(text)[1]) == n
    if form == "json":
        assert text.count("[") == text.count("]") == 2 * n + 1


@pytest.mark.parametrize("form", formats.FORMATS)
def test_what_a_form_cannot_hold_is_replaced(form: str) -> None:
    odd = Atlas("T", (Concept("a\udc80\x01b"), Concept("c")), np.eye(2, dtype=np.float32))
    text = formats.write(odd, odd.tree(), Shape(), form).decode()
    shown = {"json": "a\ufffd\\u0001b", "graphml": "a\ufffd\ufffdb"}.get(form, "a\ufffd\x01b")
    assert shown in text


def test_one_concept_and_none() -> None:
    for n in (0, 1):
        small = Atlas("T", tuple(Concept(f"c{i}") for i in range(n)), np.zeros((n, n), np.float32))
        for form in formats.FORMATS:
            assert formats.write(small, small.tree(), Shape(), form)


def test_a_form_that_there_is_not(atlas: Atlas) -> None:
    with pytest.raises(ValueError, match="no export as 'xls'; expected json, csv, graphml, newick"):
        written(atlas, "xls")
