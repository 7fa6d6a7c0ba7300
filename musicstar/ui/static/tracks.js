/* The rows under the stage: a track with its stems, or a method that is still at work or could not do it. */
"use strict";
window.MusicStar ||= {};

/** A row for a track. `select(key)` hears a sound of it, `unfolded()` is told when its stems appear or go. */
window.MusicStar.trackRow = (track, { deck, select, unfolded }) => {
  const { node, icon, image, secondsAt } = window.MusicStar;
  const number = node("kbd", {});
  const chips = node("span", { class: "ms-chips" });
  const title = node("b", {}, track.title);
  const line = node("div", { class: "ms-line" });
  const listId = `ms-parts-${track.key}`;
  const parts = node("ul", { class: "ms-parts", id: listId, "aria-label": `Stems of ${track.title}`, hidden: true });
  const pickButton = (key, ...content) =>
    node(
      "button",
      { type: "button", class: "ms-pick", "aria-pressed": "false", onclick: () => select(key) },
      ...content,
    );
  const button = pickButton(track.key, number, node("span", { class: "ms-words" }, title, chips));
  const more = node(
    "button",
    {
      type: "button",
      class: "ms-button ms-icon ms-unfold",
      "aria-expanded": "false",
      "aria-controls": listId,
      "aria-label": `Stems of ${track.title}`,
      title: "Stems",
      onclick: () => unfold(parts.hidden),
    },
    icon("stems"),
  );
  const item = node("li", { class: "ms-track", "data-domain": track.domain, "data-kind": track.kind }, line, parts);
  let sounds = [];
  let mask = ""; // What it is called while its name is hidden.

  const unfold = (open) => {
    if (parts.hidden === !open) return;
    parts.hidden = !open;
    more.setAttribute("aria-expanded", String(open));
    unfolded(row, open);
  };

  const lane = (sound) => {
    sound.canvas = node("canvas", { "aria-hidden": "true" });
    const gallery = node("div", { class: "ms-gallery", "aria-hidden": "true" }, image(sound));
    const strip = node("div", { class: "ms-lane" }, sound.canvas, gallery, node("i", { class: "ms-head" }));
    strip.addEventListener("click", (event) => {
      select(sound.key);
      deck.seek(secondsAt(event, strip, deck.duration));
    });
    return strip;
  };

  /* What is not all there yet is not to be kept. */
  const download = (sound, what) =>
    sound.file === "" ? node("span", {}) : node(
      "a",
      {
        class: "ms-button ms-icon",
        href: sound.src,
        download: sound.file,
        "aria-label": `Download ${what}`,
        title: sound.file,
      },
      icon("down"),
    );

  const build = () => {
    const [mix, ...stems] = sounds;
    mix.button = button;
    // The button stays where it is: taken out and put back it would lose the focus.
    if (button.parentElement !== line) line.prepend(button);
    while (button.nextSibling) button.nextSibling.remove();
    line.append(lane(mix), stems.length ? more : node("span", {}), download(mix, track.title));
    parts.replaceChildren(
      ...stems.map((stem) => {
        stem.button = pickButton(stem.key, node("span", { class: "ms-words" }, node("b", {}, stem.title)));
        const what = `${stem.title.toLowerCase()} of ${track.title}`;
        return node("li", { class: "ms-line" }, stem.button, lane(stem), node("span", {}), download(stem, what));
      }),
    );
  };

  const row = {
    item,
    number,
    get sounds() {
      return sounds;
    },
    get folded() {
      return parts.hidden;
    },
    unfold,
    /** What a sound of this row is called on the stage. */
    nameOf: (sound) => mask || (sound === sounds[0] ? track.title : `${track.title}: ${sound.title.toLowerCase()}`),
    /** Hide its name behind another, or show it where that is empty. */
    disguise: (name) => {
      mask = name;
      title.textContent = mask || track.title;
      button.title = mask ? "" : track.note;
      item.dataset.kind = mask ? "output" : track.kind;
    },
    update: (next) => {
      item.dataset.domain = next.domain;
      button.title = next.note;
      chips.replaceChildren(
        ...(next.kind === "output"
          ? [
              node("span", { class: "ms-chip" }, next.backbone),
              ...(next.partial
                ? [`the first ${next.partial.toFixed(0)} s so far`]
                : [`${next.seconds.toFixed(1)} s`, node("span", { class: "ms-roomy" }, " to make")]),
            ]
          : [next.note]),
      );
      const given = [next, ...next.parts];
      given.forEach((sound, k) => deck.add(sound.key, sound.src, sound.gain, { load: k === 0 }));
      const same = sounds.length === given.length && sounds.every((sound, k) => sound.src === given[k].src);
      if (same) {
        sounds.forEach((sound, k) => (sound.gain = given[k].gain));
        sounds.slice(1).forEach((stem, k) => {
          stem.title = next.parts[k].title;
          stem.button.querySelector("b").textContent = stem.title;
        });
        return;
      }
      sounds = given.map((sound) => ({
        ...sound,
        envelope: Uint8Array.from(atob(sound.envelope), (letter) => letter.charCodeAt(0)),
      }));
      build();
    },
    /** Mark which of its sounds is heard, if any. */
    mark: (current) => {
      item.classList.toggle("ms-current", sounds.some((sound) => sound.key === current));
      for (const sound of sounds) {
        const holder = sound.button.parentElement;
        sound.button.setAttribute("aria-pressed", String(sound.key === current));
        holder.classList.toggle("ms-heard", sound.key === current);
        holder.classList.toggle("ms-failed", Boolean(deck.sounds.get(sound.key)?.failed));
      }
    },
  };
  return row;
};

/** A row for a method at work; `instead(method)` is called when the visitor takes the substitute it names. */
window.MusicStar.stepRow = (step, { instead }) => {
  const { node, wait } = window.MusicStar;
  let substitute = "";
  const number = node("kbd", {});
  const text = node("span", { class: "ms-chips" });
  const bar = node("progress", { max: 1, "aria-label": `Progress of ${step.title}` });
  const message = node("p", { class: "ms-message" });
  const offer = node(
    "button",
    { type: "button", class: "ms-button", hidden: true, onclick: () => instead(substitute) },
    "Use separation-based instead",
  );
  const item = node(
    "li",
    { class: "ms-track ms-step" },
    node(
      "div",
      { class: "ms-line" },
      node(
        "div",
        { class: "ms-pick" },
        number,
        node("span", { class: "ms-words" }, node("b", {}, step.title), text),
      ),
      node("div", { class: "ms-wide" }, bar, message, offer),
    ),
  );
  return {
    item,
    number,
    sounds: [],
    folded: true,
    mark: () => {},
    update: (next, scene) => {
      item.dataset.state = next.state;
      const ahead = scene.ahead === 1 ? "1 visitor is ahead of you" : `${scene.ahead} visitors are ahead of you`;
      text.textContent = {
        waiting: scene.ahead ? ahead : "waiting",
        running: next.remaining === null ? "starting" : `${wait(next.remaining)} left`,
        failed: "not made",
        cancelled: "cancelled",
        done: "done",
      }[next.state];
      bar.hidden = next.state !== "running" && next.state !== "waiting";
      bar.value = next.state === "running" ? next.share : 0;
      message.textContent = next.message;
      message.hidden = !next.message;
      substitute = next.instead;
      offer.hidden = !substitute || scene.running;
    },
  };
};
