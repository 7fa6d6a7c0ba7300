"""The deck that plays recordings side by side, in Chromium without a page: what it does is heard without a click."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

DECK = Path(__file__).resolve().parent.parent / "musicstar/ui/static/deck.js"
# Recordings that hold one value, so that whatever is neither that nor on its way there is a click.
ACT = """async ([source, acts]) => {
  (0, eval)(source);
  const RATE = 48000;
  const context = new OfflineAudioContext(1, 2 * RATE, RATE);
  const level = () => {
    const buffer = context.createBuffer(1, 10 * RATE, RATE);
    buffer.getChannelData(0).fill(0.5);
    return buffer;
  };
  const deck = new window.MusicStar.Deck(() => {});
  Object.assign(deck, { context, master: context.createGain() });
  deck.master.connect(context.destination);
  deck.open(10);
  for (const key of ["a", "b"])
    deck.sounds.set(key, { key, src: key, gain: 0, buffer: level(), node: null, level: null, loading: true });
  deck.current = "a";
  deck.playing = true;
  deck._schedule(0);
  for (const [seconds, act] of acts)
    context.suspend(seconds).then(async () => {
      await new Function("deck", "level", act)(deck, level);
      context.resume();
    });
  const heard = (await context.startRendering()).getChannelData(0).subarray(0.1 * RATE, 1.9 * RATE);
  let step = 0;
  for (let n = 1; n < heard.length; n += 1) step = Math.max(step, Math.abs(heard[n] - heard[n - 1]));
  return { step, peak: Math.max(...heard.subarray(0, RATE)), last: heard.at(-1) };
}"""
REPLACED = """
  deck._fetch = async () => level();
  deck.add("a", "more of it", 0);
  return deck.load("a");
"""


@pytest.mark.parametrize(
    ("acts", "last"),
    [
        ([[0.5, "deck.select('b')"]], 0.5),
        ([[0.5, "deck.seek(3)"]], 0.5),
        # Marking a stretch starts everything anew twice in one moment, a slider that is dragged does so every 8 ms.
        ([[0.5, "deck.setRegion({ start: 3, end: 6 }); deck.setLooping(true)"]], 0.5),
        ([[0.5, "deck.seek(3)"], [0.508, "deck.seek(3.2)"], [0.516, "deck.seek(3.4)"]], 0.5),
        ([[0.5, "deck.seek(3)"], [0.535, "deck.pause()"]], 0.0),
        ([[0.2, "deck._silence(deck.sounds.get('a'), 0.2)"], [0.5, "deck._join(deck.sounds.get('a'))"]], 0.5),
        ([[0.5, REPLACED]], 0.5),
    ],
    ids=["another", "seek", "stretch", "drag", "pause", "late", "replaced"],
)
def test_nothing_clicks(chrome: Any, acts: list[list[Any]], last: float) -> None:
    page = chrome.new_page()
    found = page.evaluate(ACT, [DECK.read_text(encoding="utf-8"), acts])
    page.close()
    # A fade of 12 ms takes 576 samples; a recording that is missing is heard to end.
    assert found["step"] < (0.002 if acts[0][0] == 0.5 else 0.51)
    assert found["peak"] == pytest.approx(0.5, abs=1e-3)
    assert found["last"] == pytest.approx(last, abs=1e-3)
