/* The form's smaller fields: a choice of one, and the advanced numbers. */
"use strict";
window.MusicStar ||= {};

/** Radio buttons with a hint; `props.options` are `{value, parts, note}`, `props.blocked` the values not to be chosen. */
window.MusicStar.choice = (root, props, watch, chosen) => {
  const { node } = window.MusicStar;
  const name = `ms-${props.name}`;
  const hint = node("p", { class: "ms-hint", id: `${name}-hint` });
  const boxes = props.options.map((option) =>
    node("input", {
      type: "radio",
      name,
      id: `${name}-${option.value}`,
      value: option.value,
      onchange: () => {
        props.value = option.value;
        show();
        if (props.settles) document.dispatchEvent(new CustomEvent("musicstar:chosen"));
        chosen();
      },
    }),
  );
  const show = () => {
    hint.textContent = props.hint || "";
    document.dispatchEvent(new CustomEvent(`musicstar:${props.name}`, { detail: props.value }));
    for (const box of boxes) {
      box.checked = box.value === props.value;
      box.disabled = (props.blocked || []).includes(box.value);
      box.parentElement.classList.toggle("ms-selected", box.checked);
    }
  };
  root.append(
    node(
      "fieldset",
      { "aria-describedby": hint.id },
      node("legend", {}, props.legend),
      hint,
      node(
        "div",
        { class: `ms-options ms-options-${props.name}` },
        props.options.map((option, k) =>
          node(
            "label",
            { class: "ms-option", for: boxes[k].id },
            boxes[k],
            node(
              "span",
              { class: "ms-words" },
              node("b", {}, option.parts.map(([text, domain]) => node("span", domain ? { "data-domain": domain } : {}, text))),
              option.note && node("span", { class: "ms-about" }, option.note),
            ),
          ),
        ),
      ),
    ),
  );
  // What a running translation is about stays as it is until that ends.
  if (props.settles)
    document.addEventListener("musicstar:running", (event) => (root.firstElementChild.disabled = event.detail));
  watch(["value", "hint", "blocked"], show);
  show();
};

/** Seed and temperature; the value is `{seed, temperature}`, with null for what is not a number. */
window.MusicStar.advanced = (root, props) => {
  const { node } = window.MusicStar;
  const field = (name, label, hint, attributes) => {
    const id = `ms-${name}`;
    const input = node("input", {
      type: "number",
      id,
      inputmode: "decimal",
      "aria-describedby": `${id}-hint`,
      ...attributes,
      oninput: () => (props.value = { ...props.value, [name]: Number.isFinite(input.valueAsNumber) ? input.valueAsNumber : null }),
    });
    input.value = props.value[name];
    return node(
      "div",
      { class: "ms-field" },
      node("label", { for: id }, label),
      input,
      node("p", { class: "ms-hint", id: `${id}-hint` }, hint),
    );
  };
  root.append(
    node(
      "details",
      { class: "ms-more" },
      node("summary", {}, "Advanced"),
      node(
        "div",
        { class: "ms-fields" },
        field("seed", "Seed", "The same seed gives the same sound.", { min: 0, step: 1 }),
        field("temperature", "Temperature", "How much the sound varies by chance, 0 to 1.2.", { min: 0, max: 1.2, step: 0.05 }),
      ),
    ),
  );
};
