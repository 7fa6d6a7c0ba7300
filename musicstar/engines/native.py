"""The engine of `wavenet.cpp`: built for this processor when first asked for, kept, and called through ctypes.

Nothing of PyTorch is in it, so one build serves any version; PyTorch's extension loader finds the compiler.
"""

import ctypes
import hashlib
import logging
import operator
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import textwrap
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicstar.engines import processors
from musicstar.engines.base import Ask, Said
from musicstar.engines.processors import SETS
from musicstar.files import clear, write_whole
from musicstar.wavenet import CLASSES, Decoder, Encoder, marking_last

LOG = logging.getLogger(__name__)
SOURCE = Path(__file__).with_name("wavenet.cpp")
DIGEST_BYTES = 32
# Of what is colder float32 does not hold the inverse.
COLDEST = 1e-37
# Where the inner loop of products begins within a line of a cache would be chance, and up to 6 % of its speed.
FLAGS = ("-O3", "-std=c++17", "-Wno-psabi", "-pthread", "-falign-loops=64")


class Unavailable(RuntimeError):
    """There is no native engine here; the message says why."""


def cache_folder() -> Path:
    """Where builds are kept: MUSICSTAR_CACHE, or a folder of ours where the user's caches are.

    Raises
    ------
    OSError
        It would be in a home that there is not.
    """
    named = os.environ.get("MUSICSTAR_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(named or Path(users) / "musicstar").expanduser().absolute()
    except RuntimeError as error:
        raise OSError(f"there is no home for {named or users}") from error


@cache
def load(name: str) -> "Library":
    """The engine for an instruction set, built if it is not yet there.

    Raises
    ------
    Unavailable
        The processor lacks the instruction set, there is no compiler, it failed, or the system forbids the use.
    """
    lacking = SETS[name].needs - processors.offered()
    if lacking:
        raise Unavailable(f"this processor has no {', '.join(sorted(lacking))}, which {name} needs")
    flags = [*FLAGS, *SETS[name].flags]
    sources = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.glob("*.h"))) + SOURCE.read_bytes()
    digest = hashlib.sha256(sources + " ".join([platform.machine(), *flags]).encode()).hexdigest()[:12]
    try:
        file = f"engine-{name}-{digest}.so"
        library = _kept(file) or _build(file, flags)
    except Unavailable:
        raise
    except (OSError, RuntimeError, ImportError, AttributeError, subprocess.SubprocessError) as error:
        # Of all that a build says, what the compiler found, or what the loader did.
        found = re.search(r"^.*\berror: .*$", str(error), re.MULTILINE)
        loading = error.__cause__ if isinstance(error.__cause__, OSError) else error
        said = textwrap.shorten(found[0] if found else str(loading), 200)
        raise Unavailable(f"the engine could not be built or loaded ({said})") from error
    if not library.functions.engine_permitted():
        raise Unavailable(f"the system does not let programs use {name}")
    return library


def compiler() -> tuple[str, str | None]:
    """The C++ compiler as CXX names it, with arguments or without, by default `c++`; and where it is, if anywhere."""
    named = (os.environ.get("CXX") or "c++").strip()
    try:
        words = shlex.split(named)
    except ValueError:  # a quotation without its end
        words = []
    return named or "named by CXX", shutil.which(words[0]) if words else None


def _kept(file: str) -> "Library | None":
    """A build, if it is there as it was made: loading what has been cut short or damaged would end the process.

    None too where it does not load, as what was made on another system.
    """
    try:
        path = cache_folder() / file
        content = path.read_bytes() if path.is_file() else b""
        whole = hashlib.sha256(content[:-DIGEST_BYTES]).digest() == content[-DIGEST_BYTES:]
        return Library(path) if whole else None
    except (OSError, AttributeError):
        return None


