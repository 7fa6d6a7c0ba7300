"""Imports point down: the syntax tree of every module is walked, imports inside functions included."""

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("app", "musicstar", "survey", "db")

# From the ground up. A name covers the modules below it; the longest name that fits decides.
LAYERS = {
    "musicstar": 1,  # networks, data and measures: all that is not named here
    "musicstar.audio": 0,
    "musicstar.config": 0,
    "musicstar.containers": 0,
    "musicstar.domains": 0,
    "musicstar.files": 0,
    "musicstar.concepts": 2,
    "musicstar.concepts.command": 5,
    "musicstar.concepts.visits": 3,
    "musicstar.methods.catalog": 0,  # words alone, which the networks' cards use too
    "musicstar.methods": 2,
    "musicstar.train": 2,  # its losses are the methods'
    "musicstar.training": 2,
    "musicstar.evaluation": 2,
    "musicstar.evaluation.command": 5,
    "musicstar.evaluation.style": 1,  # networks, which are trained and stored as all are
    "musicstar.pairs": 2,
    "musicstar.stimuli": 2,
    "musicstar.desk": 3,
    "musicstar.folders": 3,
    "musicstar.jobs": 3,
    "musicstar.pool": 3,
    "musicstar.work": 3,
    "musicstar.ui": 4,
    "musicstar.__main__": 5,
    "db": 1,
    "survey": 2,
    "survey.ui": 4,
    "app": 5,
}
TRAINING = {
    f"musicstar.{name}"
    for name in ("training", "train", "recipes", "starnet", "spectral", "wavenet", "checkpoint", "config", "audio")
}
TRAINING_PACKAGES = {"torch", "numpy", "safetensors"}
# What training does without unless it is asked for: sets that are not WAV files of 16 bits at 16 kHz, loudness,
# training a separator, and playing WaveNets on a processor.
LAZY_IN_TRAINING = {
    "musicstar.audio": {"soundfile", "torchaudio", "pyloudnorm"},
    "musicstar.containers": {"miniaudio"},
    "musicstar.separation": {"demucs"},
    "musicstar.engines.native": {"ninja"},
}


@dataclass(frozen=True)
class Import:
    """`importer` names `target`; `lazy` inside a function, not when the module is loaded."""

    importer: str
    target: str
    lazy: bool

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.importer} imports {self.target}{' in a function' if self.lazy else ''}"


def _named(node: ast.AST, module: str, is_package: bool, known: set[str]) -> Iterator[str]:
    """What one node imports, by its full name."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=base, names=names, level=level):
            if level:
                parts = module.split(".")[: None if is_package and level == 1 else -level + is_package]
                base = ".".join([*parts, *([base] if base else [])])
            for alias in names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in known or base not in known else str(base)
        case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"), args=[first, *_]):
            if isinstance(first, ast.Constant):
                yield str(first.value)


def imports(sources: Mapping[str, str], packages: set[str]) -> list[Import]:
    """Every import of some modules, given by name with their text; those for type checkers alone left out."""
    found: list[Import] = []
    known = set(sources)

    def walk(node: ast.AST, module: str, lazy: bool) -> None:
        found.extend(Import(module, name, lazy) for name in _named(node, module, module in packages, known))
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            children: list[ast.AST] = list(node.orelse)
        else:
            children = list(ast.iter_child_nodes(node))
        for child in children:
            walk(child, module, lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    for module, text in sources.items():
        walk(ast.parse(text), module, lazy=False)
    return found


def _within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def layer(module: str) -> int:
    """The height of a module; higher ones may import lower ones and their own."""
    parts = module.split(".")
    return next(LAYERS[name] for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in LAYERS)


def _in_ui(module: str) -> bool:
    return module == "app" or _within(module, "musicstar.ui", "survey.ui")


def loaded(start: set[str], found: list[Import], *, lazily: bool = False) -> set[str]:
    """The modules of ours that are loaded along with some, the packages around them included.

    With `lazily` also those that their functions import.
    """
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        parts = waiting.pop().split(".")
        for module in {".".join(parts[:n]) for n in range(1, len(parts) + 1)} - reached:
            reached.add(module)
            waiting += [e.target for e in found if e.importer == module and lazily >= e.lazy and e.package in OURS]
    return reached


def upward(found: list[Import]) -> list[Import]:
    """Imports of a higher layer."""
    return [e for e in found if e.package in OURS and layer(e.target) > layer(e.importer)]


def gradio_outside_ui(found: list[Import]) -> list[Import]:
    """Imports of Gradio, or of the pages, by what is neither the app nor a page."""
    return [
        e
        for e in found
        if not _in_ui(e.importer)
        and (e.package in ("gradio", "gradio_client") or _within(e.target, "musicstar.ui", "survey.ui"))
    ]


def sql_outside_db(found: list[Import]) -> list[Import]:
    """Imports of the SQL packages outside `db`."""
    return [e for e in found if e.package in ("sqlalchemy", "alembic") and not _within(e.importer, "db")]


def survey_and_db_on_their_own(found: list[Import]) -> list[Import]:
    """Imports between the science and the survey, save that the survey's pages use the player and the colours."""
    return [
        e
        for e in found
        if (
            _within(e.importer, "survey", "db")
            and e.package in ("musicstar", "torch", "torchaudio", "app")
            and not (_within(e.importer, "survey.ui") and e.target in ("musicstar.ui.player", "musicstar.ui.theme"))
        )
        or (_within(e.importer, "musicstar") and e.package in ("survey", "db", "app"))
        or (_within(e.importer, "db") and e.package == "survey")
    ]


