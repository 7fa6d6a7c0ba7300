"""What the survey's benchmark stands on: the program in a process of its own, and participants without a browser."""

import asyncio
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STUDY = "music-star"


class Lost(ConnectionError):
    """The server went away before it had answered."""


@dataclass
class Browser:
    """One participant's browser: a connection that is kept, and the cookie.

    Attributes
    ----------
    seconds : the time each answer took
    receipts : what was acknowledged, with the body that was sent
    """

    port: int
    cookie: str = ""
    state: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    receipts: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Send JSON (or text as it is) to the survey's interface; gives status and JSON."""
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        head = (
            f"POST /survey/api/{path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\n" + (f"cookie: {self.cookie}\r\n" if self.cookie else "") + "\r\n"
        )
        # A server closes connections that lie idle; as a browser does, one that was kept is tried, then a new one.
        while True:
            kept = self.streams is not None
            try:
                if self.streams is None:
                    self.streams = await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = self.streams
                writer.write(head.encode() + content)
                await writer.drain()
                return await self._read(reader)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.close()
                if not kept:
                    raise Lost from error

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, Any]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        length = 0
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "set-cookie":
                self.cookie = value.partition(";")[0]
        content = await reader.readexactly(length)
        return int(lines[0].split()[1]), json.loads(content) if content else None

    def close(self) -> None:
        """Drop the connection; the next request makes another."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def arrive(self) -> None:
        """Open the survey and go through everything before the first trial."""
        await self._expect("open", {"study": STUDY, "participant": "", "language": "en", "preview": False})
        answers = {
            question["key"]: question["options"][0]["key"]
            if question["kind"] == "choice"
            else 30
            if question["kind"] == "number"
            else "none"
            for question in self.state["background"]["questions"]
        }
        await self._expect("consent", {"agreed": True, "language": "en"})
        await self._expect("background", {"answers": answers})
        await self._expect("sound", {"volume": 0.5, "headphones": "skipped", "answers": []})

    async def _expect(self, path: str, body: dict[str, Any]) -> None:
        if path != "open":
            body = {**body, "generation": self.state["generation"]}
        status, answer = await self.post(path, body)
        if status != 200:
            raise RuntimeError(f"{path} gave {status}: {answer}")
        self.state = answer

    async def hear(self) -> None:
        """Say that everything in all trials was heard."""
        events = [
            {"trial": trial["id"], "item": item, "kind": "heard", "at_ms": 1000, "position_s": 9.0}
            for trial in self.state["trials"]
            for item in ("gold", *(clip["item"] for clip in trial["clips"]))
        ]
        status, answer = await self.post("events", {"events": events})
        if status != 200:
            raise RuntimeError(f"events gave {status}: {answer}")

    def ranking(self, trial: dict[str, Any], criterion: str, rng: random.Random) -> dict[str, Any]:
        """A submission."""
        places = list(range(1, len(trial["clips"]) + 1))
        rng.shuffle(places)
        return {
            "submission": secrets.token_hex(16),
            "trial": trial["id"],
            "criterion": criterion,
            "ranks": {clip["item"]: place for clip, place in zip(trial["clips"], places, strict=True)},
            "generation": self.state["generation"],
            "elapsed_ms": 4000,
        }

    async def submit(self, body: dict[str, Any]) -> int:
        """Send an answer and keep its receipt."""
        began = time.monotonic()
        status, answer = await self.post("answers", body)
        self.seconds.append(time.monotonic() - began)
        if status == 200:
            self.receipts.append((body, answer))
            self.state["generation"] = answer["generation"]
        return status

    async def unstored(self) -> int:
        """How many acknowledged answers do not give their receipt again."""
        missing = 0
        for body, receipt in self.receipts:
            status, answer = await self.post("answers", body)
            missing += status != 200 or answer["revision"] != receipt["revision"]
        return missing

    def questions(self) -> list[tuple[dict[str, Any], str]]:
        """Each trial with each criterion, in the order of the screens."""
        return [(trial, criterion) for trial in self.state["trials"] for criterion in trial["criteria"]]


def launch(port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the program with its survey in a folder, whatever settings of it and other database there are outside."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "DATABASE_URL" and not name.startswith("MUSICSTAR_")
    }
    settings = {"MUSICSTAR_PORT": str(port), "MUSICSTAR_SURVEY": str(folder)}
    return subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env={**inherited, **settings})


@dataclass
class Server:
    """The program, serving the survey from a folder."""

    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def database(self) -> Path:
        """The file of the answers."""
        return self.folder / "survey.sqlite"

    async def start(self) -> None:
        """Start it and wait until the study can be opened."""
        self.process = self._launch()
        deadline = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < deadline:
            first = Browser(self.port)
            try:
                await first.arrive()
            except (Lost, RuntimeError):
                await asyncio.sleep(0.2)
            else:
                return
            finally:
                first.close()
        raise RuntimeError("the server did not start")

    def _launch(self) -> "subprocess.Popen[bytes]":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        return launch(self.port, self.folder)

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it by a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
