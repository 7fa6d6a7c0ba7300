"""The design: balance counted out, and the same slots from the same seed."""

import dataclasses
from collections import Counter
from itertools import pairwise

import pytest

from db.records import DesignSlot
from survey.design import Layout, block, layout_of, shuffled, slots_after, williams
from tests.survey_study import DIRECTIONS, PIECES, SYSTEMS, tiny_study

MUSIC_STAR = Layout(
    systems=("single", "separation", "embedding", "stem", "mixture"),
    pieces=tuple(f"{number:03}" for number in range(1, 11)),
    directions=("cv", "sp"),
    trials=2,
    slots=30,
    seed=20220,
    practice=("001", "cv"),
)


@pytest.mark.parametrize("k", range(1, 10))
def test_a_williams_design_is_balanced_in_place_and_in_succession(k: int) -> None:
    rows = williams(k)
    assert len(rows) == (1 if k == 1 else 2 * k if k % 2 else k)
    assert all(sorted(row) == list(range(k)) for row in rows)
    for place in range(k):
        assert set(Counter(row[place] for row in rows).values()) == {len(rows) // k}
    followed = Counter(pair for row in rows for pair in pairwise(row))
    assert len(followed) == k * (k - 1)
    assert len(set(followed.values())) <= 1


@pytest.mark.parametrize("number", [0, 1, 7])
@pytest.mark.parametrize("seed", [1, 2, 20220])
def test_thirty_slots_are_balanced_as_the_study_asks(seed: int, number: int) -> None:
    slots = block(dataclasses.replace(MUSIC_STAR, seed=seed), number)
    assert [slot.number for slot in slots] == list(range(30 * number, 30 * number + 30))
    assert Counter(slot.trials[0].direction for slot in slots) == {"cv": 15, "sp": 15}
    trials = [trial for slot in slots for trial in slot.trials]
    heard = Counter((trial.piece, trial.direction) for trial in trials)
    assert len(heard) == 20
    assert set(heard.values()) == {3}
    orders = Counter((trial.direction, trial.order) for trial in trials)
    assert len(orders) == 20
    assert set(orders.values()) == {3}
    first = Counter(slot.trials[0].order for slot in slots)
    assert set(first.values()) == {3}
    for slot in slots:
        one, other = slot.trials
        assert one.direction != other.direction
        assert one.piece != other.piece
        assert one.order != other.order
        assert slot.practice is not None
        assert sorted(slot.practice.order) == sorted(MUSIC_STAR.systems)


def test_any_beginning_of_the_design_is_nearly_balanced() -> None:
    slots = block(MUSIC_STAR, 0)
    for taken in range(1, 31):
        begun = slots[:taken]
        came_first = Counter(slot.trials[0].direction for slot in begun)
        assert abs(came_first["cv"] - came_first["sp"]) <= 1
        heard = Counter((trial.piece, trial.direction) for slot in begun for trial in slot.trials)
        assert max(heard.values()) <= -(-taken // 10)


def test_pairs_of_pieces_are_not_always_the_same() -> None:
    pairs = {frozenset(trial.piece for trial in slot.trials) for slot in block(MUSIC_STAR, 0)}
    assert len(pairs) > 15


LAYOUTS = [
    Layout(tuple(map(str, range(k))), tuple("abcdefghij"), directions, trials, slots, 5)
    for k in range(2, 9)
    for directions, trials, slots in (
        (("cv", "sp"), 2, 40),
        (("cv", "sp"), 4, 40),
        (("cv",), 3, 20),
        (("a", "b", "c"), 3, 60),
        (("cv", "sp"), 20, 8),
        (("cv", "sp"), 2, 7),
    )
]


@pytest.mark.parametrize(
    "layout",
    LAYOUTS,
    ids=lambda layout: f"{len(layout.systems)}-{len(layout.directions)}-{layout.trials}-{layout.slots}",
)
def test_every_layout_is_as_balanced_as_its_numbers_allow(layout: Layout) -> None:
    slots = block(layout, 0)
    trials = [trial for slot in slots for trial in slot.trials]
    assert len(trials) == layout.slots * layout.trials
    heard = Counter({(piece, direction): 0 for piece in layout.pieces for direction in layout.directions})
    heard.update((trial.piece, trial.direction) for trial in trials)
    assert max(heard.values()) - min(heard.values()) <= 1
    firsts = Counter(dict.fromkeys(layout.directions, 0))
    firsts.update(slot.trials[0].direction for slot in slots)
    assert max(firsts.values()) - min(firsts.values()) <= 1
    rows = len(williams(len(layout.systems)))
    for direction in layout.directions:
        orders = Counter(trial.order for trial in trials if trial.direction == direction)
        if layout.slots % rows == 0:
            assert set(orders.values()) == {layout.slots * layout.per_direction // rows}
    for slot in slots:
        places = {(trial.piece, trial.direction) for trial in slot.trials}
        assert len(places) == layout.trials
        if layout.trials <= len(layout.pieces):
            assert len({trial.piece for trial in slot.trials}) == layout.trials
        if layout.trials <= rows:
            assert len({trial.order for trial in slot.trials}) == layout.trials


def test_the_same_seed_gives_the_same_design_and_others_give_others() -> None:
    assert block(MUSIC_STAR, 0) == block(MUSIC_STAR, 0)
    assert block(MUSIC_STAR, 0) != block(dataclasses.replace(MUSIC_STAR, seed=1), 0)
    orders = [tuple(trial for slot in block(MUSIC_STAR, number) for trial in slot.trials) for number in range(3)]
    assert len(set(orders)) == 3
    # Stored: the design must not change under studies that are under way.
    assert shuffled("abcdef", "7:0:pieces:0") == ["a", "e", "c", "b", "f", "d"]


def test_the_design_goes_on_where_it_ended() -> None:
    assert slots_after(MUSIC_STAR, -1) == block(MUSIC_STAR, 0)
    assert slots_after(MUSIC_STAR, 29) == block(MUSIC_STAR, 1)
    assert slots_after(MUSIC_STAR, 59)[0].number == 60


def test_the_layout_of_a_study() -> None:
    layout = layout_of(tiny_study())
    assert (layout.systems, layout.pieces, layout.directions) == (SYSTEMS, PIECES, DIRECTIONS)
    assert (layout.trials, layout.slots, layout.seed, layout.practice) == (2, 6, 7, ("warm-up", "there"))
    slot = block(layout, 0)[0]
    assert isinstance(slot, DesignSlot)
    assert slot.practice is not None
    assert (slot.practice.piece, slot.practice.direction) == ("warm-up", "there")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 3}, "expected a multiple"),
        ({"trials": 0}, "expected a multiple"),
        ({"trials": 22}, "need as many pieces"),
        ({"systems": ("one",)}, "two systems"),
        ({"slots": 0}, "a slot at least"),
        ({"directions": ()}, "a direction"),
    ],
)
def test_numbers_that_cannot_be_laid_out_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(MUSIC_STAR, **changes)  # type: ignore[arg-type]
