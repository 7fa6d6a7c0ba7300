"""`musicstar concepts`: render, embed, train, build, evaluate, query."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from musicstar import audio
from musicstar.concepts import atlas as atlases
from musicstar.concepts import cav
from musicstar.concepts import library as libraries
from musicstar.concepts.atlas import Shape
from musicstar.concepts.hierarchy import Orientation

SHIPPED = Path(__file__).parent.parent / "atlases" / "general-midi"


def add(commands: Any, *, count: Callable[..., Any], number: Callable[..., Any], folder: Callable[..., Any]) -> None:
    """Add the commands to a parser's; `count`, `number` and `folder` read arguments as the other commands do."""
    concepts = commands.add_parser("concepts", help="hierarchies of audio concepts")
    actions = concepts.add_subparsers(required=True, metavar="action")

    def action(name: str, what: str, run: Callable[[argparse.Namespace], dict[str, Any]]) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=what)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.set_defaults(command=lambda arguments: _print(arguments, run(arguments)))
        return parser

    render = action("render", "render the procedural library of labelled clips", _render)
    render.add_argument("--out", type=folder, required=True)
    render.add_argument("--clips", type=count(1, 9_999), default=40, help="of every program")
    render.add_argument("--seed", type=count(0), default=1)
    render.add_argument("--font", nargs="*", default=[], help="soundfonts that take turns; FluidR3 by default")
    render.add_argument("--jobs", type=count(1), default=None)

    def library(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("library", metavar="LIBRARY", help="folder tree or CSV file of labelled clips")
        parser.add_argument("--truth", help="CSV file with the columns concept and parent")

    def embedding(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--embedder",
            default="cnn9",
            help="cnn9 (shipped), mel, a checkpoint, or module:function of your own; #LAYER behind it",
        )
        parser.add_argument("--cache", type=folder, required=True, help="folder that keeps features between runs")

    embed = action("embed", "compute features of a library's clips, or go on where that stopped", _embed)
    library(embed)
    embedding(embed)

    train = action("train", "train a backbone on a library", _train)
    library(train)
    train.add_argument("--out", type=folder, required=True)
    train.add_argument("--width", type=count(1, 256), default=32, help="channels of the first block; 64 as published")
    train.add_argument("--budget-minutes", type=number(0, above=True), default=30.0)
    train.add_argument("--seed", type=count(0), default=0)
    train.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")

    build = action("build", "learn the concepts of a library", _build)
    library(build)
    embedding(build)
    build.add_argument("--out", type=folder, required=True, help="folder of the atlas")
    build.add_argument("--title", default="", help="what people read; the library's name by default")
    build.add_argument("--method", choices=["exact", "published"], default="exact")
    build.add_argument(
        "--ridge",
        type=number(1e-9),
        nargs="+",
        default=cav.RIDGES,
        help="how strongly exact vectors are held back; of several each concept takes the one that serves it best",
    )
    build.add_argument("--least", type=count(libraries.LEAST_CLIPS), default=libraries.LEAST_CLIPS, help="clips each")
    build.add_argument(
        "--above", type=number(0), default=cav.LEAST_ACCURACY, help="balanced accuracy that a concept has to exceed"
    )
    build.add_argument("--seed", type=count(0), default=0)
    build.add_argument(
        "--bare", action="store_true", help="keep similarities alone, to compare with: nothing to hear by"
    )

    evaluate = action("evaluate", "measure an atlas and its trees", _evaluate)
    evaluate.add_argument("atlas", metavar="ATLAS", nargs="?", default=str(SHIPPED))
    evaluate.add_argument(
        "--against", nargs="*", default=[], metavar="ATLAS", help="other atlases of the same concepts"
    )
    evaluate.add_argument(
        "--proxy", nargs="*", default=[], metavar="NAME=CSV", help="vectors of the concepts, a row each, its name first"
    )
    _shape(evaluate, count=count, number=number)

    query = action("query", "list the concepts of a clip over time", _query)
    query.add_argument("clip", metavar="CLIP")
    query.add_argument("--atlas", default=str(SHIPPED))
    query.add_argument("--embedder", default="", help="module:function, where the atlas was learned by one of your own")
    query.add_argument("--top", type=count(1), default=10)


def _shape(parser: argparse.ArgumentParser, *, count: Callable[..., Any], number: Callable[..., Any]) -> None:
    plain = Shape()
    parser.add_argument(
        "--threshold", type=number(-1), default=plain.threshold, help="similarity that makes neighbours"
    )
    parser.add_argument("--least-similarity", type=number(-1), default=plain.least_similarity, help="of a parent")
    parser.add_argument("--most-children", type=count(1), default=plain.most_children)


def _print(arguments: argparse.Namespace, result: dict[str, Any]) -> int:
    """Print what a command found; the text for people is in `lines`."""
    lines = result.pop("lines")
    print(json.dumps(result, ensure_ascii=False) if arguments.json else "\n".join(lines))
    return 0


def _tell(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"musicstar: {note}", file=sys.stderr)


def _progress(what: str) -> Callable[[int, int], None]:
    """Tells how far it is on standard error, where that is a terminal."""
    last = -1

    def told(done: int, total: int) -> None:
        nonlocal last
        if done != last and sys.stderr.isatty():
            last = done
            print(f"\r{what} {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return told


def _render(arguments: argparse.Namespace) -> dict[str, Any]:
    from musicstar.concepts import folksonomy

    out = folksonomy.render(
        arguments.out,
        clips=arguments.clips,
        seed=arguments.seed,
        fonts=arguments.font or None,
        jobs=arguments.jobs,
        progress=_progress("rendered"),
    )
    made = libraries.read(out)
    sizes = made.members.sum(axis=1)
    return {
        "library": str(out),
        "clips": len(made.paths),
        "concepts": len(made.concepts),
        "smallest": int(sizes.min()),
        "largest": int(sizes.max()),
        "lines": [f"{out}: {len(made.paths)} clips, {len(made.concepts)} concepts of {sizes.min()} to {sizes.max()}"],
    }


def _features(arguments: argparse.Namespace) -> tuple[libraries.Library, np.ndarray, str, list[str]]:
    """The library without the clips that cannot be used, features, the name of what made them, and what is skipped."""
    from musicstar.concepts import embed

    found = libraries.read(arguments.library, truth=arguments.truth)
    embedder = embed.find(arguments.embedder)
    features = embed.embed(found.paths, embedder, arguments.cache, progress=_progress("embedded"))
    usable = np.array([i not in features.failures for i in range(len(found.paths))], dtype=bool)
    skipped = found.skipped(features.failures)
    try:
        kept = found.without(features.failures)
    except libraries.LibraryError:
        # Too little is left: what was skipped is why.
        _tell(skipped)
        raise
    _tell(kept.notes)
    return kept, features.rows[usable], embedder.name, skipped


def _embed(arguments: argparse.Namespace) -> dict[str, Any]:
    _, features, embedder, skipped = _features(arguments)
    line = f"{len(features)} clips as {features.shape[1]} values each by {embedder}, {len(skipped)} skipped"
    values: dict[str, Any] = {"clips": len(features), "dimensions": features.shape[1], "embedder": embedder}
    return {**values, "skipped": skipped, "cache": arguments.cache, "lines": [line]}


def _train(arguments: argparse.Namespace) -> dict[str, Any]:
    from musicstar.concepts import training

    best = training.train(
        libraries.read(arguments.library, truth=arguments.truth),
        arguments.out,
        width=arguments.width,
        budget_minutes=arguments.budget_minutes,
        seed=arguments.seed,
        resume=arguments.resume,
        progress=_progress("step"),
        reducing=_progress("reduced"),
    )
    return {"checkpoint": str(best), "lines": [f"{best}"]}


def _build(arguments: argparse.Namespace) -> dict[str, Any]:
    from musicstar.concepts import build

    found, features, embedder, skipped = _features(arguments)
    learned = _progress("learned, per cent:")
    made = build.build(
        found,
        features,
        embedder=embedder,
        title=arguments.title or Path(arguments.library).stem,
        method=arguments.method,
        ridges=arguments.ridge,
        least=arguments.least,
        above=arguments.above,
        seed=arguments.seed,
        progress=lambda share: learned(round(100 * share), 100),
    )
    if arguments.bare:
        made = replace(made, vectors=None, background=None, embedder="")
    else:
        made = build.write_previews(made, found, arguments.out)
    atlases.save(made, arguments.out)
    mean = float(np.mean([concept.accuracy or 0 for concept in made.concepts]))
    dropped = made.card["dropped"]
    lines = [f"{arguments.out}: {len(made.concepts)} concepts, mean balanced accuracy {mean:.3f}"]
    if skipped:
        lines.append(f"{len(skipped)} clips that cannot be used are skipped, {len(found.paths)} are used")
    if dropped:
        named = ", ".join(f"{name} ({value:.2f})" for name, value in sorted(dropped.items(), key=lambda item: item[1]))
        lines.append(f"{len(dropped)} not above {arguments.above:g} are left out: {named}")
    values: dict[str, Any] = {"atlas": arguments.out, "concepts": len(made.concepts), "accuracy": mean}
    return {**values, "skipped": skipped, "dropped": dropped, "lines": lines}


def _evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    from musicstar.concepts import report

    shapes = {
        orientation.value: Shape(orientation, arguments.threshold, arguments.least_similarity, arguments.most_children)
        for orientation in Orientation
    }
    proxies = dict(_proxy(text) for text in arguments.proxy)
    others = [atlases.load(path) for path in arguments.against]
    measures = report.report(atlases.load(arguments.atlas), shapes, proxies=proxies, others=others)
    return {"measures": report.as_json(measures), "lines": report.lines(measures)}


def _proxy(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise ValueError(f"--proxy {text!r}; expected NAME=CSV")
    return name, Path(path)


def _query(arguments: argparse.Namespace) -> dict[str, Any]:
    from musicstar.concepts import query

    found = atlases.load(arguments.atlas)
    clip = audio.require_sound(audio.read(arguments.clip, sample_rate=None), Path(arguments.clip).name)
    heard = query.hear(clip, found, query.listener(found, vouched=arguments.embedder))
    mean = heard.probabilities.mean(axis=1)
    top = mean.argsort(kind="stable")[::-1][: arguments.top]
    named = [found.concepts[i].name for i in top]
    wide = max(map(len, named))
    times = " ".join(f"{time_s:5.1f}" for time_s in heard.times_s)
    lines = [f"{'seconds':{wide}}  mean  {times}"]
    lines += [
        f"{name:{wide}}  {mean[i]:.2f}  " + " ".join(f"{value:5.2f}" for value in heard.probabilities[i])
        for i, name in zip(top, named, strict=True)
    ]
    concepts = [
        {"name": name, "mean": round(float(mean[i]), 4), "probabilities": heard.probabilities[i].round(4).tolist()}
        for i, name in zip(top, named, strict=True)
    ]
    return {"clip": arguments.clip, "times_s": heard.times_s.round(3).tolist(), "concepts": concepts, "lines": lines}
