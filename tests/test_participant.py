"""The participants' page as Python sees it: the words that studies can put differently, and the scripts."""

import asyncio
import re
from pathlib import Path

from survey.ui import participant

OURS = [
    participant.STATIC / Path(source).name
    for source in (*participant.SCRIPTS, *participant.STYLES)
    if source.startswith("/survey/static/")
]
SCRIPTS = "".join(path.read_text(encoding="utf-8") for path in OURS if path.suffix == ".js")
WORDS = participant.words()


def test_every_script_and_style_is_there() -> None:
    assert len(OURS) > 5
    assert all(path.is_file() for path in OURS)


def test_the_words_are_those_that_the_scripts_say() -> None:
    said = set(re.findall(r'"([a-z]\w*)"', SCRIPTS))
    built = {f"headphones_{place}" for place in (1, 2, 3)}
    assert set(WORDS) - said - built == set(), "words that no script says"
    asked = set(re.findall(r'\b(?:text|notice|complain|say)\("(\w+)"', SCRIPTS))
    assert len(asked) > 50
    assert asked - set(WORDS) == set(), "words that are not there"


def test_something_fills_in_every_value() -> None:
    values = set(re.findall(r"\{(\w+)\}", " ".join(WORDS.values())))
    assert {"letter", "rank", "count"} <= values
    assert {value for value in values if not re.search(rf"\b{value}\b\s*[:,}}]", SCRIPTS)} == set()


def test_the_page_is_one_component_that_asks_nothing_of_gradio() -> None:
    async def build() -> dict[str, object]:
        return dict(participant.build(study="another").config)

    config = asyncio.run(build())
    components = config["components"]
    assert isinstance(components, list)
    assert len(components) == 1
    given = components[0]["props"]["props"]
    assert given["study"] == "another"
    assert given["words"] == WORDS
    assert config["dependencies"] == []
