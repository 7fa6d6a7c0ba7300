/* Beside the results: what is counted in, and how far the survey is. */
"use strict";
window.MusicStar ||= {};

/** What is counted in; the value is `{study, version, groups: {key: [chosen]}, late, excluded, incomplete}`. */
window.MusicStar.resultsFilters = (root, props, watch, chosen) => {
  const { node } = window.MusicStar;
  const FLAGS = [
    ["incomplete", "Sessions not finished"],
    ["late", "Slot given to another"],
    ["excluded", "Excluded sessions"],
  ];
  const narrow = matchMedia("(max-width: 900px)");
  const unfolded = new Set(["direction"]);
  let open = !narrow.matches;
  const apply = (changes) => {
    props.value = { ...props.value, ...changes };
    document.body.classList.add("rs-working");
    show();
    chosen();
  };
  const box = (id, text, count, checked, changed) =>
    node(
      "label",
      { class: "ms-check", for: id },
      node("input", { type: "checkbox", id, checked, onchange: (event) => changed(event.target.checked) }),
      node("span", {}, text, count === null ? "" : node("span", { class: "rs-count" }, ` ${count}`)),
    );
  const group = ({ key, legend, options }) => {
    const held = props.value.groups[key] ?? [];
    return node(
      "details",
      { class: "ms-more rs-filter", open: unfolded.has(key), ontoggle: ({ target }) => (target.open ? unfolded.add(key) : unfolded.delete(key)) },
      node("summary", {}, held.length ? `${legend}: ${held.length}` : legend),
      node(
        "div",
        { role: "group", "aria-label": legend },
        options.map((option, n) =>
          box(`rs-${key}-${n}`, option.title, option.count, held.includes(option.key), (on) => {
            const kept = options.map((one) => one.key).filter((one) => (one === option.key ? on : held.includes(one)));
            apply({ groups: { ...props.value.groups, [key]: kept } });
          })),
      ),
    );
  };
  const show = () => {
    const offered = props.offered;
    if (!offered || !props.value) return root.replaceChildren();
    const active = document.activeElement?.id;
    const set = Object.values(props.value.groups).filter((held) => held.length).length;
    root.replaceChildren(
      node(
        "details",
        { class: "ms-more rs-filters", open, ontoggle: (event) => (open = event.target.open) },
        node("summary", {}, set ? `Filters, ${set} set` : "Filters"),
        offered.versions.length > 1 &&
          node(
            "label",
            { class: "rs-version" },
            "Version ",
            node(
              "select",
              { id: "rs-version", onchange: (event) => apply({ version: Number(event.target.value) || null }) },
              node("option", { value: "" }, "All"),
              offered.versions.map(({ number, answers }) =>
                node("option", { value: `${number}`, selected: number === props.value.version }, `${number} · ${answers} rankings`)),
            ),
          ),
        node("p", { class: "ms-hint" }, "Nothing ticked in a group takes all of it."),
        offered.groups.map(group),
        node(
          "fieldset",
          { class: "rs-count-in" },
          node("legend", {}, "Count in"),
          FLAGS.map(([key, text]) => box(`rs-${key}`, text, offered.flags[key], props.value[key], (on) => apply({ [key]: on }))),
        ),
        set > 0 && node("button", { class: "ms-small", type: "button", onclick: () => apply({ groups: {} }) }, "Clear the filters"),
      ),
    );
    if (active && root.querySelector(`#${CSS.escape(active)}`)) document.getElementById(active).focus();
  };
  watch(["value", "offered"], show);
  show();
};

/** How many are where, the files, the links. */
window.MusicStar.resultsProgress = (root, props, watch) => {
  const { node } = window.MusicStar;
  const show = () => {
    const told = props.value;
    if (!told) return root.replaceChildren();
    const most = Math.max(1, ...told.funnel.map(({ count }) => count));
    root.replaceChildren(
      node(
        "section",
        { class: "rs-section" },
        node("h2", {}, "Where participants are"),
        node("p", { class: "ms-hint" }, told.note),
        node(
          "ol",
          { class: "rs-funnel" },
          told.funnel.map(({ title, count, share }) => {
            const bar = node("i", {});
            bar.style.width = `${(100 * count) / most}%`;
            return node("li", {}, node("span", {}, title), node("span", { class: "rs-bar", "aria-hidden": "true" }, bar), node("b", {}, `${count}`), node("span", { class: "rs-share" }, share));
          }),
        ),
      ),
      node(
        "section",
        { class: "rs-section" },
        node("h2", {}, "Links"),
        told.links.map(({ title, href, note }) => node("p", { class: "rs-link" }, node("a", { href, target: "_blank", rel: "noopener" }, title), node("span", { class: "ms-hint" }, note))),
      ),
      node(
        "section",
        { class: "rs-section" },
        node("h2", {}, "Files"),
        told.files.map(({ title, href, note }) => node("p", { class: "rs-link" }, node("a", { href, download: "" }, title), node("span", { class: "ms-hint" }, note))),
      ),
    );
  };
  watch("value", show);
  show();
};

/** The counts above everything, and whether the figures below are still those of now. */
window.MusicStar.resultsStrip = (root, props, watch, renew) => {
  const { node } = window.MusicStar;
  const status = node("p", { class: "rs-news", role: "status" });
  const counts = node("dl", { class: "rs-counts" });
  root.append(counts, status);
  const show = () => {
    const told = props.value;
    if (!told) return;
    counts.replaceChildren(...told.counts.map(({ title, count }) => node("div", {}, node("dt", {}, title), node("dd", {}, `${count}`))));
    const behind = Boolean(told.shown) && told.stamp !== told.shown;
    if (behind === (status.childElementCount > 0)) return;
    status.replaceChildren(
      ...(behind
        ? ["There is something new. ", node("button", { class: "ms-small", type: "button", onclick: () => { document.body.classList.add("rs-working"); renew(); } }, "Update the figures")]
        : []),
    );
  };
  watch("value", show);
  show();
};
