"""Tests of survey/definition.py: every fault of a study file, with its line and field; the built-in study."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from survey import definition
from survey.definition import GOLD, StudyError, load
from tests.study_file import TINY, written

# What each change of the small file is refused with: line, field, and a part of the problem.
FAULTS: dict[str, tuple[str, str, int, str, str]] = {
    "missing": ('thanks = "Thanks"\n', "", 1, "thanks", "missing"),
    "unknown key": ('name = "tiny"', 'name = "tiny"\nnmae = "x"', 2, "nmae", "unknown"),
    "unknown key below": ("slots = 4", "slots = 4\nextra = { a = 1 }", 16, "extra", "unknown"),
    "name": ('"tiny"', '"Tiny study"', 1, "name", "pattern"),
    "name of another type": ('"tiny"', "3", 1, "name", "3 is not a string"),
    "language missing": (', de = "Titel"', "", 3, "title.de", "missing"),
    "language unknown": ('de = "Titel" }', 'de = "Titel", fr = "Titre" }', 3, "title.fr", "unknown"),
    "language tag": ('["en", "de"]', '["en", "de", "Klingon"]', 2, "languages[2]", "'Klingon' is not a tag"),
    "language tag too long": ('["en", "de"]', '["en", "de-x-as-long-as-1"]', 2, "languages[1]", "is not a tag"),
    "language twice": ('["en", "de"]', '["en", "de",\n "en"]', 3, "languages[2]", "twice"),
    "no language": ('["en", "de"]', "[]", 2, "languages", "names none"),
    "languages as a string": ('["en", "de"]', '"en"', 2, "languages", "not an array of strings"),
    "empty text": ('"Hello"', '" "', 4, "welcome", "empty"),
    "text of another type": ('"Hello"', "[]", 4, "welcome", "neither a text nor a table"),
    "control character": ('"Hello"', r'"Hel\u0000lo"', 4, "welcome", "control character"),
    "text too long": ('"Hello"', f'"{"long " * 5000}"', 4, "welcome", "25000 characters"),
    "trials of one direction": (
        "participant = 2",
        "participant = 3",
        14,
        "trials_per_participant",
        "multiple of the 2",
    ),
    "more trials than pieces": ("participant = 2", "participant = 6", 14, "trials_per_participant", "only 2 pieces"),
    "slots": ("slots = 4", "slots = 0", 15, "slots", "1 to 10000"),
    "true as a number": ("slots = 4", "slots = true", 15, "slots", "True is not a whole number"),
    "a float as a whole number": ("slots = 4", "slots = 4.0", 15, "slots", "not a whole number"),
    "seed": ("seed = 7", "seed = -7", 16, "seed", "out of range"),
    "lease": ("seed = 7", "seed = 7\nlease_minutes = nan", 17, "lease_minutes", "out of range"),
    "flag": ("seed = 7", 'seed = 7\nheadphone_check = "yes"', 17, "headphone_check", "not true or false"),
    "practice direction": ('"up" }', '"sideways" }', 17, "practice.direction", "not one of the directions up, down"),
    "practice without piece": ('piece = "p0", ', "", 17, "practice.piece", "missing"),
    "practice with more": ('piece = "p0", ', 'piece = "p0", k = 1, ', 17, "practice.k", "unknown"),
    "practice of another type": ('{ piece = "p0", direction = "up" }', '"p0"', 17, "practice", "not a table"),
    "one system": (', { key = "b", title = "B" }', "", 18, "systems", "there are 1; expected 2 to 8"),
    "a system called gold": ('key = "b"', 'key = "gold"', 18, "systems", "gold standard"),
    "system twice": ('key = "b"', 'key = "a"', 18, "systems[1].key", "twice"),
    "system in numbers": ('{ key = "b", title = "B" }', "2", 18, "systems[1]", "2 is not a table"),
    "two systems of one title": (
        'key = "b", title = "B"',
        'key = "b", title = "A"',
        18,
        "systems[1].title",
        "'A' is there twice",
    ),
    "two pieces of one title": ('"Second"', '"First"', 21, "pieces[1].title", "'First' is there twice"),
    "two directions of one title": ('"Downwards"', '"Upwards"', 30, "directions[1].title", "'Upwards' is there twice"),
    "two criteria of one title": (
        "[[exclusions]]",
        """[[criteria]]
key = "style"
title = { en = "Style", de = "Content" }
question = "How well?"
best = "best"
worst = "worst"

