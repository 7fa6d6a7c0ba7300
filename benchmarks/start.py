"""How long the app takes to its first page, beside what importing its parts takes alone.

Run as `python -m benchmarks.start` from the root of the repository. Each start has a folder of its own and builds the
survey's study after the page, as a first start does.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.participants import launch

DEADLINE_S = 120.0


def start() -> float:
    """Seconds from the command to the first page."""
    with tempfile.TemporaryDirectory(prefix="start-benchmark-") as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        began = time.monotonic()
        process = launch(port, Path(folder) / "survey")
        try:
            while process.poll() is None and time.monotonic() - began < DEADLINE_S:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}") as answer:
                        answer.read()
                        return time.monotonic() - began
                except OSError:
                    time.sleep(0.02)
            raise RuntimeError("the app did not answer")
        finally:
            process.terminate()
            process.wait(30)


def importing(*modules: str) -> float:
    """Seconds that a Python takes to start and to import these."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], check=True)
    return time.monotonic() - began


def main() -> None:
    """Print medians of both, taken in turn, and their ratio."""
    parser = argparse.ArgumentParser(description="How long the app takes to its first page.")
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    pairs = [(start(), importing("gradio", "sqlalchemy", "pandas", "scipy.stats")) for _ in range(times)]
    page, imports = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        json.dumps({"first_page_s": round(page, 2), "imports_s": round(imports, 2), "ratio": round(page / imports, 2)})
    )


if __name__ == "__main__":
    main()
