"""Studies and their versions: stored once, fixed from then on."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Executable, and_, func, insert, select
from sqlalchemy.sql import Select

from db.engine import Engine
from db.models import Criterion, Direction, Piece, Response, Session, Slot, Stimulus, Study, System, Trial, Version
from db.records import (
    GOLD,
    DesignSlot,
    Named,
    NewStimulus,
    NewVersion,
    PlannedTrial,
    StoreError,
    VersionRecord,
)


@dataclass(frozen=True)
class Clip:
    """A stored stimulus; no system is the gold standard."""

    id: int
    piece_id: int
    direction_id: int
    system_id: int | None
    media: str
    duration_s: float


@dataclass(frozen=True)
class Parts:
    """What a version is made of, with the database's own ids."""

    config_json: str
    systems: Mapping[str, int]
    pieces: Mapping[str, int]
    directions: Mapping[str, int]
    criteria: Mapping[str, int]
    clips: Mapping[int, Clip]
    by_place: Mapping[tuple[int, int, int | None], Clip]


class Versions(Engine):
    """The part of the store that keeps studies, versions, stimuli and design slots."""

    def add_version(self, new: NewVersion) -> VersionRecord:
        """Store a version, or find the one with the same configuration, of which then nothing is written.

        Raises
        ------
        StoreError
            A stimulus or a slot names what the version does not have, or a slot's order is not of all systems.
        """
        sha256 = hashlib.sha256(new.config_json.encode()).hexdigest()
        with self.writing() as connection:
            study = connection.execute(select(Study.id).where(Study.name == new.study)).scalar()
            if study is None:
                named = {"name": new.study, "salt": secrets.token_hex(16), "created_at": self.instant()}
                study = connection.execute(insert(Study).values(named).returning(Study.id)).scalar_one()
            # On PostgreSQL two builds at once come one after the other.
            connection.execute(select(Study.id).where(Study.id == study).with_for_update())
            known = _one(connection, _records().where(Study.name == new.study, Version.sha256 == sha256))
            if known is not None:
                return known
            _check(new)
            last = connection.execute(select(func.max(Version.number)).where(Version.study_id == study)).scalar()
            values = {
                "study_id": study,
                "number": (last or 0) + 1,
                "config_json": new.config_json,
                "sha256": sha256,
                "created_at": self.instant(),
            }
            version = connection.execute(insert(Version).values(values).returning(Version.id)).scalar_one()
            self._add_parts(connection, version, new)
            record = _one(connection, _records().where(Version.id == version))
        assert record is not None
        return record

    def _add_parts(self, connection: Connection, version: int, new: NewVersion) -> None:
        # The piece of the practice trial need not be among those that are ranked.
        listed = {piece.key for piece in new.pieces}
        others = sorted({stimulus.piece for stimulus in new.stimuli} - listed)
        pieces = (*new.pieces, *(Named(key, key) for key in others))
        ids: list[dict[str, int]] = []
        for table, names in (
            (System, new.systems),
            (Piece, pieces),
            (Direction, new.directions),
            (Criterion, new.criteria),
        ):
            rows = [
                {"version_id": version, "position": place, "key": name.key, "title": name.title}
                for place, name in enumerate(names)
            ]
            connection.execute(insert(table), rows)
            ids.append(_keys(connection, table, version))
        systems, piece_ids, directions, _ = ids
        rows_of_stimuli = [
            {
                "version_id": version,
                "piece_id": piece_ids[stimulus.piece],
                "direction_id": directions[stimulus.direction],
                "system_id": None if stimulus.system == GOLD else systems[stimulus.system],
                "sha256": stimulus.sha256,
                "media": stimulus.media,
                "duration_s": stimulus.duration_s,
                "served_sha256": stimulus.served_sha256,
            }
            for stimulus in new.stimuli
        ]
        connection.execute(insert(Stimulus), rows_of_stimuli)
        add_slots(connection, version, new.slots)

    def find_version(self, study: str, config_json: str) -> VersionRecord | None:
        """The version of a study with this configuration."""
        sha256 = hashlib.sha256(config_json.encode()).hexdigest()
        with self.reading() as connection:
            return _one(connection, _records().where(Study.name == study, Version.sha256 == sha256))

    def studies(self) -> tuple[str, ...]:
        """The names of the studies, sorted."""
        with self.reading() as connection:
            return tuple(connection.execute(select(Study.name).order_by(Study.name)).scalars())

    def versions(self, study: str) -> tuple[VersionRecord, ...]:
        """The versions of a study, the first one first."""
        with self.reading() as connection:
            rows = connection.execute(_records().where(Study.name == study).order_by(Version.number))
            return tuple(VersionRecord(**row) for row in rows.mappings())

    def latest(self, study: str) -> VersionRecord | None:
        """The version of a study that new sessions take."""
        with self.reading() as connection:
            statement = _records().where(Study.name == study).order_by(Version.number.desc()).limit(1)
            return _one(connection, statement)

    def latest_config(self, study: str) -> tuple[int, str] | None:
        """The id and the configuration of a study's latest version, as `latest` but without counting answers."""
        with self.reading() as connection:
            statement = (
                select(Version.id, Version.config_json)
                .join(Study, Study.id == Version.study_id)
                .where(Study.name == study)
                .order_by(Version.number.desc())
                .limit(1)
            )
            row = connection.execute(statement).first()
            return None if row is None else (row.id, row.config_json)

    def stimuli(self, version: int) -> tuple[NewStimulus, ...]:
        """The stimuli of a version, by piece, direction and system."""
        statement = (
            select(
                Piece.key.label("piece"),
                Direction.key.label("direction"),
                func.coalesce(System.key, GOLD).label("system"),
                Stimulus.sha256,
                Stimulus.media,
                Stimulus.duration_s,
                Stimulus.served_sha256,
            )
            .join(Piece, Piece.id == Stimulus.piece_id)
            .join(Direction, Direction.id == Stimulus.direction_id)
            .outerjoin(System, System.id == Stimulus.system_id)
            .where(Stimulus.version_id == version)
        )
        with self.reading() as connection:
            found = [NewStimulus(**row) for row in connection.execute(statement).mappings()]
        return tuple(sorted(found, key=lambda clip: (clip.piece, clip.direction, clip.system)))

    def slots(self, version: int) -> tuple[DesignSlot, ...]:
        """The design slots of a version, all blocks there are so far."""
        statement = select(Slot.number, Slot.plan_json).where(Slot.version_id == version).order_by(Slot.number)
        with self.reading() as connection:
            return tuple(read_plan(row.number, row.plan_json) for row in connection.execute(statement))

    def parts(self, connection: Connection, version: int) -> Parts:
        """What a version is made of; read once, as it never changes."""
        known: Parts | None = self._parts.get(version)
        if known is None:
            statement = select(
                Stimulus.id,
                Stimulus.piece_id,
                Stimulus.direction_id,
                Stimulus.system_id,
                Stimulus.media,
                Stimulus.duration_s,
            ).where(Stimulus.version_id == version)
            config = connection.execute(select(Version.config_json).where(Version.id == version)).scalar_one()
            clips = {row["id"]: Clip(**row) for row in connection.execute(statement).mappings()}
            by_place = {(clip.piece_id, clip.direction_id, clip.system_id): clip for clip in clips.values()}
            known = self._parts[version] = Parts(
                config_json=config,
                systems=_keys(connection, System, version),
                pieces=_keys(connection, Piece, version),
                directions=_keys(connection, Direction, version),
                criteria=_keys(connection, Criterion, version),
                clips=clips,
                by_place=by_place,
            )
        return known


