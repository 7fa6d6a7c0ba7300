"""The file of a small study, with two languages and something of every kind."""

from dataclasses import replace
from pathlib import Path

from survey.definition import Study

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


def written(folder: Path, text: str = TINY) -> Path:
    """The study's file in a folder."""
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def locked(study: Study) -> Study:
    """The study as its stimuli had hashes, without their paths."""
    stimuli = (replace(one, path=Path(), sha256=f"{n:064x}") for n, one in enumerate(study.stimuli))
    return replace(study, stimuli=tuple(stimuli))
