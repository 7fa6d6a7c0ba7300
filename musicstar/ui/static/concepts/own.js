/* A visitor's own concept: a handful of clips, a name, and what becomes of it. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

/** `atlas()` gives the one that is shown, `made(own)` is told of a concept that was made, `show()` has it shown. */
window.MusicStar.concepts.ownPart = ({ limits, least, atlas, made, show }) => {
  const { node, icon } = window.MusicStar;
  const { ask, intake } = window.MusicStar.concepts;
  let job = "";
  let clips = []; // {clip, name}
  const listed = node("ul", { class: "cm-clips", "aria-label": "Its clips" });
  const count = node("p", { class: "ms-hint", role: "status" });
  const outcome = node("div", { class: "cm-outcome", role: "status" });
  const title = node("input", { id: "cm-own-title", type: "text", maxlength: "60", autocomplete: "off" });
  const fit = node("button", { type: "button", class: "ms-button ms-strong", id: "cm-fit", onclick: () => make() }, "Make the concept");

  const check = () => {
    const lacking = least.clips - clips.length;
    count.textContent = !clips.length
      ? ""
      : lacking > 0
        ? `${clips.length} so far; ${lacking} more ${lacking === 1 ? "is" : "are"} needed.`
        : clips.length < 5
          ? `${clips.length} clips: enough, though five or more tell more.`
          : `${clips.length} clips.`;
  };
  const list = () => {
    listed.replaceChildren(
      ...clips.map((one) =>
        node(
          "li",
          {},
          node("span", {}, one.name),
          node("button", { type: "button", class: "ms-small ms-icon", "aria-label": `Take ${one.name} out`, onclick: () => remove(one) }, icon("close")),
        ),
      ),
    );
    check();
  };
  const forget = () => {
    job = "";
    clips = [];
    list();
  };
  const add = async (file, name) => {
    try {
      const answer = await ask(`/concepts/own?${new URLSearchParams({ name, to: job })}`, { method: "POST", body: file });
      job = answer.job;
      clips.push({ clip: answer.clip, name });
      list();
    } catch (error) {
      // What the server no longer has cannot be added to: the next clip begins anew.
      if (error.gone) forget();
      throw error;
    }
  };
  const remove = async (one) => {
    try {
      await ask(`/concepts/own/${job}/${one.clip}`, { method: "DELETE" });
      clips = clips.filter((other) => other !== one);
      list();
      (listed.querySelector("button") || document.querySelector("#cm-own-file")).focus();
    } catch (error) {
      if (error.gone) forget();
      box.complain(error.message);
    }
  };
  const make = async () => {
    box.complain("");
    if (clips.length < least.clips) return box.complain(`A concept needs ${least.clips} clips at least, and better five or more: add some first.`);
    if (!title.value.trim()) {
      title.focus();
      return box.complain("Give the concept a name first.");
    }
    fit.disabled = true;
    outcome.replaceChildren(node("p", { class: "ms-status" }, "Listening to the clips and finding what sets them apart…"));
    try {
      const known = await atlas();
      const body = JSON.stringify({ atlas: known.name, title: title.value });
      const answer = await ask(`/concepts/own/${job}/fit`, { method: "POST", body });
      const taken = known.names.includes(answer.title);
      await made({ ...answer, title: taken ? `${answer.title} (yours)` : answer.title, atlas: known.name });
    } catch (error) {
      outcome.replaceChildren();
      if (error.gone) forget();
      box.complain(error.message);
    } finally {
      fit.disabled = false;
    }
    return undefined;
  };
  const box = intake({ id: "cm-own-file", label: "Choose clips", several: true, limits, take: add });
  check();
  return {
    element: node(
      "section",
      { class: "cm-card", id: "cm-own", "aria-labelledby": "cm-own-heading" },
      node("h2", { id: "cm-own-heading" }, "Make your own concept"),
      node("p", { class: "ms-hint" }, `A handful of clips that have something in common becomes a concept of its own: ${least.clips} at least, better five or more. It is kept with your visit only.`),
      box.element,
      listed,
      count,
      node("div", { class: "ms-field" }, node("label", { for: title.id }, "Its name"), title),
      fit,
      outcome,
    ),
    /** Say where the concept hangs in the tree as it is grown now. */
    tell: (own, forest) => {
      const place = forest.own;
      const way = forest.path(place).slice(0, -1);
      const figures = own.accuracy === null ? "" : ` Accuracy ${own.accuracy.toFixed(2)}${own.low === null ? "" : ` (95 %: ${own.low.toFixed(2)} to ${own.high.toFixed(2)})`}, from ${own.clips} clips.`;
      outcome.replaceChildren(
        node("p", {}, node("b", {}, own.title), ` would hang ${way.length ? "under " : "at the root: no concept is similar enough."}`, way.length > 0 && node("b", {}, forest.name(way.at(-1))), way.length > 0 && ".", figures),
        ...(way.length ? [node("p", { class: "cm-way" }, ["All concepts", ...way.map((step) => forest.name(step)), own.title].join(" › "))] : []),
        ...own.warnings.map((text) => node("p", { class: "cm-warning" }, text)),
        ...own.skipped.map(([name, reason]) => node("p", { class: "cm-warning" }, `${name} was left out: ${reason}`)),
        node("button", { type: "button", class: "ms-button", onclick: () => show() }, "Show it in the map"),
      );
    },
  };
};
