"""Works out what the rankings say in a process of its own, so that nobody who ranks has to wait for it."""

import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd

from db.records import StoreError, VersionRecord
from db.store import Store
from survey import published
from survey.analysis import Analysis, begin_work, work_out
from survey.definition import Study, StudyError, from_json

KEPT = 32
# Groups that rankings can be chosen by: columns of the frame.
GROUPS = ("direction", "piece", "experience", "device", "headphones")
FLAGS = ("incomplete", "late", "excluded")


@dataclass(frozen=True)
class Filters:
    """What is counted in; an empty group takes all of it.

    Attributes
    ----------
    version : number of the only version wanted
    groups : keys chosen by group, as in `GROUPS`
    incomplete, late, excluded : whether such sessions count too
    """

    study: str
    version: int | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incomplete: bool = True
    late: bool = True
    excluded: bool = False

    @classmethod
    def read(cls, value: Any) -> "Filters":
        """From what a browser sent; raises ValueError where it is not of this form."""
        if not isinstance(value, dict) or set(value) != {one.name for one in fields(cls)}:
            raise ValueError("The filters have an unknown form.")
        study, version, groups = value["study"], value["version"], value["groups"]
        sound = (
            isinstance(study, str)
            and (version is None or type(version) is int)
            and isinstance(groups, dict)
            and set(groups) <= set(GROUPS)
            and all(isinstance(keys, list) and all(isinstance(key, str) for key in keys) for keys in groups.values())
            and all(type(value[name]) is bool for name in FLAGS)
        )
        if not sound:
            raise ValueError("The filters have an unknown form.")
        chosen = {name: tuple(sorted(set(keys))) for name, keys in sorted(groups.items()) if keys}
        return cls(study, version, chosen, **{name: value[name] for name in FLAGS})

    def to_json(self) -> dict[str, Any]:
        """As the browser has it."""
        return {
            "study": self.study,
            "version": self.version,
            "groups": {name: list(keys) for name, keys in self.groups.items()},
            **{name: getattr(self, name) for name in FLAGS},
        }

    def apply(self, rankings: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
        """The live rankings that are counted in; those excluded stay in, marked."""
        live = sessions[sessions["mode"] == "live"]
        if not self.incomplete:
            live = live[live["status"] == "complete"]
        kept = rankings["session"].isin(live["session"])
        if self.version is not None:
            kept &= rankings["version"] == self.version
        if not self.late:
            kept &= ~rankings["late"]
        for name, keys in self.groups.items():
            kept &= rankings[name].isin(keys)
        return rankings[kept]


class Analyst:
    """Analyses, worked out one after the other in one process, the latest of them kept.

    Many who look at the same cost as much as one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Future[Analysis]] = OrderedDict()
        self._executor: ProcessPoolExecutor | None = None
        # The worker holds the other end: it closes when this process closes it or dies in whatever way.
        self._held_by_worker, self._lifeline = multiprocessing.get_context("spawn").Pipe(duplex=False)

    def analyse(self, filters: Filters) -> Analysis:
        """What the rankings that the filters let through say at this moment.

        Raises
        ------
        StoreError
            There is no such study or version.
        ValueError
            Versions that rank other systems cannot be counted together.
        """
        versions = self._store.versions(filters.study)
        study = definition(versions, filters.version)
        sessions = self._store.participants(filters.study)
        now = stamp(sessions, versions)
        key = f"{now} {filters.to_json()}"
        with self._lock:
            future = self._kept.get(key)
            if future is None:
                frame = filters.apply(self._store.rankings(filters.study), sessions)
                # Totals in print are of all the participants in both directions.
                known = None if filters.groups else published.find(study)
                otherwise = heard_otherwise(study, versions, frame)
                future = self._submit(now, study, frame, known, filters.excluded, otherwise)
                self._kept[key] = future
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        try:
            return future.result()
        except BaseException:
            with self._lock:
                if self._kept.get(key) is future:
                    del self._kept[key]
            raise

    def close(self) -> None:
        """End the worker at once, whatever it does."""
        self._lifeline.close()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        self._held_by_worker.close()

    def _submit(self, *arguments: Any) -> "Future[Analysis]":
        for _ in range(2):
            if self._executor is None:
                self._executor = ProcessPoolExecutor(
                    1,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=begin_work,
                    initargs=(self._held_by_worker,),
                )
            try:
                return self._executor.submit(work_out, *arguments)
            except BrokenProcessPool:
                self._executor.shutdown(wait=False)
                self._executor = None
        raise RuntimeError("The process that works out the results cannot be started.")


def definition(versions: tuple[VersionRecord, ...], number: int | None = None) -> Study:
    """The study as a version defines it, the latest by default; raises StoreError where none can be read."""
    chosen = [version for version in versions if number in (None, version.number)]
    if not chosen:
        raise StoreError("There is no such version of this study.")
    try:
        return from_json(chosen[-1].config_json)
    except StudyError as error:
        raise StoreError(f"Version {chosen[-1].number} of this study cannot be read: {error}") from error


def heard_otherwise(study: Study, versions: Iterable[VersionRecord], frame: pd.DataFrame) -> bool:
    """Whether some of the rankings are of other recordings than this study's."""
    numbers = set(frame["version"])
    return any(definition((one,)).stimuli != study.stimuli for one in versions if one.number in numbers)


def first_filters(store: Store, wanted: str) -> Filters | None:
    """What is shown at first: of the study asked for, or else the fullest, as `together` has it."""
    known = {name: store.versions(name) for name in store.studies()}
    if not known:
        return None
    fullest = max(known, key=lambda name: sum(version.answers for version in known[name]))
    study = wanted if wanted in known else fullest
    return Filters(study, together(known[study]))


def together(versions: tuple[VersionRecord, ...]) -> int | None:
    """The only version to count, the latest, or None where all of them rank the same systems in the same ways."""
    studies = [definition((version,)) for version in versions]
    asked = {
        tuple(tuple(one.key for one in some) for some in (of.systems, of.criteria, of.directions)) for of in studies
    }
    return None if len(asked) == 1 else versions[-1].number


def stamp(sessions: pd.DataFrame, versions: tuple[VersionRecord, ...]) -> str:
    """What changes whenever the figures could: by a ranking or its revision, a session at its end, an exclusion."""
    facts = sessions[["session", "status", "excluded", "late", "answers"]]
    answers = sum(version.answers for version in versions)
    return f"{answers}.{int(pd.util.hash_pandas_object(facts, index=False).sum()) % 2**32:08x}"
