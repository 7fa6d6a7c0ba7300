"""Command line: check, lock and build a study, read its results, try it with simulated participants, move it."""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from db.records import StoreError, VersionRecord
from db.store import Store
from survey.arguments import count, export_name, share, spread
from survey.definition import Study, StudyError, from_json, load, shipped, untranslated
from survey.place import Place, place
from survey.session import SurveyDesk, SurveyError

# What a wrong file, a full disk, a missing package or a lack of memory can raise.
FAULTS = (StoreError, SurveyError, ValueError, OSError, RuntimeError, ImportError, MemoryError)
CONTACT_VARIABLE = "MUSICSTAR_SURVEY_CONTACT"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0 when everything asked for was done."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except StudyError as error:
        # A line for each fault: they are all there is to mend.
        print(error, file=sys.stderr)
        return 1
    except FAULTS as error:
        print(f"musicstar-survey: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("musicstar-survey: interrupted", file=sys.stderr)
        return 130


def _sentence(error: BaseException) -> str:
    """The first line of an error; libraries add traces of their own below it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _path(name: str) -> Path:
    """The file of a study: one that is named, or a shipped one by its name."""
    known = shipped(name)
    return known if "/" not in name and not Path(name).suffix and known.is_file() else Path(name)


def _load(name: str, contact: str | None = None) -> Study:
    return load(_path(name), contact=contact or os.environ.get(CONTACT_VARIABLE, "") or None)


def _place(arguments: argparse.Namespace) -> Place:
    return place(arguments.data)


@contextmanager
def _store(where: Place) -> Iterator[Store]:
    store = where.store()
    try:
        yield store
    finally:
        store.close()


def _study_name(name: str) -> str:
    """The name of a study, given so or by its file."""
    return load(_path(name)).name if Path(name).suffix == ".toml" else name


def _latest(store: Store, study: str) -> VersionRecord:
    version = store.latest(study)
    if version is None:
        known = ", ".join(store.studies()) or "none"
        raise ValueError(f"{study} is not in the database, in which there is {known}; `build` puts it there")
    return version


def _check(arguments: argparse.Namespace) -> int:
    from survey.build import alike, common_loudness, measure

    study = _load(arguments.study)
    levels = measure(study)
    minutes = sum(level.samples / level.sample_rate for level in levels.values()) / 60
    parts = (
        (study.pieces, "piece"),
        (study.directions, "direction"),
        (study.systems, "system"),
        (study.criteria, "criterion"),
    )
    print(f"{study.name}: {', '.join(_counted(len(some), noun) for some, noun in parts)}; {', '.join(study.languages)}")
    print(f"{len(levels)} stimuli, {minutes:.1f} minutes, will be {common_loudness(list(levels.values())):.1f} LUFS")
    print(f"{_counted(study.slots, 'slot')} of {_counted(study.trials_per_participant, 'trial')}")
    if study.objective is not None:
        print(f"objective measures shown: {', '.join(study.objective.shown)}")
    for language, left in untranslated(study).items():
        print(f"musicstar-survey: {left} words of the pages stay English in {language}", file=sys.stderr)
    for one, other in alike(study):
        print(f"musicstar-survey: {one.path.name} and {other.path.name} are the same file", file=sys.stderr)
    return 0


def _counted(number: int, noun: str) -> str:
    plural = "criteria" if noun == "criterion" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def _lock(arguments: argparse.Namespace) -> int:
    from survey.definition import write_lock

    print(write_lock(_path(arguments.study)))
    return 0


def _build(arguments: argparse.Namespace) -> int:
    from survey.build import build

    where = _place(arguments)
    study = _load(arguments.study, arguments.contact)
    with _store(where) as store:
        built = build(study, store, where.media)
        state = "built" if built.new else "was there already"
        print(
            f"{study.name}: version {built.version.number} {state}; {built.written} of {built.clips} clips written "
            f"into {where.media} at {built.loudness_lufs:.1f} LUFS"
        )
        if not built.latest:
            newest = _latest(store, study.name).number
            print(f"musicstar-survey: new sessions take version {newest}, which was built later", file=sys.stderr)
    return 0


def _results(arguments: argparse.Namespace) -> int:
    from survey import published, report
    from survey.analyst import heard_otherwise, together

    with _store(_place(arguments)) as store:
        name = _study_name(arguments.study)
        latest = _latest(store, name).number
        versions = {one.number: one for one in store.versions(name)}
        number = arguments.version or together(tuple(versions.values()))
        chosen = number or latest
        if chosen not in versions:
            raise ValueError(f"{name} has no version {chosen}; it has {', '.join(map(str, versions))}")
        frame = store.rankings(name, version=number)
    study = from_json(versions[chosen].config_json)
    result = report.collect(
        study,
        frame,
        published.find(study),
        with_excluded=arguments.with_excluded,
        heard_otherwise=heard_otherwise(study, versions.values(), frame),
        seed=arguments.seed,
    )
    sys.stdout.write(report.FORMATS[arguments.format](result))
    return 0


def _simulate(arguments: argparse.Namespace) -> int:
    import numpy as np

    from survey.simulate import parse_strengths, simulate

    where = _place(arguments)
    with _store(where) as store:
        name = _study_name(arguments.study)
        study = from_json(_latest(store, name).config_json)
        strengths = parse_strengths(arguments.strengths, [system.key for system in study.systems])
        if store.funnel(name)["opened"]:
            raise ValueError(f"{name} has participants already; build it in a new --data folder and simulate there")
        shares = ", ".join(f"{system} {strength:g}" for system, strength in strengths.items())
        store.audit("musicstar-survey", "simulate", f"{arguments.participants} simulated, {shares}", study=name)
        simulate(
            SurveyDesk(store, where.media),
            name,
            participants=arguments.participants,
            strengths=strengths,
            rng=np.random.default_rng(arguments.seed),
            progress=lambda done: _show_progress(done, arguments.participants),
        )
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from survey.planner import plan
    from survey.simulate import parse_strengths

    study = _load(arguments.study)
    strengths = parse_strengths(arguments.strengths, [system.key for system in study.systems])
    strongest = sorted(strengths, key=lambda system: -strengths[system])
    first, second = arguments.pair or strongest[:2]
    each = arguments.rankings_each or study.trials_per_participant
    planned = plan(
        strengths,
        (first, second),
        power=arguments.power,
        alpha=arguments.alpha,
        rankings_each=each,
        taste=arguments.taste,
        most=arguments.most,
        studies=arguments.studies,
        seed=arguments.seed,
    )
    print("participants  pair   any")
    step = max(1, len(planned.curve) // 20)
    for point in planned.curve[::step]:
        print(f"{point.participants:>12}  {point.pair:.2f}  {point.friedman:.2f}")
    a, b = planned.pair
    whom = f"{_counted(each, 'ranking')} of each on a criterion, {planned.studies} simulated studies"
    print(f"Power of {planned.power:g} at alpha {planned.alpha:g}, with {whom}:")
    print(f"- to tell {a} from {b}: {_sized(planned.for_pair, arguments.most)}")
    print(f"- to find any difference: {_sized(planned.for_friedman, arguments.most)}")
    return 0


def _sized(participants: int | None, most: int) -> str:
    return f"more than {most} participants" if participants is None else f"{participants} participants"


def _show_progress(done: int, total: int) -> None:
    print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _user(arguments: argparse.Namespace) -> int:
    from survey import accounts

    if sys.stdin.isatty():
        password = getpass.getpass(f"Password of {arguments.name}: ")
        if getpass.getpass("Once more: ") != password:
            raise ValueError("the two passwords differ")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if arguments.print:
        print(accounts.user_line(arguments.name, password))
    else:
        path = accounts.write_user(_place(arguments).folder, arguments.name, password)
        print(f"{arguments.name} can log in at /results/; kept in {path}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from survey import exchange

    out = Path(arguments.out)
    if out.exists():
        raise ValueError(f"{out} is there already; name another file")
    with _store(_place(arguments)) as store:
        name = _study_name(arguments.study)
        _latest(store, name)
        *earlier, latest = (from_json(version.config_json) for version in store.versions(name))
        everything = store.history(name)
        rankings = store.rankings(name)
        store.audit("musicstar-survey", "export", out.suffix, study=name)
    if out.suffix == ".zip":
        content = exchange.to_zip(everything, latest, rankings, earlier=earlier)
    else:
        content = exchange.to_json(everything)
    temporary = out.with_name(f".writing-{out.name}")
    try:
        temporary.write_bytes(content)
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{out}: {len(content) / 1e6:.1f} MB; it holds the hashes of the participants' ids, so keep it safe")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from survey import exchange

    everything = exchange.checked(exchange.read(Path(arguments.file).read_bytes()))
    with _store(_place(arguments)) as store:
        counts = store.restore(everything)
        store.audit("musicstar-survey", "import", "", study=everything.study)
    print(f"{everything.study}: {', '.join(f'{count} of {table}' for table, count in counts.items() if count)}")
    print("`build` writes its clips again, given the same study and stimuli")
    return 0


def _add(commands: "Commands[argparse.ArgumentParser]", name: str, summary: str) -> argparse.ArgumentParser:
    """A command that works on a study in a folder."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=summary)
    command.add_argument(
        "--data",
        metavar="FOLDER",
        help="where the survey is kept, its database too; without it MUSICSTAR_SURVEY, or else data, and DATABASE_URL",
    )
    return command


Commands = argparse._SubParsersAction  # noqa: SLF001 (argparse has no public name for it)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="musicstar-survey", description="Prepare and read ranked listening tests.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_preparing(commands)
    _add_reading(commands)
    return parser


def _add_preparing(commands: "Commands[argparse.ArgumentParser]") -> None:
    file = "a study's file, or the name of a shipped one: music-star"
    check = commands.add_parser("check", help="find every fault of a study and its stimuli")
    check.add_argument("study", metavar="STUDY", help=file)
    check.set_defaults(command=_check)

    lock = commands.add_parser("lock", help="write down the hashes of a study's stimuli as they are now")
    lock.add_argument("study", metavar="STUDY", help=file)
    lock.set_defaults(command=_lock)

    build = _add(commands, "build", "make the clips that participants get, and put the study into the database")
    build.add_argument("study", metavar="STUDY", help=file)
    build.add_argument("--contact", help="whom participants can turn to: a name and an address")
    build.set_defaults(command=_build)

    simulate = commands.add_parser("simulate", help="have simulated participants take a study that was built")
    simulate.add_argument(
        "--data", required=True, metavar="FOLDER", help="of a rehearsal: participants are never deleted, nor are these"
    )
    simulate.add_argument("study", metavar="STUDY", help="its name or its file")
    simulate.add_argument("--participants", type=count(1, 100_000), required=True, metavar="N")
    simulate.add_argument(
        "--strengths",
        nargs="+",
        required=True,
        metavar="STRENGTH",
        help="of the Plackett-Luce model, in the order of the systems, or as SYSTEM=STRENGTH",
    )
    simulate.add_argument("--seed", type=count(0), default=0)
    simulate.set_defaults(command=_simulate)

    plan = commands.add_parser("plan", help="find how many participants a study needs, by simulation")
    plan.add_argument("study", metavar="STUDY", help=file)
    plan.add_argument("--strengths", nargs="+", required=True, metavar="STRENGTH", help="as in simulate")
    plan.add_argument("--pair", nargs=2, metavar="SYSTEM", help="to be told apart; the two strongest by default")
    plan.add_argument("--power", type=share, default=0.8)
    plan.add_argument("--alpha", type=share, default=0.05)
    plan.add_argument(
        "--rankings-each", type=count(1, 100), metavar="N", help="of a participant on a criterion; one for each trial"
    )
    plan.add_argument("--taste", type=spread, default=0.0, help="how much listeners differ in their log-strengths")
    plan.add_argument("--most", type=count(10, 2000), default=200, help="participants to go up to")
    plan.add_argument("--studies", type=count(1, 100_000), default=1000, help="simulated")
    plan.add_argument("--seed", type=count(0), default=0)
    plan.set_defaults(command=_plan)

    user = _add(commands, "user", "make an account that may read the results; the password is asked for")
    user.add_argument("name", metavar="NAME")
    user.add_argument("--print", action="store_true", help="print it for MUSICSTAR_RESULTS_USERS, and keep nothing")
    user.set_defaults(command=_user)


def _add_reading(commands: "Commands[argparse.ArgumentParser]") -> None:
    results = _add(commands, "results", "print the results of a study")
    results.add_argument("study", metavar="STUDY", help="its name or its file")
    results.add_argument("--format", choices=["csv", "md", "json"], default="md")
    results.add_argument(
        "--version",
        type=count(1),
        metavar="N",
        help="of this version alone; by default of all that rank alike, else the latest",
    )
    results.add_argument("--with-excluded", action="store_true", help="count those who are excluded as well")
    results.add_argument("--seed", type=count(0), default=0, help="of resamples and permutations")
    results.set_defaults(command=_results)

    export = _add(commands, "export", "write everything that is stored of a study into one file")
    export.add_argument("study", metavar="STUDY", help="its name or its file")
    export.add_argument("out", type=export_name, metavar="FILE", help="NAME.json, or NAME.zip with CSV and a codebook")
    export.set_defaults(command=_export)

    restore = _add(commands, "import", "read such a file into a database that does not have the study")
    restore.add_argument("file", metavar="FILE")
    restore.set_defaults(command=_import)


if __name__ == "__main__":
    sys.exit(main())
