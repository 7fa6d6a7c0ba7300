"""The design: who hears which pieces in which direction, and the systems in which order.

A design is a list of slots, one per participant, made in blocks from the study's seed. Within a block:

- The orders of the systems are the rows of a Williams design (E. J. Williams, Experimental designs balanced for the
  estimation of residual effects of treatments, 1949): each system comes equally often at each place, and equally often
  right after each other one. For k systems there are k rows where k is even and 2 k where it is odd. In each direction
  each row is used equally often, and no row twice by one participant while the rows last.
- The directions' orders are rows of such a design too, in turn: of two directions each comes first in every other slot.
- The pieces go round in shuffled cycles, so that each piece in each direction is heard equally often, as nearly as the
  numbers allow at any time, and nobody hears a piece twice while there are enough of them.

The study's design of 30 slots (ten pieces, two directions, one piece in each) has each direction first 15 times, each
piece in each direction three times and each of the ten orders three times per direction. Shuffling is done by hashes:
the same seed gives the same design on every machine and with every version of every library.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from db.records import DesignSlot, PlannedTrial
from survey.definition import Study

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """What a design is made of.

    Attributes
    ----------
    trials : of one participant, a multiple of the number of directions
    slots : of one block
    practice : piece and direction of the practice trial
    """

    systems: tuple[str, ...]
    pieces: tuple[str, ...]
    directions: tuple[str, ...]
    trials: int
    slots: int
    seed: int
    practice: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if len(self.systems) < 2 or not self.directions or self.slots < 1:
            raise ValueError("A design needs two systems, a direction and a slot at least.")
        if self.trials < 1 or self.trials % len(self.directions):
            raise ValueError(
                f"{self.trials} trials cannot be shared by {len(self.directions)} directions; expected a multiple."
            )
        if self.per_direction > len(self.pieces):
            raise ValueError(
                f"{self.per_direction} trials per direction need as many pieces, and there are {len(self.pieces)}."
            )

    @property
    def per_direction(self) -> int:
        """Trials of one participant in each direction."""
        return self.trials // len(self.directions)


def williams(k: int) -> tuple[tuple[int, ...], ...]:
    """The rows of a Williams design of k treatments: k of them for an even k, 2 k for an odd one.

    >>> williams(4)
    ((0, 1, 3, 2), (1, 2, 0, 3), (2, 3, 1, 0), (3, 0, 2, 1))
    """
    first = [(step + 1) // 2 if step % 2 else (k - step // 2) % k for step in range(k)]
    rows = [tuple((place + shift) % k for place in first) for shift in range(k)]
    if k % 2 and k > 1:
        rows += [row[::-1] for row in rows]
    return tuple(rows)


def layout_of(study: Study) -> Layout:
    """What a study's design is made of."""
    return Layout(
        systems=tuple(system.key for system in study.systems),
        pieces=tuple(piece.key for piece in study.pieces),
        directions=tuple(direction.key for direction in study.directions),
        trials=study.trials_per_participant,
        slots=study.slots,
        seed=study.seed,
        practice=study.practice,
    )


def block(layout: Layout, number: int) -> tuple[DesignSlot, ...]:
    """The slots of one block of the design; block 0 is the first.

    Parameters
    ----------
    number : counts the blocks; the slots are numbered on through all of them
    """
    return tuple(_slot(layout, number, place) for place in range(layout.slots))


def slots_after(layout: Layout, last: int) -> tuple[DesignSlot, ...]:
    """The slots of the block that follows slot number `last`, -1 for the first block."""
    return block(layout, (last + 1) // layout.slots)


def _slot(layout: Layout, number: int, place: int) -> DesignSlot:
    name = f"{layout.seed}:{number}"
    orders = williams(len(layout.systems))
    ways = williams(len(layout.directions))
    trials = []
    for turn in range(layout.per_direction):
        # The next round of directions goes the other way about: forth, back, forth.
        way = ways[(place + turn) % len(ways)]
        for direction in way:
            piece = _piece(layout, name, place, direction, turn)
            row = orders[_order(layout, name, place, direction * layout.per_direction + turn)]
            trials.append(
                PlannedTrial(piece, layout.directions[direction], tuple(layout.systems[system] for system in row))
            )
    practice = None
    if layout.practice is not None:
        practice = PlannedTrial(*layout.practice, order=tuple(shuffled(layout.systems, f"{name}:practice:{place}")))
    return DesignSlot(number * layout.slots + place, tuple(trials), practice)


def _piece(layout: Layout, name: str, place: int, direction: int, turn: int) -> str:
    """The piece of a slot in one direction, the `turn`-th of it."""
    m, count = layout.per_direction, len(layout.pieces)
    # After this many slots each piece has been heard equally often in each direction.
    cycle, step = divmod(place, _cycle_slots(m, count))
    if layout.trials <= count:
        # Directions read the same circle of pieces through windows that do not overlap.
        circle = shuffled(layout.pieces, f"{name}:pieces:{cycle}")
        window = shuffled(range(count // m), f"{name}:windows:{cycle}")[direction]
        return circle[(step * m + turn + window * m) % count]
    circle = shuffled(layout.pieces, f"{name}:pieces:{cycle}:{direction}")
    return circle[(step * m + turn) % count]


def _cycle_slots(m: int, count: int) -> int:
    slots = 1
    while slots * m % count:
        slots += 1
    return slots


def _order(layout: Layout, name: str, place: int, trial: int) -> int:
    """The row of the Williams design for one trial of a slot, counted direction by direction."""
    rows = len(williams(len(layout.systems)))
    directions = len(layout.directions)
    # A step that is a multiple of the number of directions keeps the first trials as balanced as the others.
    steps = [step for step in range(1, rows) if step * layout.trials <= rows]
    step = max((step for step in steps if step % directions == 0), default=max(steps, default=1))
    cycle, within = divmod(place, rows)
    # So does reading one circle as many times as there are directions, each time begun one further.
    circle = shuffled(range(rows), f"{name}:orders:{cycle // directions}")
    return circle[(within + cycle % directions + trial * step) % rows]


def shuffled(things: Sequence[T], name: str) -> list[T]:
    """The same things in an order that the name alone decides."""
    places = sorted(range(len(things)), key=lambda place: hashlib.sha256(f"{name}:{place}".encode()).digest())
    return [things[place] for place in places]
