/* The participants: a list, a page for each, and who is left out. */
"use strict";
window.MusicStar ||= {};

/**
 * The value is `{rows, detail, message}`; `ask.open`, `ask.find`, `ask.decide` and `ask.rules` send to the server.
 * All that participants have written is set as text.
 */
window.MusicStar.resultsPeople = (root, props, watch, ask) => {
  const { node } = window.MusicStar;
  const { table, here } = window.MusicStar.results;
  let sort = "started";
  let only = "all";
  let reason = "";
  const COLUMNS = [
    ["participant", "Participant"],
    ["status", "Status"],
    ["started", "Opened (UTC)"],
    ["minutes", "Minutes"],
    ["answers", "Rankings"],
    ["trial_s", "Seconds a trial"],
    ["headphones", "Headphones"],
    ["flags", "Flags"],
  ];
  const SHOWN = { all: "All", complete: "Complete", open: "Not finished", flagged: "Flagged", excluded: "Excluded" };
  const fits = {
    all: () => true,
    complete: (row) => row.complete,
    open: (row) => !row.complete,
    flagged: (row) => row.flags.length > 0,
    excluded: (row) => row.excluded,
  };

  const working = () => document.body.classList.add("rs-working");
  const chips = (flags) => flags.map((flag) => node("span", { class: "rs-flag" }, flag));
  const wanted = () => /^#participant=(s_[0-9a-f]+)$/.exec(location.hash)?.[1] ?? "";

  const list = (told) => {
    const rows = told.rows.filter(fits[only]);
    const by = (row) => (sort === "flags" ? -row.flags.length : row[sort] ?? -1);
    rows.sort((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0));
    if (sort === "started") rows.reverse();
    const heads = COLUMNS.map(([key, title]) =>
      node(
        "th",
        { scope: "col", "aria-sort": key === sort ? (["started", "flags"].includes(sort) ? "descending" : "ascending") : null },
        node("button", { type: "button", onclick: () => { sort = key; show(); } }, title),
      ));
    const line = (row) =>
      node(
        "tr",
        { class: row.excluded ? "rs-excluded" : null },
        node("th", { scope: "row" }, node("a", { href: here(`participant=${row.session}`) }, row.participant)),
        node("td", {}, row.status),
        node("td", {}, row.opened),
        node("td", {}, row.minutes ?? ""),
        node("td", {}, `${row.answers} of ${row.expected}`),
        node("td", {}, row.trial_s ?? ""),
        node("td", {}, row.headphones),
        node("td", {}, chips(row.flags)),
      );
    const find = node("input", { id: "rs-find", type: "text", autocomplete: "off", maxlength: "128", "aria-describedby": "rs-find-hint" });
    return [
      node("h2", { tabindex: "-1" }, "Participants"),
      node(
        "div",
        { class: "rs-people-tools" },
        node("div", { class: "rs-choices", role: "group", "aria-label": "Which are listed" },
          Object.entries(SHOWN).map(([key, title]) =>
            node("button", { class: "ms-button", type: "button", "aria-pressed": `${key === only}`, onclick: () => { only = key; show(); } },
              `${title} ${told.rows.filter(fits[key]).length}`))),
        node(
          "form",
          { class: "rs-find", onsubmit: (event) => { event.preventDefault(); if (find.value.trim()) ask.find({ external: find.value.trim() }); } },
          node("label", { for: "rs-find" }, "Find by the number in a participant’s link"),
          node("div", {}, find, node("button", { class: "ms-small", type: "submit" }, "Find")),
          node("p", { class: "ms-hint", id: "rs-find-hint" }, "Numbers are kept scrambled; this scrambles yours and looks for it."),
        ),
      ),
      told.under_rules > 0 &&
        node(
          "p",
          { class: "rs-said rs-rules" },
          node("span", {}, `${told.under_rules} ${told.under_rules === 1 ? "session falls" : "sessions fall"} under the rules of exclusion fixed beforehand.`),
          node("button", { class: "ms-small", type: "button", onclick: () => { working(); ask.rules(); } }, "Exclude by the rules"),
        ),
      rows.length
        ? node(
            "div",
            { class: "rs-scroll", tabindex: "0", role: "region", "aria-label": "Participants" },
            node("table", { class: "rs-table rs-people" }, node("thead", {}, node("tr", {}, heads)), node("tbody", {}, rows.map(line))),
          )
        : node("p", { class: "rs-said" }, told.rows.length ? "None." : "Nobody has opened the survey yet."),
    ];
  };

  const facts = (pairs) => node("dl", { class: "rs-facts" }, pairs.map(([title, text]) => node("div", {}, node("dt", {}, title), node("dd", {}, `${text}`))));

  const decide = (one) => {
    const field = node("textarea", { id: "rs-reason", rows: "2", maxlength: "1000", required: true }, reason);
    field.oninput = () => (reason = field.value);
    return node(
      "form",
      { class: "rs-decide", onsubmit: (event) => {
        event.preventDefault();
        if (!field.value.trim()) return field.focus();
        working();
        ask.decide({ session: one.session, exclude: !one.excluded, reason: field.value.trim() });
      } },
      node("label", { for: "rs-reason" }, one.excluded ? "Reason for counting this session in again" : "Reason for excluding this session"),
      field,
      one.suggestions.length > 0 &&
        node("p", { class: "ms-hint" }, "By the study’s rules: ",
          one.suggestions.map((text) => node("button", { class: "ms-small", type: "button", onclick: () => { field.value = reason = text; field.focus(); } }, text))),
      node("button", { class: "ms-button ms-strong", type: "submit" }, one.excluded ? "Count in again" : "Exclude from the results"),
      node("p", { class: "ms-hint" }, "Nothing is deleted: the decision, its reason and your name are added to the session’s record."),
    );
  };

  const page = (one) => [
    node("p", {}, node("a", { href: here("people"), class: "rs-back" }, "All participants")),
    node("h2", { tabindex: "-1" }, one.participant),
    one.flags.length > 0 && node("p", {}, chips(one.flags)),
    facts(one.facts),
    node("h3", {}, "About the participant"),
    one.background.length ? facts(one.background) : node("p", { class: "ms-hint" }, "Nothing answered yet."),
    node("h3", {}, "Rankings"),
    one.trials.length
      ? one.trials.map((trial) => [table(trial), node("p", { class: "ms-hint" }, trial.note)])
      : node("p", { class: "ms-hint" }, "None yet."),
    node("h3", {}, one.excluded ? "Excluded" : "Exclusion"),
    one.decisions.length > 0 &&
      node("ol", { class: "rs-decisions" }, one.decisions.map(({ what, reason: why, author, at }) =>
        node("li", {}, node("b", {}, what), ` by ${author}, ${at}: ${why}`))),
    one.can_decide ? decide(one) : node("p", { class: "ms-hint" }, "A preview is never counted."),
  ];

  const show = () => {
    const told = props.value;
    if (!told) return root.replaceChildren();
    const focused = root.contains(document.activeElement);
    const one = told.detail && told.detail.session === wanted() ? told.detail : null;
    root.replaceChildren(
      node(
        "section",
        { class: "rs-section" },
        node("p", { class: "ms-notice", role: "alert" }, told.message || ""),
        ...(one ? page(one) : list(told)).flat().filter(Boolean),
      ),
    );
    if (focused) root.querySelector("h2")?.focus();
  };
  const follow = () => {
    const session = wanted();
    reason = "";
    if (session && props.value?.detail?.session !== session) ask.open({ session });
    else show();
  };
  let decisions = 0;
  // Found by number: the address follows, and with it Back.
  watch("value", () => {
    const go = props.value?.go;
    const known = props.value?.detail?.decisions.length ?? 0;
    if (known !== decisions) reason = "";
    decisions = known;
    if (go && wanted() !== go) location.hash = `participant=${go}`;
    show();
  });
  window.addEventListener("hashchange", follow);
  follow();
};
