"""A tree for other programs: nested JSON, a table, a graph with all that is known of its nodes, and Newick.

Names survive in each as that form quotes them. What a form cannot hold at all (halves of surrogate pairs, and in XML
most control characters) becomes the replacement character.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from musicstar.concepts.atlas import Atlas, Shape
from musicstar.concepts.hierarchy import ROOT, Tree, neighbours

COLUMNS = (
    "name",
    "parent",
    "depth",
    "similarity",
    "centrality",
    "clips",
    "accuracy",
    "low",
    "high",
    "truth_parents",
)
# A graph keeps so many of its edges besides the tree's, the closest.
MOST_EDGES = 200_000
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")


@dataclass(frozen=True)
class Format:
    """A form that a tree is written in.

    Attributes
    ----------
    suffix : of a file's name
    media_type : for browsers
    """

    suffix: str
    media_type: str
    text: Callable[[Atlas, Tree, Shape], Iterator[str]]


def write(atlas: Atlas, tree: Tree, shape: Shape, form: str) -> bytes:
    """A tree of an atlas in one of `FORMATS`, in UTF-8.

    Raises
    ------
    ValueError
        There is no such form.
    """
    if form not in FORMATS:
        raise ValueError(f"no export as {form!r}; expected {', '.join(FORMATS)}")
    return "".join(FORMATS[form].text(atlas, tree, shape)).encode()


def _rows(atlas: Atlas, tree: Tree, shape: Shape) -> list[dict[str, Any]]:
    """What is known of each concept, in the order of the atlas."""
    names = [_whole(concept.name) for concept in atlas.concepts]
    towards, centrality = atlas.towards(shape.orientation), atlas.centrality(shape.threshold)
    depths = tree.depths
    return [
        {
            "name": names[i],
            "parent": None if parent == ROOT else names[parent],
            "depth": int(depths[i]),
            "similarity": None if parent == ROOT else float(towards[i, parent]),
            "centrality": float(centrality[i]),
            "clips": concept.clips,
            "accuracy": concept.accuracy,
            "low": concept.low,
            "high": concept.high,
            "truth_parents": [_whole(name) for name in concept.parents],
        }
        for i, (concept, parent) in enumerate(zip(atlas.concepts, tree.parents, strict=True))
    ]


def _whole(text: str) -> str:
    """A text that UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _walk(tree: Tree) -> Iterator[tuple[int, bool]]:
    """Each concept as it is entered (False) and left (True), children as they were placed; however deep a tree is."""
    children: list[list[int]] = [[] for _ in range(len(tree.parents) + 1)]
    for node in tree.order:
        children[tree.parents[node]].append(int(node))
    waiting = [(node, False) for node in reversed(children[ROOT])]
    while waiting:
        node, left = waiting.pop()
        yield node, left
        if not left:
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(children[node])]


def _json(atlas: Atlas, tree: Tree, shape: Shape) -> Iterator[str]:
    head = {
        "title": atlas.title,
        "orientation": shape.orientation.value,
        "threshold": shape.threshold,
        "least_similarity": shape.least_similarity,
        "most_children": shape.most_children,
    }
    rows = _rows(atlas, tree, shape)
    yield _opened(head)
    first = True
    for node, left in _walk(tree):
        if left:
            yield "]}"
        else:
            row = {key: value for key, value in rows[node].items() if key not in {"parent", "depth"}}
            yield ("" if first else ",") + "\n" + _opened(row)
        first = not left
    yield "]}\n"


def _opened(values: dict[str, Any]) -> str:
    """The beginning of an object, up to its children."""
    return json.dumps(values, ensure_ascii=False)[:-1] + ', "children": ['


