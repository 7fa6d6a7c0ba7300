"""The app: what it serves, what it refuses, how it starts."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

import app as program
from app import Settings
from musicstar import work
from musicstar.audio import SAMPLE_RATE
from musicstar.domains import STARNET, Domain
from musicstar.jobs import Job, Order, Source, Step, Track
from musicstar.ui import theme
from musicstar.ui.player import HEADROOM_DB, TARGET_LUFS, Scene, describe, matching_gains_db
from tests.standin import install, tone

ROOT = Path(__file__).resolve().parent.parent
Visit = Callable[[httpx.AsyncClient], Awaitable[Any]]


def at_once(name: str, *arguments: Any) -> "Future[Any]":
    """What a pool's `submit` gives, done in this process."""
    future: Future[Any] = Future()
    try:
        future.set_result(getattr(work, name)(*arguments))
    except ValueError as error:
        future.set_exception(error)
    return future


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Visit], Any]:
    """Visit an app whose work is done in place, on a stand-in for the networks."""
    install(monkeypatch)
    examples = tmp_path / "examples"
    examples.mkdir()
    for k in range(6):
        soundfile.write(examples / f"001.{k}.flac", tone(200 + 100 * k), SAMPLE_RATE)
    monkeypatch.setattr(program, "EXAMPLES", examples)

    async def go(what: Visit) -> Any:
        made = program.create_app(Settings(max_mb=1, max_seconds=3, data=tmp_path / "data", survey=tmp_path / "survey"))
        desk = made.state.desk
        monkeypatch.setattr(desk._inspectors, "submit", at_once)
        try:
            transport = httpx.ASGITransport(app=made)
            async with httpx.AsyncClient(transport=transport, base_url="http://studio") as client:
                return await what(client)
        finally:
            await desk.close()

    return lambda what: asyncio.run(go(what))


def wav_bytes(wav: np.ndarray, folder: Path) -> bytes:
    path = folder / "sent.wav"
    soundfile.write(path, wav, SAMPLE_RATE)
    return path.read_bytes()


async def send(client: httpx.AsyncClient, body: bytes, **query: str) -> httpx.Response:
    return await client.post("/clips", params={"name": "take.wav", **query}, content=body)


