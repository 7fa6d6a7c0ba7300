/* One tree on the page: its atlas, its shape, and the map or list that shows it. The page has one, or two to compare. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const { ROOT } = window.MusicStar.concepts;
  const SLOW_MS = 400;
  const KINDS = { sunburst: "Sunburst", treemap: "Treemap", icicle: "Icicle", tree: "Tree" };

  /** What a route answers, or the sentence of what went wrong as an Error. */
  const ask = async (url, options = {}) => {
    let answer;
    try {
      answer = await fetch(url, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The studio could not be reached. Is it still running?");
    }
    const content = await answer.json().catch(() => null);
    if (answer.ok && content) return content;
    throw Object.assign(new Error(content?.error || `The server answered ${answer.status}. Please try again.`), {
      gone: answer.status === 410,
    });
  };

  const atlases = new Map();
  const atlasOf = (name) => {
    if (!atlases.has(name)) {
      const found = ask(`/concepts/api/atlas/${encodeURIComponent(name)}`);
      atlases.set(name, found);
      found.catch(() => atlases.delete(name));
    }
    return atlases.get(name);
  };

  class Grove {
    /** `chosen(node)` for a concept that was chosen here; `grown()` after each tree that was grown. */
    constructor({ id, title, listed, published, chosen, grown }) {
      const { node } = window.MusicStar;
      const { Chart, TreeList, shapeControls } = window.MusicStar.concepts;
      this.id = id;
      this.chosen = chosen;
      this.grown = grown;
      this.forest = null;
      this.atlas = null;
      this.own = null; // A visitor's concept: what `own.js` made.
      this.look = { at: ROOT, kind: "sunburst", colour: "cluster", heard: null, only: null, marked: [] };
      this.asking = null;
      this.beside = "";
      this.status = node("p", { class: "ms-status cm-status", role: "status" });
      this.spoken = node("p", { class: "ms-quiet", role: "status" });
      this.problem = node("p", { class: "ms-problem", role: "alert" });
      this.chart = new Chart({
        chosen,
        told: (text) => (this.spoken.textContent = text),
        label: `${title}. Arrow keys go down, up and sideways, Escape goes up, Home to the root.`,
      });
      this.list = new TreeList({ chosen, label: `${title}, as a list` });
      this.crumbs = node("ol", {});
      this.pick = node(
        "select",
        { id: `cm-atlas-${id}`, onchange: () => this.open(this.pick.value, this.shape.get()) },
        listed.map((atlas) => node("option", { value: atlas.name }, `${atlas.title} (${atlas.concepts.toLocaleString("en")})`)),
      );
      this.shape = shapeControls({ id, published, changed: (shape) => this.grow(shape) });
      this.element = node(
        "section",
        { class: "cm-grove", "aria-label": title },
        node(
          "div",
          { class: "cm-grove-head" },
          node("label", { class: "cm-pick", for: this.pick.id }, node("span", {}, id === "second" ? "Compared with" : "Atlas"), this.pick),
        ),
        node("nav", { class: "cm-crumbs", "aria-label": id === "second" ? "Where you are in the second tree" : "Where you are" }, this.crumbs),
        node("div", { class: "cm-stage" }, this.chart.element, this.list.element),
        this.status,
        this.problem,
        this.spoken,
        node("details", { class: "ms-more cm-shaping" }, node("summary", {}, "Shape of the tree"), this.shape.element),
      );
    }

    /** Take up an atlas; a shape that is kept is fitted to it by the controls. */
    async open(name, shape) {
      this.problem.textContent = "";
      try {
        const atlas = await atlasOf(name);
        this.atlas = atlas;
        this.pick.value = name;
        this.shape.set(shape, atlas.range);
        await this.grow(this.shape.get());
      } catch (error) {
        if (error.name !== "AbortError") this.problem.textContent = error.message;
      }
    }

    async grow(shape) {
      const { Forest, shapeQuery } = window.MusicStar.concepts;
      const { atlas } = this;
      if (!atlas) return;
      this.asking?.abort();
      const asking = (this.asking = new AbortController());
      const slow = setTimeout(() => {
        this.status.textContent = "Growing the tree… For a new threshold of thousands of concepts this takes up to a minute.";
        this.element.classList.add("cm-growing");
      }, SLOW_MS);
      const query = shapeQuery(shape);
      try {
        const grown = await ask(`/concepts/api/atlas/${encodeURIComponent(atlas.name)}/tree?${query}`, { signal: asking.signal });
        let own = null;
        if (this.own?.atlas === atlas.name) {
          query.set("atlas", atlas.name);
          own = { title: this.own.title, ...(await ask(`/concepts/own/${this.own.job}/place?${query}`, { signal: asking.signal })) };
        }
        this.forest = new Forest(atlas, grown, own);
        this.problem.textContent = "";
        this.describe();
        this.grown(this);
      } catch (error) {
        if (error.name !== "AbortError") this.problem.textContent = error.message;
      } finally {
        clearTimeout(slow);
        if (this.asking === asking) {
          this.element.classList.remove("cm-growing");
          if (this.forest) this.describe();
        }
      }
    }

    /** What there is to say of the tree as a whole, and once it is known how it stands to another. */
    describe() {
      const { forest } = this;
      const tops = forest.children(ROOT).length;
      const purity = forest.purity;
      this.status.textContent = [
        `${forest.count.toLocaleString("en")} concepts, ${tops} at the root, ${forest.deepest} levels deep.`,
        purity === null ? "" : `${Math.round(100 * purity)} % hang under one of their own family.`,
        this.beside,
      ]
        .filter(Boolean)
        .join(" ");
    }

    /** Show another concept, kind, colour or mark: any part of `look`. */
    show(look = {}) {
      Object.assign(this.look, look);
      if (!this.forest) return null;
      const { paint } = window.MusicStar.concepts;
      const { at, kind, colour, heard, only, marked } = this.look;
      const painted = paint(this.forest, colour, { heard, only });
      const asList = kind === "tree";
      this.chart.element.hidden = asList;
      this.list.element.hidden = !asList;
      const state = { forest: this.forest, at, kind, fill: painted.fill, marked };
      if (asList) this.list.show(state);
      else this.chart.show(state);
      this._crumb(at);
      return painted;
    }

    _crumb(at) {
      const { node } = window.MusicStar;
      const way = [ROOT, ...this.forest.path(at)];
      this.crumbs.replaceChildren(
        ...way.map((step, k) =>
          node(
            "li",
            {},
            k === way.length - 1
              ? node("span", { "aria-current": "location" }, this.forest.name(step))
              : node("button", { type: "button", class: "cm-link", onclick: () => this.chosen(step) }, this.forest.name(step)),
          ),
        ),
      );
      // Not at once, as it would have the browser lay out the page within the click.
      requestAnimationFrame(() => (this.crumbs.parentElement.scrollLeft = this.crumbs.parentElement.scrollWidth));
    }
  }

  Object.assign(window.MusicStar.concepts, { ask, atlasOf, Grove, KINDS });
})();
