"""The routes of the Concepts page: atlases, trees, who is near, where one more concept would hang, visitors' clips."""

import asyncio
import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from starlette.testclient import TestClient

from musicstar.concepts import build, embed, formats, hierarchy, library, visits
from musicstar.concepts.atlas import Atlas, Concept, Shape, save
from musicstar.concepts.hierarchy import ROOT, Orientation, Tree
from musicstar.desk import Desk
from musicstar.jobs import Example, Job, JobError, Limits
from musicstar.ui import conceptclips, conceptmap
from musicstar.ui.conceptmap import Shelf, place
from tests import sounds

LIMITS = Limits(max_duration_s=3.0, max_bytes=400_000)


class StandIn:
    """A desk whose work is done on the spot."""

    def __init__(self, data: Path) -> None:
        self.data, self.limits = data, LIMITS
        self.asked: list[str] = []

    @contextlib.asynccontextmanager
    async def turn(self, job: Job) -> Any:
        yield

    async def ask(self, work: str, job: Job, *arguments: Any) -> None:
        self.asked.append(work)
        works: dict[str, Callable[..., None]] = {"hear": visits.hear, "own": visits.own}
        await asyncio.to_thread(works[work], job, *arguments)


def genres(count: int = 40) -> Atlas:
    """Concepts with similarities drawn at random, in four families."""
    rng = np.random.default_rng(5)
    concepts = tuple(
        Concept(f"genre {i}", (f"family {i % 4}",), 50 + i, 0.8, 0.7, 0.9, "few clips" if i == 3 else "", ("a.wav",))
        for i in range(count)
    )
    return Atlas("Genres", concepts, rng.random((count, count), dtype=np.float32))


