/* A trial's screen: one question, the recordings, the ranking, and what is still missing. */
"use strict";
window.MusicStar ||= {};

(() => {
  const GOLD = "gold";
  let keysOn = true; // A choice for the whole visit.

  /** What the keys do, shown under the ranking. */
  const keyList = (text, letters) => {
    const { node } = window.MusicStar;
    const on = node("input", { type: "checkbox", onchange: () => (keysOn = on.checked) });
    on.checked = keysOn;
    const rows = [
      [text("key_space"), "key_space_does"],
      [`${letters[0]} – ${letters.at(-1)}`, "key_letters_does"],
      ["0", "key_zero_does"],
      [`1 – ${letters.length}`, "key_ranks_does"],
      ["↑ ↓", "key_updown_does"],
      ["← →", "key_leftright_does"],
      ["X", "key_x_does"],
      ["L", "key_loop_does"],
      ["[ ]", "key_region_does"],
      [text("key_escape"), "key_escape_does"],
      ["O", "key_order_does"],
    ];
    return node(
      "details",
      { class: "sv-keys" },
      node("summary", {}, text("keys")),
      node("dl", {}, rows.map(([key, what]) => node("div", {}, node("dt", {}, node("kbd", {}, key)), node("dd", {}, text(what))))),
      node("label", { class: "ms-check" }, on, text("keys_on")),
    );
  };

  /** The screen of a criterion of a trial.
      `save(ranks)` keeps a draft after every change, `submit(ranks)` hands the ranking in, `retract()`
      takes that back, `note` records playback. */
  window.MusicStar.trialScreen = ({ trial, criterion, step, ranks, deck, known, text, note, save, submit, retract }) => {
    const { node, sign, listening, ranking } = window.MusicStar;
    const letters = Object.fromEntries(trial.clips.map(({ item, letter }) => [item, letter]));
    const nameOf = (item) => (item === GOLD ? text("gold") : letters[item]);
    const live = node("p", { class: "sv-live", role: "status", "aria-live": "polite" });
    const missing = node("p", { class: "ms-problem", role: "alert" });
    let asked = false; // Whether Continue has been pressed, so that what is missing stays named.
    let sending = false;
    const say = (sentence) => (live.textContent = sentence);

    const may = (item) => {
      if (listen.isHeard(item)) return true;
      say(text("hear_more", { letter: letters[item] }));
      return false;
    };
    const order = ranking({
      items: trial.clips.map(({ item }) => item),
      letters,
      ranks,
      text,
      hear: (item) => listen.hear(item),
      may,
      say,
      changed: () => {
        if (sending) {
          retract();
          wait(false);
        }
        save(order.places.ranks);
        refresh();
      },
    });
    const refresh = () => {
      const { chosen } = listen;
      order.follow(chosen, chosen !== null && listen.isHeard(chosen), listen.sounding);
      listen.refresh((item) => order.places.rankOf(item));
      inOrder.setAttribute("aria-pressed", String(listen.inOrder));
      inOrder.lastChild.textContent = text(listen.inOrder ? "stop_in_order" : "play_in_order");
      if (asked) showMissing();
    };
    const listen = listening({ trial, deck, text, known, note, changed: () => refresh(), dragged: (event, item) => order.drag(event, item) });

    const playInOrder = () => {
      const queue = order.places.slots.filter((item) => item !== null);
      if (queue.length) listen.playInOrder(queue);
      else say(text("in_order_nothing"));
    };
    const inOrder = node("button", { type: "button", class: "ms-button", onclick: playInOrder }, window.MusicStar.icon("play"), node("span", {}, text("play_in_order")));

    /** Name what is missing, and mark it; whether nothing is. */
    const showMissing = () => {
      const unheard = listen.unheard().map(({ item }) => item);
      const unranked = listen.items.filter((item) => !order.places.rankOf(item));
      const sentences = [
        unheard.length > 0 && text("missing_heard", { what: unheard.map(nameOf).join(", ") }),
        unranked.length > 0 && text("missing_ranked", { what: unranked.map(nameOf).join(", ") }),
      ].filter(Boolean);
      const sentence = sentences.join(" ");
      if (missing.textContent !== sentence) missing.textContent = sentence;
      for (const tile of element.querySelectorAll(".sv-tile"))
        tile.classList.toggle("sv-lacking", unheard.includes(tile.dataset.item) || unranked.includes(tile.dataset.item));
      order.element.classList.toggle("sv-lacking", unranked.length > 0);
      return sentences.length === 0;
    };
    const wait = (on) => {
      sending = on;
      button.setAttribute("aria-disabled", String(on));
    };
    const go = () => {
      if (sending) return;
      asked = true;
      if (!showMissing()) return;
      wait(true);
      deck.pause();
      submit(order.places.ranks);
    };
    const button = node("button", { type: "button", class: "ms-button ms-strong sv-continue", onclick: go }, text("continue"));

    const title = node("h1", { tabindex: -1 }, criterion.title);
    const element = node(
      "section",
      { class: "sv-trial" },
      node("p", { class: "sv-step" }, step),
      title,
      node("p", { class: "sv-asking" }, criterion.question),
      trial.practice && node("p", { class: "sv-note" }, text("practice_note")),
      node(
        "div",
        { class: "sv-columns" },
        node("div", { class: "sv-listen" }, node("h2", {}, text("listen")), listen.transport, listen.timeline, listen.gold, listen.tiles),
        node(
          "div",
          { class: "sv-ranking" },
          node("div", { class: "sv-ranking-head" }, node("h2", {}, text("your_ranking")), inOrder),
          node("p", { class: "sv-pole" }, node("b", {}, text("best")), ` ${criterion.best}`),
          order.element,
          node("p", { class: "sv-pole" }, node("b", {}, text("worst")), ` ${criterion.worst}`),
          live,
        ),
      ),
      node("div", { class: "sv-foot" }, missing, button),
      keyList(text, trial.clips.map(({ letter }) => letter)),
    );

    /* ---- keys ---- */
    const KEYS = {
      " ": () => listen.toggle(),
      0: () => listen.hear(GOLD),
      l: () => listen.setLooping(!deck.loop.on),
      x: () => listen.back(),
      o: playInOrder,
      "[": () => listen.setRegion({ start: deck.position, end: deck.region?.end ?? deck.duration }),
      "]": () => listen.setRegion({ start: deck.region?.start ?? 0, end: deck.position }),
      ArrowLeft: () => deck.seek(deck.position - 1),
      ArrowRight: () => deck.seek(deck.position + 1),
    };
    for (const { item, letter } of trial.clips) KEYS[letter.toLowerCase()] ||= () => listen.hear(item);
    trial.clips.forEach((_, k) => (KEYS[k + 1] = () => order.place(listen.chosen, k + 1)));
    const steps = { ArrowUp: -1, ArrowDown: 1 };
    const onKey = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.target !== document.body && !element.contains(event.target)) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const pressed = event.target.closest("button, a, summary, input");
      if (key === "Escape") listen.setRegion(null);
      else if (key in steps) {
        // Without a place to leave, the arrows scroll as they always do.
        const { chosen } = listen;
        if (!keysOn || !chosen || !order.places.rankOf(chosen)) return;
        order.step(chosen, steps[key]);
      } else if (!keysOn || !(key in KEYS) || (key === " " && pressed)) return;
      else KEYS[key]();
      event.preventDefault();
    };
    document.addEventListener("keydown", onKey);

    refresh();
    return {
      element,
      title,
      /** Say what went wrong with handing in; the ranking can be handed in again. */
      complain: (sentence, { final }) => {
        missing.textContent = sentence;
        if (!final) return;
        asked = false;
        wait(false);
      },
      close: () => {
        document.removeEventListener("keydown", onKey);
        listen.close();
      },
    };
  };
})();
