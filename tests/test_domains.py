"""Domains, voices, counterparts."""

import pytest

from musicstar.domains import MIXTURES, STEMS, Domain, Voice


def test_counterparts_play_the_same_notes_in_the_other_domain() -> None:
    pairs = {(Voice.CLARINET, Voice.STRINGS), (Voice.VIBRAPHONE, Voice.PIANO), (Voice.CV, Voice.SP)}
    for one, other in pairs:
        assert one.counterpart is other
        assert other.counterpart is one
        assert one.domain is other.domain.other


def test_numbers_are_those_of_starnet_files() -> None:
    assert [voice.value for voice in Voice] == [0, 1, 2, 3, 4, 5]
    assert Domain.CV.stems == (1, 2)
    assert Domain.SP.stems == (4, 5)
    assert MIXTURES == (0, 3)
    assert STEMS == (1, 2, 4, 5)


def test_labels_read_back() -> None:
    assert [Voice.from_label(voice.label) for voice in Voice] == list(Voice)
    with pytest.raises(ValueError, match="unknown voice 'organ': expected one of cv, clarinet"):
        Voice.from_label("organ")