@pytest.fixture(scope="module")
def heard_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas learned from real, if simple, sound."""
    folder = tmp_path_factory.mktemp("heard")
    made = library.read(sounds.library(folder / "clips"))
    mel = embed.find("mel")
    features = embed.embed(made.paths, mel, folder / "cache", workers=1)
    atlas = build.build(made, features.rows, embedder=mel.name, title="Sounds", above=0.5)
    return save(build.write_previews(atlas, made, folder / "sounds"), folder / "sounds")


@pytest.fixture
def shelf(tmp_path: Path, heard_folder: Path) -> Shelf:
    folder = save(genres(), tmp_path / "genres")
    (folder / "previews").mkdir()
    soundfile.write(folder / "previews" / "a.wav", np.zeros(100), 16_000)
    return Shelf([heard_folder, folder, tmp_path / "nowhere", save(genres(10), tmp_path / "other" / "genres")])


@pytest.fixture
def desk(tmp_path: Path) -> StandIn:
    (tmp_path / "jobs").mkdir()
    return StandIn(tmp_path / "jobs")


@pytest.fixture
def client(shelf: Shelf, desk: StandIn, tmp_path: Path) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(conceptmap.router(shelf))
    voices = {name: str(tmp_path / "piece.wav") for name in ("sp", "cv")}
    soundfile.write(tmp_path / "piece.wav", sounds.sound("noise", 77), sounds.RATE)
    examples = [Example("001", "A piece", "", voices)]
    app.include_router(conceptclips.router(desk, shelf, examples))  # type: ignore[arg-type]
    with TestClient(app) as made:
        yield made


def wav(kind: str, number: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sounds.sound(kind, number), sounds.RATE, format="WAV")
    return file.getvalue()


def jobs(desk: StandIn) -> list[Path]:
    return list(desk.data.iterdir())


def test_atlases_are_listed_and_one_that_cannot_be_read_is_named(client: TestClient, tmp_path: Path) -> None:
    told = client.get("/concepts/api/atlases").json()
    assert [(one["name"], one["title"]) for one in told["atlases"]] == [
        ("sounds", "Sounds"),
        ("genres", "Genres"),
        ("genres-2", "Genres"),
    ]
    assert "no such file" in told["broken"]["nowhere"]
    assert str(tmp_path) not in told["broken"]["nowhere"]


def test_an_atlas_comes_in_columns_and_is_kept_by_the_browser(client: TestClient) -> None:
    answer = client.get("/concepts/api/atlas/genres", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    told, made = answer.json(), genres()
    assert told["names"] == [concept.name for concept in made.concepts]
    assert [told["clusters"][k] for k in told["cluster"]] == [made.clusters[name] for name in told["names"]]
    assert told["above"][5] == ["family 1"]
    assert told["warning"] == {"3": "few clips"}
    assert not told["hears"]
    again = client.get("/concepts/api/atlas/genres", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/concepts/api/atlas/sounds").json()["learns"]


@pytest.mark.parametrize("orientation", Orientation)
def test_a_tree_is_the_atlas_own(client: TestClient, orientation: Orientation) -> None:
    shape = Shape(orientation, 0.9, 0.97, 3)
    query = {"orientation": orientation.value, "threshold": 0.9, "least": 0.97, "children": 3}
    told = client.get("/concepts/api/atlas/genres/tree", params=query).json()
    made = genres()
    parents = made.tree(shape).parents
    assert told["parents"] == parents.tolist()
    assert 0 < (parents == ROOT).sum() < len(parents)
    for node, parent in enumerate(parents):
        pair = (parent, node) if orientation is Orientation.PUBLISHED else (node, parent)
        expected = 0.0 if parent == ROOT else made.similarity[pair]
        assert told["similarity"][node] == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("threshold=warm", "threshold is 'warm'"),
        ("threshold=nan", "expected a number"),
        ("least=1e999", "least"),
        ("orientation=sideways", "published or transposed"),
        ("children=0", "whole number from 1"),
        ("children=2.5", "whole number"),
    ],
)
def test_a_shape_that_is_none_gets_a_sentence(client: TestClient, query: str, said: str) -> None:
    answer = client.get(f"/concepts/api/atlas/genres/tree?{query}")
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "api/atlas/none",
        "api/atlas/none/tree",
        "api/atlas/genres/near/40",
        "api/atlas/genres/near/x",
        f"api/atlas/genres/near/{'9' * 5000}",
        "preview/genres/b.wav",
        "preview/genres/..%2Fatlas.json",
        "preview/none/a.wav",
    ],
)
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(f"/concepts/{path}")
    assert answer.status_code == 404


def test_previews_are_served(client: TestClient) -> None:
    answer = client.get("/concepts/preview/genres/a.wav")
    assert answer.headers["content-type"] == "audio/x-wav" or answer.headers["content-type"] == "audio/wav"
    assert answer.content[:4] == b"RIFF"


@pytest.mark.parametrize("form", formats.FORMATS)
def test_an_export_is_of_the_tree_that_is_shown(client: TestClient, form: str) -> None:
    answer = client.get(f"/concepts/api/atlas/genres-2/export/{form}", params={"children": 2, "threshold": 0.7})
    shape = replace(Shape(), most_children=2, threshold=0.7)
    made = genres(10)
    assert answer.content == formats.write(made, made.tree(shape), shape, form)
    assert answer.headers["content-disposition"].endswith(f'filename="genres-2{formats.FORMATS[form].suffix}"')
    assert client.get("/concepts/api/atlas/genres-2/export/docx").status_code == 404


def test_the_nearest_are_those_of_rows_and_columns(client: TestClient) -> None:
    told = client.get("/concepts/api/atlas/genres/near/7").json()
    values = genres().similarity
    for pairs, line in ((told["within"], values[7]), (told["around"], values[:, 7])):
        order = [int(i) for i in np.argsort(-line) if i != 7][: len(pairs)]
        assert [node for node, _ in pairs] == order
        assert [value for _, value in pairs] == pytest.approx(line[order], abs=6e-4)


def test_while_one_tree_grows_others_are_served(
    shelf: Shelf, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, running = threading.Event(), threading.Event(), []

    quickly = hierarchy.betweenness
    shapes = Shape(most_children=5), Shape(threshold=0.7)
    expected = [genres().tree(shape).parents.tolist() for shape in shapes]

    def slowly(edges: np.ndarray, **options: Any) -> np.ndarray:
        running.append(1)
        begun.set()
        assert go_on.wait(10)
        assert len(running) == 1, "two grew at once"
        running.clear()
        return quickly(edges, **options)

    monkeypatch.setattr(hierarchy, "betweenness", slowly)

    async def visit() -> None:
        await shelf.all()
        waiting = [asyncio.create_task(shelf.tree("genres", Shape(threshold=t))) for t in (0.7, 0.8, 0.7)]
        assert await asyncio.to_thread(begun.wait, 10)
        quick = await asyncio.wait_for(shelf.tree("genres", shapes[0]), 5)
        assert quick.parents.tolist() == expected[0]
        assert not any(task.done() for task in waiting)
        go_on.set()
        grown = await asyncio.gather(*waiting)
        assert grown[0].parents.tolist() == expected[1]

    asyncio.run(visit())


@pytest.mark.parametrize("orientation", Orientation)
@pytest.mark.parametrize("children", [1, 2, 20])
def test_one_more_concept_hangs_where_it_would_have_been_grown(orientation: Orientation, children: int) -> None:
    atlas = genres()
    shape = Shape(orientation, 0.5, 0.9, children)
    whole = atlas.tree(shape)
    last = int(whole.order[-1])
    rest = np.delete(np.arange(40), last)
    number = np.full(41, ROOT)
    number[rest] = np.arange(39)
    # The same places without the last; ROOT, -1, finds itself at the end of `number`.
    tree = Tree(number[whole.parents[rest]], number[whole.order[:-1]])
    assert place(tree, atlas.towards(orientation)[last][rest], shape) == number[whole.parents[last]]


def test_nothing_similar_enough_hangs_under_the_root() -> None:
    tree = hierarchy.grow(np.eye(3), np.zeros(3))
    assert place(tree, np.array([0.2, 0.1, 0.2]), Shape()) == ROOT
    assert place(tree, np.array([0.3, 0.4, 0.4]), Shape()) == 1


def test_a_clip_is_heard(client: TestClient, desk: StandIn) -> None:
    body = wav("noise", 50)
    answer = client.post("/concepts/clips", params={"name": "../hiss.wav", "atlas": "sounds"}, content=body)
    told = answer.json()
    assert answer.status_code == 200
    names = client.get("/concepts/api/atlas/sounds").json()["names"]
    assert names[told["concepts"][0]] == "noise"
    assert sorted(told["concepts"]) == list(range(len(names)))
    assert len(told["probabilities"]) == len(names)
    assert all(len(row) == len(told["times_s"]) for row in told["probabilities"])
    assert told["name"] == "hiss.wav"
    assert (desk.data / told["job"] / f"{told['media'][24:]}.wav").is_file()


def test_an_example_is_heard(client: TestClient) -> None:
    told = client.post("/concepts/examples/001/sp", params={"atlas": "sounds"}).json()
    assert told["name"] == "A piece, strings and piano"
    assert client.post("/concepts/examples/002/sp", params={"atlas": "sounds"}).status_code == 404


@pytest.mark.parametrize(
    ("atlas", "body", "said"),
    [
        ("sounds", lambda: b"%PDF", "not readable as audio"),
        ("sounds", lambda: b"", "empty"),
        ("sounds", lambda: bytes(400_001), "larger than 0.4 MB"),
        ("genres", lambda: wav("noise", 1), "not learned from audio"),
        ("none", lambda: wav("noise", 1), "no atlas of that name"),
    ],
)
def test_a_clip_that_cannot_be_heard_gets_a_sentence_and_leaves_nothing(
    client: TestClient, desk: StandIn, atlas: str, body: Callable[[], bytes], said: str
) -> None:
    answer = client.post("/concepts/clips", params={"name": "a.wav", "atlas": atlas}, content=body())
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert jobs(desk) == []


def test_clips_come_from_the_own_page_only(client: TestClient, desk: StandIn) -> None:
    headers = {"sec-fetch-site": "cross-site"}
    for path in ("clips?atlas=sounds&name=a", "own?name=a"):
        answer = client.post(f"/concepts/{path}", content=b"x", headers=headers)
        assert answer.status_code == 422
    assert client.delete("/concepts/own/0/0", headers=headers).status_code == 422
    assert jobs(desk) == []


def test_an_own_concept_is_made_and_hangs_by_the_rules(client: TestClient, desk: StandIn) -> None:
    job, clips = "", []
    for number in range(6):
        answer = client.post(
            "/concepts/own", params={"name": f"{number}.wav", "to": job}, content=wav("tones/low tones", 60 + number)
        ).json()
        job = answer["job"]
        clips.append(answer["clip"])
    assert client.delete(f"/concepts/own/{job}/{clips[0]}").json()["clips"] == 5
    assert client.delete(f"/concepts/own/{job}/{clips[0]}").json()["clips"] == 5
    assert not (desk.data / job / f"{clips[0]}.upload").exists()
    client.post("/concepts/own", params={"name": "notes.pdf", "to": job}, content=b"%PDF")

    where = f"/concepts/own/{job}/place"
    assert client.get(where, params={"atlas": "sounds"}).status_code == 404
    made = client.post(f"/concepts/own/{job}/fit", json={"atlas": "sounds", "title": "  Deep   ones "}).json()
    assert made["title"] == "Deep ones"
    assert made["clips"] == 5
    assert [name for name, _ in made["skipped"]] == ["notes.pdf"]
    assert made["low"] <= made["accuracy"] <= made["high"]

    names = client.get("/concepts/api/atlas/sounds").json()["names"]
    low = client.get(where, params={"atlas": "sounds", "orientation": "transposed"}).json()
    assert low["parent"] == int(np.argmax(made["towards"]))
    assert names[low["parent"]] in ("tones", "tones/low tones")
    assert low["similarity"] == pytest.approx(max(made["towards"]), abs=1e-3)
    high = client.get(where, params={"atlas": "sounds", "orientation": "published"}).json()
    assert high["parent"] == int(np.argmax(made["from"]))
    alone = client.get(where, params={"atlas": "sounds", "least": 1}).json()
    assert alone == {"parent": ROOT, "similarity": 0.0}
    assert client.get(where, params={"atlas": "genres"}).status_code == 404


def test_what_an_own_concept_lacks_is_said(client: TestClient) -> None:
    job = client.post("/concepts/own", params={"name": "a.wav"}, content=wav("noise", 1)).json()["job"]
    for body, said in (
        ({"atlas": "sounds", "title": "Few"}, "needs 3"),
        ({"atlas": "sounds", "title": " "}, "name"),
        ({"atlas": "genres", "title": "Deaf"}, "not learned from audio"),
        ([], "JSON"),
    ):
        answer = client.post(f"/concepts/own/{job}/fit", json=body)
        assert answer.status_code == 422
        assert said in answer.json()["error"]
    for rubbish in (b"[" * 9_000, b'{"a":' * 1_900, b'{"atlas": "sounds", "title": "\\ud800"}', b"x" * 20_000):
        answer = client.post(f"/concepts/own/{job}/fit", content=rubbish)
        assert answer.status_code == 422
        assert "error" in answer.json()
    assert "empty" in client.post("/concepts/own", params={"name": "b.wav", "to": job}, content=b"").json()["error"]
    gone = "0" * 24
    assert client.post("/concepts/own", params={"name": "b.wav", "to": gone}, content=b"x").status_code == 410
    assert client.get(f"/concepts/own/{gone}/place", params={"atlas": "sounds"}).status_code == 410


def test_the_desk_passes_on_the_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Desk.ask` raises what the worker says, and a sentence of its own for whatever else goes wrong."""

    async def visit() -> list[str]:
        at = Desk(data=tmp_path, limits=LIMITS)
        job = Job.create(tmp_path)
        said = []
        try:
            for works in (JobError("Too quiet."), RuntimeError("broken")):
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                future.set_exception(works)
                monkeypatch.setattr(asyncio, "wrap_future", lambda _, future=future: future)
                monkeypatch.setattr(at._inspectors, "submit", lambda *_: None)
                with pytest.raises(JobError) as raised:
                    await at.ask("hear", job)
                said.append(str(raised.value))
        finally:
            monkeypatch.undo()
            await at.close()
        return said

    said = asyncio.run(visit())
    assert said[0] == "Too quiet."
    assert "not yours" in said[1]


def test_a_visitors_file_cannot_pass_for_another_job(client: TestClient) -> None:
    answer = client.post("/concepts/own/..%2F..%2Fetc/fit", json={"atlas": "sounds", "title": "x"})
    assert answer.status_code in (404, 410)


def test_shapes_are_told_apart_by_what_they_are() -> None:
    assert conceptmap.shape_of({"threshold": "0.50"}) == Shape()
    assert conceptmap.shape_of({"children": "7"}) == replace(Shape(), most_children=7)
