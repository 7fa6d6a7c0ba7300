"""All that a frame of rankings says, worked out in a process of its own, which loads nothing of the database."""

import os
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

import pandas as pd

from survey.definition import Study
from survey.published import Published
from survey.report import Report, collect

NICENESS = 10


@dataclass(frozen=True)
class Analysis:
    """What the rankings say.

    Attributes
    ----------
    stamp : of the answers it is of; another one means that there are others by now
    """

    stamp: str
    report: Report


def work_out(
    now: str,
    study: Study,
    frame: pd.DataFrame,
    known: Published | None,
    with_excluded: bool,
    heard_otherwise: bool = False,
) -> Analysis:
    """All that a frame of rankings says; raises ValueError as `scoring.wide` does."""
    found = collect(study, frame, known, with_excluded=with_excluded, heard_otherwise=heard_otherwise)
    return Analysis(now, found)


def begin_work(lifeline: Connection) -> None:
    """Prepare the worker: give way to the web server, and end with it."""
    os.nice(NICENESS)

    def end_with_parent() -> None:
        try:
            lifeline.recv_bytes()
        except (EOFError, OSError):
            # Nothing is left to tidy up for, and a thread cannot end its process in a gentler way.
            os._exit(0)

    threading.Thread(target=end_with_parent, daemon=True).start()
