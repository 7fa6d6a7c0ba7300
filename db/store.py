"""The store: all of the survey's database behind one door."""

from db.answers import Answers


class Store(Answers):
    """Studies, sessions, rankings and what researchers read of them; the parts are one module each."""
