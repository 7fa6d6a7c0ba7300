"""The results page: scores, comparisons, participants, progress, for researchers who have logged in."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from db.records import StoreError
from db.store import Store
from survey.analyst import Analyst, Filters, definition, first_filters, stamp
from survey.session import say
from survey.ui import comparisons, people, scores
from survey.ui.blocks import nothing

TITLE = "Survey results"
DESCRIPTION = "Scores, comparisons and participants of the listening survey."
STYLES = ("/ui/studio.css", "/survey/static/results.css")
SCRIPTS = ("/ui/dom.js", *(f"/survey/static/{name}.js" for name in ("results", "results-side", "results-people")))
LIVE_S = 15.0
DONE = "() => document.body.classList.remove('rs-working')"
MAX_REASON = 1000
LEGENDS = {
    "direction": "Direction",
    "piece": "Piece",
    "experience": "Musical experience",
    "device": "Device",
    "headphones": "Headphone check",
}


def offer(store: Store, filters: Filters) -> dict[str, Any]:
    """What the filters can be set to, with how many sessions each lets through."""
    versions = store.versions(filters.study)
    study = definition(versions, filters.version)
    rankings = store.rankings(filters.study)
    sessions = store.participants(filters.study)
    live = sessions[sessions["mode"] == "live"]
    titles: dict[str, dict[str, str]] = {
        "direction": {one.key: one.title for one in study.directions},
        "piece": {one.key: one.title for one in study.pieces},
        "headphones": dict(people.CHECKS),
    }
    language = study.languages[0]
    for question in study.background:
        if question.key in ("experience", "device") and question.kind == "choice":
            titles[question.key] = {one.key: say(one.text, language) for one in question.options}
    groups = []
    for name, legend in LEGENDS.items():
        found = rankings.groupby(name)["session"].nunique()
        known = titles.get(name, {})
        keys = [*known, *(key for key in found.index if key and key not in known)]
        options = [{"key": key, "title": known.get(key, key), "count": int(found.get(key, 0))} for key in keys]
        options = [option for option in options if option["count"] or name in ("direction", "piece")]
        if len(options) > 1:
            groups.append({"key": name, "legend": legend, "options": options})
    return {
        "versions": [{"number": version.number, "answers": version.answers} for version in versions],
        "groups": groups,
        "flags": {
            "incomplete": int((live["status"] != "complete").sum()),
            "late": int(live["late"].sum()),
            "excluded": int(live["excluded"].sum()),
        },
    }


class Handlers:
    """What the page's events do; each asks first who is there."""

    def __init__(self, store: Store, analyst: Analyst) -> None:
        self._store, self._analyst = store, analyst

    def start(self, request: gr.Request) -> tuple[Any, ...]:
        """What is there at first, but for what takes time to work out."""
        who = _researcher(request)
        chosen = first_filters(self._store, str(request.query_params.get("study", "")))
        told = {"name": who, "study": chosen.study if chosen else "", "studies": _studies(self._store)}
        if chosen is None:
            return told, *[gr.skip()] * 4
        offered = gr.update(value=chosen.to_json(), offered=offer(self._store, chosen))
        return (
            told,
            offered,
            _strip(self._store, chosen, ""),
            _list(self._store, chosen),
            _progress(self._store, chosen),
        )

    def show(self, value: Any, request: gr.Request) -> tuple[Any, ...]:
        """What the rankings say."""
        _researcher(request)
        if not value:
            # Nothing is chosen either where the database could not be read at first.
            why = "Please load this page again." if self._store.studies() else "No study has been built yet."
            return gr.skip(), nothing(why), gr.skip(), gr.skip()
        chosen = _known(self._store, value)
        try:
            analysis = self._analyst.analyse(chosen)
        except ValueError as error:
            return gr.skip(), nothing(str(error)), nothing(str(error)), gr.skip()
        return (
            gr.update(offered=offer(self._store, chosen)),
            scores.draw(analysis),
            comparisons.draw(analysis),
            _strip(self._store, chosen, analysis.stamp),
        )

    def tick(self, value: Any, told: Any, request: gr.Request) -> tuple[Any, Any]:
        """Counts and progress as they are now."""
        _researcher(request)
        if not value or not isinstance(told, dict):
            return gr.skip(), gr.skip()
        chosen = _known(self._store, value)
        return _strip(self._store, chosen, str(told.get("shown", ""))), _progress(self._store, chosen)

    def renew_people(self, value: Any, request: gr.Request) -> Any:
        """The list of participants as it is now."""
        _researcher(request)
        return _list(self._store, _known(self._store, value)) if value else gr.skip()

    def open_one(self, value: Any, asked: gr.EventData, request: gr.Request) -> Any:
        """The page of one participant."""
        _researcher(request)
        return _list(self._store, _known(self._store, value), session=_word(asked, "session")) if value else gr.skip()

    def find(self, value: Any, asked: gr.EventData, request: gr.Request) -> Any:
        """The page of the participant who came with an id."""
        who = _researcher(request)
        chosen = _known(self._store, value)
        session = self._store.session_of(chosen.study, _word(asked, "external"))
        self._store.audit(who, "find", session or "nobody", study=chosen.study)
        if session is None:
            return _list(self._store, chosen, message="No participant came with that number.")
        return _list(self._store, chosen, session=session, go=session)

    def decide(self, value: Any, asked: gr.EventData, request: gr.Request) -> Any:
        """Exclude a session, or count it in again."""
        who = _researcher(request)
        chosen = _known(self._store, value)
        session, reason = _word(asked, "session"), _word(asked, "reason")
        try:
            _decide(self._store, chosen.study, session, reason, exclude=_flag(asked, "exclude"), author=who)
        except StoreError as error:
            return _list(self._store, chosen, session=session, message=str(error))
        return _list(self._store, chosen, session=session)

    def apply_rules(self, value: Any, request: gr.Request) -> Any:
        """Exclude all that fall under the rules fixed beforehand."""
        who = _researcher(request)
        chosen = _known(self._store, value)
        under = people.under_rules(people.look(self._store, chosen.study))
        reasons = {session: reason[:MAX_REASON] for session, reason in under.items()}
        self._store.exclude_undecided(reasons, author=who)
        return _list(self._store, chosen)


