"""Colours worked out from the studio's: shades, mixtures, and what can be read on them."""

from musicstar.ui.theme import DARK, LIGHT, Palette

POSITIVE = {LIGHT: "#2c6e4b", DARK: "#6fbf94"}
NEGATIVE = {LIGHT: "#7d4a86", DARK: "#c99bd4"}
# Groups without a colour of their own: told apart by their signs too.
OTHERS = {LIGHT: ("#3b5b92", "#8a5a00", "#5f4b8b"), DARK: ("#8fb0e8", "#dcb050", "#b9a6e4")}


def rank_shades(k: int, palette: Palette) -> list[str]:
    """Colours of ranks 1 to k, each step as far from the next."""
    end = mix(palette.accent, palette.paper, 0.86)
    start = mix(palette.accent, palette.ink, 0.45)
    return [mix(start, end, n / max(k - 1, 1)) for n in range(k)]


def mix(first: str, second: str, share: float) -> str:
    """The colour that lies a share of the way from one to another, sRGB.

    Examples
    --------
    >>> mix("#000000", "#ffffff", 0.5)
    '#808080'
    """
    pairs = zip(_channels(first), _channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def contrast(first: str, second: str) -> float:
    """The ratio of two colours' luminances as WCAG 2.2 defines it, 1 to 21.

    Examples
    --------
    >>> contrast("#000000", "#ffffff")
    21.0
    """
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def readable_on(ground: str) -> str:
    """Black or white, whichever is read better on a colour: on any one of them reaches 4.5 to 1."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, ground))


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
