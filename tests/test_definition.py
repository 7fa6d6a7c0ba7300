"""Tests of survey/definition.py and what it reads with: every fault of a study file, with its line and field."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from survey import definition
from survey.definition import GOLD, Study, StudyError, from_json, load, to_json
from survey.locks import lock_path
from survey.tables import Fault

TINY = """\
name = "tiny"
languages = ["en", "de"]
title = { en = "Title", de = "Titel" }
welcome = "Hello"
consent = '''
Ask
{contact}.

- one
- two
'''
thanks = "Thanks"
contact = "Ada, ada@example.org"
trials_per_participant = 2
slots = 4
seed = 7
practice = { piece = "p0", direction = "up" }
systems = [{ key = "a", title = "A" }, { key = "b", title = "B" }]
pieces = [
    { key = "p1", title = "First" },
    { key = "p2", title = "Second" },
]

[[directions]]
key = "up"
title = "Upwards"

[[directions]]
key = "down"
title = "Downwards"

[[background]]
key = "experience"
text = "Experience?"
kind = "choice"
options = [
    { key = "none", text = "None" },
    { key = "some", text = { en = "Some", de = "Etwas" } },
]

[[background]]
key = "age"
text = "Age?"
kind = "number"
required = false

[[criteria]]
key = "content"
title = "Content"
question = "How well?"
best = "best"
worst = "worst"

[[exclusions]]
kind = "fast_trials"
threshold = 20
description = "Too fast."

[stimuli]
folder = "clips"

