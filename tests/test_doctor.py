"""What `musicstar doctor` says, and what the generation benchmark measures against."""

import itertools
import json
import sys

import pytest
import torch

from benchmarks.generate import CONFIGURATIONS, decoder_flops, encoder_flops, naive
from musicstar.__main__ import main
from musicstar.config import load_table
from musicstar.engines import choice, native, processors
from musicstar.wavenet import DecoderConfig, EncoderConfig, scale
from tests.decoders import SMALL, decoder_of, latents_of


@pytest.fixture(autouse=True)
def chosen_anew() -> None:
    choice.choose.cache_clear()


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["doctor", "--json"]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)
    return found


def test_the_engine_and_its_reason_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICSTAR_ENGINE", "torch")
    monkeypatch.setenv("MUSICSTAR_THREADS", "3")
    found = told(capsys)
    assert found["WaveNet engine"] == "torch: it was asked for"
    assert found["threads"] == f"3 of {processors.cores()} cores"
    assert found["processor"].endswith(f"({', '.join(processors.runnable())})")
    monkeypatch.setenv("MUSICSTAR_ENGINE", "auto")
    monkeypatch.setenv("CXX", "no-such-compiler")
    native.load.cache_clear()
    monkeypatch.setenv("MUSICSTAR_CACHE", "/nowhere/at/all")
    found = told(capsys)
    assert found["WaveNet engine"].startswith("torch: there is no C++ compiler no-such-compiler")
    assert found["C++ compiler"].startswith("none")
    native.load.cache_clear()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (f"{sys.executable} -pipe", sys.executable),
        (" ", "none (named by CXX is not on the path)"),
        ('g++ "', 'none (g++ " is not on the path)'),
    ],
)
def test_a_compiler_may_have_arguments(
    named: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICSTAR_ENGINE", "torch")
    monkeypatch.setenv("CXX", named)
    assert told(capsys)["C++ compiler"] == said


def test_what_cannot_be_asked_for_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICSTAR_PRECISION", "half")
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "musicstar: precision is 'half', expected one of float32, bfloat16\n"


def test_the_naive_generator_says_what_the_network_says() -> None:
    """Its draws are the network's: given the codes that it chose, they are as likely as the network says."""
    decoder, latents = decoder_of(SMALL), latents_of(1, 1, SMALL.latent_channels)
    torch.manual_seed(0)
    codes = torch.cat(list(itertools.islice(naive(decoder, latents), 150)), 1)
    with torch.no_grad():
        odds = decoder(codes, latents).softmax(1)
    torch.manual_seed(0)
    assert codes.shape == (1, 150)
    assert [int(torch.multinomial(odds[:, :, t], 1)) for t in range(150)] == codes[0].tolist()
    assert scale(codes).abs().max() <= 0.5


def test_operations_are_those_of_the_weights() -> None:
    """Two for each weight of the products, latents and the first convolutions aside; by hand for the paper's sizes."""
    table = load_table(CONFIGURATIONS["paper"])["network"]
    per_layer = 128 * 256 * 2 + 128 * 128 + 128 * 128
    assert decoder_flops(DecoderConfig(**table["decoder"])) == 2 * (40 * per_layer + 128 * 128 * 2 + 128 * 256)
    assert encoder_flops(EncoderConfig(**table["encoder"])) == 2 * 56 * (3 * 128 * 128 + 128 * 256)
