"""Checkpoints: what is saved is what is loaded, and the authors' networks speak the same once converted."""

import argparse
import json
import logging
import os
import pickle
from collections import OrderedDict
from pathlib import Path, PosixPath
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from musicstar.checkpoint import Card, CheckpointError, Library, convert, load, save
from musicstar.wavenet import WaveNetAutoencoder

POOL = 800


def card(**changes: Any) -> Card:
    return Card(**{"backbone": "wavenet", "recipe": "stem", "voices": ("strings",), "config": {}} | changes)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    tensors = {"a.weight": torch.randn(3, 4).t(), "count": torch.tensor(7), "empty": torch.zeros(0)}
    written = save(tmp_path / "new" / "stem.v1", card(training={"steps": 10}), tensors)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "stem.v1.json",
        "stem.v1.safetensors",
    ]
    for suffix in ("", ".json", ".safetensors"):
        found, loaded = load(tmp_path / "new" / f"stem.v1{suffix}")
        assert found == written
        assert found.training == {"steps": 10}
        assert {name: (t.dtype, t.tolist()) for name, t in loaded.items()} == {
            name: (t.dtype, t.tolist()) for name, t in tensors.items()
        }


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path: Path) -> None:
    tensors = {"w": torch.randn(1000), "count": torch.tensor(70_000)}
    save(tmp_path / "full", card(), tensors)
    save(tmp_path / "half", card(), tensors, half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[1] - sizes[0] == 2000
    _, loaded = load(tmp_path / "half")
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], tensors["w"].half().float())
    assert loaded["count"] == 70_000


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (float("inf"), False), (1e6, True)])
def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path, value: float, half: bool) -> None:
    save(tmp_path / "good", card(), {"w": torch.ones(1)})
    with pytest.raises(CheckpointError, match="tensor w holds NaN or infinity"):
        save(tmp_path / "good", card(), {"w": torch.tensor([value])}, half=half)
    assert load(tmp_path / "good")[1]["w"] == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(CheckpointError, match="sha256"):
        load(weights)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"backbone": "transformer"}, "unknown backbone 'transformer'"),
        ({"recipe": "magic"}, "unknown recipe 'magic'"),
        ({"voices": ["tuba"]}, "unknown voice 'tuba'"),
        ({"format_version": 99}, "format version 99"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_card_that_says_something_unknown_is_refused(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=complaint):
        load(tmp_path / "a")


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.safetensors: there is no such checkpoint"):
        load(tmp_path / "a")
    save(tmp_path / "a", card(), {"w": torch.ones(4)})
    (tmp_path / "a.json").write_text("[")
    with pytest.raises(CheckpointError, match=r"a\.json: not a checkpoint's card"):
        load(tmp_path / "a")
    (tmp_path / "a.json").unlink()
    with pytest.raises(CheckpointError, match=r"a\.json: there is no such card"):
        load(tmp_path / "a")


def test_the_first_folder_of_a_library_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    save(shipped / "b", card(voices=("strings", "piano")), {})
    save(shipped / "a", card(voices=("piano",)), {})
    save(mine / "z", card(voices=("strings",)), {})
    library = Library([tmp_path / "absent", mine, shipped])
    assert library.find("wavenet", "stem", "strings") == mine / "z.safetensors"
    assert library.find("wavenet", "stem", "piano") == shipped / "a.safetensors"
    assert library.find("wavenet", "stem", "clarinet") is None
    assert library.find("spectral", "stem", "piano") is None
    assert library.find("wavenet", "mixture", "piano") is None
    assert list(library.cards()) == [
        mine / "z.safetensors",
        shipped / "a.safetensors",
        shipped / "b.safetensors",
    ]
    (mine / "z.json").write_text("{}")
    assert library.find("wavenet", "stem", "strings") == shipped / "b.safetensors"
    assert "checkpoint left out" in caplog.text


# The authors' networks, rebuilt from their description in the names of their state dicts.


class AuthorsEncoderLayer(nn.Module):
    def __init__(self, style: str, channels: int, dilation: int) -> None:
        super().__init__()
        self.style = style
        self.dilated_conv = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.conv_1x1 = nn.Conv1d(channels, channels * (2 if style == "glu" else 1), 1)
        if style == "legacy":
            self.extra = nn.Conv1d(channels, channels * 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.dilated_conv(x))
        update: Tensor = (self.extra if self.style == "legacy" else self.conv_1x1)(hidden)
        return x + (update if self.style == "relu" else F.glu(update, 1))


class AuthorsEncoder(nn.Module):
    def __init__(self, style: str, args: argparse.Namespace) -> None:
        super().__init__()
        width = args.encoder_channels
        self.dilated_convs = nn.Sequential(
            *[
                AuthorsEncoderLayer(style, width, 2**i)
                for _ in range(args.encoder_blocks)
                for i in range(args.encoder_layers)
            ]
        )
        self.start = nn.Conv1d(1, width, 3, padding=1)
        self.conv_1x1 = nn.Conv1d(width, args.latent_d, 1)

    def forward(self, codes: Tensor) -> Tensor:
        x = self.start(codes.float().unsqueeze(1) / 255 - 0.5)
        pooled: Tensor = F.avg_pool1d(self.conv_1x1(self.dilated_convs(x)), POOL)
        return pooled


class AuthorsDecoderLayer(nn.Module):
    def __init__(self, args: argparse.Namespace, dilation: int) -> None:
        super().__init__()
        width = args.residual_channels
        self.dilation = dilation
        self.causal = nn.Conv1d(width, 2 * width, 2, dilation=dilation)
        self.condition = nn.Conv1d(args.latent_d, 2 * width, 1)
        self.residual = nn.Conv1d(width, width, 1)
        self.skip = nn.Conv1d(width, args.skip_channels, 1)

    def forward(self, x: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.causal(F.pad(x, (self.dilation, 0))) + self.condition(latents)
        half = mixed.shape[1] // 2
        z = torch.sigmoid(mixed[:, :half]) * torch.tanh(mixed[:, half:])
        return self.residual(z), self.skip(z)


class AuthorsDecoder(nn.Module):
    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__()
        self.first_conv = nn.Conv1d(1, args.residual_channels, 2)
        self.skip_conv = nn.Conv1d(args.residual_channels, args.skip_channels, 1)
        self.layers = nn.ModuleList(
            AuthorsDecoderLayer(args, 2**i) for _ in range(args.blocks) for i in range(args.layers)
        )
        self.condition = nn.Conv1d(args.latent_d, args.skip_channels, 1)
        self.fc = nn.Conv1d(args.skip_channels, args.skip_channels, 1)
        self.logits = nn.Conv1d(args.skip_channels, 256, 1)

    def forward(self, codes: Tensor, latents: Tensor) -> Tensor:
        latents = latents.repeat_interleave(POOL, 2)
        x = codes.float().unsqueeze(1) / 255 - 0.5
        x = torch.cat([torch.zeros_like(x[..., :1]), x[..., :-1]], 2)
        x = self.first_conv(F.pad(x, (1, 0)))
        skips = self.skip_conv(x)
        for layer in self.layers:
            residual, skip = layer(x, latents)
            x, skips = x + residual, skips + skip
        logits: Tensor = self.logits(F.relu(self.fc(F.relu(skips)) + self.condition(latents)))
        return logits


def sizes(**changes: Any) -> argparse.Namespace:
    small = {"blocks": 2, "layers": 3, "residual_channels": 6, "skip_channels": 5, "latent_d": 4}
    small |= {"encoder_blocks": 2, "encoder_layers": 4, "encoder_channels": 8, "encoder_pool": POOL}
    return argparse.Namespace(
        **small | {"encoder_func": "relu", "checkpoint": PosixPath("a/b"), "lr": 1e-3} | changes
    )


def lively(module: nn.Module) -> nn.Module:
    """Weights large enough that every layer shows in the logits."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module.eval()


def publish(
    folder: Path, args: Any, encoder: nn.Module, *decoders: nn.Module, prefix: str = "", **more: Any
) -> Path:
    """Write a folder as the authors' training does."""

    def state(module: nn.Module) -> dict[str, Tensor]:
        return OrderedDict((prefix + name, tensor) for name, tensor in module.state_dict().items())

    folder.mkdir(exist_ok=True)
    torch.save(args, folder / "args.pth")
    content = {"encoder_state": state(encoder), "epoch": 3}
    content |= dict(zip(("decoder_state", "decoder2_state"), map(state, decoders), strict=False))
    torch.save(content | more, folder / "bestmodel_0.pth")
    return folder


CASES = {
    "universal": ("relu", 1, {}),
    "glu": ("glu", 1, {"encoder_func": "glu"}),
    "legacy glu": ("legacy", 1, {"encoder_func": "glu"}),
    "two decoders": ("legacy", 2, {}),
    "another depth": ("relu", 1, {"blocks": 3, "layers": 5, "encoder_blocks": 1, "encoder_layers": 7}),
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("style", "count", "changes"), CASES.values(), ids=CASES.keys())
def test_a_converted_network_says_the_same(
    tmp_path: Path, style: str, count: int, changes: dict[str, Any], prefix: str
) -> None:
    torch.manual_seed(0)
    args = sizes(**changes)
    encoder = lively(AuthorsEncoder(style, args))
    decoders = [lively(AuthorsDecoder(args)) for _ in range(count)]
    voices = ("strings", "piano")[:count]
    publish(tmp_path / "theirs", args if style == "relu" else [args, 7], encoder, *decoders, prefix=prefix)
    card = convert(tmp_path / "theirs", tmp_path / "ours", recipe="stem", voices=voices)

    found, tensors = load(tmp_path / "ours")
    assert found == card
    ours = WaveNetAutoencoder.from_sizes(card.config, card.voices)
    ours.load_state_dict(tensors)
    codes = torch.randint(0, 256, (2, 2 * POOL))
    with torch.no_grad():
        latents = encoder(codes)
        torch.testing.assert_close(ours.encoder(codes), latents, atol=1e-4, rtol=0)
        for voice, decoder in zip(voices, decoders, strict=True):
            expected = decoder(codes, latents)
            assert expected.std() > 0.1
            torch.testing.assert_close(
                ours.decoder(voice)(codes, ours.encoder(codes)), expected, atol=1e-4, rtol=0
            )


def test_the_embedding_recipe_takes_the_encoder_alone(tmp_path: Path) -> None:
    args = sizes()
    publish(tmp_path / "theirs", args, AuthorsEncoder("legacy", args))
    card = convert(tmp_path / "theirs", tmp_path / "ours", recipe="embedding", voices=["piano"])
    assert card.voices == ("piano",)
    assert list(card.config) == ["encoder"]
    WaveNetAutoencoder.from_sizes(card.config, ()).load_state_dict(load(tmp_path / "ours")[1])


def test_the_tensors_are_believed_where_the_arguments_differ(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = sizes(blocks=1, layers=10)
    folder = publish(tmp_path / "a", args, AuthorsEncoder("relu", args), AuthorsDecoder(args))
    torch.save(sizes(blocks=4, layers=10, latent_d=64), folder / "args.pth")
    with caplog.at_level(logging.WARNING):
        card = convert(folder, tmp_path / "b", recipe="mixture", voices=["sp"])
    decoder = card.config["decoder"]
    assert (decoder["blocks"], decoder["layers"], decoder["latent_channels"]) == (1, 10, 4)
    assert "latent_d = 64, the tensors 4" in caplog.text
    assert "blocks = 4, layers = 10, the tensors hold 10 layers" in caplog.text


def test_networks_of_another_make_are_refused(tmp_path: Path) -> None:
    args = sizes()
    encoder, decoder = AuthorsEncoder("relu", args), AuthorsDecoder(args)
    stranger = nn.ModuleDict({"first_conv": nn.Conv1d(1, 6, 2), "skip_conv": nn.Conv1d(6, 5, 1)})

    def refusal(
        *networks: nn.Module, args: Any = args, voices: tuple[str, ...] = ("sp",), **more: Any
    ) -> str:
        folder = publish(tmp_path / "a", args, *networks, **more)
        with pytest.raises(CheckpointError) as caught:
            convert(folder, tmp_path / "b", recipe="mixture", voices=voices)
        assert not list(tmp_path.glob("b*"))
        return str(caught.value)

    assert "nothing serves as condition.weight" in refusal(encoder, stranger)
    assert "unknown tensor bn.weight" in refusal(nn.ModuleDict({"bn": nn.BatchNorm1d(3)}), decoder)
    assert "encoder's activation is 'tanh'" in refusal(encoder, decoder, args=sizes(encoder_func="tanh"))
    assert "tensors hold 6 layers" in refusal(encoder, decoder, args=sizes(blocks=5))
    assert "decoder2_state" in refusal(
        encoder, decoder, AuthorsDecoder(sizes(latent_d=3)), voices=("sp", "cv")
    )
    assert "expected one voice each" in refusal(encoder, decoder, voices=("sp", "cv"))
    assert "expected one voice each" in refusal(encoder)
    assert "encoder_state is not a state dict" in refusal(encoder, decoder, encoder_state=[1, 2])
    huge = {"start.weight": torch.zeros(1).expand(1 << 40)}
    assert "encoder_state is not a state dict" in refusal(encoder, decoder, encoder_state=huge)
    assert "expected a namespace" in refusal(encoder, decoder, args={"blocks": 2})
    state = decoder.state_dict()
    odd = {**state, "layers.0.gate.weight": state.pop("fc.bias")}
    fault = refusal(encoder, decoder, decoder_state=odd)
    assert "layers.0.gate.weight (5,), expected none" in fault


class Hostile:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize("name", ["args.pth", "bestmodel_0.pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, name: str, zipped: bool) -> None:
    args = sizes()
    folder = publish(tmp_path / "theirs", args, AuthorsEncoder("relu", args), AuthorsDecoder(args))
    victim = tmp_path / "victim"
    payload = {"encoder_state": Hostile(f"touch {victim}")} if "best" in name else Hostile(f"touch {victim}")
    torch.save(payload, folder / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"refused, it asks for \w+\.system") as caught:
        convert(folder, tmp_path / "ours", recipe="mixture", voices=["sp"])
    assert not victim.exists()
    assert not list(tmp_path.glob("ours*"))
    assert "weights_only" not in str(caught.value)
    # The payload is a true one: read without care, it does run.
    torch.load(folder / name, weights_only=False)
    assert victim.exists()


@pytest.mark.parametrize(
    "junk", [b"", b"not a checkpoint", pickle.dumps([1], protocol=2), b"PK\x03\x04" + b"\x00" * 60]
)
def test_damaged_files_are_refused(tmp_path: Path, junk: bytes) -> None:
    args = sizes()
    folder = publish(tmp_path / "theirs", args, AuthorsEncoder("relu", args), AuthorsDecoder(args))
    (folder / "bestmodel_0.pth").write_bytes(junk)
    with pytest.raises(CheckpointError, match=r"bestmodel_0\.pth: refused, it is damaged"):
        convert(folder, tmp_path / "ours", recipe="mixture", voices=["sp"])
    (folder / "bestmodel_0.pth").unlink()
    with pytest.raises(CheckpointError, match=r"bestmodel_0\.pth: there is no such file"):
        convert(folder, tmp_path / "ours", recipe="mixture", voices=["sp"])
