/* Small helpers shared by the studio's components: building nodes, icons, wording. */
"use strict";
window.MusicStar ||= {};

/** An element with attributes, listeners (`onclick`) and children; text is always text, never markup. */
window.MusicStar.node = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

const PATHS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h4v14H7zM14 5h4v14h-4z",
  loop: "M17 3l4 4-4 4V8H8a4 4 0 0 0-4 4H2a6 6 0 0 1 6-6h9zM7 21l-4-4 4-4v3h9a4 4 0 0 0 4-4h2a6 6 0 0 1-6 6H7z",
  down: "M11 3h2v9.2l3.3-3.3 1.4 1.4L12 16l-5.7-5.7 1.4-1.4 3.3 3.3zM4 18h16v2H4z",
  up: "M11 16h2V6.8l3.3 3.3 1.4-1.4L12 3 6.3 8.7l1.4 1.4L11 6.8zM4 18h16v2H4z",
  mic: "M12 2a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V5a3 3 0 0 1 3-3zM5 11h2a5 5 0 0 0 10 0h2a7 7 0 0 1-6 6.9V21h3v2H8v-2h3v-3.1A7 7 0 0 1 5 11z",
  stop: "M6 6h12v12H6z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4L12 13.4 6.4 19 5 17.6 10.6 12 5 6.4z",
  volume: "M4 9v6h4l5 4V5L8 9zM16 8.5a5 5 0 0 1 0 7v-2a3 3 0 0 0 0-3zM16 4.6a9 9 0 0 1 0 14.8v-2.2a7 7 0 0 0 0-10.4z",
  veil: "M3.3 2 2 3.3l3.6 3.6A12 12 0 0 0 1.5 12 11.5 11.5 0 0 0 12 19a11 11 0 0 0 4.5-.9l4.2 4.2 1.3-1.3zM12 17a9.4 9.4 0 0 1-8.3-5A10 10 0 0 1 7 8.4l2 2A3.5 3.5 0 0 0 13.6 15l1.4 1.4a9 9 0 0 1-3 .6zM12 5a11 11 0 0 0-3.4.5l1.7 1.7A9 9 0 0 1 12 7a9.4 9.4 0 0 1 8.3 5 10 10 0 0 1-2.3 2.8l1.4 1.4a12 12 0 0 0 3.1-4.2A11.5 11.5 0 0 0 12 5z",
  stems: "M4 4h16v2H4zM4 11h7v2H4zM13 11h7v2h-7zM4 18h7v2H4zM13 18h7v2h-7z",
  picture: "M4 5h3v14H4zM9 9h3v10H9zM14 3h3v16h-3zM19 12h3v7h-3z",
};

/** A decorative icon of 24 units. */
window.MusicStar.icon = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
};

/** Seconds as a clock shows them, to a tenth. */
window.MusicStar.clock = (seconds) => {
  const tenths = Math.floor(Math.max(0, seconds) * 10 + 1e-6);
  const rest = tenths % 600;
  return `${Math.floor(tenths / 600)}:${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
};

/** A time still to wait, in words. */
window.MusicStar.wait = (seconds) =>
  seconds < 1.5 ? "a second" : seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