def build(store: Store, analyst: Analyst) -> gr.Blocks:
    """The page, to be mounted at /results behind `survey.login`, which names the researcher."""
    do = Handlers(store, analyst)
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        head = _component("rs-head", "MusicStar.results.head(element.firstElementChild, props, watch);")
        trouble = _component("rs-trouble", "MusicStar.results.notice(element.firstElementChild, props, watch);")
        strip = _component(
            "rs-strip",
            "MusicStar.resultsStrip(element.firstElementChild, props, watch, () => trigger('renew'));",
        )
        with gr.Row(elem_id="rs-main"):
            with gr.Column(elem_id="rs-side", min_width=0):
                filters = _component(
                    "rs-filters",
                    "MusicStar.resultsFilters(element.firstElementChild, props, watch, () => trigger('chosen'));",
                    offered=None,
                )
            with gr.Column(elem_id="rs-content", min_width=0):
                draw = "MusicStar.results.board(element.firstElementChild, props, watch);"
                score_board = _component("rs-scores", draw)
                comparison_board = _component("rs-comparisons", draw)
                participants = _component(
                    "rs-people",
                    "MusicStar.resultsPeople(element.firstElementChild, props, watch, "
                    "{open: (data) => trigger('ask_open', data), find: (data) => trigger('ask_find', data), "
                    "decide: (data) => trigger('ask_decide', data), rules: () => trigger('ask_rules')});",
                )
                progress = _component(
                    "rs-progress", "MusicStar.resultsProgress(element.firstElementChild, props, watch);"
                )
        clock = gr.Timer(LIVE_S)

        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
        latest = {"trigger_mode": "always_last", **hidden}
        boards = (score_board, comparison_board)

        def on(event: Any, handler: Callable[..., Any], inputs: Any, outputs: Sequence[gr.HTML], **options: Any) -> Any:
            """Let an event call a handler, and say so where the database is out of reach; what is shown then stays."""

            @wraps(handler)
            def told(*given: Any) -> tuple[Any, ...]:
                try:
                    found = handler(*given)
                except StoreError as error:
                    why = str(error)
                    return *(nothing(why, "No results now") if one in boards else gr.skip() for one in outputs), why
                return *(found if len(outputs) > 1 else [found]), ""

            return event(told, inputs, [*outputs, trouble], **options)

        shown = [filters, *boards, strip]
        started = on(page.load, do.start, None, [head, filters, strip, participants, progress], **hidden)
        on(started.then, do.show, filters, shown, **latest)
        renewed = on(strip.renew, do.renew_people, filters, [participants], **hidden)
        on(clock.tick, do.tick, [filters, strip], [strip, progress], **hidden)
        on(participants.ask_open, do.open_one, filters, [participants], **latest)
        on(participants.ask_find, do.find, filters, [participants], **hidden)
        decided = on(participants.ask_decide, do.decide, filters, [participants], **hidden)
        ruled = on(participants.ask_rules, do.apply_rules, filters, [participants], **hidden)
        # A property that is set to what it was tells nobody, so the end of the waiting is an event of its own.
        for before in (filters.chosen, renewed.then, decided.then, ruled.then):
            on(before, do.show, filters, shown, **latest).then(None, js=DONE, **hidden)
    return page


