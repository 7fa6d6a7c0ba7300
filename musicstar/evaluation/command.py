"""`musicstar evaluate`: measure a folder of outputs, or those of our own methods."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from musicstar.audio import SUFFIXES
from musicstar.domains import DIRECTIONS, PAPER, Direction
from musicstar.files import write_whole
from musicstar.methods.catalog import METHODS, Backbone

if TYPE_CHECKING:
    from musicstar.evaluation.measures import ContentBy, Measured
    from musicstar.evaluation.outputs import Collection, Place
    from musicstar.evaluation.results import Result
    from musicstar.pairs import Pair

# What is said of translations, and of nothing that is there already.
OF_DATA = (
    "held_out",
    "split",
    "directions",
    "seconds",
    "method",
    "backbone",
    "temperature",
    "chunk_seconds",
    "out",
    "record",
)


def add(commands: Any, *, number: Callable[..., Any], folder: Callable[..., Any]) -> None:
    """Add the command to a parser's; `number` and `folder` read arguments as the other commands do."""
    evaluate = commands.add_parser("evaluate", help="measure outputs against gold standards")
    evaluate.add_argument(
        "folder", nargs="?", type=folder, metavar="FOLDER", help="outputs named PIECE.DIRECTION.SYSTEM.wav"
    )
    evaluate.add_argument(
        "--golds", type=folder, metavar="FOLDER", help="gold standards, where they do not lie beside the outputs"
    )
    evaluate.add_argument(
        "--data", type=folder, help="translate this instead: a folder with NNN.0.wav and NNN.3.wav, or a set"
    )
    evaluate.add_argument(
        "--held-out",
        type=folder,
        metavar="CACHE",
        help="take the test pieces of the set in --data, reduced into this folder",
    )
    evaluate.add_argument(
        "--split", choices=["test", "validation"], help="which held-out pieces; the test's by default"
    )
    evaluate.add_argument(
        "--directions", choices=["paper", "all"], help="of held-out pieces: the paper's two (default), or all"
    )
    evaluate.add_argument("--seconds", type=number(1), help="of each held-out piece; 10 by default")
    evaluate.add_argument("--method", choices=[*METHODS, "all"], help="all by default")
    evaluate.add_argument(
        "--backbone", choices=[*(backbone.value for backbone in Backbone), "both"], help="spectral by default"
    )
    evaluate.add_argument("--temperature", type=number(0), help="how much outputs vary by chance; 1 by default")
    evaluate.add_argument(
        "--chunk-seconds", type=number(0), help="wavenet: play stretches of this length side by side; faster"
    )
    evaluate.add_argument("--out", type=folder, help="keep what is translated in this folder")
    evaluate.add_argument(
        "--record", action="store_true", help="write the similarity reached into the cards of the weights"
    )
    evaluate.add_argument(
        "--content-by", choices=["essentia", "salience"], help="what finds the pitches; essentia where it is installed"
    )
    evaluate.add_argument("--without", nargs="*", default=[], choices=["style", "quality"], help="leave these out")
    evaluate.add_argument("--save", type=folder, metavar="FOLDER", help="write evaluation.md, .csv and .json here")
    evaluate.add_argument("--plots", type=folder, metavar="FOLDER", help="write evaluation.html here")
    evaluate.add_argument(
        "--pictures", type=folder, metavar="FOLDER", help="write a sheet of log-mel pictures for each piece here"
    )
    shape = evaluate.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON")
    shape.add_argument("--csv", action="store_true", help="print CSV")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from musicstar.evaluation import outputs

    if (arguments.folder is None) == (arguments.data is None):
        raise ValueError("give either a FOLDER of outputs or --data to translate")
    if arguments.data is not None and arguments.golds is not None:
        raise ValueError("--golds go with a FOLDER of outputs; --data has its own")
    if arguments.folder is not None:
        for option in OF_DATA:
            if (value := getattr(arguments, option)) is not None and value is not False:
                raise ValueError(f"--{option.replace('_', '-')} goes with --data, not with a FOLDER of outputs")
        golds = None if arguments.golds is None else Path(arguments.golds)
        return _report(arguments, outputs.collect(Path(arguments.folder), golds=golds))
    return _translate(arguments)


def _translate(arguments: argparse.Namespace) -> int:
    """Translate what --data names and measure that."""
    from musicstar.chunking import Chunking
    from musicstar.evaluation import outputs, translating
    from musicstar.methods.base import Options

    if arguments.record and not arguments.held_out:
        raise ValueError("--record keeps what is measured on held-out pieces: give --held-out too")
    if arguments.record and _content_by(arguments) != "essentia":
        raise ValueError("--record keeps what essentia finds: install the extra eval, and leave out --content-by")
    if arguments.out is not None and any(path.suffix.lower() in SUFFIXES for path in Path(arguments.out).glob("*")):
        raise ValueError(
            f"{arguments.out}: there are recordings already, and all would be measured; name another folder"
        )
    temperature = 1.0 if arguments.temperature is None else arguments.temperature
    options = Options(temperature=temperature, chunk_s=arguments.chunk_seconds or 0.0)
    if options.chunk_s:
        Chunking(chunk_s=options.chunk_s)  # refuses what it cannot play, before anything is played
    pieces = _pairs(arguments)
    chosen = arguments.backbone or Backbone.SPECTRAL.value
    backbones = list(Backbone) if chosen == "both" else [Backbone(chosen)]
    directions = sorted({Direction(pair.source.domain, pair.target) for pair in pieces}, key=str)
    methods = {}
    for backbone in backbones:
        wanted = list(METHODS) if arguments.method in (None, "all") else [arguments.method]
        methods[backbone], lacking = translating.with_weights(wanted, backbone=backbone, directions=directions)
        for name, reason in lacking.items():
            _tell(f"{name} left out where this is missing: {reason}")
    with TemporaryDirectory() as scratch:
        out = Path(arguments.out or scratch)
        faults: list[str] = []
        speeds = translating.write(
            pieces, methods, out, options=options, progress=_progress("translated"), fault=faults.append
        )
        if not speeds and not faults:
            named = arguments.method or "any method"
            faults.append(f"nothing was translated by {named}: its weights are missing, or the stems of the sources")

        def record(measured: "list[Measured]") -> None:
            for backbone in backbones if arguments.record else ():
                translating.record(measured, backbone=backbone, measured_on=_described(arguments, len(pieces)))

        separated = list(translating.separate(pieces))
        found = outputs.collect(out)
        found = outputs.Collection(found.files, (*faults, *found.faults))
        return _report(arguments, found, speeds=speeds, separated=separated, then=record)


