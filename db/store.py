"""The store: all of the survey's database behind one door."""

from db.moving import Moving


class Store(Moving):
    """Studies, sessions, rankings, and what researchers read of them; the parts are one module each.

    Parameters
    ----------
    url : sqlite:///path, or postgresql+psycopg://...
    patience_s : how long a write waits for others before it is refused
    clock : what tells the time
    """