def heavy_training(found: list[Import]) -> list[Import]:
    """What training imports beyond its few packages, in functions too."""
    reached = loaded(TRAINING, found, lazily=True)
    allowed = TRAINING_PACKAGES | sys.stdlib_module_names | set(OURS)
    return [
        e
        for e in found
        if e.importer in reached
        and e.package not in allowed
        and not (e.lazy and e.package in LAZY_IN_TRAINING.get(e.importer, ()))
    ]


def heavy_player(found: list[Import]) -> list[Import]:
    """What loads torch along with the player, which the survey uses."""
    reached = loaded({"musicstar.ui.player"}, found)
    return [e for e in found if e.importer in reached and not e.lazy and e.package in ("torch", "torchaudio")]


def essentia_in_the_app(found: list[Import]) -> list[Import]:
    """Imports of Essentia (AGPL, an extra), or of the module that uses it, by what the app runs."""
    return [
        e
        for e in found
        if (e.package == "essentia" and e.importer != "musicstar.evaluation.multipitch")
        or (
            e.target == "musicstar.evaluation.multipitch"
            and not _within(e.importer, "musicstar.evaluation", "musicstar.__main__")
        )
    ]


def cycles(found: list[Import]) -> list[str]:
    """Modules that import themselves by way of others, lazily or not."""
    graph: dict[str, set[str]] = {}
    for edge in found:
        if edge.package in OURS and edge.target != edge.importer:
            graph.setdefault(edge.importer, set()).add(edge.target)
    done: set[str] = set()
    circles: list[str] = []

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            circles.append(" -> ".join((*path[path.index(module) :], module)))
        elif module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    return circles


RULES: dict[str, Callable[[list[Import]], list[Import] | list[str]]] = {
    rule.__name__: rule
    for rule in (
        upward,
        gradio_outside_ui,
        sql_outside_db,
        survey_and_db_on_their_own,
        heavy_training,
        heavy_player,
        essentia_in_the_app,
        cycles,
    )
}


def project() -> tuple[dict[str, str], set[str]]:
    """Every module of ours by name with its text, and which of them are packages."""
    sources: dict[str, str] = {}
    packages: set[str] = set()
    for path in [*ROOT.glob("app.py"), *(p for top in OURS[1:] for p in (ROOT / top).rglob("*.py"))]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
        if parts[-1] == "__init__":
            packages.add(name)
    return sources, packages


@pytest.mark.parametrize("rule", RULES)
def test_the_project_keeps(rule: str) -> None:
    faults = sorted({str(fault) for fault in RULES[rule](imports(*project()))})
    assert not faults, "\n".join(faults)


def test_every_module_is_seen() -> None:
    sources, packages = project()
    assert {"musicstar.audio", "musicstar.methods.base", "survey", "db"} <= set(sources)
    assert {"musicstar", "musicstar.methods", "musicstar.ui", "survey", "db"} <= packages


# Each rule finds a violation planted in a small project that is otherwise sound.

