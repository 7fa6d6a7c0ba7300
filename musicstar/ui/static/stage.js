/* The stage: the picture and waveform of the track that is heard, on the time axis that all tracks share.
   A tap seeks; a drag marks the stretch that is looped. */
"use strict";
window.MusicStar ||= {};

(() => {
  const LOWEST_HZ = 50;
  const HIGHEST_HZ = 8000;
  const DRAG_PIXELS = 8;
  const mel = (hz) => Math.log10(1 + hz / 700);

  /** Draw an envelope (lowest and highest of each column, 128 is zero) as a filled shape. */
  window.MusicStar.paint = (canvas, envelope, factor, colour) => {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const pen = canvas.getContext("2d");
    const columns = envelope.length / 2;
    const x = (k) => ((k + 0.5) * width) / columns;
    const y = (byte) => height / 2 - Math.max(-1, Math.min(1, ((byte - 128) / 127) * factor)) * (height / 2 - 1);
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = colour;
    pen.beginPath();
    for (let k = 0; k < columns; k += 1) pen.lineTo(x(k), y(envelope[2 * k + 1]) - ratio / 2);
    for (let k = columns - 1; k >= 0; k -= 1) pen.lineTo(x(k), y(envelope[2 * k]) + ratio / 2);
    pen.fill();
  };

  /** The log-mel picture of a sound, for a light and a dark page; the hidden one is never fetched. */
  window.MusicStar.image = (sound) => {
    const { node } = window.MusicStar;
    const one = (mode) => node("img", { class: `ms-${mode}`, src: sound[mode], alt: "", loading: "lazy", draggable: "false" });
    return node("span", { class: "ms-image", "data-light": sound.light }, one("light"), one("dark"));
  };

  /** The time of a pointer over an element that is as wide as the piece is long. */
  window.MusicStar.secondsAt = (event, element, duration) => {
    const box = element.getBoundingClientRect();
    return Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1) * duration;
  };

  window.MusicStar.stage = (deck) => {
    const { node, image, secondsAt, paint } = window.MusicStar;
    const picture = node("div", { class: "ms-picture", "aria-hidden": "true" });
    const wave = node("canvas", { class: "ms-wave", "aria-hidden": "true" });
    const shade = node("div", { class: "ms-region", hidden: true });
    const ruler = node("div", { class: "ms-ruler", "aria-hidden": "true" });
    const now = node("p", { class: "ms-now", "aria-hidden": "true" });
    const scale = node(
      "div",
      { class: "ms-scale", "aria-hidden": "true" },
      [250, 500, 1000, 2000, 4000].map((hz) => {
        const share = (mel(hz) - mel(LOWEST_HZ)) / (mel(HIGHEST_HZ) - mel(LOWEST_HZ));
        return node("span", { style: `bottom:${(100 * share).toFixed(2)}%` }, hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`);
      }),
    );
    const head = node("div", { class: "ms-head", "aria-hidden": "true" });
    const surface = node("div", { class: "ms-surface" }, picture, scale, now, wave, shade, head);

    /** Loop a stretch, or the whole piece where it is null or of no length. */
    const setRegion = (region) => {
      const valid = region && region.end - region.start > 0.05;
      deck.setRegion(valid ? region : null);
      if (valid && !deck.loop.on) deck.setLooping(true);
    };

    const handle = (side, label) => {
      const element = node("div", {
        class: `ms-handle ms-${side}`,
        role: "slider",
        tabindex: 0,
        "aria-label": label,
        "aria-valuemin": 0,
      });
      const move = (seconds) => {
        const { start, end } = deck.region;
        const at = Math.min(Math.max(0, seconds), deck.duration);
        setRegion(side === "start" ? { start: Math.min(at, end - 0.1), end } : { start, end: Math.max(at, start + 0.1) });
      };
      element.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -0.1, ArrowRight: 0.1, PageDown: -1, PageUp: 1 }[event.key];
        if (!by) return;
        event.preventDefault();
        move(deck.region[side] + by);
      });
      element.addEventListener("pointerdown", (event) => {
        event.stopPropagation();
        element.setPointerCapture(event.pointerId);
        element.onpointermove = (moved) => move(secondsAt(moved, surface, deck.duration));
        element.onpointerup = element.onpointercancel = () => (element.onpointermove = null);
      });
      shade.append(element);
      return element;
    };
    const handles = { start: handle("start", "Loop start"), end: handle("end", "Loop end") };

    surface.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !deck.duration) return;
      const from = secondsAt(event, surface, deck.duration);
      const between = (other) => {
        const to = secondsAt(other, surface, deck.duration);
        return { start: Math.min(from, to), end: Math.max(from, to) };
      };
      let dragged = false;
      surface.setPointerCapture(event.pointerId);
      surface.onpointermove = (moved) => {
        dragged ||= Math.abs(moved.clientX - event.clientX) > DRAG_PIXELS;
        if (dragged) showRegion(between(moved));
      };
      surface.onpointerup = surface.onpointercancel = (up) => {
        surface.onpointermove = surface.onpointerup = surface.onpointercancel = null;
        if (up.type === "pointercancel") showRegion(deck.region);
        else if (dragged) setRegion(between(up));
        else deck.seek(from);
      };
    });

    const showRegion = (region) => {
      shade.hidden = !region;
      if (!region) return;
      shade.style.left = `${(100 * region.start) / deck.duration}%`;
      shade.style.width = `${(100 * (region.end - region.start)) / deck.duration}%`;
      for (const [side, element] of Object.entries(handles)) {
        element.setAttribute("aria-valuemax", deck.duration.toFixed(1));
        element.setAttribute("aria-valuenow", region[side].toFixed(1));
        element.setAttribute("aria-valuetext", `${region[side].toFixed(1)} seconds`);
      }
    };

    return {
      element: node("div", { class: "ms-stage" }, surface, ruler),
      surface,
      setRegion,
      showRegion,
      /** Begin a new piece. */
      open: () => {
        const every = deck.duration <= 12 ? 1 : deck.duration <= 40 ? 5 : 10;
        const marks = Array.from({ length: Math.ceil(deck.duration / every) }, (_, k) => k * every);
        picture.replaceChildren();
        ruler.replaceChildren(
          ...marks.map((mark) => node("span", { style: `left:${(100 * mark) / deck.duration}%` }, String(mark))),
        );
      },
      /** Show a sound by its picture, its name and its row's meaning (domain and kind). */
      show: (sound, name, { domain, kind }) => {
        for (const shown of picture.children) shown.hidden = shown.dataset.light !== sound.light;
        if (![...picture.children].some((shown) => !shown.hidden)) picture.append(image(sound));
        now.textContent = name;
        Object.assign(surface.dataset, { domain, kind });
      },
      drawWave: (envelope, factor, colour) => paint(wave, envelope, factor, colour),
    };
  };
})();
