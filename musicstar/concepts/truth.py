"""What is known of how concepts nest: a graph from each to the broader ones it is part of, without circles."""

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter


class TruthError(ValueError):
    """A ground truth that is none; the message says where."""


def ancestors(parents: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """All broader concepts of each, however far.

    Parameters
    ----------
    parents : the broader concepts that each is directly part of; one named only as a parent has none

    Raises
    ------
    TruthError
        The graph goes in a circle.
    """
    direct = {name: tuple(above) for name, above in parents.items()}
    found: dict[str, frozenset[str]] = {}
    try:
        for name in TopologicalSorter(direct).static_order():
            above = direct.get(name, ())
            found[name] = frozenset(above).union(*(found[parent] for parent in above))
    except CycleError as error:
        circle = " > ".join(reversed(error.args[1]))
        raise TruthError(f"the ground truth goes in a circle: {circle}; expected none") from None
    return found


def tops(parents: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The topmost ancestor of each concept by way of its first parents; itself where it has none.

    Raises
    ------
    TruthError
        As `ancestors`.
    """
    found: dict[str, str] = {}
    for name in ancestors(parents):
        top = name
        while above := parents.get(top):
            top = above[0]
        found[name] = top
    return found
