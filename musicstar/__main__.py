"""Command line: render, train, translate, evaluate, stimuli, checkpoint, concepts, doctor."""

import argparse
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import get_args

from musicstar import audio
from musicstar.concepts import command as concepts
from musicstar.domains import STARNET, Domain, Voice
from musicstar.engines.choice import MOST_THREADS, Kind, Precision
from musicstar.engines.processors import cores
from musicstar.evaluation import command as evaluation
from musicstar.files import printable
from musicstar.folders import FAULTS, Settings, Task, sentence, translate_each
from musicstar.methods.catalog import METHODS, Backbone


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 when everything asked for was done."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # The name of a file may be none in the terminal's encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return int(arguments.command(arguments))
    except FAULTS as error:
        print(f"musicstar: {sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("musicstar: interrupted", file=sys.stderr)
        return 130


def _number(least: float, *, above: bool = False) -> Callable[[str], float]:
    """A reader of finite numbers from `least` on, or above it."""

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or value < least or (above and value == least):
            raise argparse.ArgumentTypeError(f"{text} is not a number {'above' if above else 'from'} {least:g}")
        return value

    return number


def _count(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def integer(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
        return value

    return integer


def _folder(text: str) -> str:
    """The name of a folder, which need not be there yet."""
    # Unlike pathlib, these take a name that cannot be for one that is not there.
    if not text or (os.path.exists(text) and not os.path.isdir(text)):  # noqa: PTH110, PTH112
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return text


def _translate(arguments: argparse.Namespace) -> int:
    for name in ("engine", "precision", "threads"):
        if (value := getattr(arguments, name)) is not None:
            os.environ[f"MUSICSTAR_{name.upper()}"] = str(value)
    out, stems = Path(arguments.out), None
    if arguments.stems is not None:
        stems = Path(arguments.stems[0]), Path(arguments.stems[1])
    found = _audio_files(arguments.inputs, out=out)
    inputs = list({path.resolve(): path for path in found}.values())
    if stems is None and not inputs:
        raise ValueError(f"no audio files among the inputs; expected {', '.join(audio.SUFFIXES)}")
    if stems is not None and len(inputs) > 1:
        raise ValueError(f"--stems are those of one recording, and {len(inputs)} inputs are given")
    _require_distinct(inputs)
    given = [*inputs, *(stems or ())]
    _require_kept(given, [path.stem for path in inputs or given], out)
    tasks = [Task(path.stem, path, stems) for path in inputs] or [Task(given[0].stem, None, stems)]
    target = Domain(arguments.to)
    if not arguments.source and target not in STARNET:
        raise ValueError(f"--from is needed with --to {target}: one of {', '.join(target.others)}")
    settings = Settings(
        source=Domain(arguments.source) if arguments.source else target.others[0],
        target=target,
        method=arguments.method,
        backbone=Backbone(arguments.backbone),
        seed=arguments.seed,
        temperature=arguments.temperature,
        chunk_s=arguments.chunk_seconds,
        write_stems=arguments.write_stems,
    )
    failed = False
    for outcome in translate_each(
        tasks, settings, out, jobs=arguments.jobs, cluster=arguments.cluster, resume=arguments.resume
    ):
        for record in outcome.records:
            line = json.dumps(record) if arguments.json else f"{record['path']}  ({record['spent_s']} s)"
            print(line, flush=True)
        for line in (*outcome.remarks, *outcome.faults):
            print(f"musicstar: {printable(outcome.name)}: {line}", file=sys.stderr)
        failed = failed or bool(outcome.faults)
    return int(failed)


def _audio_files(inputs: Iterable[str], *, out: Path) -> Iterable[Path]:
    """The files named, and those in the folders named but for what an earlier run left in `out`."""
    for entry in inputs:
        if not entry:
            raise ValueError("an input has an empty name; expected a file or a folder")
        path = Path(entry)
        if not path.is_dir():
            yield path
            continue
        found = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in audio.SUFFIXES and file.is_file()]
        wanted = [file for file in found if not file.resolve().is_relative_to(out.resolve())]
        if found and not wanted:
            raise ValueError(f"{path}: all of its audio lies in --out, where outputs go; name another folder for those")
        yield from wanted


def _require_distinct(inputs: Sequence[Path]) -> None:
    """Refuse inputs whose outputs would have one name."""
    by_name: dict[str, Path] = {}
    for path in inputs:
        if (other := by_name.setdefault(path.stem, path)) is not path:
            raise ValueError(f"{other} and {path} would both be written as {path.stem}.METHOD.wav: rename one")


def _require_kept(given: Sequence[Path], names: Sequence[str], out: Path) -> None:
    """Refuse outputs that would be written over what they are made from."""
    for path in given:
        written = re.fullmatch(rf"(.+?)\.({'|'.join(METHODS)})(\.[^.]+)?", path.stem)
        if written and written[1] in names and path.suffix == ".wav" and path.resolve().parent == out.resolve():
            raise ValueError(f"{path} would be written over by the translation of {written[1]}: name another --out")


def _render(arguments: argparse.Namespace) -> int:
    from musicstar.synthesis import render_set

    started = time.monotonic()
    render_set(
        Path(arguments.out),
        pieces=arguments.pieces,
        seconds=arguments.seconds,
        takes=arguments.takes,
        seed=arguments.seed,
        sample_rate=arguments.sample_rate,
        midi=arguments.midi,
        fonts=arguments.font or None,
        take_fonts=arguments.take_font or None,
        domains=STARNET if arguments.starnet_only else tuple(Domain),
        jobs=arguments.jobs,
        progress=_show_progress,
    )
    print(f"rendered in {time.monotonic() - started:.0f} s into {arguments.out}")
    return 0


def _show_progress(done: int, total: int) -> None:
    print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _stimuli(arguments: argparse.Namespace) -> int:
    from musicstar import pairs, stimuli
    from musicstar.starnet import reduce

    data = reduce(Path(arguments.data), Path(arguments.reduced))
    names = [*data.split().test, *arguments.also]
    stimuli.make(
        pairs.set_pairs(data, names, seconds=arguments.seconds),
        Path(arguments.out),
        backbone=Backbone(arguments.backbone),
        progress=lambda path: print(path, flush=True),
    )
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from musicstar import recipes, training

    if arguments.all and arguments.names:
        raise ValueError("--all trains every part: leave the names out")
    if arguments.fit and arguments.budget_minutes is None:
        raise ValueError("--fit ends the schedule with a budget: give --budget-minutes too")
    names = recipes.EVERYTHING if arguments.all else arguments.names
    if not names:
        raise ValueError("nothing to train: name a configuration, or give --all")
    training.train(
        names,
        data=Path(arguments.data),
        out=Path(arguments.out),
        budget_minutes=arguments.budget_minutes,
        fit=arguments.fit or arguments.all,
        resume=arguments.resume,
        progress=lambda line: print(line, flush=True),
    )
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    from musicstar.convert import convert

    card = convert(
        Path(arguments.source), Path(arguments.destination), recipe=arguments.recipe, voices=tuple(arguments.voices)
    )
    print(f"{arguments.destination}: {card.recipe} for {', '.join(card.voices)}, sha256 {card.sha256[:12]}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from musicstar.doctor import examine

    findings = examine()
    if arguments.json:
        print(json.dumps({finding.name: finding.found for finding in findings}))
        return 0
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.name:{width}}  {finding.found}")
    return 0


def _average(arguments: argparse.Namespace) -> int:
    from musicstar.checkpoint import average

    card = average(arguments.newer, arguments.older, arguments.destination, share=arguments.share)
    print(f"{arguments.destination}: {card.recipe} for {', '.join(card.voices)}, sha256 {card.sha256[:12]}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musicstar", description="Translate music between pairs of instruments.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_making(commands)
    _add_using(commands)
    evaluation.add(commands, number=_number, folder=_folder)
    concepts.add(commands, count=_count, number=_number, folder=_folder)
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001 (argparse has no public name for it)


def _add_using(commands: "Commands[argparse.ArgumentParser]") -> None:
    translate = commands.add_parser("translate", help="translate clips by any of the five methods")
    translate.add_argument("inputs", nargs="*", metavar="IN", help="audio files, or folders of them")
    translate.add_argument("--to", required=True, choices=[domain.value for domain in Domain], help="target domain")
    translate.add_argument(
        "--from",
        dest="source",
        choices=[domain.value for domain in Domain],
        help="what the clip is of; by default cv with --to sp, and sp with --to cv",
    )
    translate.add_argument("--method", default="mixture", choices=[*METHODS, "all"])
    translate.add_argument("--backbone", default=Backbone.SPECTRAL, choices=[backbone.value for backbone in Backbone])
    translate.add_argument("--out", type=_folder, required=True, help="folder that receives NAME.METHOD.wav")
    translate.add_argument("--stems", nargs=2, metavar=("MELODY", "ACCOMPANIMENT"), help="the two stems of the input")
    translate.add_argument("--write-stems", action="store_true", help="also write each translated stem")
    translate.add_argument("--seed", type=_count(0), default=0)
    translate.add_argument(
        "--temperature",
        type=_number(0),
        default=1.0,
        help="how much outputs vary by chance; 0 picks what is most likely",
    )
    translate.add_argument(
        "--chunk-seconds",
        type=_number(0),
        help="wavenet: play stretches of this length side by side, 0 for none; by default large ones, where that pays",
    )
    translate.add_argument("--jobs", type=_count(1), default=1, help="recordings at a time, each by a process")
    translate.add_argument("--cluster", metavar="ADDRESS", help="use a running Ray cluster (extra cluster)")
    translate.add_argument("--resume", action="store_true", help="leave out what is there, made the same way")
    translate.add_argument("--engine", choices=get_args(Kind), help="what plays WaveNets; see musicstar doctor")
    translate.add_argument("--precision", choices=get_args(Precision), help="of the native engine's products")
    translate.add_argument("--threads", type=_count(1, MOST_THREADS), help="of the native engine")
    translate.add_argument("--json", action="store_true", help="a JSON line per output")
    translate.set_defaults(command=_translate)

    doctor = commands.add_parser(
        "doctor", help="say what this machine has for the studio, and which engine plays WaveNets"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)

    stimuli = commands.add_parser("stimuli", help="make what a listening test plays, of held-out pieces by all methods")
    stimuli.add_argument("--data", type=_folder, required=True, help="a set whose test pieces are taken")
    stimuli.add_argument(
        "--reduced", type=_folder, required=True, metavar="CACHE", help="the folder it is reduced into"
    )
    stimuli.add_argument("--also", nargs="*", default=[], metavar="NNN", help="further pieces, to practise on")
    stimuli.add_argument("--seconds", type=_number(1), default=10.0, help="of each piece")
    stimuli.add_argument("--backbone", default=Backbone.SPECTRAL, choices=[backbone.value for backbone in Backbone])
    stimuli.add_argument("--out", type=_folder, required=True, help="folder that receives PIECE.DIRECTION.SYSTEM.flac")
    stimuli.set_defaults(command=_stimuli)


def _add_making(commands: "Commands[argparse.ArgumentParser]") -> None:
    render = commands.add_parser("render", help="render a StarNet-like set through FluidSynth")
    render.add_argument("--pieces", type=_count(1, 999), default=104)
    render.add_argument("--seconds", type=_number(0, above=True), default=60.0)
    render.add_argument(
        "--takes", type=_count(0, 999), default=2, help="further renderings of each piece, as training inputs"
    )
    render.add_argument("--seed", type=_count(0), default=1)
    render.add_argument("--starnet-only", action="store_true", help="StarNet's own two domains, of the four there are")
    render.add_argument("--sample-rate", type=_count(8_000, 48_000), default=audio.SAMPLE_RATE)
    render.add_argument("--midi", nargs="*", default=[], help="MIDI files to render instead of procedural pieces")
    render.add_argument(
        "--font", nargs="*", default=[], help="soundfonts, the canonical one first; those the system has by default"
    )
    render.add_argument(
        "--take-font", nargs="*", default=[], help="soundfonts of the further takes, where they are not those of --font"
    )
    render.add_argument("--jobs", type=_count(1), default=cores())
    render.add_argument("--out", type=_folder, required=True)
    render.set_defaults(command=_render)

    train = commands.add_parser("train", help="train networks")
    train.add_argument("names", nargs="*", metavar="NAME", help="shipped configurations, or TOML files")
    train.add_argument("--all", action="store_true", help="every shipped part, in the order they need each other")
    train.add_argument("--data", type=_folder, required=True, help="folder in the StarNet layout, real or rendered")
    train.add_argument("--out", type=_folder, required=True, help="folder of the runs, one below it for each name")
    train.add_argument("--budget-minutes", type=_number(0, above=True), help="stop in time; over all names together")
    train.add_argument("--fit", action="store_true", help="end the learning rate's schedule with the budget")
    train.add_argument("--resume", action="store_true", help="go on where the run in --out stopped")
    train.set_defaults(command=_train)

    point = commands.add_parser("checkpoint", help="bring in trained networks").add_subparsers(
        required=True, metavar="action"
    )
    convert = point.add_parser("convert", help="convert a folder with args.pth and bestmodel_0.pth")
    convert.add_argument("source", metavar="SRC")
    convert.add_argument("destination", metavar="DST")
    convert.add_argument("--recipe", required=True, choices=["universal", "embedding", "stem", "mixture"])
    convert.add_argument(
        "--voices", required=True, nargs="+", choices=[voice.label for voice in Voice], help="what its decoders play"
    )
    convert.set_defaults(command=_convert)

    average = point.add_parser("average", help="the mean of two checkpoints of one network")
    average.add_argument("newer", metavar="NEWER")
    average.add_argument("older", metavar="OLDER")
    average.add_argument("destination", metavar="DST")
    average.add_argument("--share", type=_number(0), required=True, help="of the newer's weights, 0 to 1")
    average.set_defaults(command=_average)


if __name__ == "__main__":
    sys.exit(main())