def _csv(atlas: Atlas, tree: Tree, shape: Shape) -> Iterator[str]:
    """With a byte order mark, by which spreadsheets know UTF-8; truth's parents are separated by `;`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in _rows(atlas, tree, shape):
        parents = ";".join(re.sub(r"([\\;])", r"\\\1", name) for name in row["truth_parents"])
        values = {**row, "truth_parents": parents}
        writer.writerow([_harmless(values[column]) for column in COLUMNS])
    yield "\ufeff" + file.getvalue()


def _harmless(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: one apostrophe more before what would be one."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _graphml(atlas: Atlas, tree: Tree, shape: Shape) -> Iterator[str]:
    """Undirected, as the graph is; a tree's edge goes from the parent to the child, and nodes name their parents."""
    kinds = dict.fromkeys(COLUMNS, "string") | {"depth": "int", "clips": "int"}
    kinds |= dict.fromkeys(("similarity", "centrality", "accuracy", "low", "high"), "double")
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for column, kind in kinds.items():
        yield f'<key id="{column}" for="node" attr.name="{column}" attr.type="{kind}"/>\n'
    for name, kind in (("tree", "boolean"), ("graph", "boolean"), ("forth", "double"), ("back", "double")):
        yield f'<key id="{name}" for="edge" attr.name="{name}" attr.type="{kind}"/>\n'
    yield '<graph id="concepts" edgedefault="undirected">\n'
    for i, row in enumerate(_rows(atlas, tree, shape)):
        values = {**row, "truth_parents": json.dumps(row["truth_parents"], ensure_ascii=False)}
        data = "".join(
            f'<data key="{key}">{_xml(str(value))}</data>' for key, value in values.items() if value is not None
        )
        yield f'<node id="n{i}">{data}</node>\n'
    edges = neighbours(atlas.similarity, threshold=shape.threshold)
    hung = np.flatnonzero(tree.parents != ROOT)
    for child in hung.tolist():
        parent = int(tree.parents[child])
        yield _edge(atlas, parent, child, True, bool(edges[parent, child]))
        edges[parent, child] = edges[child, parent] = False
    for one, two in _closest(atlas, edges).tolist():
        yield _edge(atlas, one, two, False, True)
    yield "</graph>\n</graphml>\n"


def _closest(atlas: Atlas, edges: np.ndarray) -> np.ndarray:
    """np.ndarray[E, 2]: pairs of neighbours, each once, the closest where there are too many to write."""
    pairs = np.argwhere(np.triu(edges))
    if len(pairs) > MOST_EDGES:
        either = np.maximum(atlas.similarity[*pairs.T], atlas.similarity[*pairs[:, ::-1].T])
        pairs = pairs[np.sort(np.argsort(-either, kind="stable")[:MOST_EDGES])]
    return pairs


def _edge(atlas: Atlas, one: int, two: int, in_tree: bool, in_graph: bool) -> str:
    values = {
        "tree": str(in_tree).lower(),
        "graph": str(in_graph).lower(),
        "forth": float(atlas.similarity[one, two]),
        "back": float(atlas.similarity[two, one]),
    }
    data = "".join(f'<data key="{key}">{value}</data>' for key, value in values.items())
    return f'<edge source="n{one}" target="n{two}">{data}</edge>\n'


def _xml(text: str) -> str:
    # Carriage returns would come back as line feeds.
    return escape(_NOT_IN_XML.sub("\ufffd", text), {"\r": "&#13;"})


def _newick(atlas: Atlas, tree: Tree, shape: Shape) -> Iterator[str]:
    """Every node named; lengths are 1 - similarity to the parent, and 1 from the root."""
    rows = _rows(atlas, tree, shape)
    leaves = set(range(len(rows))) - set(tree.parents.tolist())
    between = "("
    for node, left in _walk(tree):
        if left:
            similarity = rows[node]["similarity"] or 0.0
            yield ("" if node in leaves else ")") + _quoted(rows[node]["name"]) + f":{max(0.0, 1 - similarity):.6g}"
            between = ","
        else:
            yield between
            between = "" if node in leaves else "("
    yield (")" if rows else "") + _quoted(_whole(atlas.title)) + ";\n"


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


FORMATS = {
    "json": Format(".json", "application/json", _json),
    "csv": Format(".csv", "text/csv", _csv),
    "graphml": Format(".graphml", "application/graphml+xml", _graphml),
    "newick": Format(".nwk", "text/x-nh", _newick),
}
