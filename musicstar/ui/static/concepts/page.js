/* The Concepts page: one state, kept in the address, and the parts that show it. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const { ROOT, KINDS } = window.MusicStar.concepts;
  const COLOURS = { cluster: "Ground truth", accuracy: "Accuracy", depth: "Depth", heard: "Your clip" };
  const FORMATS = { json: "JSON", csv: "CSV", graphml: "GraphML", newick: "Newick" };

  /** The state in an address's fragment; what is as it would be anyway is left out. */
  const toFragment = (state, usual) => {
    const words = new URLSearchParams();
    if (state.at) words.set("at", state.at);
    if (state.kind !== "sunburst") words.set("view", state.kind);
    // What a visitor's own clip holds is not there for whoever follows the link.
    if (![usual.colour, "heard"].includes(state.colour)) words.set("colour", state.colour);
    state.sides.forEach(({ atlas, shape }, k) => {
      const end = k ? "2" : "";
      if (k || atlas !== usual.atlas) words.set(`atlas${end}`, atlas);
      for (const [name, value] of Object.entries(shape)) if (value !== usual.shape[name]) words.set(`${name}${end}`, value);
    });
    return words.toString();
  };
  const fromFragment = (text, usual) => {
    const words = new URLSearchParams(text);
    const number = (name, otherwise) => (words.has(name) && Number.isFinite(Number(words.get(name))) ? Number(words.get(name)) : otherwise);
    const side = (end) => ({
      atlas: usual.names.includes(words.get(`atlas${end}`)) ? words.get(`atlas${end}`) : usual.atlas,
      shape: {
        orientation: words.get(`orientation${end}`) === "published" ? "published" : "transposed",
        threshold: number(`threshold${end}`, usual.shape.threshold),
        least: number(`least${end}`, usual.shape.least),
        children: Math.max(1, Math.round(number(`children${end}`, usual.shape.children))),
      },
    });
    return {
      at: words.get("at") || "",
      kind: words.get("view") in KINDS ? words.get("view") : "sunburst",
      colour: ["accuracy", "depth"].includes(words.get("colour")) ? words.get("colour") : usual.colour,
      sides: words.has("atlas2") ? [side(""), side("2")] : [side("")],
    };
  };

  const page = async (root, props) => {
    const { node, icon } = window.MusicStar;
    const { ask, atlasOf, Grove, Panel, search, shapeQuery, agreement, heardPart, ownPart } = window.MusicStar.concepts;
    const problem = node("p", { class: "ms-problem", role: "alert" });
    root.append(node("p", { class: "cm-loading" }, "Loading the concepts…"), problem);
    let offered;
    try {
      offered = await ask("/concepts/api/atlases");
    } catch (error) {
      root.firstElementChild.remove();
      problem.textContent = error.message;
      return;
    }
    root.firstElementChild.remove();
    const broken = Object.entries(offered.broken).map(([name, said]) =>
      node("p", { class: "ms-problem" }, `The atlas ${name} cannot be shown. ${said}.`),
    );
    if (!offered.atlases.length) {
      root.append(
        ...broken,
        node(
          "section",
          { class: "cm-card cm-empty" },
          node("h2", {}, "There is no atlas yet"),
          node("p", {}, "An atlas holds concepts learned from labelled clips. Make one of a folder of your own, whose sub-folders are the concepts, and start the studio again:"),
          node("pre", {}, "musicstar concepts build FOLDER --cache my-features --out my-atlas\nMUSICSTAR_CONCEPTS=my-atlas python app.py"),
        ),
      );
      return;
    }
    const names = offered.atlases.map(({ name }) => name);
    const usual = { atlas: names[0], names, colour: "cluster", shape: { orientation: "transposed", ...props.published } };
    const state = fromFragment(location.hash.slice(1), usual);
    let heard = null; // {atlas, values}
    let own = null;
    let only = null;
    let second = null;

    const choose = (name) => {
      state.at = name;
      show();
    };
    const main = new Grove({
      id: "main",
      title: "The tree of concepts",
      listed: offered.atlases,
      published: props.published,
      chosen: (at) => choose(at === ROOT ? "" : main.forest.name(at)),
      grown: () => grown(),
    });
    const groves = () => (second ? [main, second] : [main]);
    const placeOf = (grove) => (state.at ? grove.forest.names.indexOf(state.at) : ROOT);
    const valuesFor = (grove) => (heard && heard.atlas === grove.atlas.name ? heard.values : null);

    const panel = new Panel({ chosen: (at) => choose(main.forest.name(at)) });
    const legend = node("div", { class: "cm-legend", role: "group", "aria-label": "Colours" });

    /** Bring everything in line with the state. */
    const show = () => {
      if (!main.forest) return;
      for (const grove of groves()) {
        if (!grove.forest) continue;
        const marked = grove.forest.own === null ? [] : [grove.forest.own];
        const painted = grove.show({ at: placeOf(grove), kind: state.kind, colour: state.colour, heard: valuesFor(grove), only, marked });
        if (grove === main) showLegend(painted);
      }
      panel.show(main.forest, placeOf(main), { made: own, heard: valuesFor(main) });
      for (const [kind, button] of kinds) button.setAttribute("aria-pressed", String(kind === state.kind));
      colour.value = state.colour;
      keep();
    };
    let keeping = 0;
    const keep = () => {
      clearTimeout(keeping);
      keeping = setTimeout(() => {
        const text = toFragment(state, usual);
        if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname);
      }, 150);
    };

    const showLegend = ({ entries, bar, rest, unknown }) => {
      if (bar) {
        legend.replaceChildren(node("span", { class: "cm-bar-title" }, bar.title), node("span", {}, bar.from), node("span", { class: "cm-bar", style: `background: linear-gradient(90deg, ${bar.stops.join(", ")})` }), node("span", {}, bar.to));
        return;
      }
      const focused = legend.contains(document.activeElement) ? document.activeElement.dataset.cluster : null;
      legend.replaceChildren(
        ...(entries || []).map(({ cluster, title, colour: fill }) =>
          node(
            "button",
            {
              type: "button",
              class: "cm-key",
              "aria-pressed": String(only === cluster),
              "data-cluster": cluster,
              onclick: () => {
                only = only === cluster ? null : cluster;
                show();
              },
            },
            node("i", { style: `background: ${fill}` }),
            title,
          ),
        ),
        ...(rest > 0 ? [node("span", { class: "cm-key" }, node("i", { style: `background: ${unknown}` }), `${rest} smaller`)] : []),
      );
      if (focused !== null) legend.querySelector(`[data-cluster="${focused}"]`)?.focus();
    };

    /** A tree has been grown: the state takes note of what it is. */
    const grown = () => {
      groves().forEach((grove, k) => {
        if (grove.atlas) state.sides[k] = { atlas: grove.atlas.name, shape: grove.shape.get() };
      });
      if (state.at && main.forest && !main.forest.names.includes(state.at)) state.at = "";
      if (only !== null && !(only in (main.atlas?.clusters || []))) only = null;
      colour.querySelector('[value="heard"]').hidden = !heard;
      colour.querySelector('[value="cluster"]').disabled = !main.atlas.clusters.length;
      colour.querySelector('[value="accuracy"]').disabled = !main.atlas.accuracy.some((value) => value !== null);
      if (second?.forest && main.forest) {
        const { both, same } = agreement(main.forest, second.forest);
        second.beside = both ? `${Math.round((100 * same) / both)} % of the ${both.toLocaleString("en")} concepts in both have the same parent.` : "The two trees have no concept in common.";
        second.describe();
      }
      if (own && main.forest?.own !== null && main.forest) ownBox.tell(own, main.forest);
      learns();
      show();
    };

    /* ---- the bar above ---- */
    const kinds = Object.entries(KINDS).map(([kind, title]) => [
      kind,
      node("button", { type: "button", class: "ms-button", "aria-pressed": "false", onclick: () => { state.kind = kind; show(); } }, title),
    ]);
    const colour = node(
      "select",
      { id: "cm-colour", onchange: () => { state.colour = colour.value; only = null; show(); } },
      Object.entries(COLOURS).map(([value, title]) => node("option", { value, hidden: value === "heard" }, title)),
    );
    const compare = node(
      "button",
      { type: "button", class: "ms-button", "aria-pressed": "false", onclick: () => setSecond(second ? null : state.sides[0]) },
      "Compare two trees",
    );
    const setSecond = async (side) => {
      compare.setAttribute("aria-pressed", String(Boolean(side)));
      root.classList.toggle("cm-two", Boolean(side));
      if (!side) {
        second.element.remove();
        second = null;
        state.sides.length = 1;
        show();
        return;
      }
      second = new Grove({
        id: "second",
        title: "The second tree",
        listed: offered.atlases,
        published: props.published,
        chosen: (at) => choose(at === ROOT ? "" : second.forest.name(at)),
        grown: () => grown(),
      });
      second.own = own;
      maps.append(second.element);
      // Another orientation is what there is to see where the atlas is the same.
      const other = side === state.sides[0] ? { ...side.shape, orientation: side.shape.orientation === "published" ? "transposed" : "published" } : side.shape;
      await second.open(side.atlas, other);
    };

    /* ---- exports ---- */
    const download = (href, name) => {
      const link = node("a", { href, download: name });
      // Within the menu, which stays open for another.
      exports_.append(link);
      link.click();
      link.remove();
    };
    const exports_ = node(
      "details",
      { class: "cm-menu" },
      node("summary", { class: "ms-button" }, icon("down"), "Export"),
      node(
        "ul",
        {},
        Object.entries(FORMATS).map(([form, title]) =>
          node("li", {}, node("button", { type: "button", class: "ms-small", onclick: () => download(`/concepts/api/atlas/${encodeURIComponent(main.atlas.name)}/export/${form}?${shapeQuery(main.shape.get())}`, "") }, title)),
        ),
        node(
          "li",
          {},
          node(
            "button",
            {
              type: "button",
              class: "ms-small",
              onclick: async () => {
                if (state.kind === "tree") {
                  state.kind = "sunburst";
                  show();
                }
                const address = URL.createObjectURL(await main.chart.picture());
                download(address, `${main.atlas.name}-${state.kind}.png`);
                setTimeout(() => URL.revokeObjectURL(address), 10_000);
              },
            },
            "Picture (PNG)",
          ),
        ),
      ),
    );
    exports_.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !exports_.open) return;
      exports_.open = false;
      exports_.firstElementChild.focus();
    });
    document.addEventListener("click", (event) => {
      if (!exports_.contains(event.target)) exports_.open = false;
    });

    const bar = node(
      "div",
      { class: "cm-bar-top" },
      search({
        names: () => main.forest?.names || [],
        where: (at) => (main.forest.parent(at) === ROOT ? "at the root" : `under ${main.forest.name(main.forest.parent(at))}`),
        chosen: (at) => choose(main.forest.name(at)),
      }),
      node("div", { class: "cm-kinds", role: "group", "aria-label": "View" }, kinds.map(([, button]) => button)),
      node("label", { class: "cm-pick", for: colour.id }, node("span", {}, "Colour"), colour),
      compare,
      exports_,
    );
    const maps = node("div", { class: "cm-maps" }, main.element);

    /* ---- visitors' clips ---- */
    const current = () => atlasOf(state.sides[0].atlas);
    const heardBox = heardPart({
      limits: props.limits,
      offered: props.offered,
      atlas: current,
      chosen: choose,
      heard: (name, values, first = false) => {
        heard = { atlas: name, values };
        if (first) {
          colour.querySelector('[value="heard"]').hidden = false;
          state.colour = "heard";
        }
        if (first) show();
        else if (state.colour === "heard") for (const grove of groves()) grove.show({ heard: valuesFor(grove) });
      },
    });
    const ownBox = ownPart({
      limits: props.limits,
      least: props.least,
      atlas: current,
      show: () => {
        choose(own.title);
        maps.scrollIntoView({ block: "start", behavior: "smooth" });
      },
      made: async (answer) => {
        own = answer;
        for (const grove of groves()) grove.own = own;
        state.at = own.title;
        await Promise.all(groves().map((grove) => grove.grow(grove.shape.get())));
        choose(own.title);
      },
    });
    const deaf = node("p", { class: "ms-hint cm-deaf", hidden: true });
    const learns = () => {
      deaf.hidden = main.atlas.hears;
      deaf.textContent = `The concepts of ${main.atlas.title} were not learned from audio, so no clip can be held against them. Choose another atlas above.`;
      heardBox.element.hidden = !main.atlas.hears;
      ownBox.element.hidden = !main.atlas.learns;
    };

    root.append(
      ...broken,
      bar,
      node("div", { class: "cm-main" }, node("div", { class: "cm-left" }, maps, legend), panel.element),
      deaf,
      node("div", { class: "cm-cards" }, heardBox.element, ownBox.element),
    );
    root.cm = { main, state, get second() { return second; } };
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.target !== document.body || !main.forest) return;
      const at = placeOf(main);
      choose(main.forest.parent(at) === ROOT ? "" : main.forest.name(main.forest.parent(at)));
    });
    new MutationObserver(() => {
      show();
      heardBox.redraw();
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    window.addEventListener("hashchange", async () => {
      const wanted = fromFragment(location.hash.slice(1), usual);
      const [side, other] = wanted.sides;
      Object.assign(state, { at: wanted.at, kind: wanted.kind, colour: wanted.colour });
      await main.open(side.atlas, side.shape);
      if (other && !second) await setSecond(other);
      else if (other) await second.open(other.atlas, other.shape);
      else if (second) setSecond(null);
      show();
    });
    const [side, other] = state.sides;
    await main.open(side.atlas, side.shape);
    if (other) await setSecond(other);
    root.dataset.ready = "yes";
  };

  Object.assign(window.MusicStar.concepts, { page, toFragment, fromFragment });
})();