def _build(file: str, flags: Sequence[str]) -> "Library":
    """Compile the engine, and keep it if that can be; two processes that do so do not disturb each other."""
    # On import it says that there is no CUDA, which is of no interest here.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils import cpp_extension

    named, found = compiler()
    if found is None:
        raise Unavailable(f"there is no C++ compiler {named} to build it with")
    refused: OSError | None = None
    try:
        kept = cache_folder()
        kept.mkdir(parents=True, exist_ok=True)
        clear(kept)
        clear(kept, ".building-*")
        room = tempfile.TemporaryDirectory(dir=kept, prefix=".building-")
    except OSError as error:
        refused, room = error, tempfile.TemporaryDirectory()
    LOG.info("building the WaveNet engine with %s", named)
    with room as folder, _environment(CXX=named, PATH=_with_ninja()):
        cpp_extension.load(
            "engine",
            [str(SOURCE)],
            extra_cflags=list(flags),
            extra_ldflags=["-pthread"],
            build_directory=folder,
            with_cuda=False,
            is_python_module=False,
        )
        # Built a second time in one process, PyTorch gives it a number. Loaders do not mind what follows a library.
        built = next(Path(folder).glob("engine*.so"))
        library, content = Library(built), built.read_bytes()
        try:
            if not refused:
                write_whole(kept / file, content + hashlib.sha256(content).digest())
        except OSError as error:
            refused = error
    if refused:
        LOG.warning("the WaveNet engine is not kept (%s); MUSICSTAR_CACHE names another folder", refused)
    return library


def _with_ninja() -> str:
    """The path with the ninja of the Python package, which lies beside an interpreter that need not be on it."""
    import ninja

    return os.pathsep.join([ninja.BIN_DIR, os.environ.get("PATH", os.defpath)])


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Have variables of the environment set for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Sizes(ctypes.Structure):
    """Of a decoder: layers, channels, skip channels, latents; of an encoder: layers, channels, pool, whether gated."""

    _fields_ = [(name, ctypes.c_int32) for name in ("layers", "channels", "third", "fourth")]


class _Item(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("stream", "latents", "draws", "forced", "codes", "logits")),
        ("inverse_temperature", ctypes.c_float),
    ]


class Library:
    """A build, and what is made by it."""

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        for kind in ("decoder", "encoder", "stream", "reading"):
            getattr(self.functions, f"{kind}_new").restype = ctypes.c_void_p
            getattr(self.functions, f"{kind}_free").argtypes = [ctypes.c_void_p]
        self._networks: dict[bool, weakref.WeakKeyDictionary[nn.Module, tuple[list[Any], object, _Made]]] = {
            precision: weakref.WeakKeyDictionary() for precision in (False, True)
        }

    def network(self, module: Decoder | Encoder, *, bfloat16: bool) -> "_Made":
        """A network's weights as products take them; made anew when they have changed."""
        tensors = list(module.state_dict(keep_vars=True).values())
        # What was made for inference alone counts no changes: those are not seen.
        state = [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]  # noqa: SLF001
        known = self._networks[bfloat16].get(module)
        # Another tensor may lie where one was that is no more.
        same = known is not None and known[1] == state and all(map(operator.is_, (was() for was in known[0]), tensors))
        if known is None or not same:
            known = [weakref.ref(tensor) for tensor in tensors], state, self._pack(module, bfloat16)
            self._networks[bfloat16][module] = known
        return known[2]

    def _pack(self, module: Decoder | Encoder, bfloat16: bool) -> "_Made":
        config = module.config
        if isinstance(module, Decoder):
            kind, dilations = "decoder", module.config.dilations
            sizes = len(dilations), config.channels, module.config.skip_channels, config.latent_channels
            parts = ["causal", "condition", "residual", "skip"]
            names = [f"layers.{i}.{part}" for i in range(len(dilations)) for part in parts]
            names = ["first_conv", "skip_conv", *names, "condition", "fc", "logits"]
        else:
            kind, dilations = "encoder", module.config.dilations
            sizes = len(dilations), config.channels, config.pool, int(module.config.kind == "glu")
            names = [f"layers.{i}.{part}" for i in range(len(dilations)) for part in ("dilated", "pointwise")]
            names = ["first_conv", *names]
        state = module.state_dict()
        kept = [
            state[f"{name}.{what}"].to("cpu", torch.float32).contiguous()
            for name in names
            for what in ("weight", "bias")
        ]
        pointers = (ctypes.c_void_p * len(kept))(*(tensor.data_ptr() for tensor in kept))
        spans = (ctypes.c_int32 * len(dilations))(*dilations)
        return _Made(self, kind, bfloat16, ctypes.byref(_Sizes(*sizes)), spans, pointers)


