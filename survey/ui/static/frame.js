/* What stands around every screen: the study's name, how saving goes, how far it is, and what is wrong. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.frame = (root, text) => {
  const { node, pages } = window.MusicStar;
  const drawing = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const mark = drawing("svg", { viewBox: "0 0 40 24", "aria-hidden": "true", focusable: "false" });
  mark.append(
    drawing("path", { d: "M1 4h38M1 8h38M1 12h38M1 16h38M1 20h38" }),
    drawing("ellipse", { cx: 11, cy: 16, rx: 4.1, ry: 3, transform: "rotate(-20 11 16)" }),
    drawing("ellipse", { cx: 29, cy: 8, rx: 4.1, ry: 3, transform: "rotate(-20 29 8)" }),
  );
  const name = node("span", {});
  const title = node("p", { class: "ms-wordmark sv-name-of-study", hidden: true }, mark, name);
  const status = node("p", { class: "sv-status", role: "status", "aria-live": "polite" });
  const progress = node("div", { class: "sv-progress", role: "progressbar", "aria-label": text("progress"), "aria-valuemin": 0, "aria-valuemax": 100 }, node("i"));
  const preview = node("p", { class: "sv-preview", hidden: true });
  const trouble = node("p", { class: "sv-trouble", role: "status", "aria-live": "polite" });
  const stage = node("div", { class: "sv-stage" }, node("p", { class: "sv-loading" }, text("loading")));
  root.replaceChildren(node("div", { class: "sv-top" }, title, status), progress, preview, trouble, stage);

  const write = (element, key) => {
    const sentence = key && text(key);
    if (element.textContent !== sentence) element.textContent = sentence;
  };
  const frame = {
    /** The screen that is shown: `{element, title, close}`. */
    shown: null,
    /** What is wrong: the key of its words, or "". */
    trouble: "",
    show: (made) => {
      frame.shown?.close();
      frame.shown = made;
      stage.replaceChildren(made.element);
      const parts = [made.title.textContent, name.textContent];
      document.title = parts.filter((part, k) => part && parts.indexOf(part) === k).join(" – ");
      window.scrollTo(0, 0);
      made.title.focus({ preventScroll: true });
    },
    notice: (heading, words, actions = []) => frame.show(pages.notice({ title: text(heading), words: text(words), actions })),
    /** Say in the corner how saving goes, by the key of the words; "" says nothing. */
    say: (key) => write(status, key),
    complain: (key) => {
      frame.trouble = key;
      root.dataset.trouble = key;
      write(trouble, key);
    },
    introduce: (state) => {
      name.textContent = state.title;
      title.hidden = false;
      preview.hidden = !state.preview;
      write(preview, "preview");
      progress.setAttribute("aria-label", text("progress"));
      document.documentElement.lang = state.language;
      const locale = new Intl.Locale(state.language);
      document.documentElement.dir = (locale.getTextInfo?.() ?? locale.textInfo)?.direction ?? "ltr";
    },
    /** How much of all is done, 0 to 1. */
    advance: (share) => {
      progress.setAttribute("aria-valuenow", String(Math.round(100 * share)));
      progress.style.setProperty("--share", share.toFixed(3));
    },
  };
  return frame;
};
