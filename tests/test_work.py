"""The work on a job: reading and checking a clip, translating it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from musicstar import jobs, pictures, work
from musicstar.audio import SAMPLE_RATE, Clip
from musicstar.domains import Domain
from musicstar.jobs import Job, JobError, NotReady, Order
from musicstar.methods import base
from musicstar.methods import studio as networks
from musicstar.methods.catalog import Backbone
from tests.standin import LIMITS, Studio, install, tone, upload


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    return install(monkeypatch)


@pytest.fixture
def job(tmp_path: Path, studio: Studio) -> Job:
    made = upload(tmp_path, wav=tone(440), name="take.wav")
    work.inspect(made, LIMITS)
    return made


def test_an_upload_is_heard_and_seen(tmp_path: Path, studio: Studio) -> None:
    job = upload(tmp_path, wav=tone(440), name="my take.wav")
    work.inspect(job, LIMITS)
    source = job.source()
    assert source is not None
    assert (source.name, source.domain, source.confidence, source.has_stems) == ("my take", Domain.SP, 0.9, False)
    track = source.input
    heard, rate = soundfile.read(job.media_path(track.media))
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(heard, tone(440), atol=1e-4)
    # A sine of amplitude 0.2 has its peak at -14.0 dBFS; its loudness by BS.1770 is the RMS at -0.7 dB.
    assert track.peak_dbfs == pytest.approx(-13.98, abs=0.01)
    assert track.loudness_lufs == pytest.approx(-17.0 - 0.69, abs=0.3)
    assert track.file_name == "my take.input.wav"
    for media in (track.light, track.dark):
        picture = jobs.find_media(tmp_path, media)
        assert picture is not None
        with Image.open(picture) as opened:
            assert opened.size == (pictures.PICTURE_WIDTH, pictures.MEL_BANDS)


@pytest.mark.parametrize(
    ("wav", "said"),
    [
        (tone(440, seconds=3.2), "3.2 s long, the limit is 3 s"),
        (np.zeros(SAMPLE_RATE, np.float32), "silent"),
        (np.zeros(0, np.float32), "no samples"),
        (np.where(np.arange(SAMPLE_RATE) == 5, np.nan, tone(440)), "not numbers"),
        (tone(440, seconds=0.05), "at least 0.1 s is needed"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    tmp_path: Path, studio: Studio, wav: np.ndarray, said: str
) -> None:
    job = upload(tmp_path, wav=wav, name="bad.wav")
    with pytest.raises(JobError, match=said) as refusal:
        work.inspect(job, LIMITS)
    sentence = str(refusal.value)
    assert sentence.startswith("bad.wav: ")
    assert sentence.endswith(".")
    assert str(tmp_path) not in sentence
    assert job.source() is None
    assert refusal.value.__cause__ is None


def test_what_is_not_sound_is_refused_without_naming_its_path(tmp_path: Path, studio: Studio) -> None:
    job = upload(tmp_path, wav=tone(440), name="x.pdf")
    stored = job.folder / job.read_json("clip.json")["files"]["mixture"][0]
    stored.write_bytes(b"%PDF")
    with pytest.raises(JobError, match=r"^x.pdf: not readable as audio") as refusal:
        work.inspect(job, LIMITS)
    assert stored.stem not in str(refusal.value)


def test_two_stems_make_a_mixture(tmp_path: Path, studio: Studio) -> None:
    job = upload(tmp_path, part="melody", wav=tone(440))
    with pytest.raises(NotReady, match="accompaniment"):
        work.inspect(job, LIMITS)
    upload(tmp_path, job, part="accompaniment", wav=tone(330, seconds=0.95))
    work.inspect(job, LIMITS)
    source = job.source()
    assert source is not None
    assert source.has_stems
    heard = soundfile.read(job.media_path(source.input.media))[0]
    second = np.pad(tone(330, seconds=0.95), (0, SAMPLE_RATE // 20))
    np.testing.assert_allclose(heard, tone(440) + second, atol=2e-4)
    assert [part.voice for part in source.input.parts] == ["strings", "piano"]


def test_stems_of_another_length_are_refused(tmp_path: Path, studio: Studio) -> None:
    job = upload(tmp_path, wav=tone(440))
    upload(tmp_path, job, part="melody", wav=tone(440))
    upload(tmp_path, job, part="accompaniment", wav=tone(330, seconds=0.5))
    with pytest.raises(JobError, match=r"accompaniment is 0.5 s long and the mixture 1.0 s"):
        work.inspect(job, LIMITS)


def test_an_example_knows_its_gold_standard_and_stems(tmp_path: Path, studio: Studio) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    for k in range(6):
        soundfile.write(folder / f"007.{k}.flac", tone(200 + 100 * k), SAMPLE_RATE)
    (example,) = jobs.find_examples(folder)
    job = example.order_clip(tmp_path, Domain.CV)
    work.inspect(job, LIMITS)
    source = job.source()
    assert source is not None
    gold_track = source.golds[Domain.SP]
    assert (source.domain, source.confidence, source.has_stems) == (Domain.CV, 1.0, True)
    gold = soundfile.read(job.media_path(gold_track.media))[0]
    np.testing.assert_allclose(gold, tone(500), atol=1e-4)
    assert [part.voice for part in gold_track.parts] == ["strings", "piano"]
    assert gold_track.file_name == "007.gold.sp.wav"


def test_outputs_are_kept_as_they_come(job: Job, studio: Studio) -> None:
    order = Order(Domain.SP, Domain.CV, ("separation", "mixture"))
    work.translate(job, order)
    first, second = job.outputs(Domain.CV)
    assert (first.method, first.backbone, first.voice, first.seconds) == ("separation", "spectral", "cv", 0.5)
    assert [part.voice for part in first.parts] == ["clarinet", "vibraphone"]
    assert second.parts == ()
    assert first.file_name == "take.separation.wav"
    assert first.parts[0].file_name == "take.separation.clarinet.wav"
    heard = soundfile.read(job.media_path(second.media))[0]
    np.testing.assert_allclose(heard, tone(440) * 10 ** (-3 / 20), atol=2e-4)
    assert [step.state for step in job.steps(order)] == ["done", "done"]
    assert job.outputs(Domain.SP) == ()


def test_methods_that_cannot_run_say_why_and_others_run(job: Job, studio: Studio) -> None:
    order = Order(Domain.SP, Domain.CV, ("single", "stem", "mixture"), Backbone.WAVENET)
    work.translate(job, order)
    single, stem, mixture = job.steps(order)
    assert (single.state, stem.state, mixture.state) == ("failed", "failed", "done")
    assert "two stems" in single.message
    assert "separation-based" in single.message
    assert single.instead == "separation"
    assert (stem.message, stem.instead) == ("Not trained.", "")
    assert studio.asked == [("mixture",)]


def test_failures_keep_what_was_done(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(names: Sequence[str], *rest: Any, **options: Any) -> Iterator[base.Translation]:
        yield from Studio().translate_all(names[:1], *rest, **options)
        raise base.NotOffered("No weights.")

    monkeypatch.setattr(networks, "translate_all", fails)
    order = Order(Domain.SP, Domain.CV, ("embedding", "mixture"))
    work.translate(job, order)
    # The quicker of the two came first.
    assert [(step.state, step.message) for step in job.steps(order)] == [("failed", "No weights."), ("done", "")]
    assert len(job.outputs(Domain.CV)) == 1


def test_a_cancelled_order_stops(job: Job) -> None:
    order = Order(Domain.SP, Domain.CV, ("embedding", "mixture"))
    job.cancel(order)
    work.translate(job, order)
    assert {step.state for step in job.steps(order)} == {"cancelled"}
    assert job.outputs(Domain.CV) == ()
    other = Order(Domain.SP, Domain.CV, ("mixture",))
    work.translate(job, other)
    assert len(job.outputs(Domain.CV)) == 1, "a flag is for its own order"


def test_a_beginning_is_heard_until_the_whole_takes_its_place(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an order that is cancelled, or whose output is there already, no beginning stays or takes a place."""
    seen: list[Any] = []
    order = Order(Domain.SP, Domain.CV, ("mixture",), backbone=Backbone.WAVENET)

    def begins(cancel: bool = False) -> Any:
        def translate_all(names: Sequence[str], source: base.Source, target: Domain, **given: Any) -> Iterator[Any]:
            assert source.mixture is not None
            half = Clip(source.mixture.wav[: SAMPLE_RATE // 2])
            given["options"].on_sound("mixture", half)
            seen.append(job.outputs(Domain.CV))
            if cancel:
                raise base.Cancelled("stop")
            yield base.Translation("mixture", Backbone.WAVENET, source.domain, target, half, {}, {"total": 0.5})

        return translate_all

    monkeypatch.setattr(networks, "translate_all", begins(cancel=True))
    work.translate(job, order)
    assert job.outputs(Domain.CV) == ()
    monkeypatch.setattr(networks, "translate_all", begins())
    work.translate(job, order)
    work.translate(job, order)
    first, second, third = seen
    assert [track.partial_s for track in (*first, *second)] == [0.5, 0.5]
    heard, _ = soundfile.read(job.media_path(second[0].media))
    np.testing.assert_allclose(heard[: SAMPLE_RATE // 2], tone(440)[: SAMPLE_RATE // 2], atol=1e-4)
    assert len(heard) == SAMPLE_RATE
    assert not heard[SAMPLE_RATE // 2 :].any()
    (whole,) = job.outputs(Domain.CV)
    assert whole.partial_s is None
    assert [track.partial_s for track in third] == [None]


def test_loud_stems_are_lowered_with_their_sum() -> None:
    """Stems whose sum exceeds full scale keep their ratio, and still add up to the mixture."""
    stems = Clip(4 * tone(440)), Clip(2 * tone(660))
    (melody, accompaniment), mixture = work._mixed(stems)
    assert np.abs(mixture.wav).max() <= 1.0
    np.testing.assert_allclose(melody.wav + accompaniment.wav, mixture.wav, atol=1e-6)
    np.testing.assert_allclose(melody.wav[1] / accompaniment.wav[1], stems[0].wav[1] / stems[1].wav[1], rtol=1e-4)
    quiet = Clip(tone(440)), Clip(tone(660))
    assert np.array_equal(work._mixed(quiet)[0][0].wav, quiet[0].wav)
