"""The participants' page: one component, whose screens are made by scripts that ask the survey's own routes."""

import tomllib
from pathlib import Path

import gradio as gr

TITLE = "Listening survey"
DESCRIPTION = "Listen to music and rank what you hear."
STATIC = Path(__file__).parent / "static"
STYLES = ("/ui/studio.css", "/survey/static/survey.css")
SCRIPTS = (
    "/ui/dom.js",
    "/ui/deck.js",
    *(
        f"/survey/static/{name}.js"
        for name in (
            "texts",
            "outbox",
            "ranking",
            "listening",
            "headphones",
            "pages",
            "frame",
            "trial",
            "saving",
            "survey",
        )
    ),
)


def words() -> dict[str, str]:
    """What the pages say in English, by key: what a study's `strings` may say otherwise."""
    return dict(tomllib.loads((STATIC / "words.toml").read_text(encoding="utf-8")))


def build(*, study: str = "music-star") -> gr.Blocks:
    """The page, served at /survey/ beside the routes of `survey.routes`.

    Parameters
    ----------
    study : the study of a link that names none
    """
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(
            value=None,
            elem_id="sv-page",
            html_template='<div class="sv-survey"></div>',
            head="".join(f'<script src="{source}"></script>' for source in SCRIPTS),
            js_on_load="window.MusicStar.survey(element.firstElementChild, props);",
            apply_default_css=False,
            study=study,
            words=words(),
        )
    return page