SOUND = {
    "app": "import gradio\nfrom musicstar.ui import page\nimport survey.ui.page\nimport db.store",
    "musicstar": "",
    "musicstar.audio": "import torch\ndef f():\n    import soundfile, torchaudio",
    "musicstar.wavenet": "import math, torch.nn as nn\nfrom . import audio",
    "musicstar.train": "import safetensors.torch\nfrom musicstar.methods.base import Method",
    "musicstar.training": "def f():\n    from musicstar.train import run",
    "musicstar.scores": "def f():\n    import mido",
    "musicstar.evaluation": "",
    "musicstar.evaluation.multipitch": "def f():\n    import essentia.standard",
    "musicstar.methods": "",
    "musicstar.methods.base": "from ..wavenet import Net\nfrom . import catalog",
    "musicstar.methods.catalog": "",
    "musicstar.evaluation.measures": "from musicstar.evaluation import multipitch",
    "musicstar.jobs": "def f():\n    from musicstar.methods import base",
    "musicstar.ui": "",
    "musicstar.ui.page": "import gradio\nfrom musicstar import jobs\nfrom musicstar.ui.player import Player",
    "musicstar.ui.player": "import gradio, typing\nif typing.TYPE_CHECKING:\n    import torch",
    "db": "",
    "db.store": "import sqlalchemy.orm",
    "survey": "",
    "survey.ui": "",
    "survey.ui.page": "import gradio\nfrom musicstar.ui import player",
    "survey.session": "from db import store",
}
PACKAGES = {"musicstar", "musicstar.evaluation", "musicstar.methods", "musicstar.ui", "db", "survey", "survey.ui"}


def broken(sources: Mapping[str, str]) -> set[str]:
    """The rules that some sources break."""
    found = imports(sources, PACKAGES)
    return {name for name, rule in RULES.items() if rule(found)}


def test_a_sound_project_breaks_no_rule() -> None:
    assert broken(SOUND) == set()


@pytest.mark.parametrize(
    ("rule", "module", "line"),
    [
        ("upward", "musicstar.wavenet", "from musicstar.methods.base import Method"),
        ("upward", "musicstar.methods.base", "def g():\n    import musicstar.jobs"),
        ("upward", "musicstar.methods.base", "from ..jobs import Pool"),
        ("upward", "musicstar.audio", "import importlib\nimportlib.import_module('musicstar.wavenet')"),
        ("upward", "musicstar.audio", "class A:\n    def g(self):\n        __import__('musicstar.train')"),
        ("gradio_outside_ui", "musicstar.jobs", "def g():\n    from gradio import Progress"),
        ("gradio_outside_ui", "musicstar.jobs", "from musicstar.ui import page"),
        ("gradio_outside_ui", "survey.session", "import gradio"),
        ("sql_outside_db", "survey.session", "from sqlalchemy import select"),
        ("survey_and_db_on_their_own", "survey.session", "def g():\n    import torch"),
        ("survey_and_db_on_their_own", "survey.session", "from musicstar.ui.player import Player"),
        ("survey_and_db_on_their_own", "survey.ui.page", "from musicstar.ui import page"),
        ("survey_and_db_on_their_own", "survey.ui.page", "import musicstar.audio"),
        ("survey_and_db_on_their_own", "db.store", "from survey import session"),
        (
            "survey_and_db_on_their_own",
            "musicstar.evaluation.measures",
            "try:\n    import db.store\nfinally:\n    pass",
        ),
        ("heavy_training", "musicstar.train", "import pandas"),
        ("heavy_training", "musicstar.wavenet", "class A:\n    import torchaudio"),
        ("heavy_training", "musicstar.wavenet", "def g():\n    import torchaudio"),
        ("heavy_training", "musicstar.audio", "import soundfile"),
        ("heavy_training", "musicstar.audio", "def g():\n    import scipy"),
        ("heavy_training", "musicstar.training", "from tqdm import tqdm"),
        ("heavy_training", "musicstar.training", "def g():\n    from musicstar import scores"),
        ("heavy_training", "musicstar", "import scipy.signal"),
        ("heavy_player", "musicstar.ui.player", "from musicstar.audio import Clip"),
        ("essentia_in_the_app", "musicstar.evaluation.measures", "def g():\n    import essentia"),
        (
            "essentia_in_the_app",
            "musicstar.jobs",
            "def g():\n    from musicstar.evaluation.multipitch import compare",
        ),
        ("cycles", "musicstar.wavenet", "def g():\n    from musicstar.train import run"),
        ("cycles", "musicstar.methods.catalog", "from . import base"),
    ],
)
def test_a_planted_violation_is_found(rule: str, module: str, line: str) -> None:
    sources = dict(SOUND)
    sources[module] += f"\n{line}"
    assert rule in broken(sources)