class _Made:
    """Something that a library made, and gives back once nobody holds it."""

    def __init__(self, library: Library, kind: str, *arguments: Any) -> None:
        self.pointer = ctypes.c_void_p(getattr(library.functions, f"{kind}_new")(*map(_passed, arguments)))
        if self.pointer.value is None:
            raise MemoryError(f"there is no memory for the {kind} of a WaveNet")
        weakref.finalize(self, getattr(library.functions, f"{kind}_free"), self.pointer)


def _passed(argument: Any) -> Any:
    return argument.pointer if isinstance(argument, _Made) else argument


class NativeStream(_Made):
    """One clip on its way through a decoder."""

    def __init__(self, library: Library, decoder: Decoder, *, bfloat16: bool) -> None:
        self.network = library.network(decoder, bfloat16=bfloat16)
        super().__init__(library, "stream", bfloat16, self.network)


class NativeEngine:
    """Streams of one decoder go side by side.

    Parameters
    ----------
    instructions : a key of `SETS`
    bfloat16 : products of numbers rounded to 8 bits of mantissa, added up in float32
    threads : 0 as many as PyTorch uses

    Raises
    ------
    Unavailable
        See `load`.
    """

    def __init__(self, instructions: str, *, bfloat16: bool = False, threads: int = 0) -> None:
        self._library = load(instructions)
        self._bfloat16, self._threads, self._set = bfloat16, threads, SETS[instructions]
        # Decoders of few streams gain by half the memory; encoders, which read weights once, need the instruction.
        self._encoder_bfloat16 = bfloat16 and self._set.bfloat16
        self.name = f"native, {instructions}, {'bfloat16' if bfloat16 else 'float32'}"

    @property
    def threads(self) -> int:
        """How many are used at most."""
        return self._threads or torch.get_num_threads()

    @property
    def players(self) -> int:
        return self.threads

    @property
    def at_once(self) -> int:
        return self._set.streams_per_thread * self.threads

    def stream(self, decoder: Decoder) -> NativeStream:
        return NativeStream(self._library, decoder, bfloat16=self._bfloat16)

    def play(self, asks: Sequence[Ask[NativeStream]], steps: int, *, logits: bool = False) -> list[Said]:
        codes = torch.empty(len(asks), steps, dtype=torch.uint8)
        odds = torch.empty(len(asks), steps, CLASSES) if logits else None
        kept: list[Tensor] = []

        def address(tensor: Tensor | None, dtype: torch.dtype = torch.float32) -> int | None:
            if tensor is None:
                return None
            kept.append(tensor.to("cpu", dtype).contiguous())
            return kept[-1].data_ptr()

        together: dict[_Made, list[int]] = {}
        for i, ask in enumerate(asks):
            together.setdefault(ask.stream.network, []).append(i)
        for members in together.values():
            items = (_Item * len(members))(
                *(
                    _Item(
                        asks[i].stream.pointer,
                        address(asks[i].latents),
                        address(asks[i].draws),
                        address(asks[i].forced, torch.uint8),
                        codes[i].data_ptr(),
                        None if odds is None else odds[i].data_ptr(),
                        1.0 / max(asks[i].temperature, COLDEST),
                    )
                    for i in members
                )
            )
            if self._library.functions.play(items, len(members), steps):
                raise MemoryError("there is no memory for so many streams of a WaveNet at once")
        return [Said(codes[i].long(), None if odds is None else odds[i]) for i in range(len(asks))]

    def encode(self, encoder: Encoder, blocks: Iterable[Tensor]) -> Tensor:
        network = self._library.network(encoder, bfloat16=self._encoder_bfloat16)
        reading = _Made(self._library, "reading", self._encoder_bfloat16, network)
        pool, channels = encoder.config.pool, encoder.config.channels
        means: list[Tensor] = []
        heard = given = 0
        for block, last in marking_last(blocks):
            codes = block.to("cpu", torch.uint8).contiguous()
            heard += len(codes)
            room = torch.empty(heard // pool - given, channels)
            frames = self._library.functions.reading_read(
                reading.pointer,
                ctypes.c_void_p(codes.data_ptr()),
                len(codes),
                last,
                self.threads,
                ctypes.c_void_p(room.data_ptr()),
            )
            if frames < 0:
                raise MemoryError("there is no memory for the encoder of a WaveNet")
            given += frames
            means.append(room[:frames].t()[None].to(encoder.last_conv.weight, copy=True))
        return encoder.latents_from(means)
