/* The player's face: what the deck plays, as waveforms and pictures that share one time axis. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.player = (root, props, watch, instead) => {
  const { node, icon, clock, wait, Deck } = window.MusicStar;
  const STEP_S = 1;
  const LOWEST_HZ = 50;
  const HIGHEST_HZ = 8000;
  const mel = (hz) => Math.log10(1 + hz / 700);
  let scene = null;
  let rows = new Map(); // Row key -> what is shown of a track or a step.
  let order = []; // Row keys from top to bottom.
  let frame = 0;
  let anywhere = true;

  const deck = new Deck(() => refresh());
  root.deck = deck;

  /* ---- what there is ---- */
  const title = node("h2", { id: "ms-player-title" }, "Listen");
  const subtitle = node("p", { class: "ms-sub" }, "");
  const live = node("p", { class: "ms-quiet", "aria-live": "polite" });
  const picture = node("div", { class: "ms-picture", "aria-hidden": "true" });
  const wave = node("canvas", { class: "ms-wave", "aria-hidden": "true" });
  const shade = node("div", { class: "ms-region", hidden: true });
  const head = node("div", { class: "ms-head", "aria-hidden": "true" });
  const ruler = node("div", { class: "ms-ruler", "aria-hidden": "true" });
  const scale = node(
    "div",
    { class: "ms-scale", "aria-hidden": "true" },
    [100, 500, 1000, 2000, 4000].map((hz) => {
      const share = (mel(hz) - mel(LOWEST_HZ)) / (mel(HIGHEST_HZ) - mel(LOWEST_HZ));
      return node("span", { style: `bottom:${(100 * share).toFixed(2)}%` }, hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`);
    }),
  );
  const now = node("p", { class: "ms-now", "aria-hidden": "true" });
  const surface = node("div", { class: "ms-surface" }, picture, scale, now, wave, shade, head);

  const toggle = (attributes, ...children) =>
    node("button", { type: "button", class: "ms-button", "aria-pressed": "false", ...attributes }, ...children);
  const play = node(
    "button",
    { type: "button", class: "ms-play", "aria-label": "Play", onclick: () => deck.toggle() },
    icon("play"),
  );
  const time = node("span", { class: "ms-time" }, "0:00.0");
  const seek = node("input", {
    type: "range",
    class: "ms-seek",
    min: 0,
    max: 1,
    step: 0.01,
    value: 0,
    "aria-label": "Position",
    oninput: () => deck.seek(Number(seek.value)),
  });
  const loop = toggle({ onclick: () => deck.setLooping(!deck.loop.on), title: "Repeat (L)" }, icon("loop"), "Loop");
  const clear = node(
    "button",
    { type: "button", class: "ms-button", hidden: true, onclick: () => setRegion(null) },
    icon("close"),
    "Whole piece",
  );
  const matched = node("input", {
    type: "checkbox",
    id: "ms-matched",
    checked: true,
    onchange: () => deck.setMatched(matched.checked),
  });
  const volume = node("input", {
    type: "range",
    class: "ms-volume",
    min: 0,
    max: 1,
    step: 0.01,
    value: 1,
    "aria-label": "Volume",
    oninput: () => deck.setVolume(Number(volume.value)),
  });
  const pictures = toggle(
    {
      onclick: () => {
        const on = root.classList.toggle("ms-all-pictures");
        pictures.setAttribute("aria-pressed", String(on));
        draw();
      },
    },
    icon("picture"),
    "All pictures",
  );
  const keys = node(
    "details",
    { class: "ms-keys" },
    node("summary", {}, "Keys"),
    node(
      "dl",
      {},
      [
        ["Space", "play or pause"],
        ["1 to 9", "hear that track; again: its stems in turn"],
        ["↑ ↓", "track above, below"],
        ["← →", "one second back, on (with Shift: a tenth)"],
        ["L", "loop"],
        ["[ ]", "start or end the loop here"],
        ["Esc", "loop the whole piece"],
      ].map(([key, what]) => node("div", {}, node("dt", {}, node("kbd", {}, key)), node("dd", {}, what))),
    ),
    node(
      "label",
      { class: "ms-check" },
      node("input", { type: "checkbox", checked: true, onchange: (event) => (anywhere = event.target.checked) }),
      "also while nothing on the page is selected",
    ),
  );
  const transport = node(
    "div",
    { class: "ms-transport", role: "group", "aria-label": "Playback" },
    play,
    time,
    loop,
    clear,
    node("label", { class: "ms-check", for: "ms-matched" }, matched, "Matched loudness"),
    node("label", { class: "ms-vol" }, icon("volume"), volume),
    pictures,
  );
  const list = node("ul", { class: "ms-tracks", "aria-label": "Tracks" });
  const empty = node(
    "div",
    { class: "ms-empty" },
    node("p", {}, "What you choose on the left is heard and seen here, next to every translation of it."),
    node("p", { class: "ms-hint" }, "Switch between tracks while they play: the music never loses its place."),
  );
  const full = node(
    "div",
    { class: "ms-full", hidden: true },
    node("div", { class: "ms-stage" }, surface, ruler, seek),
    transport,
    list,
    keys,
  );
  root.append(
    node(
      "section",
      { "aria-labelledby": "ms-player-title" },
      node("header", { class: "ms-titles" }, title, subtitle),
      empty,
      full,
      live,
    ),
  );

  /* ---- regions ---- */
  const setRegion = (region) => {
    const valid = region && region.end - region.start > 0.05;
    deck.setRegion(valid ? region : null);
    if (valid && !deck.loop.on) deck.setLooping(true);
  };

  const handle = (side) => {
    const element = node("div", {
      class: `ms-handle ms-${side}`,
      role: "slider",
      tabindex: 0,
      "aria-label": side === "start" ? "Loop start" : "Loop end",
      "aria-valuemin": 0,
    });
    const move = (seconds) => {
      const { start, end } = deck.region;
      const at = Math.min(Math.max(0, seconds), deck.duration);
      if (side === "start") setRegion({ start: Math.min(at, end - 0.1), end });
      else setRegion({ start, end: Math.max(at, start + 0.1) });
    };
    element.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -0.1, ArrowRight: 0.1, PageDown: -1, PageUp: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      move(deck.region[side] + by);
    });
    element.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      element.setPointerCapture(event.pointerId);
      element.onpointermove = (moved) => move(secondsAt(moved));
      element.onpointerup = element.onpointercancel = () => (element.onpointermove = null);
    });
    return element;
  };
  const handles = { start: handle("start"), end: handle("end") };
  shade.append(handles.start, handles.end);

  const secondsAt = (event, element = surface) => {
    const box = element.getBoundingClientRect();
    return Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1) * deck.duration;
  };

  /** A tap seeks; a drag marks what is looped. */
  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !deck.duration) return;
    const from = secondsAt(event);
    const x = event.clientX;
    let dragged = false;
    surface.setPointerCapture(event.pointerId);
    surface.onpointermove = (moved) => {
      dragged ||= Math.abs(moved.clientX - x) > 8;
      if (!dragged) return;
      const to = secondsAt(moved);
      showRegion({ start: Math.min(from, to), end: Math.max(from, to) });
    };
    const finish = (up) => {
      surface.onpointermove = surface.onpointerup = surface.onpointercancel = null;
      if (up.type === "pointercancel") refresh();
      else if (dragged) {
        const to = secondsAt(up);
        setRegion({ start: Math.min(from, to), end: Math.max(from, to) });
      } else deck.seek(from);
    };
    surface.onpointerup = surface.onpointercancel = finish;
  });

  const showRegion = (region) => {
    shade.hidden = !region;
    clear.hidden = !region;
    if (!region) return;
    shade.style.left = `${(100 * region.start) / deck.duration}%`;
    shade.style.width = `${(100 * (region.end - region.start)) / deck.duration}%`;
    for (const side of ["start", "end"]) {
      handles[side].setAttribute("aria-valuemax", deck.duration.toFixed(1));
      handles[side].setAttribute("aria-valuenow", region[side].toFixed(1));
      handles[side].setAttribute("aria-valuetext", `${region[side].toFixed(1)} seconds`);
    }
  };

  /* ---- drawing ---- */
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  const paint = (canvas, sound, colour) => {
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = colour;
    const { envelope } = sound;
    const columns = envelope.length / 2;
    const factor = (deck.matched ? 10 ** (sound.gain / 20) : 1) * 1.15;
    const y = (byte) => height / 2 - Math.max(-1, Math.min(1, ((byte - 128) / 127) * factor)) * (height / 2 - 1);
    pen.beginPath();
    for (let k = 0; k < columns; k += 1) pen.lineTo(((k + 0.5) * width) / columns, y(envelope[2 * k + 1]) - ratio / 2);
    for (let k = columns - 1; k >= 0; k -= 1) pen.lineTo(((k + 0.5) * width) / columns, y(envelope[2 * k]) + ratio / 2);
    pen.fill();
  };

  const draw = () => {
    if (full.hidden) return;
    for (const row of rows.values()) {
      if (!row.sounds) continue;
      const tone = getComputedStyle(row.item).getPropertyValue("--tone").trim();
      for (const sound of row.sounds) {
        paint(sound.canvas, sound, tone);
        if (sound.key === deck.current) paint(wave, sound, tone);
      }
    }
  };

  /* ---- tracks ---- */
  const rowOf = (key) => [...rows.values()].find((row) => row.sounds?.some((sound) => sound.key === key));
  const currentRow = () => rowOf(deck.current);

  const select = (key) => {
    const row = rowOf(key);
    if (!row) return;
    if (key !== row.sounds[0].key && row.parts.hidden) unfold(row, true);
    deck.select(key);
  };

  /** Hear a track by its number; asked again, its stems in turn. */
  const pick = (number) => {
    const { sounds } = rows.get(order[number - 1]) || {};
    if (!sounds) return;
    const at = sounds.findIndex((sound) => sound.key === deck.current);
    select(sounds[(at + 1) % sounds.length].key);
  };

  /** Hear what stands above or below. */
  const step = (by) => {
    const keys = order.flatMap((key) => {
      const row = rows.get(key);
      return (row.sounds || []).filter((sound, k) => k === 0 || !row.parts.hidden).map((sound) => sound.key);
    });
    const next = keys[keys.indexOf(deck.current) + by];
    if (next) select(next);
  };

  const showPicture = (sound) => {
    let shown = null;
    for (const image of picture.children) {
      image.hidden = image.dataset.key !== sound.key;
      if (!image.hidden) shown = image;
    }
    if (!shown) picture.append(imageOf(sound));
  };

  const imageOf = (sound) =>
    node(
      "span",
      { class: "ms-image", "data-key": sound.key },
      node("img", { class: "ms-light", src: sound.light, alt: "", loading: "lazy", draggable: "false" }),
      node("img", { class: "ms-dark", src: sound.dark, alt: "", loading: "lazy", draggable: "false" }),
    );

  const lane = (row, sound) => {
    const canvas = node("canvas", { "aria-hidden": "true" });
    const gallery = node("div", { class: "ms-gallery", "aria-hidden": "true" }, imageOf(sound));
    const strip = node("div", { class: "ms-lane" }, canvas, gallery, node("i", { class: "ms-head" }));
    strip.addEventListener("click", (event) => {
      select(sound.key);
      deck.seek(secondsAt(event, strip));
    });
    return { canvas, strip };
  };

  const download = (sound, what) =>
    node(
      "a",
      { class: "ms-button ms-icon", href: sound.src, download: sound.file, "aria-label": `Download ${what}`, title: sound.file },
      icon("down"),
    );

  const makeTrack = (track) => {
    const row = { kind: "track" };
    row.number = node("kbd", {});
    row.chips = node("span", { class: "ms-chips" });
    row.title = node("b", {}, track.title);
    row.button = node(
      "button",
      { type: "button", class: "ms-pick", "aria-pressed": "false", onclick: () => select(track.key) },
      row.number,
      node("span", { class: "ms-words" }, row.title, row.chips),
    );
    row.line = node("div", { class: "ms-line" });
    row.parts = node("ul", { class: "ms-parts", id: `ms-parts-${track.key}`, "aria-label": `Stems of ${track.title}`, hidden: true });
    row.more = node(
      "button",
      {
        type: "button",
        class: "ms-button ms-icon ms-unfold",
        "aria-expanded": "false",
        "aria-controls": `ms-parts-${track.key}`,
        "aria-label": `Stems of ${track.title}`,
        title: "Stems",
        onclick: () => unfold(row, row.parts.hidden),
      },
      icon("stems"),
    );
    row.item = node("li", { class: "ms-track", "data-domain": track.domain, "data-kind": track.kind }, row.line, row.parts);
    return row;
  };

  const unfold = (row, open) => {
    row.parts.hidden = !open;
    row.more.setAttribute("aria-expanded", String(open));
    if (!open && deck.current !== row.sounds[0].key && row === currentRow()) select(row.sounds[0].key);
    draw();
  };

  const makePart = (row, sound) => {
    const { canvas, strip } = lane(row, sound);
    sound.canvas = canvas;
    sound.button = node(
      "button",
      { type: "button", class: "ms-pick", "aria-pressed": "false", onclick: () => select(sound.key) },
      node("span", { class: "ms-words" }, node("b", {}, sound.title)),
    );
    return node(
      "li",
      { class: "ms-line" },
      sound.button,
      strip,
      node("span", {}),
      download(sound, `${sound.title.toLowerCase()} of ${row.title.textContent}`),
    );
  };

  const updateTrack = (row, track) => {
    row.item.dataset.domain = track.domain;
    row.button.title = track.note;
    row.chips.replaceChildren(
      ...(track.kind === "output"
        ? [node("span", { class: "ms-chip" }, track.backbone), `${track.seconds.toFixed(1)} s to make`]
        : [track.note]),
    );
    const sounds = [{ ...track }, ...track.parts];
    sounds.forEach((sound, k) => deck.add(sound.key, sound.src, sound.gain, { load: k === 0 }));
    const known = row.sounds || [];
    if (known.length === sounds.length && known.every((sound, k) => sound.src === sounds[k].src)) {
      known.forEach((sound, k) => (sound.gain = sounds[k].gain));
      known.slice(1).forEach((sound, k) => {
        sound.title = track.parts[k].title;
        sound.button.querySelector("b").textContent = sound.title;
      });
      return;
    }
    row.sounds = sounds.map((sound) => ({ ...sound, envelope: bytes(sound.envelope) }));
    const [mix, ...parts] = row.sounds;
    const { canvas, strip } = lane(row, mix);
    mix.canvas = canvas;
    mix.button = row.button;
    row.line.replaceChildren(
      row.button,
      strip,
      parts.length ? row.more : node("span", {}),
      download(mix, track.title),
    );
    row.parts.replaceChildren(...parts.map((part) => makePart(row, part)));
  };

  const makeStep = (data) => {
    const row = { kind: "step" };
    row.number = node("kbd", {});
    row.text = node("span", { class: "ms-chips" });
    row.bar = node("progress", { max: 1, "aria-label": `Progress of ${data.title}` });
    row.instead = node(
      "button",
      { type: "button", class: "ms-button", hidden: true, onclick: () => instead(row.substitute) },
      "Use separation-based instead",
    );
    row.message = node("p", { class: "ms-message" });
    row.item = node(
      "li",
      { class: "ms-track ms-step" },
      node(
        "div",
        { class: "ms-line" },
        node("div", { class: "ms-pick" }, row.number, node("span", { class: "ms-words" }, node("b", {}, data.title), row.text)),
        node("div", { class: "ms-wide" }, row.bar, row.message, row.instead),
      ),
    );
    return row;
  };

  const updateStep = (row, data) => {
    const { state, share, remaining, message } = data;
    row.item.dataset.state = state;
    row.text.textContent =
      {
        waiting: scene.ahead ? `${scene.ahead} ahead of you` : "waiting",
        running: remaining === null ? "starting" : `${wait(remaining)} left`,
        failed: "not made",
        cancelled: "cancelled",
        done: "done",
      }[state];
    row.bar.hidden = !(state === "running" || state === "waiting");
    if (state === "running") row.bar.value = share;
    else row.bar.value = 0;
    row.message.textContent = message;
    row.message.hidden = !message;
    row.substitute = data.instead;
    row.instead.hidden = !data.instead;
  };

  /* ---- the scene ---- */
  const METHOD_ORDER = ["input", "gold", "single", "separation", "embedding", "stem", "mixture"];
  const rank = (entry) => METHOD_ORDER.indexOf(entry.kind === "output" ? entry.method : entry.kind || entry.method);

  const show = () => {
    const next = props.value;
    if (!next || !next.piece) return;
    const before = scene;
    scene = next;
    empty.hidden = true;
    full.hidden = false;
    if (!before || before.piece !== scene.piece) {
      rows = new Map();
      list.replaceChildren();
      picture.replaceChildren();
      deck.open(scene.duration);
      seek.max = scene.duration;
      ruler.replaceChildren(...ticks(scene.duration));
    }
    title.textContent = scene.name;
    subtitle.replaceChildren(
      `${scene.duration.toFixed(1)} s, `,
      node("span", { "data-domain": scene.from }, scene.fromTitle),
      " → ",
      node("span", { "data-domain": scene.to }, scene.toTitle),
    );
    const entries = [
      ...scene.tracks.map((track) => ({ rank: rank(track), key: track.key, data: track, make: makeTrack, update: updateTrack })),
      ...scene.steps.map((data) => ({ rank: rank(data), key: `step:${data.method}`, data, make: makeStep, update: updateStep })),
    ].sort((one, other) => one.rank - other.rank);
    const seen = new Set(entries.map((entry) => entry.key));
    for (const [key, row] of rows) {
      if (seen.has(key)) continue;
      row.item.remove();
      rows.delete(key);
    }
    deck.keep(new Set(scene.tracks.flatMap((track) => [track.key, ...track.parts.map((part) => part.key)])));
    order = entries.map((entry) => entry.key);
    entries.forEach((entry, k) => {
      let row = rows.get(entry.key);
      const fresh = !row;
      if (fresh) {
        row = entry.make(entry.data);
        rows.set(entry.key, row);
      }
      if (list.children[k] !== row.item) list.insertBefore(row.item, list.children[k] || null);
      entry.update(row, entry.data);
      row.number.textContent = k + 1;
      if (fresh && before && entry.data.kind === "output") {
        row.item.classList.add("ms-new");
        live.textContent = `${entry.data.title} is ready: key ${k + 1}.`;
      }
    });
    if (!deck.sounds.has(deck.current)) select(scene.tracks[0].key);
    if (before?.running && !scene.running) live.textContent = "Translation ended.";
    if (!before?.running && scene.running && window.matchMedia("(max-width: 900px)").matches)
      root.scrollIntoView({ behavior: calm() ? "auto" : "smooth", block: "start" });
    root.classList.toggle("ms-running", scene.running);
    refresh();
  };

  const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  const ticks = (duration) => {
    const every = duration <= 12 ? 1 : duration <= 40 ? 5 : 10;
    return Array.from({ length: Math.floor(duration / every) + 1 }, (_, k) =>
      node("span", { style: `left:${(100 * k * every) / duration}%` }, `${k * every}`),
    );
  };

  const tick = () => {
    cancelAnimationFrame(frame);
    const share = deck.duration ? deck.position / deck.duration : 0;
    root.style.setProperty("--at", share.toFixed(5));
    const text = `${clock(deck.position)} / ${clock(deck.duration)}`;
    if (time.textContent !== text) time.textContent = text;
    if (document.activeElement !== seek || deck.playing) seek.value = deck.position;
    seek.setAttribute("aria-valuetext", `${deck.position.toFixed(1)} of ${deck.duration.toFixed(1)} seconds`);
    if (deck.playing) frame = requestAnimationFrame(tick);
  };

  /** Show the deck as it is. */
  const refresh = () => {
    if (!scene) return;
    const label = deck.playing ? "Pause" : "Play";
    if (play.getAttribute("aria-label") !== label) {
      play.setAttribute("aria-label", label);
      play.replaceChildren(icon(deck.playing ? "pause" : "play"));
    }
    loop.setAttribute("aria-pressed", String(deck.loop.on));
    const active = currentRow();
    for (const row of rows.values()) {
      row.item.classList.toggle("ms-current", row === active);
      for (const sound of row.sounds || []) {
        const heard = sound.key === deck.current;
        sound.button.setAttribute("aria-pressed", String(heard));
        sound.button.parentElement.classList.toggle("ms-heard", heard);
        sound.button.parentElement.classList.toggle("ms-failed", Boolean(deck.sounds.get(sound.key)?.failed));
        if (!heard) continue;
        showPicture(sound);
        now.textContent = sound === row.sounds[0] ? scene.tracks.find((track) => track.key === sound.key)?.title : `${row.title.textContent}: ${sound.title.toLowerCase()}`;
        surface.dataset.domain = row.item.dataset.domain;
        surface.dataset.kind = row.item.dataset.kind;
      }
    }
    showRegion(deck.region);
    draw();
    tick();
  };

  /* ---- keys ---- */
  document.addEventListener("keydown", (event) => {
    if (!scene || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const inside = root.contains(event.target);
    if (!inside && !(anywhere && event.target === document.body)) return;
    const operated = event.target.closest("button, a, summary, input, select, textarea");
    const range = event.target.matches("input[type=range]");
    const { key } = event;
    if (key === " " && (!operated || range)) deck.toggle();
    else if (/^[1-9]$/.test(key)) pick(Number(key));
    else if (key === "l" || key === "L") deck.setLooping(!deck.loop.on);
    else if (key === "[") setRegion({ start: deck.position, end: deck.region?.end ?? deck.duration });
    else if (key === "]") setRegion({ start: deck.region?.start ?? 0, end: deck.position });
    else if (key === "Escape" && deck.region) setRegion(null);
    else if (!range && (key === "ArrowLeft" || key === "ArrowRight"))
      deck.seek(deck.position + (key === "ArrowRight" ? 1 : -1) * (event.shiftKey ? 0.1 : STEP_S));
    else if (!range && (key === "ArrowUp" || key === "ArrowDown")) step(key === "ArrowUp" ? -1 : 1);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => draw()).observe(surface);
  new MutationObserver(() => draw()).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  watch("value", show);
  show();
};
