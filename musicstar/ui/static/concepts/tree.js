/* The same tree as an indented list, for keyboards and screen readers too (the pattern of the ARIA practices guide).
   Branches are made when they are first opened. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const { ROOT } = window.MusicStar.concepts;
  const FORGET_MS = 700;

  class TreeList {
    /** `chosen(node)` is called when an item is clicked or entered. */
    constructor({ chosen, label }) {
      this.chosen = chosen;
      this.element = window.MusicStar.node("ul", {
        class: "cm-tree",
        role: "tree",
        "aria-label": label,
        onkeydown: (event) => this._key(event),
        onclick: (event) => this._click(event),
      });
      this.forest = null;
      this.typed = { text: "", at: 0 };
    }

    /** Show `{forest, at, fill, marked}`. */
    show({ forest, at, fill, marked = [] }) {
      const same = this.forest === forest;
      this.fill = fill;
      if (!same) {
        const open = this.forest && this.forest.atlas === forest.atlas ? [...this.items].filter(([, item]) => item.getAttribute("aria-expanded") === "true").map(([k]) => k) : [];
        this.forest = forest;
        this.items = new Map();
        this.element.replaceChildren(...this._branch(ROOT));
        for (const node of open) if (this.items.has(node)) this._open(node, true);
        const roots = forest.children(ROOT);
        if (roots.length === 1) this._open(roots[0], true);
      }
      for (const above of forest.path(at).slice(0, -1)) this._open(above, true);
      for (const item of this.element.querySelectorAll('[aria-selected="true"]')) item.setAttribute("aria-selected", "false");
      for (const item of this.element.querySelectorAll(".cm-marked")) item.classList.remove("cm-marked");
      for (const node of marked) this.items.get(node)?.classList.add("cm-marked");
      const item = this.items.get(at);
      item?.setAttribute("aria-selected", "true");
      this._rove(item || this.element.firstElementChild);
      if (item && !this.element.contains(document.activeElement)) requestAnimationFrame(() => this._reveal(item));
      for (const [node, row] of this.items) row.firstElementChild.style.setProperty("--fill", fill(node));
    }

    _branch(parent) {
      const { node } = window.MusicStar;
      const { forest } = this;
      const among = forest.children(parent);
      return among.map((child, place) => {
        const below = forest.children(child).length;
        const row = node(
          "div",
          { class: "cm-row" },
          node("span", { class: below ? "cm-fold" : "cm-leaf" }),
          node("span", { class: "cm-dot" }),
          node("span", { class: "cm-name" }, forest.name(child)),
          below > 0 && node("span", { class: "cm-count" }, String(below)),
        );
        const item = node(
          "li",
          {
            role: "treeitem",
            tabindex: "-1",
            "aria-selected": "false",
            "aria-level": forest.depths[child],
            "aria-setsize": among.length,
            "aria-posinset": place + 1,
            "aria-label": `${forest.name(child)}${below ? `, ${below} below` : ""}`,
            "aria-expanded": below ? "false" : null,
            "data-node": child,
          },
          row,
        );
        if (this.fill) row.style.setProperty("--fill", this.fill(child));
        this.items.set(child, item);
        return item;
      });
    }

    _open(node, on) {
      const item = this.items.get(node);
      if (!item || !item.hasAttribute("aria-expanded")) return;
      item.setAttribute("aria-expanded", String(on));
      if (on && item.children.length < 2) item.append(window.MusicStar.node("ul", { role: "group" }, this._branch(node)));
    }

    _rove(item) {
      this.element.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
      item?.setAttribute("tabindex", "0");
    }

    /** Bring an item into the list's own view, without moving the page. */
    _reveal(item) {
      const [row, list] = [item.firstElementChild.getBoundingClientRect(), this.element.getBoundingClientRect()];
      if (row.top < list.top || row.bottom > list.bottom) this.element.scrollTop += row.top - list.top - list.height / 3;
    }

    _focus(item) {
      if (!item) return;
      this._rove(item);
      item.focus({ preventScroll: true });
      this._reveal(item);
    }

    _click(event) {
      const item = event.target.closest("[role=treeitem]");
      if (!item) return;
      const node = Number(item.dataset.node);
      this._focus(item);
      if (event.target.closest(".cm-fold")) this._open(node, item.getAttribute("aria-expanded") !== "true");
      else {
        this._open(node, true);
        this.chosen(node);
      }
    }

    _visible() {
      return [...this.element.querySelectorAll("[role=treeitem]")].filter((item) => !item.parentElement.closest('[aria-expanded="false"]'));
    }

    _key(event) {
      const item = event.target.closest("[role=treeitem]");
      if (!item || event.altKey || event.ctrlKey || event.metaKey) return;
      const node = Number(item.dataset.node);
      const expanded = item.getAttribute("aria-expanded");
      const visible = this._visible();
      const place = visible.indexOf(item);
      const actions = {
        ArrowDown: () => this._focus(visible[place + 1]),
        ArrowUp: () => this._focus(visible[place - 1]),
        Home: () => this._focus(visible[0]),
        End: () => this._focus(visible.at(-1)),
        ArrowRight: () => (expanded === "false" ? this._open(node, true) : expanded && this._focus(visible[place + 1])),
        ArrowLeft: () => (expanded === "true" ? this._open(node, false) : this._focus(item.parentElement.closest("[role=treeitem]"))),
        Enter: () => this.chosen(node),
        " ": () => this.chosen(node),
        "*": () => this.forest.children(this.forest.parent(node)).forEach((beside) => this._open(beside, true)),
      };
      if (event.key in actions) actions[event.key]();
      else if (event.key.length === 1) this._typeahead(event.key, visible, place);
      else return;
      event.preventDefault();
    }

    /** Go to the next item whose name begins with what has just been typed. */
    _typeahead(letter, visible, place) {
      const now = performance.now();
      const text = (now - this.typed.at < FORGET_MS ? this.typed.text : "") + letter.toLowerCase();
      this.typed = { text, at: now };
      const start = text.length > 1 ? place : place + 1;
      const order = [...visible.slice(start), ...visible.slice(0, start)];
      this._focus(order.find((item) => this.forest.name(Number(item.dataset.node)).toLowerCase().startsWith(text)));
    }
  }

  window.MusicStar.concepts.TreeList = TreeList;
})();
