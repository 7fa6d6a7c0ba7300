"""The Translate page: choose a clip, tick methods, listen."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import gradio as gr

from musicstar.desk import Desk, View
from musicstar.domains import Direction, Domain
from musicstar.jobs import Example, Job, JobError, Order, Source
from musicstar.methods.catalog import METHODS, Backbone
from musicstar.ui.player import Scene, describe, player

TITLE = "Music-STAR studio"
DESCRIPTION = "Translate music between strings and piano, clarinet and vibraphone, and two more pairs, by five methods."
# Music-STAR's own direction first.
SHOWN = (Domain.SP, Domain.CV, Domain.FG, Domain.TH)
DEFAULT_METHODS = [name for name, info in METHODS.items() if not info.needs_stems]
DOMAINS = [{"value": domain.value, "parts": [(domain.label.capitalize(), domain.value)]} for domain in SHOWN]
BACKBONES = [
    {"value": Backbone.SPECTRAL.value, "parts": [("Spectral", "")], "note": "in seconds"},
    {"value": Backbone.WAVENET.value, "parts": [("WaveNet", "")], "note": "the paper’s own"},
]
SOURCE_HINT = "Of Music-STAR’s own two pairs it is guessed from the clip; correct it here."
TARGET_HINT = "All five methods know Music-STAR’s own two pairs, mixture-supervised every one."
HEADER = """
<header class="ms-header">
  <div class="ms-bar"><p class="ms-wordmark"><svg viewBox="0 0 40 24" aria-hidden="true" focusable="false">
    <path d="M1 4h38M1 8h38M1 12h38M1 16h38M1 20h38"/>
    <ellipse cx="11" cy="16" rx="4.1" ry="3" transform="rotate(-20 11 16)"/>
    <ellipse cx="29" cy="8" rx="4.1" ry="3" transform="rotate(-20 29 8)"/></svg>
    Music-STAR <span>studio</span></p>{places}</div>
  <h1>{title}</h1>
  <p class="ms-lead">{lead}</p>
