/* The player: a deck, its stage, its tracks, and everything to operate them by hand and by key. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.player = (root, props, watch, instead) => {
  const { node, icon, clock, Deck, stage: makeStage, trackRow, stepRow, paint } = window.MusicStar;
  const ORDER = ["input", "gold", "single", "separation", "embedding", "stem", "mixture"];
  let scene = null;
  let rows = new Map(); // Row key -> row.
  let order = []; // Row keys from top to bottom.
  let frame = 0;
  let anywhere = true;
  let before = ""; // The track heard before this one.
  let veil = null; // While names are hidden: track key -> its place in a shuffled order.

  const deck = new Deck(() => refresh());
  const stage = makeStage(deck);
  root.deck = deck;

  /* ---- what is on the page ---- */
  const title = node("h2", { id: "ms-player-title" }, "Listen");
  const subtitle = node("p", { class: "ms-sub" });
  const live = node("p", { class: "ms-quiet", "aria-live": "polite" });
  const play = node(
    "button",
    { type: "button", class: "ms-play", "aria-label": "Play", onclick: () => deck.toggle() },
    icon("play"),
  );
  const time = node("span", { class: "ms-time" }, "0:00.0");
  const range = (attributes, act) => {
    const element = node("input", { type: "range", min: 0, max: 1, step: 0.01, ...attributes });
    element.addEventListener("input", () => act(Number(element.value)));
    return element;
  };
  const seek = range({ class: "ms-seek", value: 0, "aria-label": "Position" }, (at) => deck.seek(at));
  const volume = range({ class: "ms-volume", value: 1, "aria-label": "Volume" }, (at) => deck.setVolume(at));
  const loop = node(
    "button",
    { type: "button", class: "ms-button", "aria-pressed": "false", onclick: () => deck.setLooping(!deck.loop.on) },
    icon("loop"),
    "Loop",
  );
  const clear = node(
    "button",
    { type: "button", class: "ms-button", hidden: true, onclick: () => stage.setRegion(null) },
    icon("close"),
    "Region",
  );
  clear.setAttribute("aria-label", "Loop the whole piece again");
  const matched = node("input", { type: "checkbox", onchange: () => deck.setMatched(matched.checked) });
  matched.checked = true;
  const pictures = node(
    "button",
    {
      type: "button",
      class: "ms-button",
      "aria-pressed": "false",
      onclick: () => {
        pictures.setAttribute("aria-pressed", String(root.classList.toggle("ms-all-pictures")));
        draw();
      },
    },
    icon("picture"),
    "All pictures",
  );
  const blind = node(
    "button",
    { type: "button", class: "ms-button", "aria-pressed": "false", hidden: true, onclick: () => setBlind(!veil) },
    icon("veil"),
    "Hide names",
  );
  const unselected = node("input", { type: "checkbox", onchange: () => (anywhere = unselected.checked) });
  unselected.checked = true;
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
        ["↑ ↓", "the track above, below"],
        ["X", "back to the track heard before, and again"],
        ["← →", "a second back, on; with Shift a tenth"],
        ["L", "loop"],
        ["[ ]", "loop from here, to here"],
        ["Esc", "loop the whole piece"],
      ].map(([key, what]) => node("div", {}, node("dt", {}, node("kbd", {}, key)), node("dd", {}, what))),
    ),
    node("label", { class: "ms-check" }, unselected, "also while nothing on the page is selected"),
  );
  /** One line of notes that changes hands half way. */
  const staff = () => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 480 96");
    svg.setAttribute("aria-hidden", "true");
    const shape = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      svg.append(element);
    };
    for (let line = 0; line < 5; line += 1) shape("path", { class: "ms-stave", d: `M0 ${24 + 12 * line}h480` });
    [5, 3, 4, 1, 0, 2, 5, 3, 4, 1, 0, 2].forEach((height, k) => {
      const [x, y] = [30 + 38 * k, 78 - 9 * height];
      const side = k < 6 ? "sp" : "cv";
      shape("path", { class: `ms-stem ms-of-${side}`, d: height > 2 ? `M${x - 7} ${y}v34` : `M${x + 7} ${y}v-34` });
      shape("ellipse", { class: `ms-note ms-of-${side}`, cx: x, cy: y, rx: 8, ry: 5.6, transform: `rotate(-20 ${x} ${y})` });
    });
    return svg;
  };
  const list = node("ul", { class: "ms-tracks", "aria-label": "Tracks" });
  const empty = node(
    "div",
    { class: "ms-empty" },
    node("div", { class: "ms-staff" }, staff()),
    node("p", {}, "The clip you choose appears here, and under it every translation as it is done."),
    node("p", { class: "ms-hint" }, "Switch between them while they play: the music never loses its place."),
  );
  const full = node(
    "div",
    { class: "ms-full", hidden: true },
    stage.element,
    seek,
    node(
      "div",
      { class: "ms-transport", role: "group", "aria-label": "Playback" },
      play,
      time,
      loop,
      clear,
      node("label", { class: "ms-vol" }, icon("volume"), volume),
    ),
    node(
      "div",
      { class: "ms-tools", role: "group", "aria-label": "Comparing" },
      node("label", { class: "ms-check" }, matched, "Matched loudness"),
      pictures,
      blind,
    ),
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
  root.tabIndex = -1;
  // A track chosen by mouse or finger should leave the space bar to play and pause.
  list.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest(".ms-pick")) root.focus({ preventScroll: true });
  });

  /* ---- hearing ---- */
  const rowOf = (key) => [...rows.values()].find((row) => row.sounds.some((sound) => sound.key === key));

  const select = (key) => {
    const row = rowOf(key);
    if (!row) return;
    if (key !== row.sounds[0].key) row.unfold(true);
    if (deck.current && deck.current !== key) before = deck.current;
    deck.select(key);
  };

  /** Hide which take is which: everything but the input gets a letter, in an order of chance. */
  const setBlind = (on) => {
    const keys = scene.tracks.filter((track) => track.kind !== "input").map((track) => track.key);
    const drawn = keys.map((key) => [Math.random(), key]).sort(([one], [other]) => one - other);
    veil = on ? new Map(drawn.map(([, key], place) => [key, place])) : null;
    blind.setAttribute("aria-pressed", String(on));
    root.classList.toggle("ms-blind", on);
    if (on) for (const row of rows.values()) row.unfold?.(false);
    if (on) deck.select(scene.tracks[0].key);
    arrange();
    live.textContent = on ? "Names are hidden and the order is shuffled." : "Names are shown again.";
  };

  /** Stems that are folded away are not heard. */
  const unfolded = (row, open) => {
    if (!open && row.sounds.slice(1).some((stem) => stem.key === deck.current)) deck.select(row.sounds[0].key);
    draw();
  };

  /** Hear a track by its number; asked again, its stems in turn. */
  const pick = (number) => {
    const { sounds } = rows.get(order[number - 1]) || { sounds: [] };
    if (!sounds.length) return;
    const turns = veil ? 1 : sounds.length;
    const at = sounds.findIndex((sound) => sound.key === deck.current);
    select(sounds[(at + 1) % turns].key);
  };

  /** Hear what stands above or below. */
  const step = (by) => {
    const heard = order.flatMap((key) => {
      const { sounds, folded } = rows.get(key);
      return sounds.filter((_, k) => k === 0 || !folded).map((sound) => sound.key);
    });
    const next = heard[heard.indexOf(deck.current) + by];
    if (next) select(next);
  };

  /* ---- showing ---- */
  const draw = () => {
    if (full.hidden) return;
    // One scale for all, so that louder looks larger; the largest fills its lane.
    const loud = (sound) => (deck.matched ? 10 ** (sound.gain / 20) : 1);
    const reach = (sound) => loud(sound) * sound.envelope.reduce((most, byte) => Math.max(most, Math.abs(byte - 128)), 1);
    const scale = 127 / Math.max(1, ...[...rows.values()].flatMap((row) => row.sounds.slice(0, 1).map(reach)));
    for (const row of rows.values()) {
      const tone = row.sounds.length ? getComputedStyle(row.item).getPropertyValue("--tone").trim() : "";
      for (const sound of row.sounds) {
        const factor = loud(sound) * scale;
        paint(sound.canvas, sound.envelope, factor, tone);
        if (sound.key === deck.current) stage.drawWave(sound.envelope, factor, tone);
      }
    }
  };

  const tick = () => {
    cancelAnimationFrame(frame);
    const { position, duration } = deck;
    root.style.setProperty("--at", (duration ? position / duration : 0).toFixed(5));
    const text = `${clock(position)} / ${clock(duration)}`;
    if (time.textContent !== text) {
      time.textContent = text;
      seek.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${duration.toFixed(1)} seconds`);
    }
    seek.value = position;
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
    clear.hidden = !deck.region;
    stage.showRegion(deck.region);
    for (const row of rows.values()) row.mark(deck.current);
    const row = rowOf(deck.current);
    const sound = row?.sounds.find((one) => one.key === deck.current);
    if (sound) stage.show(sound, row.nameOf(sound), row.item.dataset);
    draw();
    tick();
  };

  /** Take up what the studio has sent; rows that stay keep their nodes, so that focus and sound go on. */
  const show = () => {
    const next = props.value;
    if (!next?.piece || (window.MusicStar.job && next.job !== window.MusicStar.job)) return;
    const known = scene?.piece === next.piece ? scene : null;
    scene = next;
    empty.hidden = true;
    full.hidden = false;
    if (!known) {
      rows = new Map();
      before = "";
      veil = null;
      blind.setAttribute("aria-pressed", "false");
      root.classList.remove("ms-blind");
      list.replaceChildren();
      deck.open(scene.duration);
      stage.open();
      seek.max = scene.duration;
    }
    title.textContent = scene.name;
    subtitle.replaceChildren(
      `${scene.duration.toFixed(1)} s, `,
      node("span", { "data-domain": scene.from }, scene.fromTitle),
      " to ",
      node("span", { "data-domain": scene.to }, scene.toTitle),
    );
    arrange();
    document.dispatchEvent(new CustomEvent("musicstar:running", { detail: scene.running }));
    if (!deck.sounds.has(deck.current)) select(scene.tracks[0].key);
    if (known?.running && !scene.running) live.textContent = "The translation has ended.";
    if (scene.running && !known?.running && window.matchMedia("(max-width: 900px)").matches) {
      const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      root.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    }
    refresh();
  };

  /** Bring the rows up to the scene and into their order. */
  const arrange = () => {
    const first = rows.size === 0;
    const place = ({ key, rank }) => (veil?.has(key) ? 1 + veil.get(key) / 100 : ORDER.indexOf(rank) + (veil && rank !== "input" ? 2 : 0));
    const entries = [
      ...scene.tracks.map((data) => ({ key: data.key, data, make: trackRow, rank: data.method || data.kind })),
      ...scene.steps.map((data) => ({ key: `step:${data.method}`, data, make: stepRow, rank: data.method })),
    ].sort((one, other) => place(one) - place(other));
    const there = new Set(entries.map((entry) => entry.key));
    for (const [key, row] of rows) {
      if (there.has(key)) continue;
      row.item.remove();
      rows.delete(key);
    }
    deck.keep(new Set(scene.tracks.flatMap((track) => [track.key, ...track.parts.map((part) => part.key)])));
    order = entries.map((entry) => entry.key);
    entries.forEach(({ key, data, make }, k) => {
      const fresh = !rows.has(key);
      if (fresh) rows.set(key, make(data, { deck, select, unfolded, instead }));
      const row = rows.get(key);
      if (list.children[k] !== row.item) list.insertBefore(row.item, list.children[k] || null);
      row.update(data, scene);
      row.number.textContent = k + 1;
      row.disguise?.(veil?.has(key) ? `Take ${"ABCDEFGHIJKLMN"[veil.get(key)]}` : "");
      if (fresh && !first && data.kind === "output") {
        row.item.classList.add("ms-new");
        live.textContent = `${data.title} is ready: key ${k + 1}.`;
      }
    });
    blind.hidden = scene.tracks.length < 3;
    refresh();
  };

  /* ---- keys ---- */
  const KEYS = {
    l: () => deck.setLooping(!deck.loop.on),
    x: () => select(before),
    "[": () => stage.setRegion({ start: deck.position, end: deck.region?.end ?? deck.duration }),
    "]": () => stage.setRegion({ start: deck.region?.start ?? 0, end: deck.position }),
    Escape: () => stage.setRegion(null),
  };
  const MOVES = {
    ArrowLeft: (fine) => deck.seek(deck.position - (fine ? 0.1 : 1)),
    ArrowRight: (fine) => deck.seek(deck.position + (fine ? 0.1 : 1)),
    ArrowUp: () => step(-1),
    ArrowDown: () => step(1),
  };
  document.addEventListener("keydown", (event) => {
    if (!scene || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!root.contains(event.target) && !(anywhere && event.target === document.body)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const slider = event.target.matches("input[type=range], [role=slider]");
    const pressed = !slider && event.target.closest("button, a, summary, input");
    if (key === " " && !pressed) deck.toggle();
    else if (/^[1-9]$/.test(key)) pick(Number(key));
    else if (key in KEYS) KEYS[key]();
    else if (key in MOVES && !slider) MOVES[key](event.shiftKey);
    else return;
    event.preventDefault();
  });

  new ResizeObserver(draw).observe(stage.surface);
  new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  watch("value", show);
  show();
};
