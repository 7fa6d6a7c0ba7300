/* The five methods as checkboxes, with what each needs and why one is not offered. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.methods = (root, props, watch) => {
  const { node } = window.MusicStar;
  let stems = false;
  let chosenByHand = false;
  const rows = new Map();

  const commit = () => {
    props.value = [...rows].filter(([, row]) => row.box.checked && !row.box.disabled).map(([name]) => name);
  };

  const tick = (names) => {
    for (const [name, row] of rows) row.box.checked = names.includes(name);
    update();
  };

  const update = () => {
    const refused = props.refused || {};
    root.classList.toggle("ms-known", Boolean(props.refused));
    for (const [name, row] of rows) {
      const reason = refused[name] || "";
      const lacking = !reason && row.info.needsStems && !stems;
      row.box.disabled = Boolean(reason);
      row.item.classList.toggle("ms-refused", Boolean(reason));
      row.reason.textContent = reason;
      row.reason.hidden = !reason;
      row.needs.hidden = !lacking;
      row.instead.hidden = !lacking || !row.box.checked || Boolean(refused.separation);
    }
    commit();
  };

  const build = (info) => {
    const id = `ms-method-${info.name}`;
    const box = node("input", {
      type: "checkbox",
      id,
      value: info.name,
      "aria-describedby": `${id}-about`,
      onchange: () => {
        chosenByHand = true;
        update();
      },
    });
    box.checked = (props.value || []).includes(info.name);
    const reason = node("span", { class: "ms-reason", hidden: true });
    const needs = node("span", { class: "ms-needs", hidden: true }, "Needs the two stem files, or an example.");
    const instead = node(
      "button",
      {
        type: "button",
        class: "ms-small",
        hidden: true,
        onclick: () => {
          chosenByHand = true;
          box.checked = false;
          rows.get("separation").box.checked = true;
          update();
          rows.get("separation").box.focus();
        },
      },
      "Use separation-based instead",
    );
    const about = node("span", { class: "ms-about", id: `${id}-about` }, info.summary, " ", needs, reason);
    const item = node(
      "li",
      { class: "ms-method" },
      node("label", { for: id }, box, node("span", { class: "ms-words" }, node("b", {}, info.title), about)),
      instead,
    );
    rows.set(info.name, { info, box, item, reason, needs, instead });
    return item;
  };

  root.append(
    node(
      "fieldset",
      {},
      node("legend", {}, "Methods"),
      node("ul", {}, props.catalogue.map(build)),
    ),
  );
  document.addEventListener("musicstar:clip", (event) => {
    stems = event.detail.stems;
    // Stems have come: what could not run before can now, unless the visitor has already chosen for themselves.
    if (!chosenByHand) tick(props.catalogue.filter((info) => stems || !info.needsStems).map((info) => info.name));
    update();
  });
  watch("refused", update);
  update();
};
