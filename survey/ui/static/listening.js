/* Listening within a trial: the gold standard and the outputs on one deck, so that switching never moves the position;
   a time line to seek on and to mark the stretch that is looped; and an account of how long each was heard. */
"use strict";
window.MusicStar ||= {};

(() => {
  const GOLD = "gold";
  // An output counts as heard after half of it, or five seconds of a long one.
  const HEARD_SHARE = 0.5;
  const HEARD_MOST_S = 5;
  const MEASURE_MS = 200;
  const RETRY_MS = 3000;
  const DRAG_PIXELS = 8;
  const SHORTEST_LOOP_S = 0.1;

  /** A time line: a tap seeks, a drag marks what is looped, its ends can be moved by hand and by key. */
  const timeline = (deck, text) => {
    const { node } = window.MusicStar;
    const shade = node("div", { class: "sv-shade", hidden: true });
    const head = node("div", { class: "sv-head" });
    const bar = node("div", { class: "sv-bar", role: "slider", tabindex: 0, "aria-label": text("position"), "aria-valuemin": 0 }, node("div", { class: "sv-done" }), head);
    const element = node("div", { class: "sv-timeline" }, bar, shade);
    const secondsAt = (event) => {
      const box = element.getBoundingClientRect();
      return Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1) * deck.duration;
    };

    /** Loop a stretch; nothing, or next to nothing, loops the whole piece. */
    const setRegion = (region) => {
      const sound = region && region.end - region.start >= SHORTEST_LOOP_S;
      deck.setRegion(sound ? region : null);
      if (sound && !deck.loop.on) deck.setLooping(true);
    };
    const showRegion = (region) => {
      shade.hidden = !region;
      if (!region) return;
      shade.style.left = `${(100 * region.start) / deck.duration}%`;
      shade.style.width = `${(100 * (region.end - region.start)) / deck.duration}%`;
    };

    const ends = { start: text("loop_start"), end: text("loop_end") };
    for (const [side, label] of Object.entries(ends)) {
      const handle = node("div", { class: `sv-end sv-${side}`, role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0 });
      const move = (seconds) => {
        const { start, end } = deck.region;
        const at = Math.min(Math.max(0, seconds), deck.duration);
        setRegion(side === "start" ? { start: Math.min(at, end - SHORTEST_LOOP_S), end } : { start, end: Math.max(at, start + SHORTEST_LOOP_S) });
      };
      handle.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: -0.1, ArrowRight: 0.1, PageDown: -1, PageUp: 1 }[event.key];
        if (!by) return;
        event.preventDefault();
        move(deck.region[side] + by);
      });
      handle.addEventListener("pointerdown", (event) => {
        event.stopPropagation();
        handle.setPointerCapture(event.pointerId);
        handle.onpointermove = (moved) => move(secondsAt(moved));
        handle.onpointerup = handle.onpointercancel = () => (handle.onpointermove = null);
      });
      ends[side] = handle;
      shade.append(handle);
    }

    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const from = secondsAt(event);
      const between = (other) => ({ start: Math.min(from, secondsAt(other)), end: Math.max(from, secondsAt(other)) });
      let dragged = false;
      element.setPointerCapture(event.pointerId);
      element.onpointermove = (moved) => {
        dragged ||= Math.abs(moved.clientX - event.clientX) > DRAG_PIXELS;
        if (dragged) showRegion(between(moved));
      };
      element.onpointerup = element.onpointercancel = (up) => {
        element.onpointermove = element.onpointerup = element.onpointercancel = null;
        if (up.type === "pointercancel") showRegion(deck.region);
        else if (dragged) setRegion(between(up));
        else deck.seek(from);
      };
    });
    bar.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: deck.position - 1, ArrowRight: deck.position + 1, PageDown: deck.position - 5, PageUp: deck.position + 5, Home: 0, End: deck.duration }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      deck.seek(to);
    });
    const spoken = (seconds) => text("position_of", { at: seconds.toFixed(1), length: deck.duration.toFixed(1) });
    const tell = (slider, seconds) => {
      slider.setAttribute("aria-valuemax", deck.duration.toFixed(1));
      slider.setAttribute("aria-valuenow", seconds.toFixed(1));
      slider.setAttribute("aria-valuetext", spoken(seconds));
    };
    return {
      element,
      setRegion,
      show: () => {
        showRegion(deck.region);
        if (deck.region) for (const [side, handle] of Object.entries(ends)) tell(handle, deck.region[side]);
      },
      tick: () => {
        element.style.setProperty("--at", (deck.duration ? deck.position / deck.duration : 0).toFixed(5));
        tell(bar, deck.position);
      },
    };
  };

  /** What is heard in a trial.
      `known` are those the server knows to have been heard, `note(kind, item, position)` records an event, `changed()`
      follows every change, `dragged(event, item)` begins to drag an output. */
  const listening = ({ trial, deck, text, known, note, changed, dragged }) => {
    const { node, icon, clock, sign } = window.MusicStar;
    const sources = [{ item: GOLD, letter: "", src: trial.gold.src }, ...trial.clips];
    const enough = Math.min(HEARD_SHARE * trial.duration_s, HEARD_MOST_S);
    const heard = new Map(sources.map(({ item }) => [item, known.includes(item) ? enough : 0]));
    const items = trial.clips.map(({ item }) => item);
    let chosen = null; // The output heard last: what is ranked next.
    let before = "";
    let sounding = null;
    let since = 0;
    let order = null; // While the ranking is played from the best to the worst.
    let frame = 0;
    let closed = false;

    const isHeard = (item) => heard.get(item) >= enough - 1e-6;

    /** Put down what was heard since the last time, and by which recording. */
    const measure = () => {
      const now = deck.context?.currentTime ?? 0;
      if (sounding) {
        const was = isHeard(sounding);
        heard.set(sounding, heard.get(sounding) + Math.max(0, now - since));
        if (!was && isHeard(sounding)) {
          note("heard", sounding, deck.position);
          changed();
        }
        tiles.get(sounding).paint();
      }
      since = now;
      const next = deck.playing && deck.sounds.get(deck.current)?.buffer ? deck.current : null;
      if (next === sounding) return;
      if (sounding) note("pause", sounding, deck.position);
      if (next) note("play", next, deck.position);
      sounding = next;
    };

    const select = (item) => {
      if (deck.current && deck.current !== item) before = deck.current;
      if (item !== GOLD) chosen = item;
      deck.select(item);
    };
    /** Play a recording; asked again, pause. */
    const hear = (item) => {
      if (!deck.sounds.has(item)) return;
      endOrder();
      if (deck.current === item && deck.playing) deck.pause();
      else {
        select(item);
        deck.play();
      }
    };
    const toggle = () => {
      endOrder();
      deck.toggle();
    };

    /* ---- the ranking as music ---- */
    const endOrder = () => {
      if (!order) return;
      clearInterval(order.timer);
      deck.setLooping(order.looping);
      order = null;
      changed();
    };
    const nextInOrder = () => {
      if (order.queue.length === 0) {
        endOrder();
        deck.pause();
        return;
      }
      select(order.queue.shift());
      deck.seek(order.start);
      deck.play();
    };
    const playInOrder = (queue) => {
      if (order) {
        endOrder();
        deck.pause();
        return;
      }
      const { start, end } = deck.region ?? { start: 0, end: deck.duration };
      order = { queue: [...queue], start, end, looping: deck.loop.on, timer: 0 };
      deck.setLooping(false);
      order.timer = setInterval(() => order && deck.position >= order.end - 0.03 && nextInOrder(), 25);
      note("order", queue[0], start);
      nextInOrder();
      changed();
    };

    /* ---- nodes ---- */
    const makeTile = ({ item, letter }) => {
      const gold = item === GOLD;
      const badge = node("span", { class: "sv-badge", "aria-hidden": "true", hidden: true });
      const mark = node("span", { class: "sv-mark", "aria-hidden": "true" }, sign("check"));
      const state = node("span", { class: "sv-state", "aria-hidden": "true" });
      const name = node("span", { class: "sv-name", "aria-hidden": "true" }, gold ? text("gold") : letter, gold && node("small", {}, text("gold_about")));
      const button = node("button", { type: "button", class: gold ? "sv-tile sv-gold" : "sv-tile", "data-item": item, onclick: () => hear(item) }, name, state, badge, mark);
      if (!gold) button.addEventListener("pointerdown", (event) => dragged(event, item));
      const paint = () => button.style.setProperty("--heard", Math.min(1, heard.get(item) / enough).toFixed(3));
      const show = (rank) => {
        const sound = deck.sounds.get(item);
        const trouble = sound?.failed ? text("sound_failed") : sound?.buffer ? "" : text("loading_sound");
        const current = deck.current === item;
        button.classList.toggle("sv-current", current);
        button.classList.toggle("sv-on", current && deck.playing);
        button.classList.toggle("sv-heard", isHeard(item));
        button.classList.toggle("sv-waiting", Boolean(trouble));
        button.setAttribute("aria-pressed", String(current && deck.playing));
        state.textContent = trouble;
        badge.hidden = !rank;
        badge.textContent = rank || "";
        const parts = [gold ? text("gold") : text("output", { letter }), text(isHeard(item) ? "heard" : "not_heard"), trouble, rank && text("rank_short", { rank, count: items.length })];
        const label = parts.filter(Boolean).join(", ");
        if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
        paint();
      };
      return { button, paint, show };
    };
    const tiles = new Map(sources.map((source) => [source.item, makeTile(source)]));
    const line = timeline(deck, text);
    const play = node("button", { type: "button", class: "ms-play", onclick: toggle }, icon("play"));
    const time = node("span", { class: "ms-time" });
    const loop = node("button", { type: "button", class: "ms-button", onclick: () => setLooping(!deck.loop.on) }, icon("loop"), text("loop"));
    const whole = node("button", { type: "button", class: "ms-button sv-whole", title: text("loop_all"), "aria-label": text("loop_all"), onclick: () => line.setRegion(null) }, icon("close"));
    const setLooping = (on) => {
      endOrder();
      deck.setLooping(on);
      note("loop", deck.current, deck.position);
    };
    const transport = node("div", { class: "sv-transport", role: "group", "aria-label": text("listen") }, play, time, loop, whole);
    const grid = node("div", { class: "sv-tiles", role: "group", "aria-label": text("outputs"), style: `--count:${items.length}` }, items.map((item) => tiles.get(item).button));

    const lost = node("p", { class: "sv-lost", "aria-hidden": "true" }); // What small buttons have no room to say.
    const showLost = () => {
      const names = sources.filter(({ item }) => deck.sounds.get(item)?.failed).map(({ letter }) => letter || text("gold"));
      const sentence = names.length ? `${names.join(", ")}: ${text("sound_failed")}` : "";
      if (lost.textContent !== sentence) lost.textContent = sentence;
    };
    const tick = () => {
      cancelAnimationFrame(frame);
      line.tick();
      const shown = `${clock(deck.position)} / ${clock(deck.duration)}`;
      if (time.textContent !== shown) time.textContent = shown;
      if (deck.playing && !closed) frame = requestAnimationFrame(tick);
    };
    const refresh = (rankOf) => {
      const label = text(deck.playing ? "pause" : "play");
      if (play.getAttribute("aria-label") !== label) {
        play.setAttribute("aria-label", label);
        play.replaceChildren(icon(deck.playing ? "pause" : "play"));
      }
      loop.setAttribute("aria-pressed", String(deck.loop.on));
      whole.hidden = !deck.region;
      line.show();
      for (const [item, tile] of tiles) tile.show(item === GOLD ? 0 : rankOf(item));
      showLost();
      tick();
    };

    /* ---- taking up the trial ---- */
    let region = null;
    deck.changed = () => {
      if (closed) return;
      measure();
      if (region !== deck.region) {
        region = deck.region;
        if (region) note("loop", deck.current, region.start);
        // Each output was to be played for the stretch that was marked before.
        endOrder();
      }
      changed();
    };
    const meter = setInterval(measure, MEASURE_MS);
    const again = setInterval(() => {
      for (const [item, sound] of deck.sounds) {
        if (!sound.failed) continue;
        sound.failed = false;
        deck.load(item);
      }
    }, RETRY_MS);

    return {
      transport,
      timeline: line.element,
      gold: tiles.get(GOLD).button,
      tiles: [grid, lost],
      items,
      hear,
      toggle,
      refresh,
      isHeard,
      playInOrder,
      setLooping,
      setRegion: line.setRegion,
      back: () => before && hear(before),
      get chosen() {
        return chosen;
      },
      get sounding() {
        return deck.playing ? deck.current : null;
      },
      get inOrder() {
        return Boolean(order);
      },
      unheard: () => sources.filter(({ item }) => !isHeard(item)),
      close: () => {
        endOrder();
        deck.pause();
        measure();
        closed = true;
        clearInterval(meter);
        clearInterval(again);
        cancelAnimationFrame(frame);
      },
    };
  };

  /** A deck that has, or is getting, all recordings of a trial; it shares the sound of the one before. */
  const deckOf = (trial, previous) => {
    const deck = new window.MusicStar.Deck(() => {});
    if (previous) Object.assign(deck, { context: previous.context, master: previous.master, volume: previous.volume });
    deck.open(trial.duration_s);
    deck.add(GOLD, trial.gold.src, 0);
    for (const { item, src } of trial.clips) deck.add(item, src, 0);
    deck.select(GOLD);
    deck.setLooping(true);
    return deck;
  };

  Object.assign(window.MusicStar, { listening, deckOf });
})();
