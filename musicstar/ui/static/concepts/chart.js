/* A map of concepts on a canvas: a click chooses and zooms in, the centre leads back out.
   Drawn by ourselves: plotly.js 3 takes 1.4 to 4 s for a click in a treemap or icicle of 3,369 concepts and 7 s to
   begin a whole sunburst; here a click takes some milliseconds. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const { ROOT } = window.MusicStar.concepts;
  const FONT_PX = 12;
  const TURN = 2 * Math.PI;

  const widths = new Map();
  const measured = (pen, text) => {
    let width = widths.get(text);
    if (width === undefined) widths.set(text, (width = pen.measureText(text).width));
    return width;
  };
  /** As much of a text as there is room for. */
  const fitted = (pen, text, room) => {
    const width = measured(pen, text);
    if (width <= room) return text;
    const letters = Math.floor((text.length * (room - 9)) / width);
    return letters >= 2 ? `${text.slice(0, letters).trimEnd()}…` : "";
  };

  const outline = (path, laid, cell, inset = 0) => {
    if (laid.kind !== "sunburst") {
      path.rect(cell.x + inset, cell.y + inset, Math.max(0.3, cell.width - 2 * inset), Math.max(0.3, cell.height - 2 * inset));
      return;
    }
    const [from, to] = [cell.from - TURN / 4, cell.to - TURN / 4];
    path.moveTo(laid.x + cell.outer * Math.cos(from), laid.y + cell.outer * Math.sin(from));
    path.arc(laid.x, laid.y, cell.outer, from, to);
    if (cell.inner > 0) path.arc(laid.x, laid.y, cell.inner, to, from, true);
    path.closePath();
  };

  const wide = (laid, cell) =>
    laid.kind === "sunburst" ? (cell.to - cell.from) * cell.outer > 2.5 : Math.min(cell.width, cell.height) > 2.5;

  /** Along the ring where the whole name fits there, otherwise outwards, as much of it as fits. */
  const sectorLabel = (pen, laid, cell, text) => {
    const middle = (cell.from + cell.to) / 2;
    const radius = (cell.inner + cell.outer) / 2;
    const [across, along] = [cell.outer - cell.inner, (cell.to - cell.from) * radius];
    if (along < FONT_PX + 1) return;
    const half = measured(pen, text) / 2;
    // A straight line leaves the middle of its ring towards both ends.
    const straying = half < radius ? radius - Math.sqrt(radius * radius - half * half) : Infinity;
    const tangential = 2 * half + 10 < along && straying + FONT_PX / 2 < across / 2 && 2 * half > across - 10;
    const label = tangential ? text : fitted(pen, text, across - 10);
    if (!label) return;
    const below = middle > TURN / 4 && middle < (3 * TURN) / 4;
    pen.save();
    pen.translate(laid.x + radius * Math.sin(middle), laid.y - radius * Math.cos(middle));
    // Never upside down.
    if (tangential) pen.rotate(below ? middle + TURN / 2 : middle);
    else pen.rotate(middle < TURN / 2 ? middle - TURN / 4 : middle + TURN / 4);
    pen.fillText(label, 0, 0.5);
    pen.restore();
  };

  const boxLabel = (pen, cell, text) => {
    const height = cell.head || cell.height;
    if (height < FONT_PX + 1 || cell.head === 2) return;
    const label = fitted(pen, text, cell.width - 10);
    if (label) pen.fillText(label, cell.x + 5, cell.y + Math.min(height / 2, 13) + (cell.head ? 1 : 0));
  };

  /** The name in the hub, on up to three lines. */
  const hubLabel = (pen, laid, text, look) => {
    pen.fillStyle = look.ink;
    const room = 1.7 * laid.hub - 8;
    const lines = [""];
    for (const word of text.split(" ")) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (!lines.at(-1) || measured(pen, longer) <= room) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    const shown = lines.slice(0, 3).map((line) => fitted(pen, line, room));
    shown.forEach((line, k) => pen.fillText(line, laid.x, laid.y + (k - (shown.length - 1) / 2) * 15));
  };

  /** Draw a whole map, as few strokes as colours and layers. */
  const draw = (pen, laid, { forest, fill, look, size }) => {
    const { ink } = window.MusicStar.concepts;
    pen.clearRect(0, 0, size.width, size.height);
    pen.font = `500 ${FONT_PX}px ${look.sans}`;
    pen.textBaseline = "middle";
    const layers = laid.kind === "treemap" ? [1, 2, 3].map((level) => laid.cells.filter((c) => c.level === level)) : [laid.cells.slice(1)];
    for (const layer of layers) {
      const paths = new Map();
      const edges = new Path2D();
      for (const cell of layer) {
        const colour = fill(cell.node);
        if (!paths.has(colour)) paths.set(colour, new Path2D());
        outline(paths.get(colour), laid, cell);
        if (wide(laid, cell)) outline(edges, laid, cell);
      }
      for (const [colour, path] of paths) {
        pen.fillStyle = colour;
        pen.fill(path);
      }
      pen.strokeStyle = look.paper;
      pen.lineWidth = 1;
      pen.stroke(edges);
    }
    pen.fillStyle = look.paper;
    const [first] = laid.cells;
    if (laid.kind !== "sunburst") {
      const path = new Path2D();
      outline(path, laid, first, 0.5);
      pen.stroke(path);
    }
    pen.textAlign = laid.kind === "sunburst" ? "center" : "left";
    for (const cell of laid.cells.slice(1)) {
      pen.fillStyle = ink(fill(cell.node));
      if (laid.kind === "sunburst") sectorLabel(pen, laid, cell, forest.name(cell.node));
      else boxLabel(pen, cell, forest.name(cell.node));
    }
    // What goes on below the last level.
    pen.fillStyle = look.edge;
    for (const cell of laid.cells) {
      if (!cell.more || laid.kind === "treemap") continue;
      if (laid.kind === "icicle") pen.fillRect(cell.x + cell.width - 3, cell.y, 3, Math.max(0.5, cell.height - 1));
    }
    if (laid.kind === "sunburst") {
      pen.strokeStyle = look.edge;
      pen.lineWidth = 2.5;
      const path = new Path2D();
      for (const cell of laid.cells) {
        if (!cell.more) continue;
        const [from, to] = [cell.from - TURN / 4, cell.to - TURN / 4];
        path.moveTo(laid.x + (cell.outer + 3) * Math.cos(from), laid.y + (cell.outer + 3) * Math.sin(from));
        path.arc(laid.x, laid.y, cell.outer + 3, from, Math.max(from, to - 0.004));
      }
      pen.stroke(path);
      hubLabel(pen, laid, forest.name(first.node), look);
    } else {
      pen.fillStyle = look.ink;
      boxLabel(pen, { ...first, height: Math.min(first.height, 30) }, forest.name(first.node));
    }
  };

  class Chart {
    /** `chosen(node)` is called with what a click or key leads to; `told(text)` with what the keys have reached. */
    constructor({ chosen, told, label }) {
      const { node } = window.MusicStar;
      this.chosen = chosen;
      this.told = told;
      this.canvas = node("canvas", { class: "cm-canvas" });
      this.marks = node("canvas", { class: "cm-marks", "aria-hidden": "true" });
      this.tip = node("div", { class: "cm-tip", "aria-hidden": "true", hidden: true });
      this.element = node(
        "div",
        {
          class: "cm-chart",
          tabindex: "0",
          role: "application",
          "aria-roledescription": "map",
          "aria-label": label,
          onkeydown: (event) => this._key(event),
          onclick: (event) => this._click(event),
          onpointermove: (event) => this._hover(event),
          onpointerleave: () => this._point(null),
        },
        this.canvas,
        this.marks,
        this.tip,
      );
      this.state = null;
      this.pointed = null;
      new ResizeObserver(() => this.redraw()).observe(this.element);
    }

    /** Show `{forest, at, kind, fill, marked}`; `marked` are nodes to be pointed out. */
    show(state) {
      this.state = state;
      this.redraw();
    }

    redraw() {
      const { theme, layouts } = window.MusicStar.concepts;
      const size = { width: this.element.clientWidth, height: this.element.clientHeight };
      if (!this.state || !size.width || !size.height) return;
      const { forest, at, kind, fill } = this.state;
      this.size = size;
      this.look = theme();
      this.laid = layouts[kind](forest, forest.centre(at), size);
      draw(this._pen(this.canvas), this.laid, { forest, fill, look: this.look, size });
      this.pointed = null;
      this.tip.hidden = true;
      this._mark();
    }

    _pen(canvas) {
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const [width, height] = [Math.round(this.size.width * ratio), Math.round(this.size.height * ratio)];
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      return pen;
    }

    /** What is chosen, pointed out or under the pointer, over the map. */
    _mark() {
      const pen = this._pen(this.marks);
      pen.clearRect(0, 0, this.size.width, this.size.height);
      const { at, marked = [] } = this.state;
      const rim = (cell, colour, width) => {
        if (!cell || cell.level === 0) return;
        const path = new Path2D();
        outline(path, this.laid, cell, width / 2);
        pen.strokeStyle = this.look.paper;
        pen.lineWidth = width + 2.5;
        pen.stroke(path);
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.stroke(path);
      };
      for (const cell of this.laid.cells) if (marked.includes(cell.node)) rim(cell, this.look.gold, 3);
      rim(this.laid.cells.find((cell) => cell.node === at), this.look.ink, 2.5);
      rim(this.pointed, this.look.accent, 2);
    }

    _cell(event) {
      const box = this.canvas.getBoundingClientRect();
      return this.laid && window.MusicStar.concepts.cellAt(this.laid, event.clientX - box.left, event.clientY - box.top);
    }

    _hover(event) {
      if (event.pointerType === "touch" || !this.laid) return;
      this._point(this._cell(event));
      if (!this.pointed) return;
      const box = this.element.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const left = x > this.size.width / 2;
      this.tip.style.transform = `translate(${x + (left ? -12 : 14)}px, ${y + 14}px)${left ? " translateX(-100%)" : ""}`;
    }

    _point(cell) {
      if (cell === this.pointed) return;
      this.pointed = cell;
      this.tip.hidden = !cell;
      this.element.classList.toggle("cm-over", Boolean(cell));
      if (cell) {
        const { node } = window.MusicStar;
        const { forest } = this.state;
        const below = forest.children(cell.node).length;
        const out = cell.level === 0 && cell.node !== ROOT;
        this.tip.replaceChildren(
          node("b", {}, forest.name(cell.node)),
          node("span", {}, out ? "back out" : below ? `${below} below` : ""),
        );
      }
      if (this.laid) this._mark();
    }

    /** The middle of a cell on the page, for whoever has to point at it. */
    pointOf(wanted) {
      const cell = this.laid.cells.find(({ node }) => node === wanted);
      if (!cell) return null;
      const box = this.canvas.getBoundingClientRect();
      if (this.laid.kind !== "sunburst") return [box.left + cell.x + cell.width / 2, box.top + cell.y + Math.min(9, cell.height / 2)];
      const middle = (cell.from + cell.to) / 2;
      const radius = cell.level ? (cell.inner + cell.outer) / 2 : 0;
      return [box.left + this.laid.x + radius * Math.sin(middle), box.top + this.laid.y - radius * Math.cos(middle)];
    }

    _click(event) {
      const cell = this._cell(event);
      if (!cell) return;
      const { forest, at } = this.state;
      // The centre leads back: from what is chosen within it to itself, and from itself to what it hangs under.
      this.chosen(cell.level > 0 ? cell.node : at === cell.node ? forest.parent(at) : cell.node);
    }

    _key(event) {
      if (!this.state || event.altKey || event.ctrlKey || event.metaKey) return;
      const { forest, at } = this.state;
      const beside = forest.children(forest.parent(at));
      const place = beside.indexOf(at);
      const next = {
        ArrowDown: forest.children(at)[0],
        ArrowUp: forest.parent(at),
        Backspace: forest.parent(at),
        Escape: forest.parent(at),
        ArrowRight: at === ROOT ? undefined : beside[(place + 1) % beside.length],
        ArrowLeft: at === ROOT ? undefined : beside[(place + beside.length - 1) % beside.length],
        Home: ROOT,
      };
      if (!(event.key in next)) return;
      event.preventDefault();
      if (next[event.key] === undefined) return;
      this.chosen(next[event.key]);
      const now = this.state.at;
      const below = forest.children(now).length;
      this.told(`${forest.name(now)}, level ${now === ROOT ? 0 : forest.depths[now]}, ${below ? `${below} below` : "nothing below"}`);
    }

    /** The map as a PNG of twice its size, on the page's colour. */
    picture(scale = 2) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [this.size.width * scale, this.size.height * scale];
      const pen = canvas.getContext("2d");
      pen.fillStyle = this.look.paper;
      pen.fillRect(0, 0, canvas.width, canvas.height);
      // Drawn beside and put on top, as drawing begins by clearing.
      const map = document.createElement("canvas");
      [map.width, map.height] = [canvas.width, canvas.height];
      const inner = map.getContext("2d");
      inner.setTransform(scale, 0, 0, scale, 0, 0);
      draw(inner, this.laid, { ...this.state, look: this.look, size: this.size });
      pen.drawImage(map, 0, 0);
      return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    }
  }

  window.MusicStar.concepts.Chart = Chart;
})();
