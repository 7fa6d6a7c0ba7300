/* What is known of one concept: where it hangs, how it sounds, how far its vector can be trusted, who is near. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const { ROOT } = window.MusicStar.concepts;
  const SHOWN = 8;
  const share = (value) => value.toFixed(2);

  /** One sound at a time on the whole page. */
  const sound = new Audio();
  let playing = null; // The button whose sound is heard.
  const label = () => {
    const { icon } = window.MusicStar;
    for (const button of document.querySelectorAll(".cm-example")) {
      const on = button === playing && !sound.paused;
      button.setAttribute("aria-pressed", String(on));
      button.replaceChildren(icon(on ? "stop" : "play"), button.dataset.title);
    }
  };
  for (const event of ["play", "pause", "ended"]) sound.addEventListener(event, label);
  const hush = () => sound.pause();
  document.addEventListener("play", (event) => event.target !== sound && hush(), true);
  const hear = (button, source, failed) => {
    if (playing === button && !sound.paused) {
      sound.pause();
      return;
    }
    playing = button;
    for (const other of document.querySelectorAll("audio")) other.pause();
    sound.src = source;
    sound.play().catch((error) => {
      if (error.name !== "AbortError") failed("This example could not be played.");
    });
  };

  /** How tree and ground truth stand to each other about a concept, in a sentence; empty where there is no truth. */
  const verdict = (forest, node) => {
    const { atlas } = forest;
    if (!atlas.clusters.length || node === ROOT || node === forest.own) return "";
    const name = forest.name(node);
    const parents = atlas.truth[node];
    const parent = forest.parent(node);
    if (!parents.length)
      return parent === ROOT ? `${name} is a topmost concept in the ground truth too.` : `The ground truth has ${name} at the top; the tree hangs it under ${forest.name(parent)}.`;
    const there = `In the ground truth ${name} is part of ${parents.join(" and of ")}`;
    if (parent === ROOT) return `${there}; the tree leaves it at the root, for want of a concept that is similar enough.`;
    if (parent === forest.own) return `${there}; here it hangs under your concept.`;
    const above = forest.name(parent);
    if (parents.includes(above)) return `The ground truth agrees: ${name} is part of ${above}.`;
    if (atlas.above[node].includes(above)) return `The ground truth agrees from further up: ${name} is part of ${parents.join(" and of ")}, and so of ${above}.`;
    if (atlas.above[parent].includes(name)) return `${there}, and ${above} is part of ${name}: the tree has those two the other way round.`;
    const common = atlas.above[parent].filter((one) => atlas.above[node].includes(one));
    return common.length
      ? `${there}; the tree hangs it under ${above}, which is not above it there, though both are part of ${common[0]}.`
      : `${there}; the tree disagrees and hangs it under ${above}, which has nothing to do with it there.`;
  };

  class Panel {
    /** `chosen(node)` is called for a concept that is followed. */
    constructor({ chosen }) {
      const { node } = window.MusicStar;
      this.chosen = chosen;
      this.problem = node("p", { class: "ms-problem", role: "alert" });
      this.body = node("div", {});
      this.element = node("section", { class: "cm-panel", "aria-labelledby": "cm-panel-title" }, this.body, this.problem);
      this.near = new Map();
      this.shown = null;
    }

    _link(forest, node, similarity, note = "") {
      const make = window.MusicStar.node;
      return make(
        "li",
        {},
        make("button", { type: "button", class: "cm-link", onclick: () => this.chosen(node) }, forest.name(node)),
        make("span", { class: "cm-figure" }, note || (similarity === null ? "" : share(similarity))),
      );
    }

    _list(title, items, hint = "") {
      const { node } = window.MusicStar;
      return [
        node("h3", {}, title, hint && node("span", { class: "cm-aside" }, hint)),
        node("ul", { class: "cm-links" }, items.slice(0, SHOWN)),
        items.length > SHOWN &&
          node(
            "details",
            { class: "ms-more" },
            node("summary", {}, `${items.length - SHOWN} more`),
            node("ul", { class: "cm-links" }, items.slice(SHOWN)),
          ),
      ].filter(Boolean);
    }

    show(forest, at, { made = null, heard = null } = {}) {
      const { node } = window.MusicStar;
      const { atlas } = forest;
      const key = `${atlas.name} ${at}`;
      if (this.shown !== key) hush();
      this.shown = key;
      this.problem.textContent = "";
      if (at === ROOT) {
        this.body.replaceChildren(...this._root(forest));
        return;
      }
      const own = at === forest.own;
      const parent = forest.parent(at);
      const children = forest.children(at);
      const examples = own ? [] : atlas.examples[at];
      const facts = own ? made : { accuracy: atlas.accuracy[at], low: atlas.low[at], high: atlas.high[at], clips: atlas.clips[at] };
      const warnings = own ? made.warnings : atlas.warning[at] ? [atlas.warning[at]] : [];
      const near = node("div", { class: "cm-near" });
      this.body.replaceChildren(
        ...[
          node("p", { class: "cm-kind" }, own ? "Your concept" : atlas.clusters.length ? atlas.clusters[atlas.cluster[at]] : `Level ${forest.depths[at]}`),
          node("h2", { id: "cm-panel-title" }, forest.name(at)),
          examples.length > 0 &&
            node(
              "div",
              { class: "cm-examples", role: "group", "aria-label": "Examples" },
              examples.map((file, k) => {
                const button = node("button", { type: "button", class: "ms-button cm-example", "data-title": `Example ${k + 1}` });
                button.addEventListener("click", () =>
                  hear(button, `/concepts/preview/${encodeURIComponent(atlas.name)}/${encodeURIComponent(file)}`, (text) => (this.problem.textContent = text)),
                );
                return button;
              }),
            ),
          node("dl", { class: "cm-facts" }, this._facts(facts, heard ? heard[at] : null)),
          ...warnings.map((text) => node("p", { class: "cm-warning" }, text)),
          verdict(forest, at) && node("p", { class: "cm-verdict" }, verdict(forest, at)),
          ...this._list("Hangs under", parent === ROOT ? [node("li", {}, node("span", {}, "the root"))] : [this._link(forest, parent, forest.similarity[at])]),
          ...(children.length ? this._list(`${children.length} below`, children.map((child) => this._link(forest, child, forest.similarity[child]))) : []),
          near,
        ].filter(Boolean),
      );
      label();
      if (own) this._nearest(near, forest, nearestOf(made));
      else this._ask(near, forest, at, key);
    }

    _root(forest) {
      const { node } = window.MusicStar;
      const tops = forest.children(ROOT);
      return [
        node("p", { class: "cm-kind" }, forest.atlas.title),
        node("h2", { id: "cm-panel-title" }, "All concepts"),
        node("p", { class: "ms-hint" }, "Choose a concept in the map to zoom in, hear it, and see what is near it."),
        ...this._list(
          `${tops.length} at the root`,
          tops.map((top) => this._link(forest, top, null, forest.children(top).length ? `${forest.children(top).length} below` : "")),
        ),
      ];
    }

    _facts({ clips, accuracy, low, high }, heard) {
      const { node } = window.MusicStar;
      const fact = (title, ...value) => node("div", {}, node("dt", {}, title), node("dd", {}, ...value));
      const found = [fact("Clips", clips.toLocaleString("en"))];
      if (accuracy !== null && accuracy !== undefined) {
        const scale = node("span", { class: "cm-interval", "aria-hidden": "true" }, node("i", {}), node("b", {}));
        const at = (value) => `${Math.max(0, 2 * value - 1) * 100}%`;
        scale.style.setProperty("--low", at(low ?? accuracy));
        scale.style.setProperty("--high", at(high ?? accuracy));
        scale.style.setProperty("--at", at(accuracy));
        const interval = low === null || low === undefined ? "" : ` (95 %: ${share(low)} to ${share(high)})`;
        found.push(fact("Accuracy", `${share(accuracy)}${interval}`, scale));
      }
      if (heard !== null && heard !== undefined) found.push(fact("In your clip", share(heard)));
      return found;
    }

    async _ask(near, forest, at, key) {
      const { ask } = window.MusicStar.concepts;
      try {
        if (!this.near.has(key)) this.near.set(key, await ask(`/concepts/api/atlas/${encodeURIComponent(forest.atlas.name)}/near/${at}`));
        if (this.shown === key) this._nearest(near, forest, this.near.get(key));
      } catch (error) {
        if (this.shown === key) this.problem.textContent = error.message;
      }
    }

    _nearest(near, forest, { within, around }) {
      const items = (pairs) => pairs.map(([node, similarity]) => this._link(forest, node, similarity));
      near.replaceChildren(
        ...[
          ...this._list("Most heard in its clips", items(within)),
          ...this._list("Heard most in the clips of", items(around)),
        ].filter(Boolean),
      );
    }
  }

  /** The nearest concepts of a visitor's own, both ways. */
  const nearestOf = (made) => {
    const most = (values) =>
      values
        .map((value, node) => [node, value])
        .sort((a, b) => b[1] - a[1] || a[0] - b[0])
        .slice(0, SHOWN);
    return { within: most(made.towards), around: most(made.from) };
  };

  Object.assign(window.MusicStar.concepts, { Panel, verdict, nearestOf });
})();
