/* How a tree is grown: orientation, threshold, least similarity and child limit, changed live. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const PATIENCE_MS = 250;
  const ORIENTATIONS = [
    ["transposed", "Transposed", "A concept hangs where its own clips sound most like the parent: families of what they contain."],
    ["published", "Published", "A concept hangs where the parent’s clips sound most like it: as in the paper."],
  ];

  /** The controls; `changed(shape)` is called a moment after the last change. `id` tells two of them apart. */
  const shapeControls = ({ id, published, changed }) => {
    const { node } = window.MusicStar;
    let range = [0, 1];
    let waiting = 0;
    const shape = { orientation: "transposed", ...published };

    const soon = (ms = PATIENCE_MS) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => changed({ ...shape }), ms);
    };
    const radios = ORIENTATIONS.map(([value, title, about]) => {
      const box = node("input", {
        type: "radio",
        name: `cm-orientation-${id}`,
        id: `cm-${value}-${id}`,
        value,
        onchange: () => {
          shape.orientation = value;
          show();
          soon(0);
        },
      });
      return node(
        "label",
        { class: "ms-option", for: box.id },
        box,
        node("span", { class: "ms-words" }, node("b", {}, title), node("span", { class: "ms-about" }, about)),
      );
    });

    const slider = (name, title, about) => {
      const output = node("output", { for: `cm-${name}-${id}` });
      const input = node("input", {
        type: "range",
        id: `cm-${name}-${id}`,
        class: "ms-volume cm-slider",
        step: "0.01",
        "aria-describedby": `cm-${name}-about-${id}`,
        oninput: () => {
          shape[name] = input.valueAsNumber;
          output.textContent = shape[name].toFixed(2);
          soon();
        },
      });
      const element = node(
        "div",
        { class: "cm-amount" },
        node("label", { for: input.id }, title, output),
        input,
        node("p", { class: "ms-hint", id: `cm-${name}-about-${id}` }, about),
      );
      const set = () => {
        [input.min, input.max] = range;
        input.value = shape[name];
        output.textContent = shape[name].toFixed(2);
      };
      return { element, set };
    };
    const threshold = slider("threshold", "Threshold", "Concepts more similar than this are neighbours; who lies between many of them comes first.");
    const least = slider("least", "Least similarity", "Less similar than this to all others, a concept hangs under the root.");
    const children = node("input", {
      type: "number",
      id: `cm-children-${id}`,
      min: "1",
      max: "1000",
      step: "1",
      inputmode: "numeric",
      "aria-describedby": `cm-children-about-${id}`,
      oninput: () => {
        const value = children.valueAsNumber;
        const fits = Number.isInteger(value) && value >= 1 && value <= 1000;
        children.setAttribute("aria-invalid", String(!fits));
        lacking.textContent = fits ? "" : "A whole number from 1 to 1000.";
        if (!fits) return;
        shape.children = value;
        soon();
      },
    });
    const lacking = node("p", { class: "ms-problem", role: "alert" });

    const show = () => {
      radios.forEach((label) => {
        const box = label.firstElementChild;
        box.checked = box.value === shape.orientation;
        label.classList.toggle("ms-selected", box.checked);
      });
      threshold.set();
      least.set();
      children.value = shape.children;
      children.setAttribute("aria-invalid", "false");
      lacking.textContent = "";
    };
    const element = node(
      "div",
      { class: "cm-shape" },
      node("fieldset", { class: "cm-orientations" }, node("legend", {}, "Orientation"), radios),
      node(
        "div",
        { class: "cm-amounts" },
        threshold.element,
        least.element,
        node(
          "div",
          { class: "cm-amount" },
          node("label", { for: children.id }, "Most children"),
          children,
          node("p", { class: "ms-hint", id: `cm-children-about-${id}` }, "Of one parent; the root takes any number."),
          lacking,
        ),
        node(
          "button",
          {
            type: "button",
            class: "ms-button",
            onclick: () => {
              Object.assign(shape, published);
              show();
              soon(0);
            },
          },
          "As published",
        ),
      ),
    );
    show();
    return {
      element,
      /** Take over a shape and the range of an atlas's similarities. */
      set: (wanted, limits) => {
        Object.assign(shape, wanted);
        if (limits) range = [Math.min(0, Math.floor(limits[0] * 20) / 20), Math.max(1, Math.ceil(limits[1] * 20) / 20)];
        show();
      },
      get: () => ({ ...shape }),
    };
  };

  /** A shape as the routes take it. */
  const shapeQuery = ({ orientation, threshold, least, children }) => new URLSearchParams({ orientation, threshold, least, children });

  Object.assign(window.MusicStar.concepts, { shapeControls, shapeQuery });
})();
