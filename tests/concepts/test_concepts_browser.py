"""The Concepts page in a real browser: by mouse, by keys, on a phone, and with thousands of concepts."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musicstar.concepts import hierarchy
from musicstar.concepts.atlas import Atlas, Concept, save
from tests.browsing import PATIENCE_MS, ROOT, Studio, serving
from tests.survey_serving import serious_faults, tab_to

playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (extra `dev`)")

pytestmark = pytest.mark.browser

SHIPPED = ROOT / "musicstar" / "atlases" / "general-midi"
MANY = 3_500
# The way to one of the deepest concepts, in the tree that is shown.
DEEPEST = """() => {
  const { forest } = document.querySelector('.cm-page').cm.main;
  return forest.path(forest.depths.indexOf(forest.deepest)).map((node) => forest.name(node));
}"""
POINT = """(name) => {
  const { chart, forest } = document.querySelector('.cm-page').cm.main;
  chart.element.scrollIntoView({ block: 'nearest' });
  return chart.pointOf(forest.names.indexOf(name));
}"""
# Clicks down to the deepest and back by the centre; gives how many.
CLICKS = """async (kind) => {
  const { main } = document.querySelector('.cm-page').cm;
  [...document.querySelectorAll('.cm-kinds button')].find((button) => button.textContent === kind).click();
  const { chart, forest } = main;
  let clicks = 0;
  const click = async (node) => {
    const [clientX, clientY] = chart.pointOf(node);
    chart.canvas.dispatchEvent(new MouseEvent('click', { clientX, clientY, bubbles: true }));
    clicks += 1;
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  };
  for (const node of forest.path(forest.depths.indexOf(forest.deepest))) if (chart.pointOf(node)) await click(node);
  while (chart.laid.cells[0].node !== -1) await click(chart.laid.cells[0].node);
  return clicks;
}"""
SMALL = """() => [...document.querySelectorAll(
    '.cm-page :is(button, a, summary, select, input:not([type=radio]), .ms-option)')]
  .filter((e) => e.checkVisibility() && !e.matches('.ms-file') && e.getBoundingClientRect().height < 43.5)
  .map((e) => e.outerHTML.slice(0, 120))"""


def thousands(folder: Path) -> Path:
    """An atlas of many concepts, its centralities drawn too, for want of half a minute."""
    rng = np.random.default_rng(3)
    concepts = tuple(Concept(f"concept {i}", (f"family {i % 12}",), 40) for i in range(MANY))
    similarity = rng.random((MANY, MANY), dtype=np.float32)
    central = {hierarchy.THRESHOLD: rng.random(MANY)}
    return save(Atlas("Thousands", concepts, similarity, _centralities=central), folder / "thousands")


@pytest.fixture(scope="module")
def studio(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if not (SHIPPED / "atlas.json").is_file():
        pytest.skip(f"no atlas is shipped in {SHIPPED}")
    folder = tmp_path_factory.mktemp("concepts")
    broken = folder / "broken"
    broken.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICSTAR_CONCEPTS", f"{thousands(folder)}:{broken}")
        with serving(folder) as started:
            yield started


@pytest.fixture
def visit(chrome: Any, studio: Studio) -> Iterator[Callable[..., Any]]:
    contexts = []

    def open_page(fragment: str = "", **options: Any) -> Any:
        context = chrome.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: studio.requests.append(request.url))
        page.on("pageerror", lambda error: pytest.fail(f"the page threw {error}"))
        # Choosers are caught from the beginning on, or a key might be quicker than what catches them.
        page.on("filechooser", lambda _: None)
        page.goto(f"{studio.url}/concepts/{fragment}")
        page.wait_for_selector(".cm-page[data-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()


def shown(page: Any, name: str) -> None:
    """Wait until a concept is the one that is shown, in the panel and on the way to it."""
    page.wait_for_function("(name) => document.querySelector('#cm-panel-title').textContent === name", arg=name)
    assert page.inner_text(".cm-crumbs [aria-current]") == name


def exported(page: Any, title: str, press: Callable[[], None]) -> tuple[str, bytes]:
    """What an entry of the menu gives: the file's name and what is in it."""
    with page.expect_download() as download:
        press()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_by_mouse(visit: Callable[..., Any], excerpts: Path, studio: Studio) -> None:
    page = visit()
    assert "cannot be shown" in page.inner_text(".ms-problem:visible >> nth=0")
    *_, deep = way = page.evaluate(DEEPEST)
    page.fill("#cm-search", deep)
    page.click("#cm-found-0")
    shown(page, deep)
    page.click(".cm-crumbs button >> nth=0")
    shown(page, "All concepts")
    for name in way[:3]:
        page.mouse.click(*page.evaluate(POINT, name))
        shown(page, name)
    page.click(".cm-example >> nth=0")
    page.wait_for_selector(".cm-example[aria-pressed=true]")
    assert page.inner_text(".cm-facts").startswith("Clips")
    page.wait_for_selector(".cm-near .cm-link >> nth=4")  # They are fetched.

    page.set_input_files("#cm-file", excerpts / "001.3.wav")
    page.wait_for_selector(".cm-result audio:visible")
    assert page.input_value("#cm-colour") == "heard", "the clip's concepts stand out in the map"
    assert page.locator(".cm-rows li").count() > 10
    strongest = page.inner_text(".cm-rows button >> nth=0")
    width = page.locator(".cm-surface").bounding_box()["width"]
    page.click(".cm-surface", position={"x": width / 2, "y": 20})
    page.wait_for_function("document.querySelector('.cm-result audio').currentTime > 4.9")
    page.wait_for_selector(".cm-example[aria-pressed=false] >> nth=0", state="attached")
    page.click(".cm-result audio", position={"x": 20, "y": 20})
    page.click(".cm-rows button >> nth=0")
    shown(page, strongest)
    assert "In your clip" in page.inner_text(".cm-facts")
    assert serious_faults(page) == []

    page.set_input_files("#cm-own-file", [excerpts / f"{number:03}.0.wav" for number in range(1, 6)])
    page.wait_for_function("document.querySelectorAll('.cm-clips li').length === 5")
    page.fill("#cm-own-title", "Reeds and bars")
    page.click("#cm-fit")
    shown(page, "Reeds and bars")
    told = page.inner_text(".cm-outcome")
    assert "Reeds and bars would hang" in told
    assert "95 %" in told
    assert page.inner_text(".cm-panel .cm-kind") == "Your concept"
    under = page.locator(".cm-crumbs li").all_inner_texts()[-2]
    assert under == "All concepts" or f"under {under}." in told

    page.click(".cm-menu summary")
    for title, ending in (("JSON", "json"), ("CSV", "csv"), ("GraphML", "graphml"), ("Newick", "nwk")):
        name, content = exported(page, title, lambda title=title: page.click(f".cm-menu button:text-is('{title}')"))  # type: ignore[misc]
        assert name.endswith(f".{ending}")
        assert deep.encode() in content
        if ending == "json":
            json.loads(content)
        elif ending == "graphml":
            ET.fromstring(content)
        elif ending == "nwk":
            assert content.rstrip().endswith(b";")
    name, content = exported(page, "PNG", lambda: page.click(".cm-menu button:text-is('Picture (PNG)')"))
    assert content.startswith(b"\x89PNG")
    hosts = {url.split("/")[2] for url in studio.requests if url.startswith("http")}
    assert hosts == {studio.url.removeprefix("http://")}, "another host was asked"


