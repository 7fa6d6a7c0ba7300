"""What is known of how concepts nest: a graph from each to the broader ones it is part of, without circles."""

from collections.abc import Iterable, Mapping, Sequence


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
    for above in list(direct.values()):
        for name in above:
            direct.setdefault(name, ())
    found: dict[str, frozenset[str]] = {}
    for start in direct:
        trail: list[str] = []
        waiting = [start]
        while waiting:
            name = waiting[-1]
            if name in found:
                waiting.pop()
            elif trail and trail[-1] == name:
                found[name] = frozenset(direct[name]).union(*(found[above] for above in direct[name]))
                trail.pop()
                waiting.pop()
            elif name in trail:
                circle = " > ".join([*trail[trail.index(name) :], name])
                raise TruthError(f"the ground truth goes in a circle: {circle}; expected none")
            else:
                trail.append(name)
                waiting.extend(direct[name])
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
