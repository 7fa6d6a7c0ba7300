/* Search with suggestions: a combobox with a list (the pattern of the ARIA practices guide). */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const MOST = 12;
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  /** The places of the best matches: beginnings of names before beginnings of words before the rest. */
  const matches = (names, text) => {
    const wanted = plain(text).trim();
    if (!wanted) return [];
    const found = [];
    names.forEach((name, node) => {
      const at = plain(name).indexOf(wanted);
      if (at < 0) return;
      found.push({ node, rank: at === 0 ? 0 : /[^\p{L}\p{N}]/u.test(name[at - 1]) ? 1 : 2, length: name.length });
    });
    return found.sort((a, b) => a.rank - b.rank || a.length - b.length || a.node - b.node).map(({ node }) => node);
  };

  /** `names()` gives what can be found, `where(node)` a few words beside it, `chosen(node)` is told. */
  const search = ({ names, where, chosen }) => {
    const { node } = window.MusicStar;
    let found = [];
    let active = -1;
    const list = node("ul", { id: "cm-found", class: "cm-found", role: "listbox", "aria-label": "Concepts found", hidden: true });
    const said = node("p", { class: "ms-quiet", role: "status" });
    const input = node("input", {
      id: "cm-search",
      type: "search",
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "Find a concept",
      "aria-label": "Find a concept",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": list.id,
    });

    const close = () => {
      list.hidden = true;
      active = -1;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const take = (place) => {
      if (found[place] === undefined) return;
      input.value = names()[found[place]];
      close();
      chosen(found[place]);
    };
    const point = (place) => {
      active = place;
      [...list.children].forEach((option, k) => option.setAttribute("aria-selected", String(k === place)));
      if (place < 0) input.removeAttribute("aria-activedescendant");
      else {
        input.setAttribute("aria-activedescendant", list.children[place].id);
        list.children[place].scrollIntoView({ block: "nearest" });
      }
    };
    /** A name with the found part set off. */
    const shown = (name) => {
      const at = plain(name).indexOf(plain(input.value).trim());
      const end = at + input.value.trim().length;
      return plain(name).length === name.length ? [name.slice(0, at), node("mark", {}, name.slice(at, end)), name.slice(end)] : [name];
    };
    const look = () => {
      const all = matches(names(), input.value);
      found = all.slice(0, MOST);
      list.replaceChildren(
        ...found.map((concept, k) =>
          node(
            "li",
            {
              role: "option",
              id: `cm-found-${k}`,
              "aria-selected": "false",
              onpointerdown: (event) => event.preventDefault(),
              onclick: () => take(k),
            },
            node("span", {}, shown(names()[concept])),
            node("span", { class: "cm-where" }, where(concept)),
          ),
        ),
      );
      active = -1;
      input.removeAttribute("aria-activedescendant");
      list.hidden = !found.length;
      input.setAttribute("aria-expanded", String(!list.hidden));
      const text = input.value.trim();
      said.textContent = !text ? "" : all.length ? `${all.length} found${all.length > MOST ? `, ${MOST} shown` : ""}` : "Nothing found";
      none.hidden = !text || all.length > 0;
    };
    const none = node("p", { class: "cm-none", hidden: true }, "No concept of that name here.");

    input.addEventListener("input", look);
    input.addEventListener("focus", () => input.value && input.select());
    input.addEventListener("blur", () => {
      close();
      none.hidden = true;
    });
    input.addEventListener("keydown", (event) => {
      const open = !list.hidden;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (!open) look();
        if (!found.length) return;
        const step = event.key === "ArrowDown" ? 1 : -1;
        point((Math.max(active, step > 0 ? -1 : 0) + step + found.length) % found.length);
      } else if (event.key === "Enter" && open) {
        event.preventDefault();
        take(Math.max(0, active));
      } else if (event.key === "Escape") {
        event.preventDefault();
        if (open) close();
        else input.value = "";
        none.hidden = true;
      }
    });
    return node("div", { class: "cm-search" }, input, list, none, said);
  };

  Object.assign(window.MusicStar.concepts, { search, matches });
})();