def test_by_keys(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    way = page.evaluate(DEEPEST)
    tab_to(page, "#cm-search")
    page.keyboard.type(way[0])
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#cm-search", "aria-activedescendant") == "cm-found-0"
    page.keyboard.press("Enter")
    shown(page, way[0])
    tab_to(page, ".cm-chart")
    page.keyboard.press("Home")
    names = []
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        names.append(page.inner_text("#cm-panel-title"))
    assert len(page.locator(".cm-crumbs li").all()) == 4
    page.keyboard.press("Escape")
    shown(page, names[1])
    tab_to(page, ".cm-example")
    page.keyboard.press("Enter")
    page.wait_for_selector(".cm-example[aria-pressed=true]")

    tab_to(page, "#cm-file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(excerpts / "002.0.wav")
    page.wait_for_selector(".cm-result audio:visible")
    tab_to(page, ".cm-rows button")
    strongest = page.inner_text(".cm-rows button >> nth=0")
    page.keyboard.press("Enter")
    shown(page, strongest)
    tab_to(page, ".cm-result summary")
    page.keyboard.press("Enter")
    assert strongest in page.inner_text(".cm-result table")

    tab_to(page, "#cm-own-file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([excerpts / f"{number:03}.3.wav" for number in range(1, 7)])
    page.wait_for_function("document.querySelectorAll('.cm-clips li').length === 6")
    tab_to(page, ".cm-clips button")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.cm-clips li').length === 5")
    tab_to(page, "#cm-own-title")
    page.keyboard.type("Bows")
    tab_to(page, "#cm-fit")
    page.keyboard.press("Enter")
    shown(page, "Bows")

    page.reload()
    page.wait_for_selector(".cm-page[data-ready]")
    tab_to(page, ".cm-kinds button:nth-child(4)")
    page.keyboard.press("Enter")
    tab_to(page, "[role=treeitem]")
    page.keyboard.type(way[0][:3])
    assert page.get_attribute("[role=treeitem]:focus", "aria-label").startswith(way[0][:3])
    for key in ("Home", "ArrowLeft", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.get_attribute("[role=treeitem]:focus", "aria-level") == "2"
    assert page.get_attribute("[role=treeitem]:focus", "aria-selected") == "true"
    chosen = page.inner_text("#cm-panel-title")
    tab_to(page, ".cm-menu summary")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    _, content = exported(page, "JSON", lambda: page.keyboard.press("Enter"))
    assert json.loads(content)
    assert serious_faults(page) == []

    # The address says it all, to whoever follows it too.
    page.wait_for_function("location.hash.includes('view=tree')")
    page.reload()
    page.wait_for_selector(".cm-page[data-ready]")
    shown(page, chosen)
    assert page.is_visible(".cm-tree")


def test_trees_are_grown_again_and_compared(visit: Callable[..., Any]) -> None:
    page = visit()
    before = page.inner_text(".cm-status >> nth=0")
    page.click(".cm-shaping summary")
    page.check("#cm-published-main")
    page.wait_for_function("(text) => document.querySelector('.cm-status').textContent !== text", arg=before)
    page.fill("#cm-children-main", "0")
    page.wait_for_selector(".cm-shape .ms-problem:visible")
    page.fill("#cm-children-main", "3")
    page.wait_for_function(
        "() => { const { forest } = document.querySelector('.cm-page').cm.main;"
        " return forest.below.every((children) => children.length <= 3); }"
    )
    page.click("text=Compare two trees")
    page.wait_for_selector(".cm-grove + .cm-grove .cm-status:has-text('same parent')")
    name = page.evaluate("document.querySelector('.cm-page').cm.main.forest.names[0]")
    page.fill("#cm-search", name)
    page.keyboard.press("Enter")
    assert page.locator(".cm-crumbs [aria-current]").all_inner_texts() == [name, name]
    assert serious_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_and_serves_everybody(visit: Callable[..., Any], excerpts: Path, scheme: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.mouse.click(*page.evaluate(POINT, page.evaluate(DEEPEST)[0]))
    page.set_input_files("#cm-file", excerpts / "003.3.wav")
    page.wait_for_selector(".cm-result audio:visible")
    page.evaluate("document.querySelectorAll('.cm-page details').forEach((element) => (element.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    assert page.evaluate(SMALL) == []
    assert serious_faults(page) == []


def test_what_cannot_be_heard_gets_a_sentence(visit: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7 notes")
    page = visit()
    page.set_input_files("#cm-file", tmp_path / "notes.pdf")
    page.wait_for_function("document.querySelector('#cm-heard .ms-problem').textContent.startsWith('notes.pdf:')")
    page.click("#cm-fit")
    assert "needs 3 clips" in page.inner_text("#cm-own .ms-problem")


def test_thousands_of_concepts_answer_at_once(visit: Callable[..., Any]) -> None:
    page = visit()
    measuring = page.context.new_cdp_session(page)
    # The time that the page itself takes, whatever else this machine has to do meanwhile.
    measuring.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent_ms() -> float:
        found = measuring.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(one["value"]) for one in found if one["name"] == "TaskDuration")

    before = spent_ms()
    page.select_option("#cm-atlas-main", "thousands")
    page.wait_for_function("(many) => document.querySelector('.cm-page').cm.main.forest.count === many", arg=MANY)
    assert spent_ms() - before < 2_000
    for kind in ("Sunburst", "Treemap", "Icicle"):
        before = spent_ms()
        clicks = page.evaluate(CLICKS, kind)
        assert clicks > 3
        assert (spent_ms() - before) / clicks < 50, kind
    assert page.is_hidden("#cm-heard")
    assert "not learned from audio" in page.inner_text(".cm-deaf")
