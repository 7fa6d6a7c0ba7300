/* What a clip contains: its concepts over time as a heat map with the playback's place in it, as a list, as a table. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const ROWS = 16;
  // A finger needs more.
  const rowHeight = () => (window.matchMedia("(max-width: 560px)").matches ? 48 : 26);

  /** `atlas()` gives the one that is shown, `heard(name of the atlas, values, first)` is told how much of each concept
      there is, as a whole or at the place that is heard; `chosen(name)` which concept was chosen. */
  const heardPart = ({ limits, offered, atlas, heard, chosen }) => {
    const { node } = window.MusicStar;
    const { ask, amount, intake } = window.MusicStar.concepts;
    let found = null;
    let shownWindow = -1;

    const audio = node("audio", { controls: true, preload: "auto", "aria-label": "The clip" });
    const canvas = node("canvas", { class: "cm-heat", role: "img" });
    const cursor = node("i", { class: "cm-cursor" });
    const ruler = node("div", { class: "cm-ruler", "aria-hidden": "true" });
    const surface = node("div", { class: "cm-surface" }, canvas, cursor);
    const names = node("ol", { class: "cm-rows", "aria-label": "The strongest concepts" });
    const table = node("div", { class: "cm-scroll", tabindex: "0", role: "region", "aria-label": "Concepts over time" });
    const title = node("h3", {});
    const heatmap = node("div", { class: "cm-heatmap" }, names, node("div", { class: "cm-plot" }, surface, ruler));
    const result = node(
      "div",
      { class: "cm-result", hidden: true },
      title,
      audio,
      heatmap,
      node(
        "p",
        { class: "ms-hint" },
        "Each row is a concept, from left to right the clip; the stronger the colour, the more of it. Click to hear a place. Beside each name: its mean, and its highest value.",
      ),
      node("details", { class: "ms-more" }, node("summary", {}, "Read it as a table"), table),
    );

    const windowAt = (time_s) => {
      let best = 0;
      found.times_s.forEach((centre, k) => {
        if (Math.abs(centre - time_s) < Math.abs(found.times_s[best] - time_s)) best = k;
      });
      return best;
    };
    const byConcept = (values) => {
      const all = [];
      found.concepts.forEach((concept, row) => (all[concept] = values(found.probabilities[row])));
      return all;
    };
    const means = () => byConcept((row) => row.reduce((sum, value) => sum + value, 0) / row.length);

    const draw = () => {
      if (!found || !canvas.clientWidth) return;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const rowPx = rowHeight();
      const [width, height] = [canvas.clientWidth, found.rows.length * rowPx];
      heatmap.style.setProperty("--row", `${rowPx}px`);
      canvas.style.height = `${height}px`;
      [canvas.width, canvas.height] = [width * ratio, height * ratio];
      const pen = canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      // Between the centres of two windows the boundary lies half way.
      const edges = found.times_s.map((time, k) => (k ? (time + found.times_s[k - 1]) / 2 : 0));
      edges.push(found.duration_s);
      found.rows.forEach(({ values }, row) =>
        values.forEach((value, k) => {
          const [from, to] = [edges[k], edges[k + 1]].map((time) => (time / found.duration_s) * width);
          pen.fillStyle = amount(value);
          pen.fillRect(Math.floor(from), row * rowPx, Math.ceil(to) - Math.floor(from), rowPx - 1);
        }),
      );
    };
    const follow = () => {
      if (!found) return;
      cursor.style.left = `${(100 * Math.min(audio.currentTime, found.duration_s)) / found.duration_s}%`;
      const now = windowAt(audio.currentTime);
      if (!audio.paused && now !== shownWindow) {
        shownWindow = now;
        heard(found.atlas, byConcept((row) => row[now]));
      }
      if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("play", () => {
      shownWindow = -1;
      follow();
    });
    audio.addEventListener("seeked", follow);
    for (const event of ["pause", "ended"])
      audio.addEventListener(event, () => {
        follow();
        if (found) heard(found.atlas, means());
      });
    surface.addEventListener("click", (event) => {
      const box = surface.getBoundingClientRect();
      audio.currentTime = ((event.clientX - box.left) / box.width) * found.duration_s;
      audio.play().catch(() => {});
    });
    new ResizeObserver(draw).observe(surface);

    const accept = (answer, known) => {
      found = { ...answer, atlas: known.name };
      const mean = means();
      const rows = answer.concepts.map((concept, k) => ({ concept, name: known.names[concept], values: answer.probabilities[k], mean: mean[concept], most: Math.max(...answer.probabilities[k]) }));
      found.rows = rows.slice(0, ROWS);
      title.replaceChildren(node("b", {}, answer.name), node("span", { class: "cm-aside" }, `${answer.duration_s.toFixed(1)} s, held against ${known.title}`));
      audio.src = `/media/${answer.media}`;
      canvas.setAttribute("aria-label", `Heat map of the ${found.rows.length} strongest concepts over ${answer.duration_s.toFixed(1)} seconds; the table below holds the same.`);
      names.replaceChildren(
        ...found.rows.map(({ name, mean: middle, most }) =>
          node(
            "li",
            {},
            node("button", { type: "button", class: "cm-link", onclick: () => chosen(name) }, name),
            node("span", { class: "cm-figure" }, `${middle.toFixed(2)} `, node("span", { class: "cm-most" }, most.toFixed(2))),
          ),
        ),
      );
      const step = [1, 2, 5, 10, 15, 30, 60].find((seconds) => answer.duration_s / seconds <= 8) || 120;
      ruler.replaceChildren(
        ...Array.from({ length: Math.ceil(answer.duration_s / step) }, (_, k) => {
          const mark = node("span", {}, `${k * step} s`);
          mark.style.left = `${(100 * k * step) / answer.duration_s}%`;
          return mark;
        }),
      );
      table.replaceChildren(
        node(
          "table",
          {},
          node("caption", { class: "ms-quiet" }, `Concepts in ${answer.name}, by the middle of each stretch of ${answer.window_s} s`),
          node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Concept"), node("th", { scope: "col" }, "Mean"), node("th", { scope: "col" }, "Most"), answer.times_s.map((time) => node("th", { scope: "col" }, `${time.toFixed(1)} s`)))),
          node("tbody", {}, found.rows.map((row) => node("tr", {}, node("th", { scope: "row" }, row.name), [row.mean, row.most, ...row.values].map((value) => node("td", {}, value.toFixed(2)))))),
        ),
      );
      result.hidden = false;
      draw();
      follow();
      heard(found.atlas, mean, true);
    };

    const take = async (url, body) => {
      const known = await atlas();
      audio.pause();
      accept(await ask(`${url}${url.includes("?") ? "&" : "?"}atlas=${encodeURIComponent(known.name)}`, { method: "POST", body }), known);
    };
    const box = intake({
      id: "cm-file",
      label: "Choose a file",
      limits,
      take: (file, name) => take(`/concepts/clips?${new URLSearchParams({ name })}`, file),
    });
    const example = (offer, domain, label) =>
      node(
        "button",
        {
          type: "button",
          class: "ms-small",
          onclick: () => box.run([{ title: offer.title, work: () => take(`/concepts/examples/${offer.number}/${domain}`) }]),
        },
        label,
        node("span", { class: "ms-quiet" }, ` of ${offer.title}`),
      );
    return {
      element: node(
        "section",
        { class: "cm-card", id: "cm-heard", "aria-labelledby": "cm-heard-title" },
        node("h2", { id: "cm-heard-title" }, "What is in a clip?"),
        node("p", { class: "ms-hint" }, "Upload a recording and see which concepts are heard in it, and when."),
        box.element,
        offered.length > 0 &&
          node(
            "details",
            { class: "ms-more" },
            node("summary", {}, "Or take an example"),
            node("ul", { class: "cm-offers" }, offered.map((offer) => node("li", {}, node("b", {}, offer.title), node("span", {}, example(offer, "sp", "Strings and piano"), example(offer, "cv", "Clarinet and vibraphone"))))),
          ),
        result,
      ),
      /** Draw again, in a mode of other colours. */
      redraw: draw,
    };
  };

  window.MusicStar.concepts.heardPart = heardPart;
})();