def _component(name: str, script: str, **properties: Any) -> gr.HTML:
    """A part that a script of ours draws, from a value that is plain data."""
    return gr.HTML(
        value=None,
        elem_id=name,
        html_template=f'<div class="{name}"></div>',
        # Each waits for the scripts it names; a browser fetches them once.
        head="".join(f'<script src="{source}"></script>' for source in SCRIPTS),
        js_on_load=f"window.{script}",
        apply_default_css=False,
        **properties,
    )


def _researcher(request: gr.Request) -> str:
    """Who asks; raises PermissionError for anybody who has not logged in."""
    if not request.username:
        raise PermissionError("Please log in first.")
    return str(request.username)


def _known(store: Store, value: Any) -> Filters:
    """Filters that a browser sent, of a study that there is; raises ValueError."""
    filters = Filters.read(value)
    if filters.study not in store.studies():
        raise ValueError("There is no such study.")
    return filters


def _studies(store: Store) -> list[dict[str, str]]:
    found = []
    for name in store.studies():
        try:
            study = definition(store.versions(name))
            title = say(study.title, study.languages[0])
        except StoreError:
            title = name
        found.append({"name": name, "title": title})
    return found


def _strip(store: Store, filters: Filters, shown: str) -> dict[str, Any]:
    versions, sessions = store.versions(filters.study), store.participants(filters.study)
    now = stamp(sessions, versions)
    return {"counts": people.counts(sessions, versions), "stamp": now, "shown": shown}


def _progress(store: Store, filters: Filters) -> dict[str, Any]:
    versions = store.versions(filters.study)
    return people.progress(filters.study, store.funnel(filters.study), versions, definition(versions, None).slots)


def _list(store: Store, filters: Filters, *, session: str = "", go: str = "", message: str = "") -> dict[str, Any]:
    """The participants, and the page of one of them."""
    sight = people.look(store, filters.study)
    detail = people.page(sight, session, store.details(session)) if session else None
    if session and detail is None and not message:
        message = "There is no such participant."
    return {
        "rows": people.list_rows(sight),
        "detail": detail,
        "go": go,
        "message": message,
        "under_rules": len(people.under_rules(sight)),
    }


def _decide(store: Store, study: str, session: str, reason: str, *, exclude: bool, author: str) -> None:
    """Exclude a live session of this study, or count it in again."""
    sessions = store.participants(study)
    known = sessions[(sessions["session"] == session) & (sessions["mode"] == "live")]
    if known.empty:
        raise StoreError("There is no such session, or it is a preview.")
    if not reason or len(reason) > MAX_REASON:
        raise StoreError(f"An exclusion needs a reason of 1 to {MAX_REASON} characters.")
    if bool(known["excluded"].iloc[0]) == exclude:
        raise StoreError("Somebody has decided so already.")
    (store.exclude if exclude else store.include)(session, reason=reason, author=author)


def _word(asked: gr.EventData, name: str) -> str:
    """A text of an event; raises ValueError for anything else."""
    value = getattr(asked, name, None)
    if not isinstance(value, str) or not value or len(value) > 2 * MAX_REASON:
        raise ValueError(f"{name} is no text.")
    return value.strip()


def _flag(asked: gr.EventData, name: str) -> bool:
    """Yes or no of an event; raises TypeError for anything else."""
    value = getattr(asked, name, None)
    if not isinstance(value, bool):
        raise TypeError(f"{name} is neither true nor false.")
    return value
