"""Readers of what stands on the command line; each raises ArgumentTypeError or ValueError."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path


def count(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
        return value

    return read


def share(text: str) -> float:
    """A number between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return value


def spread(text: str) -> float:
    """A number from 0."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0")
    return value


def export_name(text: str) -> str:
    """The name of an export."""
    if Path(text).suffix not in (".json", ".zip"):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .json nor in .zip")
    return text