[[exclusions]]""",
        56,
        "criteria[1].title",
        "'Content (de)' is there twice",
    ),
    "key with a dot": ('key = "p2"', 'key = "p.2"', 21, "pieces[1].key", "pattern"),
    "empty title": ('"Second"', '""', 21, "pieces[1].title", "empty"),
    "direction without title": ('title = "Downwards"\n', "", 28, "directions[1].title", "missing"),
    "kind of a question": ('"choice"', '"chioce"', 35, "background[0].kind", "choice, number, text"),
    "one option": (
        '    { key = "some", text = { en = "Some", de = "Etwas" } },\n',
        "",
        36,
        "background[0].options",
        "two options",
    ),
    "option twice": ('key = "some"', 'key = "none"', 38, "background[0].options[1].key", "twice"),
    "option in one language": (', de = "Etwas"', "", 38, "background[0].options[1].text.de", "missing"),
    "options of a number": (
        "required = false",
        'required = false\noptions = [{ key = "x", text = "x" }]',
        46,
        "background[1].options",
        "takes no options",
    ),
    "criterion without question": ('question = "How well?"\n', "", 47, "criteria[0].question", "missing"),
    "kind of a rule": ('"fast_trials"', '"slow_trials"', 55, "exclusions[0].kind", "not one of"),
    "rule without threshold": ("threshold = 20\n", "", 54, "exclusions[0]", "needs a threshold"),
    "rule with threshold": ('"fast_trials"', '"incomplete"', 56, "exclusions[0].threshold", "takes no threshold"),
    "threshold": ("= 20", "= -20", 56, "exclusions[0].threshold", "out of range"),
    "pattern": ('"clips"', '"clips"\npattern = "{piece}.wav"', 61, "stimuli.pattern", "{direction} and {system}"),
    "file of nothing": (
        '"clips"',
        '"clips"\nfiles = [{ piece = "p9", direction = "up", system = "a", path = "x" }]',
        61,
        "stimuli.files[0]",
        "plays no p9.up.a",
    ),
    "stimuli missing": ('[stimuli]\nfolder = "clips"\n', "", 1, "stimuli", "missing"),
    "url": ('name = "tiny"', 'name = "tiny"\ncompletion_url = "panel"', 2, "completion_url", "pattern"),
    "contact": ('"Ada, ada@example.org"', "5", 13, "contact", "not a string"),
    "words that no page has": ("continue =", "contniue =", 63, "strings.contniue", "no such words"),
    "text of the pages": ('"Onwards"', "false", 63, "strings.continue", "neither a text"),
    "not TOML": ("slots = 4", "slots = = 4", 15, "", "not valid TOML"),
    "key twice in TOML": ("seed = 7", "slots = 5", 16, "", "not valid TOML"),
    "a string without end": ('"Onwards"', '"Onwards', 63, "", "not valid TOML"),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a study file."""
    return partial(written, tmp_path)


def test_a_study_is_read(write: Callable[[str], Path]) -> None:
    path = write(TINY)
    study = load(path)
    assert study.title == {"en": "Title", "de": "Titel"}
    assert study.welcome == {"en": "Hello", "de": "Hello"}
    assert [system.key for system in study.systems] == ["a", "b"]
    assert study.background[0].options[1].text["de"] == "Etwas"
    assert (study.background[1].required, study.background[0].required) == (False, True)
    assert study.practice == ("p0", "up")
    assert (study.lease_minutes, study.headphone_check, study.completion_code) == (120, True, "")
    assert study.exclusions[0].threshold == 20
    assert study.strings == {"continue": {"en": "Onwards", "de": "Onwards"}}
    # Two pieces and the practice piece, in two directions and in one, by two systems and the gold standard.
    assert len(study.stimuli) == (2 * 2 + 1) * 3
    assert study.stimuli[0].path == path.parent / "clips" / "p1.up.gold.flac"
    assert {one.system for one in study.stimuli} == {GOLD, "a", "b"}
    assert {one.sha256 for one in study.stimuli} == {""}


def test_a_practice_trial_of_a_ranked_piece_has_no_stimuli_of_its_own(write: Callable[[str], Path]) -> None:
    study = load(write(TINY.replace('"p0"', '"p1"')))
    assert study.practice == ("p1", "up")
    assert len(study.stimuli) == 2 * 2 * 3
    assert load(write(TINY.replace('practice = { piece = "p0", direction = "up" }\n', ""))).practice is None


def test_line_breaks_become_spaces_and_the_contact_is_filled_in(write: Callable[[str], Path]) -> None:
    path = write(TINY)
    assert load(path).consent["de"] == "Ask Ada, ada@example.org.\n\n- one\n- two"
    assert load(path, contact="Bob").consent["en"] == "Ask Bob.\n\n- one\n- two"


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_has_its_line_and_field(case: str, write: Callable[[str], Path]) -> None:
    old, new, line, field, problem = FAULTS[case]
    assert TINY.count(old) == 1
    with pytest.raises(StudyError) as caught:
        load(write(TINY.replace(old, new)))
    assert [(fault.line, fault.field) for fault in caught.value.faults] == [(line, field)]
    assert problem in caught.value.faults[0].problem
    assert str(caught.value).startswith(f"tiny.toml, line {line}: {field}")


