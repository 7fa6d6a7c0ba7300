"""The Translate page in a real browser: Chromium driven by Playwright against the real app."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicstar.methods.catalog import METHODS
from tests.browsing import (
    COUNT_MICROPHONES,
    COUNT_RUNS,
    LISTEN,
    MAX_SECONDS,
    MEASURE,
    PATIENCE_MS,
    PLACE,
    Studio,
    children,
    choose,
    ended,
    no_orders_left,
    offered,
    outputs,
    serving,
    translate,
)

playwright_api = pytest.importorskip("playwright.sync_api", reason="no playwright (extra `dev`)")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe (extra `dev`)")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def studio(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with serving(tmp_path_factory.mktemp("studio")) as started:
        yield started


@pytest.fixture
def visit(chrome: Any, studio: Studio) -> Iterator[Callable[..., Any]]:
    """Open the page in a window of its own."""
    contexts = []

    def open_page(**options: Any) -> Any:
        context = chrome.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: studio.requests.append(request.url))
        page.on("pageerror", lambda error: pytest.fail(f"the page threw {error}"))
        page.add_init_script(COUNT_RUNS)
        page.goto(studio.url)
        page.wait_for_selector(".ms-drop")
        page.wait_for_selector(".ms-method")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def long_clip(excerpts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute and a half of real music, so that there is work to interrupt."""
    wavs = [soundfile.read(excerpts / f"{number:03}.3.wav")[0] for number in range(1, 10)]
    rate = soundfile.info(excerpts / "001.3.wav").samplerate
    path = tmp_path_factory.mktemp("clips") / "long.wav"
    soundfile.write(path, np.concatenate(wavs)[: int(MAX_SECONDS - 1) * rate], rate)
    return path


def serious_faults(page: Any) -> list[str]:
    """What axe-core finds amiss that keeps people out."""
    found = axe_api.Axe().run(page).response["violations"]
    kept_out = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in kept_out]


def test_every_method_is_heard_and_switching_keeps_the_place(
    visit: Callable[..., Any], excerpts: Path, studio: Studio
) -> None:
    page = visit()
    choose(page, excerpts / "001.3.wav")
    assert page.is_checked("#ms-source-sp"), "001.3.wav is strings and piano"
    methods = [name for name in offered(page) if name != "single"]
    page.click(".ms-play")
    page.click("text=Loop")
    translate(page)
    before, duration = page.evaluate(PLACE)
    ended(page)
    after, _ = page.evaluate(PLACE)
    rounds = (after - before) / duration
    assert abs(rounds - round(rounds)) * duration < 0.02, "results that arrived moved the position"
    # They come in one order, the quickest first, and stand in another.
    mixes = sorted(
        (key for key in outputs(page) if "/" not in key), key=lambda key: list(METHODS).index(key.split(".")[0])
    )
    assert sorted(key.split(".")[0] for key in mixes) == sorted(methods)
    assert page.inner_text(".ms-chip >> nth=0") == "spectral"

    measured = page.evaluate(MEASURE)
    for key, sound in measured.items():
        assert sound["seconds"] == pytest.approx(10.0, abs=0.01), key
        if "/" not in key:
            assert sound["rms"] > 1e-3, f"{key} is silent"

    listened = page.evaluate(LISTEN, ["input", *mixes, "input"])
    assert listened["playing"]
    assert listened["stray"] < 0.02, "switching tracks moved the position"
    assert min(listened["heard"].values()) > 1e-3

    # The same again by key, and at the level of the file.
    page.keyboard.press("2")
    assert page.evaluate("document.querySelector('.ms-player').deck.current") == mixes[0]
    page.keyboard.press("Space")
    assert not page.evaluate("document.querySelector('.ms-player').deck.playing")
    with page.expect_download() as download:
        page.click(".ms-track[data-kind=output] a[download] >> nth=0")
    assert download.value.suggested_filename == f"001.3.{mixes[0].split('.')[0]}.wav"
    hosts = {url.split("/")[2] for url in studio.requests if url.startswith("http")}
    assert hosts == {studio.url.removeprefix("http://")}, "another host was asked"