</header>
"""
HEADING = "Translate a clip"
LEAD = "Hear the same notes played by another pair of instruments, by five methods side by side."

Update = dict[str, Any]


def _scripts(*names: str) -> str:
    return "".join(f'<script src="/ui/{name}"></script>' for name in names)


def header(places: Mapping[str, str], *, title: str = HEADING, lead: str = LEAD) -> str:
    """The top of a page of the studio, with links to the others."""
    links = "".join(f'<a href="{address}">{name}</a>' for name, address in places.items())
    nav = links and f'<nav class="ms-places" aria-label="The studio\'s pages">{links}</nav>'
    return HEADER.format(places=nav, title=title, lead=lead)


def clip_picker(*, examples: Sequence[Example], max_seconds: float, max_mb: float) -> gr.HTML:
    """Upload, recording or shipped piece; its value is `{"job": opaque name}` of the clip chosen, or None."""
    return gr.HTML(
        value=None,
        elem_id="ms-clip",
        html_template='<div class="ms-clip"></div>',
        head=_scripts("dom.js", "record.js", "clip.js"),
        js_on_load="window.MusicStar.clip(element.firstElementChild, props, watch, () => trigger('taken'));",
        apply_default_css=False,
        offered=[{"number": example.number, "title": example.title, "note": example.note} for example in examples],
        limits={"seconds": max_seconds, "mb": max_mb},
    )


def method_picker() -> gr.HTML:
    """The five methods as checkboxes; its value is the list of those ticked."""
    return gr.HTML(
        value=DEFAULT_METHODS,
        elem_id="ms-methods",
        html_template='<div class="ms-methods"></div>',
        head=_scripts("dom.js", "methods.js"),
        js_on_load="window.MusicStar.methods(element.firstElementChild, props, watch);",
        apply_default_css=False,
        catalogue=[
            {"name": info.name, "title": info.title, "summary": info.summary, "needsStems": info.needs_stems}
            for info in METHODS.values()
        ],
        refused=None,
    )


def choice(
    name: str,
    *,
    legend: str,
    hint: str,
    options: Sequence[Mapping[str, Any]],
    value: str,
    blocked: Sequence[str] = (),
    settles: bool = False,
) -> gr.HTML:
    """Radio buttons; the value is that of the option chosen, `hint` and `blocked` properties that can be updated.

    Parameters
    ----------
    blocked : values that cannot be chosen
    settles : whether the clip is shown anew for it, which has to be waited for
    """
    return gr.HTML(
        value=value,
        elem_id=f"ms-{name}-field",
        html_template='<div class="ms-choice"></div>',
        head=_scripts("dom.js", "settings.js"),
        js_on_load="window.MusicStar.choice(element.firstElementChild, props, watch, () => trigger('input'));",
        apply_default_css=False,
        name=name,
        legend=legend,
        hint=hint,
        options=list(options),
        blocked=list(blocked),
        settles=settles,
    )


def advanced_fields() -> gr.HTML:
    """Seed and temperature; the value is `{"seed": number, "temperature": number}`."""
    return gr.HTML(
        value={"seed": 0, "temperature": 1.0},
        elem_id="ms-advanced",
        html_template='<div class="ms-advanced"></div>',
        head=_scripts("dom.js", "settings.js"),
        js_on_load="window.MusicStar.advanced(element.firstElementChild, props);",
        apply_default_css=False,
    )


def notice_line() -> gr.HTML:
    """A sentence for the visitor, spoken by screen readers; its value is plain text."""
    # The text is set as text: a template would evaluate what a file name may hold.
    return gr.HTML(
        value="",
        elem_id="ms-notice",
        html_template='<p class="ms-notice" role="alert"></p>',
        js_on_load="const show = () => { element.firstElementChild.textContent = props.value || ''; };"
        "watch('value', show); show();",
        apply_default_css=False,
    )


def build(desk: Desk, examples: Sequence[Example], *, places: Mapping[str, str] | None = None) -> gr.Blocks:
    """The page, served by a desk.

    Parameters
    ----------
    places : the studio's other pages, title to address
    """
    limits = desk.limits
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(header(places or {}), js_on_load=None, apply_default_css=False, elem_id="ms-top")
        with gr.Row(elem_id="ms-studio"):
            with gr.Column(elem_id="ms-form", min_width=0):
                clip = clip_picker(examples=examples, max_seconds=limits.max_duration_s, max_mb=limits.max_bytes / 1e6)
                heard = choice(
                    "source",
                    legend="The clip is",
                    hint=SOURCE_HINT,
                    options=DOMAINS,
                    value=Domain.SP.value,
                    settles=True,
                )
                wanted = choice(
                    "target",
                    legend="Translate it to",
                    hint=TARGET_HINT,
                    options=DOMAINS,
                    value=Domain.CV.value,
                    blocked=[Domain.SP.value],
                    settles=True,
                )
                methods = method_picker()
                backbone = choice(
                    "backbone",
                    legend="Backbone",
                    hint="The networks under the methods.",
                    options=BACKBONES,
                    value=Backbone.SPECTRAL.value,
                )
                advanced = advanced_fields()
                with gr.Column(elem_id="ms-foot", min_width=0):
                    notice = notice_line()
                    with gr.Row(elem_id="ms-go"):
                        go = gr.Button("Translate", variant="primary", elem_id="ms-translate")
                        stop = gr.Button("Cancel", elem_id="ms-cancel", interactive=False)
            with gr.Column(elem_id="ms-stage", min_width=0):
                listen = player(elem_id="ms-player")

        async def offer(under: Any, source: Any, target: Any) -> Update:
            return await _refused(desk, under, source, target)

        async def show(value: Any, under: Any, target: Any) -> tuple[Any, ...]:
            try:
                job, source = _clip(desk, value)
            except JobError as error:
                return *[gr.skip()] * 4, str(error)
            direction = _nearest(source.domain, target)
            return (
                gr.update(value=direction.source.value, hint=_guess(source)),
                gr.update(value=direction.target.value, blocked=[direction.source.value]),
                await offer(under, direction.source, direction.target),
                describe(_scene(job, source, direction), now_s=time.time()),
                "",
            )

        async def redirect(value: Any, under: Any, chosen: Any, target: Any) -> tuple[Any, ...]:
            try:
                direction = _nearest(_domain(chosen), target)
                to = gr.update(value=direction.target.value, blocked=[direction.source.value])
                refused = await offer(under, direction.source, direction.target)
                if not value:
                    return gr.skip(), to, refused, gr.skip(), ""
                job, source = _clip(desk, value)
                clip = gr.skip()
                piece = next((piece for piece in examples if piece.number == source.example), None)
                if piece is not None and source.domain != direction.source:
                    # By now another clip may have been chosen, which is then kept.
                    clip = {"of": job.id}
                    job = piece.order_clip(desk.data, direction.source)
                    source = await desk.inspect(job)
                    clip["job"] = job.id
            except JobError as error:
                return *[gr.skip()] * 4, str(error)
            return clip, to, refused, describe(_scene(job, source, direction), now_s=time.time()), ""

        async def run(
            value: Any,
            chosen: Any,
            target: Any,
            ticked: Any,
            under: Any,
            numbers: Any,
            request: gr.Request,
        ) -> AsyncIterator[tuple[Any, ...]]:
            idle, busy = _buttons(running=False), _buttons(running=True)
            try:
                job, source, order = _order(desk, value, _direction(chosen, target), ticked, under, numbers)
                first = True
                async for view in desk.translate(request.session_hash or "", job, order):
                    scene = _scene(job, source, Direction(order.source, order.target), order, view)
                    buttons = idle if view.ended else busy if first else (gr.skip(), gr.skip())
                    yield describe(scene, now_s=time.time()), *buttons, view.failure if view.ended else ""
                    first = False
            except JobError as error:
                # What was asked for before may still run.
                yield gr.skip(), *_buttons(running=desk.serves(request.session_hash or "")), str(error)

        async def run_separation(
            value: Any,
            chosen: Any,
            target: Any,
            under: Any,
            numbers: Any,
            request: gr.Request,
        ) -> AsyncIterator[tuple[Any, ...]]:
            async for update in run(value, chosen, target, ["separation"], under, numbers, request):
                yield update

        def cancel(request: gr.Request) -> None:
            desk.cancel(request.session_hash or "")

        hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        page.load(offer, [backbone, heard, wanted], methods, **hidden)
        backbone.input(offer, [backbone, heard, wanted], methods, queue=False, **hidden)
        latest = {"queue": False, "trigger_mode": "always_last", **hidden}
        clip.taken(show, [clip, backbone, wanted], [heard, wanted, methods, listen, notice], **latest)
        for field in (heard, wanted):
            field.input(redirect, [clip, backbone, heard, wanted], [clip, wanted, methods, listen, notice], **latest)
        shown = [listen, go, stop, notice]
        settings = [backbone, advanced]
        go.click(run, [clip, heard, wanted, methods, *settings], shown, concurrency_limit=None, **hidden)
        listen.instead(run_separation, [clip, heard, wanted, *settings], shown, concurrency_limit=None, **hidden)
        stop.click(cancel, queue=False, **hidden)
        page.unload(cancel)
    return page


def _buttons(*, running: bool) -> tuple[Update, Update]:
    """Translate and Cancel, one of which can be pressed."""
    return gr.update(interactive=not running), gr.update(interactive=running)


def _guess(source: Source) -> str:
    """What is said of the direction."""
    if source.example:
        return "Known: this piece ships with the studio."
    if source.confidence <= 0.5:
        return "Which pair is playing cannot be told: please say."
    sure = "clearly" if source.confidence > 0.9 else "probably" if source.confidence > 0.7 else "perhaps"
    return f"Of the two pairs that can be guessed this is {sure} {source.domain.label}. Correct it here if not."


def _order(
    desk: Desk, value: Any, direction: Direction, ticked: Any, under: Any, numbers: Any
) -> tuple[Job, Source, Order]:
    """What is to be done, read from the form; raises JobError with what is lacking."""
    job, source = _clip(desk, value)
    if source.example and source.domain != direction.source:
        raise JobError(f"This piece is played by {source.domain.label}: please say so above.")
    methods = tuple(name for name in METHODS if isinstance(ticked, list) and name in ticked)
    if not methods:
        raise JobError("Tick at least one method.")
    if under not in list(Backbone):
        raise JobError("Choose one of the two backbones.")
    seed, temperature = (_number(numbers, name) for name in ("seed", "temperature"))
    if seed is None or seed != int(seed) or not 0 <= seed < 2**31:
        raise JobError("The seed under Advanced is a whole number from 0 to 2147483647.")
    if temperature is None or not 0.0 <= temperature <= 1.2:
        raise JobError("The temperature under Advanced is a number from 0 to 1.2.")
    order = Order(
        source=direction.source,
        target=direction.target,
        methods=methods,
        backbone=Backbone(under),
        seed=int(seed),
        temperature=temperature,
    )
    return job, source, order


def _clip(desk: Desk, value: Any) -> tuple[Job, Source]:
    """The job of the clip chosen, and what is known of it."""
    if not isinstance(value, dict) or not value.get("job"):
        raise JobError("Choose a clip first: upload one, record one, or take an example.")
    job = Job.find(desk.data, value["job"])
    source = job.source()
    if source is None:
        raise JobError("Add the other stem, or a recording of both instruments together.")
    return job, source


def _domain(chosen: Any) -> Domain:
    """A pair of instruments as the form names it."""
    if chosen not in list(Domain):
        raise JobError("Choose one of the pairs of instruments.")
    return Domain(chosen)


def _direction(chosen: Any, target: Any) -> Direction:
    """What the form asks for; raises JobError where that is no direction."""
    try:
        return Direction(_domain(chosen), _domain(target))
    except ValueError:
        raise JobError("The clip is translated to another pair of instruments than its own: choose one.") from None


async def _refused(desk: Desk, under: Any, source: Any, target: Any) -> Update:
    """What the methods' picker is told of those that cannot be offered."""
    try:
        direction = _direction(source, target)
    except JobError:
        direction = None
    if direction is None or under not in list(Backbone):
        unchanged: Update = gr.skip()
        return unchanged
    update: Update = gr.update(refused=await desk.not_offered(Backbone(under), direction))
    return update


def _nearest(source: Domain, target: Any) -> Direction:
    """The direction from a domain to the one chosen, or where that is its own, to Music-STAR's other."""
    return Direction(source, source.others[0] if _domain(target) is source else _domain(target))


def _number(numbers: Any, name: str) -> float | None:
    """A field of the form, or None where it holds no number."""
    value = numbers.get(name) if isinstance(numbers, dict) else None
    return float(value) if isinstance(value, int | float) and abs(value) < 2**53 else None


def _scene(
    job: Job, source: Source, direction: Direction, order: Order | None = None, view: View | None = None
) -> Scene:
    """What the player shows of a job."""
    return Scene(
        job=job.id,
        source=source,
        domain=direction.source,
        target=direction.target,
        outputs=job.outputs(direction.target),
        steps=view.steps if view else (),
        backbone=order.backbone.value if order else "",
        ahead=view.ahead if view else None,
        running=view is not None and not view.ended,
        failure=view.failure if view else "",
    )