def test_all_faults_are_reported_at_once_in_the_order_of_their_lines(write: Callable[[str], Path]) -> None:
    text = TINY
    for case in ("url", "threshold", "option in one language", "slots", "empty title", "unknown key"):
        text = text.replace(*FAULTS[case][:2])
    with pytest.raises(StudyError) as caught:
        load(write(text))
    assert [(fault.line, fault.field) for fault in caught.value.faults] == [
        (2, "nmae"),
        (3, "completion_url"),
        (17, "slots"),
        (23, "pieces[1].title"),
        (40, "background[0].options[1].text.de"),
        (58, "exclusions[0].threshold"),
    ]
    assert len(str(caught.value).splitlines()) == 6


def test_an_empty_file_lacks_everything(write: Callable[[str], Path]) -> None:
    with pytest.raises(StudyError) as caught:
        load(write(""))
    lacking = {fault.field for fault in caught.value.faults if "missing" in fault.problem}
    assert {"name", "title", "consent", "criteria", "systems", "pieces", "directions", "slots", "stimuli"} <= lacking
    assert {fault.line for fault in caught.value.faults} == {1}


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"^absent.toml, cannot be read \(No such file or directory\)"):
        load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "a"\ntitle = "\xe9t\xe9"\n')
    with pytest.raises(StudyError, match=r"^latin.toml, line 2: not UTF-8"):
        load(tmp_path / "latin.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000, encoding="utf-8")
    with pytest.raises(StudyError, match=r"^deep.toml, line 1: not valid TOML"):
        load(tmp_path / "deep.toml")


def test_a_mark_of_byte_order_is_no_fault(write: Callable[[str], Path]) -> None:
    path = write(TINY)
    path.write_bytes(b"\xef\xbb\xbf" + TINY.replace("\n", "\r\n").encode())
    assert load(path).consent == load(write(TINY)).consent


def test_single_stimuli_may_lie_elsewhere(write: Callable[[str], Path], tmp_path: Path) -> None:
    one = '[[stimuli.files]]\npiece = "p2"\ndirection = "down"\nsystem = "gold"\npath = "other/gold.wav"\n\n'
    study = load(write(TINY.replace("[strings]", one + "[strings]")))
    paths = {(s.piece, s.direction, s.system): s.path for s in study.stimuli}
    assert paths["p2", "down", "gold"] == tmp_path / "clips" / "other" / "gold.wav"
    assert paths["p2", "up", "gold"] == tmp_path / "clips" / "p2.up.gold.flac"
    with pytest.raises(StudyError, match="is there twice"):
        load(write(TINY.replace("[strings]", one + one + "[strings]")))


def test_words_of_the_pages_that_are_not_translated(write: Callable[[str], Path]) -> None:
    study = load(write(TINY))
    left = definition.untranslated(study)
    assert set(left) == {"de"}
    assert definition.untranslated(replace(study, strings={})) == {"de": left["de"] + 1}
    assert definition.untranslated(load(definition.shipped("music-star"))) == {}


def test_a_stored_version_may_name_a_rule_that_is_gone() -> None:
    study = load(definition.shipped("music-star"))
    table = json.loads(definition.to_json(study))
    table["exclusions"].append({"kind": "unheard", "threshold": 0, "description": "Never played."})
    assert definition.from_json(json.dumps(table)).exclusions == study.exclusions


# The built-in study


def test_the_built_in_study_is_that_of_the_paper() -> None:
    study = load(definition.shipped("music-star"))
    assert study.name == "music-star"
    assert [system.key for system in study.systems] == ["single", "separation", "embedding", "stem", "mixture"]
    assert " ".join(piece.key for piece in study.pieces) == "031 042 050 058 068 084 086 092 097 115"
    assert {direction.key for direction in study.directions} == {"cv", "sp"}
    assert [criterion.key for criterion in study.criteria] == ["content", "style", "quality"]
    assert [question.key for question in study.background] == ["experience", "device", "headphones"]
    assert (study.trials_per_participant, study.slots, study.languages) == (2, 30, ("en",))
    assert study.practice == ("001", "sp")
    assert len(study.stimuli) == (10 * 2 + 1) * 6
    assert "{" not in json.dumps(study.consent)[2:]


def test_the_welcome_says_how_the_gold_standard_was_made() -> None:
    welcome = load(definition.shipped("music-star")).welcome["en"]
    assert "a gold standard, for which a computer played the notes" in welcome
    assert "really" not in welcome


@pytest.mark.parametrize("word", ["Purpose", "15 minutes", "is kept", "voluntary", "Withdraw", "left out", "Contact"])
def test_the_consent_says_what_it_must(word: str) -> None:
    assert word in load(definition.shipped("music-star")).consent["en"]


def test_nothing_that_participants_read_names_a_system() -> None:
    study = load(definition.shipped("music-star"))
    read = json.dumps([
        study.title, study.welcome, study.consent, study.thanks, study.strings,
        [[c.title, c.question, c.best, c.worst] for c in study.criteria],
        [[q.text, [o.text for o in q.options]] for q in study.background],
    ]).lower()  # fmt: skip
    for word in ("supervised", "single-instrument", "separation", "embedding", "mixture", "music-star"):
        assert word not in read