def test_loudness_is_matched_by_gains_and_can_be_original(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    choose(page, excerpts / "007.3.wav")
    page.click(".ms-play")
    matched = page.evaluate(LISTEN, ["input"])["heard"]["input"]
    page.uncheck("text=Matched loudness")
    page.evaluate("document.querySelector('.ms-player').deck.seek(0)")
    page.wait_for_timeout(50)
    original = page.evaluate(LISTEN, ["input"])["heard"]["input"]
    # That excerpt is at -35.6 LUFS, so that 15 dB are asked for; the two listened a moment apart.
    assert 2 < matched / original < 16


def test_a_region_is_looped(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    choose(page, excerpts / "001.0.wav")
    box = page.locator(".ms-surface").bounding_box()
    page.mouse.move(box["x"] + 0.40 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 40, steps=4)
    page.mouse.up()
    page.click(".ms-play")
    positions = []
    for _ in range(16):
        page.wait_for_timeout(60)
        positions.append(page.evaluate("document.querySelector('.ms-player').deck.position"))
    settled = positions[1:]
    assert min(settled) >= 3.9
    assert max(settled) <= 4.6
    assert any(later < sooner for sooner, later in pairwise(settled)), "it never came round"
    page.keyboard.press("Escape")
    assert page.evaluate("document.querySelector('.ms-player').deck.region") is None


def test_a_recording_is_a_clip(visit: Callable[..., Any]) -> None:
    page = visit(permissions=["microphone"])
    page.evaluate(COUNT_MICROPHONES)
    page.evaluate("const b = document.querySelector('#ms-record'); b.click(); b.click();")  # before it is granted
    page.wait_for_function("document.querySelector('#ms-record').textContent.startsWith('Stop (1')")
    page.click("#ms-record")
    page.wait_for_selector(".ms-track[data-kind=input]")
    assert page.evaluate("window.microphones") == 1
    assert page.inner_text(".ms-chosen b") == "Recording"
    assert 0.9 < page.evaluate("document.querySelector('.ms-player').deck.duration") < 4


def test_a_recording_that_ends_during_a_translation_is_kept(visit: Callable[..., Any], long_clip: Path) -> None:
    page = visit(permissions=["microphone"])
    choose(page, long_clip)
    offered(page)
    page.click("#ms-record")
    page.wait_for_function("document.querySelector('#ms-record').textContent.startsWith('Stop (1')")
    translate(page)
    page.click("#ms-record")
    page.wait_for_selector("#ms-kept:visible")
    assert "A translation is running" in page.inner_text(".ms-problem")
    page.click("#ms-cancel")
    ended(page)
    page.click("#ms-kept")
    page.wait_for_function("document.querySelector('.ms-chosen b').textContent === 'Recording'")
    page.wait_for_selector("#ms-kept", state="hidden")
    assert page.inner_text(".ms-problem") == ""


def test_a_page_that_is_loaded_again_goes_on_with_its_clip(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    offered(page)
    choose(page, excerpts / "001.3.wav")
    translate(page)
    ended(page)
    made = sorted(outputs(page))
    page.reload()
    page.wait_for_selector(".ms-track[data-kind=output]")
    assert sorted(outputs(page)) == made
    assert page.inner_text(".ms-chosen b") == "001.3"
    # A phone suspends the sound for a call; that is told, and pressing once more plays on.
    for _ in range(2):
        page.click(".ms-play[aria-label=Play]")
        pause = page.wait_for_selector(".ms-play[aria-label=Pause]")
        pause.evaluate("() => document.querySelector('.ms-player').deck.context.suspend()")


def test_names_can_be_hidden(visit: Callable[..., Any]) -> None:
    page = visit(reduced_motion="reduce")
    if not page.locator(".ms-piece").count():
        pytest.skip("no examples are shipped")
    methods = offered(page)
    page.click(".ms-piece >> nth=0")
    page.wait_for_selector(".ms-track[data-kind=gold]")
    translate(page)
    # What is being translated cannot be changed under the worker's hands.
    assert page.is_disabled("#ms-source-cv")
    page.click(".ms-piece >> nth=1")
    assert "cancel it" in page.inner_text(".ms-problem")
    ended(page)
    titles = page.locator(".ms-track > .ms-line > .ms-pick b")
    named = titles.all_inner_texts()
    assert named[:2] == ["Input", "Gold standard"]
    assert len(named) == 2 + len(methods)
    page.click(".ms-unfold >> nth=0")
    assert serious_faults(page) == []
    page.click("text=Hide names")
    hidden = titles.all_inner_texts()
    assert hidden == ["Input", *(f"Take {letter}" for letter in "ABCDEFG"[: len(named) - 1])]
    shown = page.inner_text(".ms-tracks")
    assert not any(word in shown for word in ("Gold", "Mixture", "spectral", "Stem"))
    page.keyboard.press("3")
    page.keyboard.press("2")
    first = page.evaluate("document.querySelector('.ms-player').deck.current")
    page.keyboard.press("x")
    assert page.evaluate("document.querySelector('.ms-player').deck.current") != first
    page.keyboard.press("x")
    assert page.evaluate("document.querySelector('.ms-player').deck.current") == first
    page.click("text=Hide names")
    assert titles.all_inner_texts() == named


def test_an_example_is_heard_in_any_of_its_directions(visit: Callable[..., Any]) -> None:
    page = visit()
    if not page.locator(".ms-piece").count():
        pytest.skip("no examples are shipped")
    page.check("#ms-source-cv")
    page.click(".ms-piece >> nth=0")
    for heard, gold in (
        ("clarinet and vibraphone", "strings and piano"),
        ("strings and piano", "clarinet and vibraphone"),
    ):
        page.wait_for_function("(pair) => document.querySelector('.ms-sub span')?.textContent === pair", arg=heard)
        assert page.inner_text(".ms-track[data-kind=input] .ms-chips") == heard
        assert page.inner_text(".ms-track[data-kind=gold] .ms-chips") == gold
        page.check("#ms-source-sp")
    # The pair that is heard is none to translate to; what only some methods know, the others refuse.
    assert page.is_disabled("#ms-target-sp")
    page.check("#ms-target-fg")
    page.wait_for_function(
        "() => document.querySelector('.ms-sub span:last-child')?.textContent === 'flute and guitar'"
    )
    page.wait_for_selector(".ms-refused #ms-method-stem")
    page.check("#ms-target-cv")
    page.wait_for_selector(".ms-method:not(.ms-refused) #ms-method-stem")


def test_cancelling_stops_the_work_and_keeps_what_is_there(
    visit: Callable[..., Any], long_clip: Path, studio: Studio
) -> None:
    page = visit()
    choose(page, long_clip)
    offered(page)
    translate(page)
    page.wait_for_selector(".ms-step[data-state=running]")
    began = time.monotonic()
    page.click("#ms-cancel")
    ended(page)
    assert time.monotonic() - began < 1.5
    assert page.locator(".ms-step[data-state=cancelled]").count() > 0
    no_orders_left(studio)
    assert page.locator(".ms-track[data-kind=input]").count() == 1
    # And the page goes on working, for another clip too.
    translate(page)
    page.click("#ms-cancel")
    ended(page)


def test_closing_the_tab_leaves_no_work_behind(visit: Callable[..., Any], long_clip: Path, studio: Studio) -> None:
    page = visit()
    choose(page, long_clip)
    offered(page)
    translate(page)
    page.wait_for_selector(".ms-step[data-state=running]")
    page.close()
    no_orders_left(studio)
    newest = max((studio.data / "jobs").glob("*/progress.*.json"), key=lambda path: path.stat().st_mtime)
    assert "cancelled" in {step["state"] for step in json.loads(newest.read_text())}


def test_bad_files_get_a_sentence_and_lose_nothing(visit: Callable[..., Any], excerpts: Path, tmp_path: Path) -> None:
    rate = 16_000
    tone = (0.1 * np.sin(np.arange(rate) * 0.1)).astype(np.float32)
    soundfile.write(tmp_path / "silent.wav", np.zeros(rate), rate)
    soundfile.write(tmp_path / "long.wav", np.tile(tone, 91), rate)
    soundfile.write(tmp_path / "nan.wav", np.where(np.arange(rate) == 9, np.nan, tone), rate, subtype="FLOAT")
    soundfile.write(tmp_path / "whole.flac", tone, rate)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "corrupt.flac").write_bytes(whole[:60] + b"\x55" * (len(whole) - 60))
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.7 notes")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "big.wav").write_bytes(bytes(20_000_001))
    page = visit()
    choose(page, excerpts / "002.0.wav")
    page.click(".ms-play")
    for name, said in (
        ("notes.pdf", "not readable as audio"),
        ("empty.wav", "empty"),
        ("silent.wav", "silent"),
        ("long.wav", "the limit is 90 s"),
        ("nan.wav", "not numbers"),
        ("corrupt.flac", "not readable as audio"),
        ("big.wav", "the limit is 20 MB"),
    ):
        page.set_input_files("#ms-file", tmp_path / name)
        page.wait_for_function(
            "(name) => document.querySelector('.ms-problem').textContent.startsWith(name + ':')", arg=name
        )
        assert said in page.inner_text(".ms-problem"), name
        assert page.inner_text(".ms-chosen b") == "002.0"
    assert page.evaluate("document.querySelector('.ms-player').deck.playing"), "the music was interrupted"
    choose(page, excerpts / "003.0.wav")
    assert page.inner_text(".ms-problem") == ""


def test_single_instrument_says_what_it_needs_and_offers_separation(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    if not {"single", "separation"} <= set(offered(page)):
        pytest.skip("single-instrument and separation-based are not both offered")
    choose(page, excerpts / "004.0.wav")
    page.check("#ms-source-cv")
    page.wait_for_selector(".ms-sub span[data-domain=cv]:first-child")
    for name in ("separation", "embedding", "stem", "mixture"):
        if page.is_checked(f"#ms-method-{name}"):
            page.uncheck(f"#ms-method-{name}")
    page.check("#ms-method-single")
    assert "stem files" in page.inner_text("#ms-method-single-about")
    page.click("#ms-translate")
    page.wait_for_selector(".ms-step[data-state=failed]")
    ended(page)
    assert "two stem" in page.inner_text(".ms-message")
    page.click(".ms-step .ms-button")
    page.wait_for_selector(".ms-track[data-kind=output]")
    ended(page)
    assert [key for key in outputs(page) if "/" not in key] == ["separation.spectral.sp"]
    assert len([key for key in outputs(page) if "/" in key]) == 2, "its stems can be heard alone"


def test_two_stem_files_make_a_clip(visit: Callable[..., Any], excerpts: Path) -> None:
    page = visit()
    page.click("text=I have the two stems")
    page.set_input_files("#ms-file-melody", excerpts / "005.0.wav")
    page.wait_for_function("document.querySelector('.ms-status').textContent.includes('accompaniment')")
    page.set_input_files("#ms-file-accompaniment", excerpts / "006.0.wav")
    page.wait_for_selector(".ms-track[data-kind=input] .ms-unfold")
    assert "with both stems" in page.inner_text(".ms-chosen")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_phone_and_serves_everybody(visit: Callable[..., Any], excerpts: Path, scheme: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme, reduced_motion="reduce")
    choose(page, excerpts / "001.0.wav")
    page.evaluate("document.querySelectorAll('details').forEach((element) => (element.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    dark = page.evaluate("document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")
    small = page.evaluate(
        "[...document.querySelectorAll('button, summary, a[download], .ms-filebutton label, .ms-option, "
        ".ms-method label')].filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 43.5)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert small == [], "less than 44 px high"
    assert serious_faults(page) == []


def test_the_workers_end_with_the_app(studio: Studio) -> None:
    workers = [int(pid) for pid in children(studio.process.pid)]
    assert len(workers) >= 2
    studio.process.kill()
    studio.process.wait(10)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