[strings]
continue = "Onwards"
"""

# What each change of the file above is refused with: line, field, and a part of the problem.
FAULTS: dict[str, tuple[str, str, int, str, str]] = {
    "missing": ('thanks = "Thanks"\n', "", 1, "thanks", "missing"),
    "unknown key": ('name = "tiny"', 'name = "tiny"\nnmae = "x"', 2, "nmae", "unknown"),
    "unknown key below": ("slots = 4", "slots = 4\nextra = { a = 1 }", 16, "extra", "unknown"),
    "name": ('"tiny"', '"Tiny study"', 1, "name", "pattern"),
    "name of another type": ('"tiny"', "3", 1, "name", "3 is not a string"),
    "language missing": (', de = "Titel"', "", 3, "title.de", "missing"),
    "language unknown": ('de = "Titel" }', 'de = "Titel", fr = "Titre" }', 3, "title.fr", "unknown"),
    "language tag": ('["en", "de"]', '["en", "de", "Klingon"]', 2, "languages[2]", "'Klingon' is not a tag"),
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
    "rule with threshold": ('"fast_trials"', '"unheard"', 56, "exclusions[0].threshold", "takes no threshold"),
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

    def write(text: str) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def locked(study: Study) -> Study:
    """The study as its stimuli had hashes, without their paths."""
    stimuli = (replace(one, path=Path(), sha256=f"{n:064x}") for n, one in enumerate(study.stimuli))
    return replace(study, stimuli=tuple(stimuli))


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


# JSON


def test_json_gives_the_study_back(write: Callable[[str], Path]) -> None:
    study = locked(load(write(TINY)))
    text = to_json(study)
    assert from_json(text) == study
    assert to_json(from_json(text)) == text
    assert "clips" not in text
    assert "\n" not in text
    without = locked(load(write(TINY.replace('practice = { piece = "p0", direction = "up" }\n', ""))))
    assert from_json(to_json(without)) == without


def test_json_is_the_same_for_equal_studies_and_differs_with_a_hash(write: Callable[[str], Path]) -> None:
    study = locked(load(write(TINY)))
    reordered = TINY.replace("slots = 4\nseed = 7", "seed = 7\nslots = 4")
    assert to_json(locked(load(write(reordered)))) == to_json(study)
    changed = replace(study, stimuli=(replace(study.stimuli[0], sha256="f" * 64), *study.stimuli[1:]))
    assert to_json(changed) != to_json(study)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"slots":4', '"slots":true', "slots: True is not a whole number"),
        ('"slots":4', '"slots":4,"more":1', "more: is unknown"),
        ('"system":"gold"', '"system":"a"', "stimuli: are not those of"),
        ('"lease_minutes":120.0', '"lease_minutes":NaN', "lease_minutes: nan is out of range"),
        ('"sha256":"0', '"sha256":"g', "stimuli[0].sha256"),
        ('"Hello"', r'"\ud800"', "control character"),
        ('"name":', '"name"', "not valid JSON"),
    ],
)
def test_json_of_another_make_is_refused(old: str, new: str, problem: str, write: Callable[[str], Path]) -> None:
    text = to_json(locked(load(write(TINY))))
    assert old in text
    with pytest.raises(StudyError) as caught:
        from_json(text.replace(old, new, 1))
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "3", "", "[" * 100_000])
def test_json_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(StudyError):
        from_json(text)


JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    3.5,
    10**400,
    float("inf"),
    "",
    "x",
    "\ud800",
    [],
    {},
    [1],
    {"en": 1},
    [[]],
    [{}],
)


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where anything stands in a value of JSON."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*place, key)
        yield from places(item, (*place, key))


def test_whatever_stands_anywhere_is_read_or_refused(write: Callable[[str], Path]) -> None:
    sound = to_json(locked(load(write(TINY))))
    refused = 0
    for *around, key in places(json.loads(sound)):
        for junk in JUNK:
            table = json.loads(sound)
            within = table
            for step in around:
                within = within[step]
            within[key] = junk
            try:
                study = from_json(json.dumps(table))
            except StudyError:
                refused += 1
            else:
                assert from_json(to_json(study)) == study
    assert refused > 2000


@pytest.mark.parametrize("value", ["1", '"x"', "true", "[]", "{}", "[{}]", "{ en = 1 }", "nan", "1979-05-27"])
def test_whatever_is_said_of_any_key_is_read_or_refused_with_a_line(value: str, write: Callable[[str], Path]) -> None:
    lines = TINY.splitlines()
    for n, line in enumerate(lines):
        key, equals, _ = line.partition(" =")
        changed = [*lines[:n], *([f"{key} = {value}"] if equals else []), *lines[n + 1 :]]
        found: tuple[Fault, ...] = ()
        try:
            load(write("\n".join(changed)))
        except StudyError as error:
            found = error.faults
        assert all(fault.line is not None and 1 <= fault.line <= len(changed) + 1 for fault in found)


def test_words_of_the_pages_that_are_not_translated(write: Callable[[str], Path]) -> None:
    study = load(write(TINY))
    left = definition.untranslated(study)
    assert set(left) == {"de"}
    assert definition.untranslated(replace(study, strings={})) == {"de": left["de"] + 1}
    assert definition.untranslated(load(definition.shipped("music-star"))) == {}


# Files and hashes


@pytest.fixture
def tiny(write: Callable[[str], Path]) -> Path:
    """A study file with a file of a few bytes for each stimulus."""
    path = write(TINY)
    (path.parent / "clips").mkdir()
    for n, one in enumerate(load(path).stimuli):
        one.path.write_bytes(bytes([n]))
    return path


def test_the_lock_file_holds_the_hashes(tiny: Path) -> None:
    with pytest.raises(StudyError, match="is not in the lock file") as caught:
        definition.check_files(load(tiny))
    assert len(caught.value.faults) == 15
    lock = definition.write_lock(tiny)
    assert lock == lock_path(tiny)
    assert lock.name == "tiny.lock.json"
    # sha256 of one zero byte.
    first = json.loads(lock.read_text(encoding="utf-8"))["clips/p1.up.gold.flac"]
    assert first == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    study = load(tiny)
    assert study.stimuli[0].sha256 == first
    definition.check_files(study)
    before = lock.read_bytes()
    definition.write_lock(tiny)
    assert lock.read_bytes() == before


def test_files_that_changed_or_went_are_all_named(tiny: Path) -> None:
    definition.write_lock(tiny)
    study = load(tiny)
    study.stimuli[3].path.write_bytes(b"another")
    study.stimuli[5].path.unlink()
    with pytest.raises(StudyError) as caught:
        definition.check_files(study)
    assert [fault.field for fault in caught.value.faults] == [str(study.stimuli[n].path) for n in (3, 5)]
    assert "the lock file" in caught.value.faults[0].problem
    assert "No such file" in caught.value.faults[1].problem
    with pytest.raises(StudyError, match="No such file"):
        definition.write_lock(tiny)


@pytest.mark.parametrize("content", ["{", "[]", '{"clips/p1.up.gold.flac": 3}', '{"clips/p1.up.gold.flac": "abc"}'])
def test_a_damaged_lock_file_is_a_fault(content: str, tiny: Path) -> None:
    lock_path(tiny).write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=r"tiny.lock.json .*musicstar-survey lock"):
        load(tiny)


def test_a_folder_elsewhere_is_locked_as_well(tiny: Path, tmp_path: Path) -> None:
    clips = (tmp_path / "clips").rename(tmp_path / "elsewhere")
    tiny.write_text(TINY.replace('"clips"', f"'{clips}'"), encoding="utf-8")
    definition.write_lock(tiny)
    definition.check_files(load(tiny))


# The built-in study


def test_the_built_in_study_is_that_of_the_paper() -> None:
    study = load(definition.shipped("music-star"))
    assert study.name == "music-star"
    assert [system.key for system in study.systems] == ["single", "separation", "embedding", "stem", "mixture"]
    assert " ".join(piece.key for piece in study.pieces) == "015 031 044 045 050 068 075 084 086 097"
    assert {direction.key for direction in study.directions} == {"cv", "sp"}
    assert [criterion.key for criterion in study.criteria] == ["content", "style", "quality"]
    assert [question.key for question in study.background] == ["experience", "device", "headphones"]
    assert (study.trials_per_participant, study.slots, study.languages) == (2, 30, ("en",))
    assert study.practice == ("001", "sp")
    assert len(study.stimuli) == (10 * 2 + 1) * 6
    assert "{" not in json.dumps(study.consent)[2:]


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
