"""What trees of many concepts cost: centrality and growth measured at several sizes, and from that a plan for more.

Run as `python -m benchmarks.concepts` from the root of the repository. Graphs are made at random as the real ones are:
concepts are points, most in the middle of a space and some far out, and neighbours where they lie close, about one pair
in eight. For each size and memory setting it prints the time, the memory used besides the edges, and what a block of
sources takes. Growth is fitted as a N^2 + b N^3, what is done to each pair and the products of matrices, which gives a
first plan for a larger size, rather too short; with `--check` some blocks of that size, from the nodes with the fewest
neighbours to those with the most, are run in full, and all take as long as these do on the mean. Beside it stands
networkx on a small graph, as a ratio, and the error of an estimate from some of the sources.

Times are the processor's, of all cores together, so that other work on the machine does not count; with
OMP_NUM_THREADS=1 they are those of one core. Memory is the peak of what numpy asks for (tracemalloc). `--json` prints
one JSON object.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import nnls

from musicstar.concepts import hierarchy

MIB = 2**20


@dataclass(frozen=True)
class Run:
    """Centrality of one graph, or of some of its sources, under one memory setting."""

    nodes: int
    edges: int
    setting_mib: int
    peak_mib: float
    seconds: float
    blocks: int

    def __str__(self) -> str:
        return (
            f"{self.nodes:6} nodes, {self.edges:9} edges, {self.setting_mib:5} MiB allowed, {self.peak_mib:5.0f} used: "
            f"{self.seconds:7.2f} s, {self.blocks} blocks of {self.seconds / self.blocks:.2f} s"
        )


@dataclass(frozen=True)
class Plan:
    """What a larger graph will take."""

    nodes: int
    setting_mib: int
    seconds: float
    sources: int
    columns: int

    @property
    def blocks(self) -> int:
        """How often some sources are followed."""
        return -(-self.nodes // self.sources)

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes in {self.setting_mib} MiB: about {self.seconds / 60:.0f} minutes, {self.blocks} "
            f"blocks of {self.sources} sources, {self.seconds / self.blocks:.0f} s each, {self.columns} columns at "
            f"once; the edges are {self.nodes**2 / MIB:.0f} MiB more, in memory or in a file"
        )


def graph(nodes: int, seed: int = 0) -> np.ndarray:
    """np.ndarray[N, N], bool: neighbours, made some rows at a time."""
    rng = np.random.default_rng(seed)
    points = (rng.standard_normal((nodes, 12)) * rng.lognormal(0, 0.4, (nodes, 1))).astype(np.float32)
    squares = (points**2).sum(axis=1)
    edges = np.empty((nodes, nodes), dtype=bool)
    limit = np.quantile(_apart(points, squares, slice(0, 500)), 0.125)
    for first in range(0, nodes, 500):
        rows = slice(first, first + 500)
        edges[rows] = _apart(points, squares, rows) < limit
    # Rounding differs with the place in a product.
    edges &= edges.T
    np.fill_diagonal(edges, False)
    return edges


def _apart(points: np.ndarray, squares: np.ndarray, rows: slice) -> np.ndarray:
    return np.asarray(squares[rows, None] + squares - 2 * points[rows] @ points.T)


def measured(edges: np.ndarray, setting_mib: int) -> Run:
    """Centrality of a graph; memory is watched on a block by itself, since that slows it."""
    shares: list[float] = []
    began = time.process_time()
    hierarchy.betweenness(edges, memory_bytes=setting_mib * MIB, progress=shares.append)
    seconds = time.process_time() - began
    tracemalloc.start()
    some = max(1, round(len(edges) * shares[0]))
    hierarchy.betweenness(edges, memory_bytes=setting_mib * MIB, pivots=some)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Run(len(edges), int(edges.sum()) // 2, setting_mib, peak / MIB, seconds, len(shares))


def sampled(plan: Plan, count: int = 4) -> list[float]:
    """Seconds of some of a plan's blocks, evenly from the first to the last."""
    edges = graph(plan.nodes)
    order = np.argsort(edges.sum(axis=1), kind="stable")
    found = []
    for at in np.linspace(0, plan.nodes - plan.sources, count).astype(int).tolist():
        began = time.process_time()
        hierarchy._dependencies(edges, order[at : at + plan.sources], plan.columns)  # noqa: SLF001
        found.append(time.process_time() - began)
    return found


def ahead(sizes: Sequence[int], seconds: Sequence[float], at: int, powers: tuple[int, int]) -> float:
    """The time at a size, by the sum of two powers that fits the measured times best, each by its own measure."""
    terms = np.array([[size**power for power in powers] for size in (*sizes, at)], dtype=np.float64)
    factors, _ = nnls(terms[:-1] / np.array(seconds)[:, None], np.ones(len(sizes)))
    return float(terms[-1] @ factors)