def _records() -> Select[Any]:
    answers = (
        select(func.count(Response.id))
        .join(Trial, and_(Trial.id == Response.trial_id, Trial.number > 0))
        .join(Session, and_(Session.id == Response.session_id, Session.mode == "live"))
        .where(Response.version_id == Version.id, Response.is_current)
        .scalar_subquery()
    )
    return select(
        Version.id,
        Study.name.label("study"),
        Version.number,
        Version.config_json,
        Version.sha256,
        Version.created_at,
        answers.label("answers"),
    ).join(Study, Study.id == Version.study_id)


def _one(connection: Connection, statement: Executable) -> VersionRecord | None:
    row = connection.execute(statement).mappings().first()
    return None if row is None else VersionRecord(**row)


def _keys(connection: Connection, table: type[System | Piece | Direction | Criterion], version: int) -> dict[str, int]:
    statement = select(table.key, table.id).where(table.version_id == version).order_by(table.position)
    return {row.key: row.id for row in connection.execute(statement)}


def _check(new: NewVersion) -> None:
    """Refuse what does not fit together before the database has to."""
    systems = [system.key for system in new.systems]
    directions = {direction.key for direction in new.directions}
    known = {(stimulus.piece, stimulus.direction, stimulus.system) for stimulus in new.stimuli}
    if len(known) != len(new.stimuli):
        raise StoreError(f"{new.study}: a stimulus is there twice.")
    for piece, direction, system in known:
        if direction not in directions or system not in {GOLD, *systems}:
            raise StoreError(f"{new.study}: the stimulus {piece}, {direction}, {system} is of no direction or system.")
    if not new.slots:
        raise StoreError(f"{new.study}: a version needs at least one design slot.")
    for slot in new.slots:
        for trial in (*slot.trials, *([slot.practice] if slot.practice else [])):
            if sorted(trial.order) != sorted(systems):
                raise StoreError(f"{new.study}: slot {slot.number} does not order each system once.")
            missing = [system for system in (GOLD, *systems) if (trial.piece, trial.direction, system) not in known]
            if missing:
                raise StoreError(f"{new.study}: {trial.piece}, {trial.direction} has no stimulus of {missing[0]}.")


def add_slots(connection: Connection, version: int, slots: Iterable[DesignSlot]) -> None:
    """Store design slots of a version."""
    rows = [{"version_id": version, "number": slot.number, "plan_json": write_plan(slot)} for slot in slots]
    connection.execute(insert(Slot), rows)


def write_plan(slot: DesignSlot) -> str:
    """The trials of a slot as they are stored."""
    return json.dumps(
        {"trials": [asdict(trial) for trial in slot.trials], "practice": slot.practice and asdict(slot.practice)}
    )


def read_plan(number: int, text: str) -> DesignSlot:
    """A slot as it was stored."""
    plan = json.loads(text)
    trials = tuple(PlannedTrial(**{**trial, "order": tuple(trial["order"])}) for trial in plan["trials"])
    practice = plan["practice"]
    if practice is not None:
        practice = PlannedTrial(**{**practice, "order": tuple(practice["order"])})
    return DesignSlot(number, trials, practice)