def test_an_upload_is_served_by_opaque_names_and_in_ranges(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        answer = await send(client, wav_bytes(tone(440), tmp_path))
        assert answer.status_code == 200
        taken = answer.json()
        assert (taken["ready"], taken["name"], taken["seconds"], taken["stems"]) == (True, "take", 1.0, False)
        source = Job.find(tmp_path / "data", taken["job"]).source()
        assert source is not None
        url = f"/media/{source.input.media}"
        assert re.fullmatch(r"/media/[0-9a-f]{40}", url)
        whole = await client.get(url)
        assert whole.headers["content-type"] == "audio/x-wav" or "wav" in whole.headers["content-type"]
        assert "content-disposition" not in whole.headers
        assert not re.search(rb"take|input|mixture", whole.content[:200])
        part = await client.get(url, headers={"range": "bytes=44-143"})
        assert (part.status_code, part.headers["content-range"]) == (206, f"bytes 44-143/{len(whole.content)}")
        assert part.content == whole.content[44:144]
        picture = await client.get(f"/media/{source.input.dark}")
        assert picture.headers["content-type"] == "image/png"
        for wrong in ("0" * 40, "clip.json", "..%2f..%2fetc%2fpasswd"):
            assert (await client.get(f"/media/{wrong}")).status_code == 404

    serve(visit)


def test_uploads_at_once_are_each_judged_by_themselves(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        good = wav_bytes(tone(440), tmp_path)
        job = (await send(client, good, part="melody")).json()["job"]
        bodies = {"accompaniment": good, "mixture": b"zzz", "melody": good}
        answers = await asyncio.gather(*(send(client, body, part=part, to=job) for part, body in bodies.items()))
        codes = dict(zip(bodies, (answer.status_code for answer in answers), strict=True))
        assert codes == {"accompaniment": 200, "mixture": 422, "melody": 200}
        again = await send(client, good, part="melody", to=job)
        assert again.status_code == 200
        assert again.json()["stems"]

    serve(visit)


def test_bad_uploads_get_a_sentence(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        for body, query, said in (
            (b"", {}, "empty"),
            (b"%PDF", {}, "not readable as audio"),
            (wav_bytes(tone(440, seconds=3.5), tmp_path), {}, "the limit is 3 s"),
            (bytes(1_000_001), {}, "larger than 1 MB"),
            (b"x", {"part": "drums"}, "mixture, melody, accompaniment"),
            (b"x", {"to": "0" * 24}, "no longer kept"),
        ):
            answer = await send(client, body, **query)
            assert answer.status_code == (410 if "no longer" in said else 422)
            assert said in answer.json()["error"]
        foreign = await client.post(
            "/clips", params={"name": "a.wav"}, content=b"x", headers={"sec-fetch-site": "cross-site"}
        )
        assert foreign.status_code == 422
        assert not list((tmp_path / "data").iterdir())

    serve(visit)


def test_a_disk_that_is_full_is_a_sentence(
    serve: Callable[[Visit], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async def visit(client: httpx.AsyncClient) -> None:
        monkeypatch.setattr(Job, "write_json", fail)
        for answer in (await send(client, b"RIFF"), await client.post("/examples/001/cv")):
            assert answer.status_code == 507
            assert "could not be stored here (No space left on device)" in answer.json()["error"]
        assert not list((tmp_path / "data").iterdir())

    serve(visit)


def test_an_upload_that_breaks_off_leaves_nothing(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        made = client._transport.app  # type: ignore[attr-defined]
        messages = iter([{"type": "http.request", "body": b"RIFF", "more_body": True}, {"type": "http.disconnect"}])
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/clips",
            "query_string": b"name=a.wav",
            "headers": [],
            "http_version": "1.1",
        }

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def ignore(_: Any) -> None:
            return None

        await made(scope, receive, ignore)
        assert not list((tmp_path / "data").iterdir())

    serve(visit)


def test_a_part_that_is_refused_leaves_the_clip_as_it_was(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        job = (await send(client, wav_bytes(tone(440), tmp_path))).json()["job"]
        refused = await send(client, wav_bytes(np.zeros(16_000), tmp_path), part="melody", to=job)
        assert "silent" in refused.json()["error"]
        first = await send(client, wav_bytes(tone(440), tmp_path), part="melody", to=job)
        assert (first.json()["stems"], first.json()["parts"]) == (False, ["melody", "mixture"])
        second = await send(client, wav_bytes(tone(220), tmp_path), part="accompaniment", to=job)
        assert (second.json()["stems"], len(second.json()["parts"])) == (True, 3)

    serve(visit)


def test_examples_are_taken_in_either_domain(serve: Callable[[Visit], Any], tmp_path: Path) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        for domain in (*STARNET, Domain.FG):
            taken = (await client.post(f"/examples/001/{domain.value}")).json()
            source = Job.find(tmp_path / "data", taken["job"]).source()
            assert source is not None
            # Where it is not played by that pair, it is heard in the first that it is played by.
            heard = domain if domain in STARNET else Domain.CV
            assert (source.domain, taken["stems"], taken["example"]) == (heard, True, "001")
        assert (await client.post("/examples/009/cv")).status_code == 404
        assert (await client.post("/examples/001/drums")).status_code == 422
        refused = await send(client, b"x", part="melody", to=taken["job"])
        assert "own stems" in refused.json()["error"]

    serve(visit)


async def _pieces() -> AsyncIterator[bytes]:
    yield b"{}"


def test_every_answer_is_guarded_and_only_needed_routes_are_open(serve: Callable[[Visit], Any]) -> None:
    async def visit(client: httpx.AsyncClient) -> None:
        for path in ("/", "/healthz", "/ui/player.js", "/media/x", "/gradio_api/info", "/config"):
            headers = (await client.get(path)).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert not re.search(r"https?:|\*", headers["content-security-policy"])
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "SAMEORIGIN"
        for path in (
            "/docs",
            "/redoc",
            "/openapi.json",
            "/gradio_api/info",
            "/gradio_api/info/",
            "/gradio_api/openapi.json",
            "/gradio_api/docs",
            "/gradio_api/file=app.py",
            "/gradio_api/proxy=https://example.org",
            "/gradio_api/runs",
            "/gradio_api/mcp/",
            "/survey/gradio_api/info",
            "/monitoring",
        ):
            assert (await client.get(path)).status_code in {403, 404}, path
        for path in ("/gradio_api/upload", "/gradio_api/call/run", "/gradio_api/component_server"):
            assert (await client.post(path)).status_code == 404, path
        event = {"data": [], "fn_index": 0, "session_hash": "x"}
        for path in ("run/predict", "queue/join"):
            assert (await client.post(f"/survey/gradio_api/{path}", json=event)).status_code == 404, "it has no events"
            large = await client.post(f"/gradio_api/{path}", content=b"[" * 1_000_001)
            assert large.status_code == 413, path
            unmeasured = await client.post(f"/gradio_api/{path}", content=_pieces())
            assert unmeasured.status_code == 411, path
        assert (await client.get("/healthz")).json() == {"ok": True, "orders": 0}
        page = (await client.get("/", headers={"accept-encoding": "gzip, br"})).text
        head = page[: page.index("<script")]
        assert "<title>Music-STAR studio</title>" in head
        assert 'href="/ui/studio.css"' in head
        assert "og:" not in page
        for path in re.findall(r'(?:href|src)="(/ui/[^"]+)"', head):
            assert (await client.get(path)).status_code == 200
        assert '"analytics_enabled":false' in page
        assert '"run_history":false' in page

    serve(visit)


def test_the_web_process_does_not_import_torch() -> None:
    program_text = (
        "import sys; from app import Settings, create_app; create_app(Settings()); "
        "print([name for name in ('torch', 'soundfile', 'musicstar.work') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program_text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOST", "PORT", "MAX_SECONDS", "MAX_MB", "WORKERS", "DATA"):
        monkeypatch.delenv(f"MUSICSTAR_{name}", raising=False)
    assert Settings.from_environment() == Settings()
    monkeypatch.setenv("MUSICSTAR_PORT", "8000")
    monkeypatch.setenv("MUSICSTAR_MAX_SECONDS", "12.5")
    monkeypatch.setenv("MUSICSTAR_DATA", str(tmp_path))
    assert Settings.from_environment() == replace(Settings(), port=8000, max_seconds=12.5, data=tmp_path)
    for wrong in ("many", "0", "nan"):
        monkeypatch.setenv("MUSICSTAR_WORKERS", wrong)
        with pytest.raises(ValueError, match=rf"MUSICSTAR_WORKERS is '{wrong}'"):
            Settings.from_environment()


# ---- what the player is told


def a_track(key: str, kind: str, voice: str, **more: Any) -> Track:
    given = {"media": "m", "light": "l", "dark": "d", "envelope": "", "duration_s": 1.0, "file_name": "f.wav"}
    return Track(key=key, kind=kind, voice=voice, loudness_lufs=-26.0, peak_dbfs=-9.0, **{**given, **more})


def test_gains_match_loudness_within_full_scale() -> None:
    levels = [(-30.0, -12.0), (-26.0, -14.0), (-41.0, -23.0)]
    gains = matching_gains_db(levels)
    assert {loudness + gain for (loudness, _), gain in zip(levels, gains, strict=True)} == {TARGET_LUFS}
    levels.append((-40.0, -6.0))
    gains = matching_gains_db(levels)
    heard = {round(loudness + gain, 6) for (loudness, _), gain in zip(levels, gains, strict=True)}
    assert len(heard) == 1
    assert max(peak + gain for (_, peak), gain in zip(levels, gains, strict=True)) == pytest.approx(-HEADROOM_DB)
    assert matching_gains_db([(None, None)]) == [0.0]
    assert matching_gains_db([]) == []


def test_a_scene_names_tracks_steps_and_what_would_do_instead() -> None:
    stems = (a_track("input/strings", "stem", "strings"), a_track("input/piano", "stem", "piano"))
    made = a_track("mixture.spectral.cv", "output", "cv", method="mixture", backbone="spectral", seconds=0.5)
    source = Source(
        "take", Domain.SP, 0.9, "", a_track("input", "input", "sp"), {Domain.CV: a_track("gold.cv", "gold", "cv")}
    )
    steps = (
        Step("single", state="failed", message="No stems.", instead="separation"),
        Step("stem", state="running", share=0.5, began_s=100.0),
        Step("mixture", state="done"),
    )
    scene = Scene("j", source, Domain.SP, Domain.CV, (made,), steps, backbone="spectral", running=True)
    told = describe(scene, now_s=104.0)
    json.dumps(told)
    assert [track["title"] for track in told["tracks"]] == [
        "Input",
        "Gold standard",
        "Mixture-supervised (Music-STAR)",
    ]
    assert [track["domain"] for track in told["tracks"]] == ["sp", "cv", "cv"]
    assert [(step["method"], step["instead"], step["remaining"]) for step in told["steps"]] == [
        ("single", "separation", None),
        ("stem", "", 4.0),
    ]
    # Told otherwise by the visitor, the input's stems are the other pair, and the gold standard is none.
    corrected = describe(
        replace(
            scene, source=replace(source, input=replace(source.input, parts=stems)), domain=Domain.CV, target=Domain.SP
        ),
        now_s=104.0,
    )
    assert [track["key"] for track in corrected["tracks"]] == ["input", "mixture.spectral.cv"]
    assert [part["title"] for part in corrected["tracks"][0]["parts"]] == ["Clarinet", "Vibraphone"]


# ---- how it looks


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [theme.LIGHT, theme.DARK])
def test_colours_can_be_read(palette: theme.Palette) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in (palette.paper, palette.well, palette.ground):
        for text in (palette.ink, palette.soft, palette.accent, palette.cv, palette.sp, palette.bad):
            assert contrast(text, ground) >= 4.5, (text, ground)
    assert contrast(palette.on_accent, palette.accent) >= 4.5
    assert contrast(palette.on_accent, palette.accent_hover) >= 4.5
    assert contrast(palette.edge, palette.paper) >= 3
    assert contrast(palette.gold, palette.paper) >= 4.5


def test_pictures_begin_at_the_colour_of_the_paper() -> None:
    from musicstar import pictures

    assert pictures.LIGHT[0] == theme.LIGHT.paper
    assert pictures.DARK[0] == theme.DARK.paper


def test_no_stylesheet_or_script_names_another_host() -> None:
    texts = [path.read_text(encoding="utf-8") for path in program.STATIC.rglob("*.*")]
    assert texts
    for text in [*texts, theme.tokens()]:
        found = re.findall(r"(?:https?:)?//[a-z][\w.-]*\.[a-z]{2,}[^\s\"']*", text)
        assert [url for url in found if "www.w3.org" not in url] == []
    assert theme.tokens().count("--ms-paper") == 2


def test_orders_have_names_of_their_own() -> None:
    assert Order(Domain.SP, Domain.CV, ("mixture",)).run != Order(Domain.SP, Domain.CV, ("mixture",)).run
