"""The Concepts page: one component, whose parts are made by scripts that ask the routes beside it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import gradio as gr

from musicstar.concepts import hierarchy
from musicstar.jobs import Example
from musicstar.ui import conceptclips
from musicstar.ui.translate import header

TITLE = "Concepts"
DESCRIPTION = "Browse musical concepts as a hierarchy learned from audio, and hear what a clip contains."
STYLES = ("/ui/studio.css", "/ui/concepts/concepts.css")
LEAD = "What a machine hears in music, arranged by what contains what."
SCRIPTS = (
    "/ui/dom.js",
    "/ui/record.js",
    *(
        f"/ui/concepts/{name}.js"
        for name in (
            "forest",
            "colours",
            "layouts",
            "chart",
            "tree",
            "search",
            "shape",
            "panel",
            "grove",
            "intake",
            "heard",
            "own",
            "page",
        )
    ),
)


def shipped(atlases: Path) -> list[Path]:
    """The atlases of a folder."""
    return [path.parent for path in sorted(atlases.glob("*/atlas.json"))]


def build(*, examples: Sequence[Example], max_seconds: float, max_mb: float, places: Mapping[str, str]) -> gr.Blocks:
    """The page, served at /concepts/ beside the routes of `conceptmap` and `conceptclips`.

    Parameters
    ----------
    places : the studio's other pages, address by title
    """
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(header(places, title=TITLE, lead=LEAD), js_on_load=None, apply_default_css=False, elem_id="ms-top")
        gr.HTML(
            value=None,
            elem_id="cm-page",
            html_template='<div class="cm-page"></div>',
            head=_scripts(SCRIPTS),
            js_on_load="window.MusicStar.concepts.page(element.firstElementChild, props);",
            apply_default_css=False,
            offered=[{"number": example.number, "title": example.title} for example in examples],
            limits={"seconds": max_seconds, "mb": max_mb},
            least={"clips": conceptclips.LEAST_CLIPS, "most": conceptclips.MOST_CLIPS},
            published={
                "threshold": hierarchy.THRESHOLD,
                "least": hierarchy.LEAST_SIMILARITY,
                "children": hierarchy.MOST_CHILDREN,
            },
        )
    return page


def _scripts(sources: Iterable[str]) -> str:
    return "".join(f'<script src="{source}"></script>' for source in sources)