def planned(runs: Sequence[Run], nodes: int) -> Plan:
    """From runs of one memory setting."""
    seconds = ahead([run.nodes for run in runs], [run.seconds for run in runs], nodes, (2, 3))
    setting = runs[0].setting_mib
    return Plan(nodes, setting, seconds, *hierarchy._blocks(nodes, setting * MIB))  # noqa: SLF001


def planted(nodes: int) -> float:
    """Seconds to grow a tree of so many concepts, centralities given."""
    rng = np.random.default_rng(1)
    similarity, centrality = rng.random((nodes, nodes), dtype=np.float32), rng.random(nodes)
    began = time.process_time()
    hierarchy.grow(similarity, centrality)
    return time.process_time() - began


def peer(nodes: int = 400) -> dict[str, float]:
    """Our time and networkx's on one small graph, and how far apart they are."""
    import networkx as nx  # type: ignore[import-untyped]

    edges = graph(nodes)
    theirs_on = nx.from_numpy_array(edges)
    began = time.process_time()
    theirs = nx.betweenness_centrality(theirs_on)
    between = time.process_time()
    ours = hierarchy.betweenness(edges)
    ended = time.process_time()
    apart = max(abs(ours[node] - value) for node, value in theirs.items())
    return {"nodes": nodes, "ours_s": ended - between, "networkx_s": between - began, "apart": float(apart)}


def estimated(edges: np.ndarray, shares: Sequence[float] = (0.05, 0.1, 0.25)) -> list[dict[str, float]]:
    """What some of the sources tell: the rank correlation of centralities, and how much of the first tenth is found."""
    whole = hierarchy.betweenness(edges)
    tenth = len(whole) // 10
    rows = []
    for share in shares:
        began = time.process_time()
        found = hierarchy.betweenness(edges, pivots=round(share * len(edges)))
        seconds = time.process_time() - began
        order, other = np.argsort(whole), np.argsort(found)
        correlation = float(np.corrcoef(np.argsort(order), np.argsort(other))[0, 1])
        both = len(set(order[-tenth:].tolist()) & set(other[-tenth:].tolist()))
        rows.append({"share": share, "seconds": seconds, "rank_correlation": correlation, "first_tenth": both / tenth})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 2_000, 4_000])
    parser.add_argument("--memory-mib", type=int, nargs="+", default=[64, 256, 1_024])
    parser.add_argument("--plan", type=int, default=20_000, help="concepts to plan for")
    parser.add_argument("--check", action="store_true", help="run some blocks of the size that is planned for")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    def say(line: object) -> None:
        if not arguments.json:
            print(line, flush=True)

    compared = peer()
    ratio = compared["networkx_s"] / compared["ours_s"]
    say(
        f"networkx takes {ratio:.0f} times as long at {compared['nodes']} nodes; they are {compared['apart']:.0e} apart"
    )
    runs: list[Run] = []
    for size in arguments.sizes:
        edges = graph(size)
        for setting in arguments.memory_mib:
            runs.append(measured(edges, setting))
            say(runs[-1])
    estimates = estimated(edges)
    for row in estimates:
        say(
            f"{row['share']:.0%} of the sources: {row['seconds']:.2f} s, rank correlation "
            f"{row['rank_correlation']:.3f}, {row['first_tenth']:.0%} of the first tenth found"
        )
    plans = [
        planned([run for run in runs if run.setting_mib == setting], arguments.plan) for setting in arguments.memory_mib
    ]
    for plan in plans:
        say(plan)
    trees = {size: planted(size) for size in arguments.sizes}
    tree_s = ahead(list(trees), list(trees.values()), arguments.plan, (1, 2))
    say("trees: " + ", ".join(f"{size} concepts in {seconds:.2f} s" for size, seconds in trees.items()))
    say(
        f"{arguments.plan} concepts in about {tree_s:.0f} s; their similarities are {4 * arguments.plan**2 / MIB:.0f} "
        "MiB, once more where the published orientation turns them"
    )
    checked: list[float] = []
    if arguments.check:
        checked = sampled(plans[-1])
        shown = ", ".join(f"{seconds:.0f}" for seconds in checked)
        whole = float(np.mean(checked)) * plans[-1].blocks / 60
        say(f"of these {plans[-1].blocks} blocks some took {shown} s; all would take about {whole:.0f} minutes")
    if arguments.json:
        values = {
            "networkx": compared,
            "runs": [asdict(run) for run in runs],
            "estimates": estimates,
            "plans": [asdict(plan) for plan in plans],
            "trees": trees,
            "tree_seconds": tree_s,
            "checked": checked,
        }
        print(json.dumps(values))


if __name__ == "__main__":
    main()
