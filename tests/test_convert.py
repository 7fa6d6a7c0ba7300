"""The authors' networks speak the same once converted, and what is none of theirs is refused unread."""

import argparse
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

from musicstar import backbones
from musicstar.checkpoint import CheckpointError, load
from musicstar.convert import convert
from musicstar.domains import Voice

POOL = 800

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
    return argparse.Namespace(**small | {"encoder_func": "relu", "checkpoint": PosixPath("a/b"), "lr": 1e-3} | changes)


def lively(module: nn.Module) -> nn.Module:
    """Weights large enough that every layer shows in the logits."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    return module.eval()


def publish(folder: Path, args: Any, encoder: nn.Module, *decoders: nn.Module, prefix: str = "", **more: Any) -> Path:
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

    assert load(tmp_path / "ours")[0] == card
    assert card.training["origin"] == "converted"
    assert card.training["source"] == ["args.pth", "bestmodel_0.pth"]
    ours = backbones.load(tmp_path / "ours")
    assert isinstance(ours, backbones.WaveNetModel)
    assert ours.voices == tuple(map(Voice.from_label, voices))
    codes = torch.randint(0, 256, (2, 2 * POOL))
    with torch.no_grad():
        latents = encoder(codes)
        torch.testing.assert_close(ours.encoder(codes), latents, atol=1e-4, rtol=0)
        for voice, decoder in zip(voices, decoders, strict=True):
            expected = decoder(codes, latents)
            assert expected.std() > 0.1
            logits = ours.decoders[voice](codes, ours.encoder(codes))
            torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("told", [True, False])
def test_the_embedding_recipe_takes_the_encoder_alone(tmp_path: Path, told: bool) -> None:
    """The card names the decoder it was made for: the one of args.pth, or else the paper's."""
    args = sizes() if told else argparse.Namespace(encoder_blocks=2, encoder_layers=4)
    theirs = AuthorsEncoder("legacy", sizes())
    publish(tmp_path / "theirs", args, theirs)
    card = convert(tmp_path / "theirs", tmp_path / "ours", recipe="embedding", voices=["piano"])
    assert card.voices == ("piano",)
    assert card.partner == ""
    ours = backbones.load(tmp_path / "ours")
    assert isinstance(ours, backbones.WaveNetModel)
    assert len(ours.decoders) == 0
    decoder = ours.config.decoder
    assert (decoder.blocks, decoder.layers, decoder.channels, decoder.skip_channels) == (
        (2, 3, 6, 5) if told else (4, 10, 128, 128)
    )
    assert (decoder.latent_channels, decoder.pool) == (4, POOL)
    codes = torch.randint(0, 256, (2, 2 * POOL))
    with torch.no_grad():
        torch.testing.assert_close(ours.encoder(codes), theirs(codes), atol=1e-4, rtol=0)


def test_the_tensors_are_believed_where_the_arguments_differ(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
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
        *networks: nn.Module,
        args: Any = args,
        recipe: str = "mixture",
        voices: tuple[str, ...] = ("sp",),
        **more: Any,
    ) -> str:
        folder = publish(tmp_path / "a", args, *networks, **more)
        with pytest.raises(CheckpointError) as caught:
            convert(folder, tmp_path / "b", recipe=recipe, voices=voices)
        assert not list(tmp_path.glob("b*"))
        return str(caught.value)

    assert "nothing serves as condition.weight" in refusal(encoder, stranger)
    assert "unknown tensor bn.weight" in refusal(nn.ModuleDict({"bn": nn.BatchNorm1d(3)}), decoder)
    assert "encoder's activation is 'tanh'" in refusal(encoder, decoder, args=sizes(encoder_func="tanh"))
    assert "tensors hold 6 layers" in refusal(encoder, decoder, args=sizes(blocks=5))
    assert "decoder2_state" in refusal(encoder, decoder, AuthorsDecoder(sizes(latent_d=3)), voices=("sp", "cv"))
    assert "expected one voice each" in refusal(encoder, decoder, voices=("sp", "cv"))
    assert "expected one voice each" in refusal(encoder)
    assert "expected one voice each" in refusal(encoder, decoder, decoder, voices=("sp", "sp"))
    for voice in ("tuba", "clarinet"):
        assert "for mixture, which plays pairs: cv, fg, sp, th" in refusal(encoder, decoder, voices=(voice,))
    assert "for stem, which plays single instruments" in refusal(encoder, decoder, recipe="stem", voices=("cv",))
    assert "cannot be made into 'separation'" in refusal(encoder, decoder, recipe="separation")
    bare = nn.Module()
    for name, part in decoder.named_children():
        if name != "layers":
            bare.add_module(name, part)
    assert "tensors hold 0 layers" in refusal(encoder, bare)
    assert "encoder_state is not a state dict" in refusal(encoder, decoder, encoder_state=[1, 2])
    huge = {"start.weight": torch.zeros(1).expand(1 << 40)}
    assert "encoder_state is not a state dict" in refusal(encoder, decoder, encoder_state=huge)
    assert "expected a namespace" in refusal(encoder, decoder, args={"blocks": 2})
    state = decoder.state_dict()
    odd = {**state, "layers.0.gate.weight": state.pop("fc.bias")}
    fault = refusal(encoder, decoder, decoder_state=odd)
    assert "layers.0.gate.weight (5,), expected none" in fault


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"encoder_pool": 0}, "encoder_pool = 0, expected a whole number above 0"),
        ({"encoder_pool": "800"}, "encoder_pool = '800', expected a whole number above 0"),
        ({"encoder_pool": True}, "encoder_pool = True, expected a whole number above 0"),
        ({"encoder_pool": torch.ones(2)}, "encoder_pool = 'Tensor', expected a whole number above 0"),
        ({"encoder_pool": 10**30}, "expected 800 samples a latent"),
        ({"blocks": -2, "layers": -3}, "blocks = -2, expected a whole number above 0"),
        ({"blocks": 2.0}, r"blocks = 2\.0, expected a whole number above 0"),
        ({"encoder_blocks": [2]}, "encoder_blocks = 'list', expected a whole number above 0"),
        ({"encoder_layers": 0}, "encoder_layers = 0, expected a whole number above 0"),
        ({"latent_d": "many"}, "latent_d = 'many', expected a whole number above 0"),
        ({"encoder_func": torch.ones(2)}, "the encoder's activation is tensor"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    args = sizes()
    folder = publish(tmp_path / "a", sizes(**changes), AuthorsEncoder("relu", args), AuthorsDecoder(args))
    with pytest.raises(CheckpointError, match=complaint):
        convert(folder, tmp_path / "b", recipe="mixture", voices=["sp"])
    assert not list(tmp_path.glob("b*"))


def test_no_layer_looks_back_for_minutes(tmp_path: Path) -> None:
    """A right product of wrong factors would need a dilation of 2 ** 29."""
    args = sizes(blocks=30, layers=1)
    folder = publish(tmp_path / "a", sizes(blocks=1, layers=30), AuthorsEncoder("relu", args), AuthorsDecoder(args))
    card = convert(folder, tmp_path / "b", recipe="mixture", voices=["sp"])
    assert (card.config["decoder"]["blocks"], card.config["decoder"]["layers"]) == (3, 10)


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
