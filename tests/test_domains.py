"""Domains, voices, counterparts, directions."""

import pytest

from musicstar.domains import DIRECTIONS, PAPER, STARNET, Direction, Domain, Voice, stems_of


def test_counterparts_play_the_same_notes_in_the_other_domain() -> None:
    pairs = {(Voice.CLARINET, Voice.STRINGS), (Voice.VIBRAPHONE, Voice.PIANO), (Voice.CV, Voice.SP)}
    for one, other in pairs:
        assert one.counterpart(Domain.SP) is other
        assert other.counterpart(Domain.CV) is one
    assert Voice.PIANO.counterpart(Domain.TH) is Voice.HARPSICHORD
    assert Voice.FLUTE.counterpart(Domain.FG) is Voice.FLUTE


def test_numbers_are_those_of_starnet_files_and_go_on_from_there() -> None:
    assert [voice.value for voice in Voice] == list(range(12))
    assert Domain.CV.stems == (1, 2)
    assert Domain.SP.voices == (3, 4, 5)
    assert stems_of(STARNET) == (1, 2, 4, 5)
    assert [voice for voice in Voice if voice.is_mixture] == [0, 3, 6, 9]
    assert [voice.domain for voice in Voice] == [domain for domain in Domain for _ in range(3)]


def test_labels_read_back() -> None:
    assert [Voice.from_label(voice.label) for voice in Voice] == list(Voice)
    with pytest.raises(ValueError, match="unknown voice 'organ': expected one of cv, clarinet"):
        Voice.from_label("organ")
    assert Domain.FG.label == "flute and guitar"


def test_any_domain_is_translated_to_any_other() -> None:
    assert len(set(DIRECTIONS)) == 12
    assert set(PAPER) <= set(DIRECTIONS)
    assert [domain.others[0] for domain in STARNET] == [Domain.SP, Domain.CV]
    with pytest.raises(ValueError, match="both strings and piano"):
        Direction(Domain.SP, Domain.SP)
