"""What files of audio say of themselves that libsndfile does not tell."""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

# Programs that write a WAV into a pipe put one of the largest numbers where its length belongs.
UNKNOWN_BYTES = 0x7FFF0000
# Some writers count a little wrong.
MISSING_BYTES = 4096
MAX_OGG_PAGE_BYTES = 65_307


def decode_mp3(path: Path) -> tuple[np.ndarray, int]:
    """Samples, float32 [T, channels], and rate of an MP3 that does not count its frames, of which libsndfile guesses.

    Raises
    ------
    ValueError
        It is not readable.
    """
    import miniaudio

    try:
        found = miniaudio.mp3_read_f32(path.read_bytes())
    except miniaudio.DecodeError as error:
        raise ValueError(str(error)) from error
    return np.frombuffer(found.samples, dtype=np.float32).reshape(-1, found.nchannels), found.sample_rate


def is_cut_off(path: Path, kind: str, *, announced: int, found: int) -> bool:
    """Whether a file holds less than it says at its beginning; libsndfile reads such files as if they were whole."""
    with path.open("rb") as stream:
        if kind.startswith(("WAV", "RF64")):
            return _wav_bytes(stream) > path.stat().st_size + MISSING_BYTES
        if kind == "OGG":
            return _ends_within_page(stream)
    return kind == "MP3" and found < 0.99 * announced


def _wav_bytes(stream: BinaryIO) -> int:
    """How long a WAV file is by its chunks' headers; 0 where they do not say."""
    form = stream.read(12)[:4]
    order = {b"RIFF": "<", b"RIFX": ">", b"RF64": "<"}.get(form)
    long = 0
    while order is not None and len(header := stream.read(8)) == 8:
        name, size = struct.unpack(f"{order}4sI", header)
        if name == b"ds64":
            # What does not fit into 32 bits: the length of the form, and of its data.
            long = struct.unpack("<QQ", stream.read(16).ljust(16, b"\0"))[1]
            size -= 16
        elif name == b"data" and form == b"RF64":
            return stream.tell() + long
        elif name == b"data":
            return stream.tell() + size if size < UNKNOWN_BYTES else 0
        stream.seek(size + size % 2, io.SEEK_CUR)
    return 0


def _ends_within_page(stream: BinaryIO) -> bool:
    """Whether the last page of an OGG file is not all there."""
    stream.seek(-min(MAX_OGG_PAGE_BYTES, stream.seek(0, io.SEEK_END)), io.SEEK_END)
    _, found, page = stream.read().rpartition(b"OggS")
    # Behind these four bytes a page has 23 of header, the last of which counts its segments, and their lengths.
    segments = page[22] if len(page) > 22 else 0
    return bool(found) and len(page) < 23 + segments + sum(page[23 : 23 + segments])


def counts_frames(path: Path) -> bool:
    """Whether the first frame of an MP3, behind its ID3 tag if it has one, says how many there are."""
    with path.open("rb") as stream:
        head = stream.read(10)
        size = sum((byte & 127) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
        stream.seek(10 + size if head.startswith(b"ID3") else 0)
        head = stream.read(4096)
    for tag in (b"Xing", b"Info"):
        _, found, behind = head.partition(tag)
        if found and len(behind) > 3:
            return bool(behind[3] & 1)
    return False
