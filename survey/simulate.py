"""Simulated participants, who go through a whole survey as real ones do: to try it, and to see its results fill.

Each ranking is drawn from the Plackett-Luce model of `survey.strengths`, with the same strengths for all criteria and
nothing that ties the rankings of one participant to each other.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np

from db.records import GOLD, Headphones, NewAnswer, PlaybackEvent, Screening
from survey.definition import Question, Study, from_json
from survey.planner import draw
from survey.session import SurveyDesk

MEDIAN_S = 60.0
HEADPHONES = dict(zip(get_args(Headphones), (0.7, 0.1, 0.1, 0.1), strict=True))


class SimulationError(ValueError):
    """A simulation that cannot be run; the message says why."""


def check_strengths(study: Study, strengths: Mapping[str, float]) -> None:
    """Raise SimulationError unless each system of the study has a strength above 0, and nothing else has one."""
    systems = [system.key for system in study.systems]
    if set(strengths) != set(systems):
        raise SimulationError(f"strengths of {', '.join(strengths) or 'nothing'}; expected {', '.join(systems)}")
    for system, strength in strengths.items():
        if not 0 < strength < float("inf"):
            raise SimulationError(f"a strength of {strength:g} for {system}; expected a number above 0")


def parse_strengths(words: Sequence[str], systems: Sequence[str]) -> dict[str, float]:
    """Read strengths in the order of the systems, or as SYSTEM=STRENGTH.

    Raises
    ------
    SimulationError
        A word is no number, or it is not clear whose it is.

    >>> parse_strengths(["1", "2.5"], ["a", "b"])
    {'a': 1.0, 'b': 2.5}
    >>> parse_strengths(["b=2", "a=1"], ["a", "b"])
    {'a': 1.0, 'b': 2.0}
    """
    named = ["=" in word for word in words]
    if any(named) != all(named):
        raise SimulationError("strengths are given for all systems by name, or in their order for all")
    if not any(named) and len(words) != len(systems):
        raise SimulationError(f"{len(words)} strengths; expected one each for {', '.join(systems)}")
    pairs = [word.rpartition("=")[::2] for word in words] if any(named) else list(zip(systems, words, strict=True))
    found: dict[str, float] = {}
    for system, word in pairs:
        if system in found:
            raise SimulationError(f"{system} has two strengths")
        try:
            found[system] = float(word)
        except ValueError:
            raise SimulationError(f"{system}: {word!r} is not a number") from None
    if set(found) != set(systems):
        raise SimulationError(f"strengths of {', '.join(found)}; expected {', '.join(systems)}")
    return {system: found[system] for system in systems}


def simulate(
    desk: SurveyDesk,
    study: str,
    *,
    participants: int,
    strengths: Mapping[str, float],
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Have simulated participants take a study that was built, each to the end.

    Parameters
    ----------
    strengths : of each system, above 0; the same for all criteria
    progress : told how many have finished

    Raises
    ------
    SimulationError
        The study is not in the database, or the strengths are not those of its systems.
    SurveyError
        The database could not take an answer.
    """
    version = desk.store.latest(study)
    if version is None:
        raise SimulationError(f"{study} is not in the database; expected one that was built")
    check_strengths(from_json(version.config_json), strengths)
    systems = {one.media: one.system for one in desk.store.stimuli(version.id)}
    for done in range(participants):
        _take(desk, from_json(version.config_json), systems, strengths, rng)
        if progress is not None:
            progress(done + 1)


def _take(
    desk: SurveyDesk,
    study: Study,
    systems: Mapping[str, str],
    strengths: Mapping[str, float],
    rng: np.random.Generator,
) -> None:
    """Take the survey as one participant."""
    # Ids are never drawn again, whatever the seed: nobody is taken for a participant of an earlier simulation.
    external = f"simulated-{uuid.uuid4().hex}"
    language = study.languages[0]
    ticket, state = desk.open(study.name, external=external, language=language, preview=False, ticket=None)
    state = desk.consent(ticket, language=language, generation=state["generation"])
    answers = {question.key: _answer(question, rng) for question in study.background}
    state = desk.background(ticket, answers, generation=state["generation"])
    headphones = cast(Headphones, rng.choice(list(HEADPHONES), p=list(HEADPHONES.values())).item())
    screening = Screening(volume=round(float(rng.uniform(0.2, 0.9)), 2), headphones=headphones)
    state = desk.sound(ticket, screening, generation=state["generation"])
    generation = state["generation"]
    for trial in state["trials"]:
        by_system = {systems[clip["src"].rpartition("/")[2]]: clip["item"] for clip in trial["clips"]}
        desk.events(ticket, _hear(trial, [GOLD, *by_system.values()]))
        for criterion in trial["criteria"]:
            ranks = draw(np.log(list(strengths.values())), rng).tolist()
            new = NewAnswer(
                submission=uuid.uuid4().hex,
                trial=trial["id"],
                criterion=criterion,
                ranks={by_system[system]: rank for system, rank in zip(strengths, ranks, strict=True)},
                generation=generation,
                elapsed_ms=round(1000 * MEDIAN_S * float(rng.lognormal(sigma=0.4))),
            )
            generation = desk.answer(ticket, new).generation
    desk.finish(ticket, generation=generation)


def _answer(question: Question, rng: np.random.Generator) -> str | int:
    """Any answer that the question takes."""
    if question.kind == "choice":
        return question.options[int(rng.integers(len(question.options)))].key
    return int(rng.integers(18, 80)) if question.kind == "number" else "simulated"


def _hear(trial: Mapping[str, Any], items: list[str]) -> list[PlaybackEvent]:
    """The records of playing each clip of a trial to its end."""
    length_s = trial["duration_s"]
    return [
        PlaybackEvent(trial=trial["id"], item=item, kind=kind, at_ms=1000 * length_s * place, position_s=position_s)
        for place, item in enumerate(items)
        for kind, position_s in (("play", 0.0), ("heard", length_s))
    ]
