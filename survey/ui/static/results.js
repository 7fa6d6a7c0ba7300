/* The results: sections, tables and figures, drawn from what the server has worked out. */
"use strict";
window.MusicStar ||= {};

{
  const VIEWS = ["scores", "comparisons", "people", "progress"];
  let plotly = null;

  /** Plotly, fetched when the first figure comes into sight. */
  const fetchPlotly = () =>
    (plotly ||= new Promise((done, failed) => {
      const script = window.MusicStar.node("script", { src: "/results/plotly.js" });
      script.onload = () => done(window.Plotly);
      script.onerror = () => {
        plotly = null;
        failed(new Error("The figures could not be loaded."));
      };
      document.head.append(script);
    }));

  // A session that has ended leads to the login page.
  const plainFetch = window.fetch;
  window.fetch = async (...request) => {
    const answer = await plainFetch(...request);
    if (answer.status === 401) location.reload();
    return answer;
  };

  /** A place on this page: Gradio's base address would drop the query of a bare "#place". */
  const here = (place) => `${location.pathname}${location.search}#${place}`;

  const isDark = () => document.body.classList.contains("dark");

  /** Follow the address: #people, #participant=s_… */
  const follow = () => {
    const [name] = location.hash.slice(1).split("=");
    const view = name === "participant" ? "people" : VIEWS.includes(name) ? name : VIEWS[0];
    document.body.dataset.view = view;
    for (const link of document.querySelectorAll(".rs-nav a")) {
      if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  };

  const inSight = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) entry.target.draw?.();
  }, { rootMargin: "200px" });
  new MutationObserver(() => {
    for (const place of document.querySelectorAll(".rs-plot[data-mode]")) place.draw?.();
  }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  window.addEventListener("hashchange", follow);

  /**
   * A table of `{caption, head: [words], rows: [[cell]]}`; a cell is words or `{text, strong, sub}`.
   * Above the head may stand `groups` of columns, `{text, span}`, and over these others.
   */
  const table = ({ caption, head, groups, over, rows, numeric = true, wide }) => {
    const { node } = window.MusicStar;
    const cell = (value, k) => {
      const { text = value, strong = false, sub = "" } = value !== null && typeof value === "object" ? value : {};
      const inner = [strong ? node("b", {}, text ?? "") : `${text ?? ""}`, sub && node("span", { class: "rs-sub" }, sub)];
      return k === 0 ? node("th", { scope: "row" }, inner) : node("td", {}, inner);
    };
    const top = [over, groups].map((row) => row && node("tr", {}, row.map(({ text, span }) =>
      text ? node("th", { scope: "colgroup", colspan: `${span}` }, text) : node("td", { colspan: `${span}` }))));
    return node(
      "div",
      { class: "rs-scroll", tabindex: "0", role: "region", "aria-label": caption },
      node(
        "table",
        { class: `rs-table${numeric ? " rs-numbers" : ""}${wide ? " rs-wide" : ""}${over ? " rs-dense" : ""}` },
        node("caption", {}, caption),
        node("thead", {}, top, node("tr", {}, head.map((words) => node("th", { scope: "col" }, words)))),
        node("tbody", {}, rows.map((row) => node("tr", {}, row.map(cell)))),
      ),
    );
  };

  const set = (object, [first, ...rest], value) => {
    if (rest.length) set((object[first] ||= {}), rest, value);
    else object[first] = value;
  };

  /** A figure, with its numbers in a table to unfold, and to save. */
  const figure = (drawing) => {
    const { node } = window.MusicStar;
    const place = node("div", { class: "rs-plot", role: "img", "aria-label": `${drawing.name}. ${drawing.note}` });
    place.style.minHeight = `${drawing.light.layout.height}px`;
    place.draw = async () => {
      const mode = isDark() ? "dark" : "light";
      if (place.dataset.mode === mode || !place.clientWidth) return;
      place.dataset.mode = mode;
      try {
        const library = await fetchPlotly();
        const { data, layout } = structuredClone(drawing[mode]);
        if (place.clientWidth < 420) for (const [path, value] of Object.entries(drawing.narrow)) set(layout, path.split("."), value);
        await library.react(place, data, layout, { displayModeBar: false, responsive: true });
      } catch (error) {
        delete place.dataset.mode;
        place.textContent = error.message;
      }
    };
    inSight.observe(place);
    const save = async () => {
      const library = await fetchPlotly();
      const { data, layout } = structuredClone(drawing.light);
      const name = drawing.name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
      await library.downloadImage(
        { data, layout: { ...layout, width: 720, paper_bgcolor: "#ffffff" } },
        { format: "svg", width: 720, height: layout.height, filename: name },
      );
    };
    return node(
      "figure",
      { class: "rs-figure" },
      node("figcaption", {}, drawing.title && node("b", {}, drawing.title), node("span", {}, drawing.note)),
      place,
      node(
        "div",
        { class: "rs-figure-foot" },
        node(
          "details",
          { class: "ms-more" },
          node("summary", {}, "Numbers"),
          table({ caption: drawing.name, head: drawing.head, rows: drawing.rows }),
        ),
        node("button", { class: "ms-small", type: "button", onclick: save, "aria-label": `Save as SVG: ${drawing.name}` }, "Save as SVG"),
      ),
    );
  };

  const BLOCKS = {
    table,
    figure: (block) => figure(block.drawing),
    text: ({ text, strong }) => window.MusicStar.node("p", { class: strong ? "rs-said" : "ms-hint" }, text),
    grid: ({ blocks }) => window.MusicStar.node("div", { class: "rs-grid" }, blocks.map(draw)),
  };
  const draw = (block) => BLOCKS[block.kind](block);

  /** Sections of blocks; a section with `of` belongs to one of `choices`, of which the reader picks one. */
  const board = (root, props, watch) => {
    const { node } = window.MusicStar;
    let chosen = null;
    const show = () => {
      const report = props.value;
      if (!report) {
        root.replaceChildren(node("p", { class: "rs-wait", role: "status" }, "Working out the results…"));
        return;
      }
      const choices = report.choices || [];
      if (!choices.some(({ key }) => key === chosen)) chosen = choices[0]?.key ?? null;
      const sections = report.sections.map((section) => {
        const element = node(
          "section",
          { class: "rs-section" },
          section.title && node("h2", {}, section.title),
          section.note && node("p", { class: "ms-hint" }, section.note),
          section.blocks.map(draw),
        );
        element.of = section.of ?? null;
        return element;
      });
      const pick = (key) => {
        chosen = key;
        for (const section of sections) section.hidden = section.of !== null && section.of !== chosen;
        for (const button of buttons) button.setAttribute("aria-pressed", `${button.value === chosen}`);
        for (const place of root.querySelectorAll(".rs-plot")) {
          inSight.unobserve(place);
          inSight.observe(place);
        }
      };
      const buttons = choices.map(({ key, title }) =>
        node("button", { class: "ms-button", type: "button", value: key, onclick: () => pick(key) }, title));
      // The buttons stand before the first section that they change.
      const bar = node("div", { class: "rs-choices", role: "group", "aria-label": report.legend }, buttons);
      const place = sections.findIndex((section) => section.of !== null);
      root.replaceChildren(...(buttons.length > 1 && place >= 0 ? sections.toSpliced(place, 0, bar) : sections));
      pick(chosen);
    };
    watch("value", show);
    show();
    follow();
  };

  /** Who is logged in, the parts of the page, and which study. */
  const head = (root, props, watch) => {
    const { node } = window.MusicStar;
    const show = () => {
      const { name = "", studies = [], study = "" } = props.value || {};
      const titles = { scores: "Scores", comparisons: "Comparisons", people: "Participants", progress: "Progress" };
      root.replaceChildren(
        node(
          "header",
          { class: "ms-header rs-header" },
          node("p", { class: "ms-wordmark" }, node("a", { href: "/" }, "Music-STAR ", node("span", {}, "studio"))),
          node("h1", {}, "Survey results"),
          studies.length > 1
            ? node(
                "label",
                { class: "rs-study" },
                "Study ",
                node(
                  "select",
                  { onchange: (event) => (location.search = new URLSearchParams({ study: event.target.value })) },
                  studies.map((one) => node("option", { value: one.name, selected: one.name === study }, one.title)),
                ),
              )
            : node("p", { class: "ms-lead" }, studies[0]?.title ?? (props.value ? "There is no study yet." : "")),
          node(
            "form",
            { class: "rs-who", method: "post", action: "/results/logout" },
            node("span", {}, name),
            node("button", { class: "ms-small", type: "submit" }, "Log out"),
          ),
        ),
        node("nav", { class: "rs-nav", "aria-label": "Parts of the results" },
          VIEWS.map((view) => node("a", { href: here(view) }, titles[view]))),
      );
      follow();
    };
    watch("value", show);
    show();
  };

  /** A sentence on what cannot be done at this moment. */
  const notice = (root, props, watch) => {
    const said = window.MusicStar.node("p", { class: "ms-notice", role: "alert" });
    root.append(said);
    const show = () => (said.textContent = props.value || "");
    watch("value", show);
    show();
  };

  window.MusicStar.results = { head, notice, board, table, here };
}
