/* Colours of the maps: by ground truth, accuracy, depth, or what a clip contains; each with a legend.
   Clusters: Paul Tol's "muted" scheme, told apart with every kind of colour vision, and its tints for the next nine.
   Amounts: one hue whose lightness tells all, away from the page's in either mode. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const MUTED = ["#88ccee", "#cc6677", "#ddcc77", "#117733", "#44aa99", "#aa4499", "#999933", "#882255", "#332288"];
  const LESS_TO_MORE = {
    light: ["#e0e2d9", "#c3d0ca", "#9dbcb9", "#6ba0a2", "#3d7f86", "#1d5661", "#0d303a"],
    dark: ["#22292c", "#263b3f", "#2b5358", "#38747a", "#56989c", "#86c0c2", "#d3eeee"],
  };
  const STEPS = 24;

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const mix = (one, other, share) => {
    const [a, b] = [rgb(one), rgb(other)];
    return `#${a.map((value, k) => Math.round(value + (b[k] - value) * share).toString(16).padStart(2, "0")).join("")}`;
  };
  const luminance = (hex) => {
    const [r, g, b] = rgb(hex).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const inks = new Map();
  /** Black or white, whichever is read better on a colour. */
  const ink = (hex) => {
    if (!inks.has(hex)) inks.set(hex, luminance(hex) > 0.179 ? "#14181b" : "#ffffff");
    return inks.get(hex);
  };
  const ramp = (colours) =>
    Array.from({ length: STEPS + 1 }, (_, k) => {
      const at = (k / STEPS) * (colours.length - 1);
      const low = Math.min(colours.length - 2, Math.floor(at));
      return mix(colours[low], colours[low + 1], at - low);
    });
  const RAMPS = { light: ramp(LESS_TO_MORE.light), dark: ramp(LESS_TO_MORE.dark) };
  /** The colour of an amount from 0 to 1. */
  const amount = (share) => RAMPS[theme().dark ? "dark" : "light"][Math.round(Math.min(1, Math.max(0, share)) * STEPS)];

  let known = null;
  /** The page's colours, asked of the browser once for each mode. */
  const theme = () => {
    const dark = document.body.classList.contains("dark");
    if (known?.dark === dark) return known;
    const style = getComputedStyle(document.body);
    const value = (name) => style.getPropertyValue(`--ms-${name}`).trim();
    known = {
      dark,
      paper: value("paper"),
      ground: value("ground"),
      ink: value("ink"),
      soft: value("soft"),
      line: value("line"),
      edge: value("edge"),
      accent: value("accent"),
      gold: value("gold"),
      sans: value("sans"),
    };
    return known;
  };

  /** The clusters from the largest, with a colour for as many as can be told apart. */
  const clusterColours = (atlas, look) => {
    const sizes = atlas.clusters.map(() => 0);
    for (const cluster of atlas.cluster) sizes[cluster] += 1;
    const order = sizes.map((_, k) => k).sort((a, b) => sizes[b] - sizes[a] || a - b);
    const tints = MUTED.map((colour) => mix(colour, "#ffffff", 0.45));
    const palette = [...MUTED.map((colour) => (look.dark ? mix(colour, "#ffffff", 0.12) : colour)), ...tints];
    const colours = [];
    order.forEach((cluster, place) => (colours[cluster] = palette[place] || null));
    return { order, sizes, colours };
  };

  const bar = (title, from, to, colour) => ({ title, from, to, stops: [0, 0.25, 0.5, 0.75, 1].map(colour) });

  /** `fill(node)` for a way of colouring, and its legend: `entries` of clusters, or a `bar` of amounts. */
  const paint = (forest, mode, { heard = null, only = null } = {}) => {
    const { atlas } = forest;
    const look = theme();
    const unknown = mix(look.paper, look.edge, 0.45);
    const faint = mix(look.paper, look.edge, 0.14);
    const own = (fill) => (node) => (node === forest.own ? look.gold : fill(node));
    if (mode === "heard" && heard) {
      return {
        fill: own((node) => amount(heard[node] ?? 0)),
        bar: bar("In the clip", "0", "1", amount),
      };
    }
    if (mode === "accuracy" && atlas.accuracy.some((value) => value !== null)) {
      return {
        fill: own((node) => (atlas.accuracy[node] === null ? unknown : amount(2 * atlas.accuracy[node] - 1))),
        bar: bar("Accuracy on held-out clips", "0.5, chance", "1", amount),
      };
    }
    if (mode === "cluster" && atlas.clusters.length) {
      const { order, sizes, colours } = clusterColours(atlas, look);
      const entries = order.filter((k) => colours[k]).map((k) => ({ cluster: k, title: atlas.clusters[k], size: sizes[k], colour: colours[k] }));
      return {
        fill: own((node) => (only === null || atlas.cluster[node] === only ? colours[atlas.cluster[node]] || unknown : faint)),
        entries,
        rest: order.length - entries.length,
        unknown,
      };
    }
    const most = Math.max(1, forest.deepest);
    const share = (depth) => 0.12 + 0.88 * (depth / most);
    return {
      fill: own((node) => amount(share(forest.depths[node]))),
      bar: bar("Depth", "1", String(most), (part) => amount(share(1 + part * (most - 1)))),
    };
  };

  Object.assign(window.MusicStar.concepts, { paint, theme, ink, amount });
})();