def _pairs(arguments: argparse.Namespace) -> "list[Pair]":
    from musicstar import pairs
    from musicstar.starnet import reduce

    folder = Path(arguments.data)
    if not arguments.held_out:
        for option in ("split", "directions", "seconds"):
            if getattr(arguments, option):
                raise ValueError(f"--{option} is of held-out pieces: give --held-out too")
        return list(pairs.excerpt_pairs(folder))
    data = reduce(folder, Path(arguments.held_out))
    names = getattr(data.split(), arguments.split or "test")
    directions = [
        direction
        for direction in (DIRECTIONS if arguments.directions == "all" else PAPER)
        if {direction.source, direction.target} <= set(data.domains)
    ]
    return list(pairs.set_pairs(data, names, directions=directions, seconds=arguments.seconds or 10.0))


def _described(arguments: argparse.Namespace, translations: int) -> str:
    """What held-out pieces were translated, and how."""
    told = f"{translations} translations of {arguments.split or 'test'} pieces, {arguments.seconds or 10:g} s each"
    if arguments.chunk_seconds:
        told += f", WaveNets in stretches of {arguments.chunk_seconds:g} s"
    if arguments.temperature is not None:
        told += f", temperature {arguments.temperature:g}"
    return told


def _content_by(arguments: argparse.Namespace) -> "ContentBy":
    from musicstar.evaluation import multipitch

    chosen: ContentBy = arguments.content_by or ("essentia" if multipitch.is_installed() else "salience")
    return chosen


def _report(
    arguments: argparse.Namespace,
    collection: "Collection",
    *,
    speeds: "Mapping[tuple[Place, str], float] | None" = None,
    separated: list[tuple[str, Mapping[str, float]]] | None = None,
    then: "Callable[[list[Measured]], None] | None" = None,
) -> int:
    """Measure a collection and print what comes of it; the exit status is 1 where a file was left out."""
    from musicstar.evaluation import judges, results, table
    from musicstar.evaluation.measures import Ear, measure
    from musicstar.evaluation.outputs import REFERENCES

    content_by = _content_by(arguments)
    style = None if "style" in arguments.without else judges.load_judges()
    if style is None and "style" not in arguments.without:
        _tell("style is left out: there are no weights of style-triplet and style-judge")
    ear = Ear(content_by, style, with_quality="quality" not in arguments.without)
    measured, unread = measure(collection, ear, speeds=speeds, progress=_progress("measured"))
    for fault in [*collection.faults, *unread]:
        _tell(fault)
    if not measured:
        raise ValueError("nothing could be measured")
    distance = None if style is None else judges.frechet_distance
    result = results.summarise(measured, content_by=content_by, frechet=distance, separated=separated or ())
    told = {
        "md": table.markdown(result) + "\n",
        "csv": table.as_csv(result),
        "json": json.dumps(results.as_json(result), indent=1) + "\n",
    }
    faults = [*collection.faults, *unread]
    most = max(row.pieces for row in result.rows)
    for row in result.rows:
        if row.direction == results.POOLED and row.pieces < most and row.system not in REFERENCES:
            _tell(f"{row.system} was measured on {row.pieces} of {most} pieces: compare it by its gain over the input")
    # What has been measured is not lost with a disk that is full: every folder is tried, and the table printed at last.
    writers: dict[str, Callable[[Path], None]] = {
        "save": lambda folder: _save(folder, told),
        "plots": lambda folder: _plot(folder, result, measured),
        "pictures": lambda folder: _draw(folder, collection),
    }
    for option, write in writers.items():
        if (folder := getattr(arguments, option)) is not None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
                write(Path(folder))
            except OSError as error:
                faults.append(f"{folder}: not all of --{option} was written ({error.strerror or error})")
                _tell(faults[-1])
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print(told["json" if arguments.json else "csv" if arguments.csv else "md"], end="", flush=True)
    if then is not None:
        then(measured)
    return 1 if faults else 0


def _save(folder: Path, told: "Mapping[str, str]") -> None:
    for suffix, text in told.items():
        write_whole(folder / f"evaluation.{suffix}", text.encode())


def _plot(folder: Path, result: "Result", measured: "list[Measured]") -> None:
    from musicstar.evaluation import plots

    plots.write(folder / "evaluation.html", result, measured)


def _draw(folder: Path, collection: "Collection") -> None:
    from musicstar.evaluation import sheets

    sheets.write(collection, folder)


def _tell(fault: str) -> None:
    print(f"musicstar: {fault}", file=sys.stderr)


def _progress(what: str) -> Callable[[int, int], None]:
    """Tells how far it is on standard error, where that is a terminal."""

    def told(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return told
