/* The ranking: as many places as there are outputs, empty at first. An output gets a place by a tap on its rank, by
   dragging it there, by key, or by steps up and down; what was there takes the place it leaves. */
"use strict";
window.MusicStar ||= {};

(() => {
  const PATHS = {
    up: "M12 5l7 7-1.4 1.4-4.6-4.6V20h-2V8.8l-4.6 4.6L5 12z",
    down: "M12 19l-7-7 1.4-1.4 4.6 4.6V4h2v11.2l4.6-4.6L19 12z",
    grip: "M8 5h3v3H8zM13 5h3v3h-3zM8 10.5h3v3H8zM13 10.5h3v3h-3zM8 16h3v3H8zM13 16h3v3h-3z",
    check: "M9.6 18.2 3.8 12.4l1.6-1.6 4.2 4.2 9-9 1.6 1.6z",
  };
  const DRAG_PIXELS = 6;
  const EDGE_PIXELS = 70;

  /** A decorative sign of 24 units. */
  const sign = (name) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("focusable", "false");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", PATHS[name]);
    svg.append(path);
    return svg;
  };

  /** Which item has which place, best first; pure, so that it can be thought about. */
  class Places {
    /** `ranks` gives the rank (1 the best) of each item that has one. */
    constructor(items, ranks) {
      this.items = items;
      this.slots = items.map((_, k) => items.find((item) => ranks[item] === k + 1) ?? null);
    }

    get ranks() {
      return Object.fromEntries(this.slots.flatMap((item, k) => (item === null ? [] : [[item, k + 1]])));
    }

    /** 0 where it has none. */
    rankOf(item) {
      return this.slots.indexOf(item) + 1;
    }

    get done() {
      return this.slots.filter((item) => item !== null).length;
    }

    /** Give an item a rank; whoever had it takes the item's own, or loses it. Gives what happened, null if nothing. */
    place(item, rank) {
      const before = this.rankOf(item);
      if (before === rank || rank < 1 || rank > this.slots.length) return null;
      const other = this.slots[rank - 1];
      if (before) this.slots[before - 1] = other;
      this.slots[rank - 1] = item;
      return { item, rank, other, otherRank: other === null ? 0 : before };
    }
  }

  /** The list of places as nodes.
      `letters` names the items; `hear(item)` plays one; `may(item)` says whether it may be ranked yet, and tells the
      participant if not; `changed()` is called after every change, `say(sentence)` announces. */
  const ranking = ({ items, letters, ranks, text, hear, may, changed, say }) => {
    const { node } = window.MusicStar;
    const places = new Places(items, ranks);
    const count = items.length;
    let chosen = null; // The output that was heard last: what a tap on a rank means.
    let ready = false; // Whether that one has been heard long enough.
    let playing = null;

    const announce = ({ item, rank, other, otherRank }) => {
      const values = { letter: letters[item], rank, other: letters[other], other_rank: otherRank };
      const done = text("ranked_of", { done: places.done, count });
      const what = other === null ? "placed" : otherRank ? "swapped" : "displaced";
      say(`${text(what, values)} ${done}`);
    };

    const place = (item, rank) => {
      if (!item) {
        say(text("choose_first"));
        return;
      }
      if (!may(item)) return;
      const moved = places.place(item, rank);
      if (!moved) return;
      show();
      announce(moved);
      changed();
    };

    const step = (item, by) => {
      const rank = places.rankOf(item);
      if (!rank) return;
      if (rank + by < 1 || rank + by > count) say(text(by < 0 ? "at_top" : "at_bottom", { letter: letters[item] }));
      else place(item, rank + by);
    };

    /** One place: its number gives it to the output heard last, its letter plays what is there. */
    const makeSlot = (index) => {
      const rank = index + 1;
      const item = () => places.slots[index];
      const number = node("button", { type: "button", class: "sv-number", onclick: () => place(chosen, rank) }, String(rank));
      const offer = node("button", { type: "button", class: "sv-offer", tabindex: -1, "aria-hidden": "true" });
      offer.addEventListener("click", () => place(chosen, rank));
      const letter = node("button", { type: "button", class: "sv-letter" });
      letter.addEventListener("click", () => hear(item()));
      const mover = (name, by) => {
        const button = node("button", { type: "button", class: "ms-button sv-step-button" }, sign(name));
        button.addEventListener("click", () => {
          const moving = item();
          step(moving, by);
          // The focus stays with the output that moves.
          slots[places.rankOf(moving) - 1][name].focus({ preventScroll: true });
        });
        return button;
      };
      const up = mover("up", -1);
      const down = mover("down", 1);
      const grip = node("span", { class: "sv-grip", title: text("drag"), "aria-hidden": "true" }, sign("grip"));
      const row = node("li", { class: "sv-slot" }, number, offer, letter, up, down, grip);
      row.addEventListener("pointerdown", (event) => {
        if (item() === null || event.target.closest(".sv-number, .sv-step-button")) return;
        if (event.pointerType === "mouse" || event.target.closest(".sv-grip")) drag(event, item());
      });
      return { row, number, offer, letter, up, down, grip };
    };
    const slots = items.map((_, index) => makeSlot(index));
    const list = node("ol", { class: "sv-slots" }, slots.map(({ row }) => row));

    const show = () => {
      slots.forEach((slot, index) => {
        const rank = index + 1;
        const item = places.slots[index];
        const values = { rank, count, letter: letters[chosen], other: letters[item] };
        const state = item === null ? text("rank_empty", values) : text("rank_taken", { ...values, letter: letters[item] });
        const act = !chosen || chosen === item ? "" : ready ? text(item === null ? "give_rank" : "give_rank_swap", values) : text("listen_first", values);
        slot.row.classList.toggle("sv-taken", item !== null);
        slot.row.classList.toggle("sv-playing", item !== null && item === playing);
        slot.row.classList.toggle("sv-chosen", item !== null && item === chosen);
        slot.row.dataset.item = item ?? "";
        slot.number.setAttribute("aria-label", act ? `${state}. ${act}` : state);
        // What cannot be done yet is said once, what can be done at every place.
        const hint = chosen ? text(ready ? "put_here" : "listen_first", values) : text("choose_first");
        slot.offer.textContent = ready || index === places.slots.indexOf(null) ? hint : "";
        slot.offer.hidden = item !== null;
        for (const part of ["letter", "up", "down", "grip"]) slot[part].hidden = item === null;
        if (item === null) return;
        const named = { letter: letters[item] };
        slot.letter.textContent = letters[item];
        slot.letter.setAttribute("aria-label", text("listen_to", named));
        slot.up.setAttribute("aria-label", text("move_up", named));
        slot.down.setAttribute("aria-label", text("move_down", named));
        slot.up.setAttribute("aria-disabled", String(index === 0));
        slot.down.setAttribute("aria-disabled", String(rank === count));
      });
      list.classList.toggle("sv-ready", Boolean(chosen) && ready);
    };

    /** Follow a pointer with a letter from where it went down to the place it is let go over. */
    const drag = (down, item) => {
      if (down.button !== 0) return;
      let ghost = null;
      let over = null;
      let at = { x: 0, y: 0 };
      const aim = () => {
        const { x, y } = at;
        const hit = slots.findIndex(({ row }) => {
          const box = row.getBoundingClientRect();
          return x >= box.left - 24 && x <= box.right + 24 && y >= box.top - 4 && y < box.bottom + 4;
        });
        if (over !== null) slots[over].row.classList.remove("sv-over");
        over = hit < 0 ? null : hit;
        if (over !== null) slots[over].row.classList.add("sv-over");
      };
      const move = (event) => {
        if (event.pointerId !== down.pointerId) return;
        const { clientX: x, clientY: y } = event;
        if (!ghost) {
          if (Math.hypot(x - down.clientX, y - down.clientY) < DRAG_PIXELS) return;
          ghost = node("div", { class: "sv-ghost", "aria-hidden": "true" }, letters[item]);
          list.append(ghost);
          list.classList.add("sv-dragging");
        }
        event.preventDefault();
        ghost.style.transform = `translate(${x}px, ${y}px)`;
        at = { x, y };
        aim();
      };
      // Near an edge the page comes along, and what is under the pointer changes with it.
      const scroller = setInterval(() => {
        const by = at.y < EDGE_PIXELS ? -10 : at.y > window.innerHeight - EDGE_PIXELS ? 10 : 0;
        if (!ghost || !by) return;
        window.scrollBy(0, by);
        aim();
      }, 16);
      const end = (event) => {
        if (event.pointerId !== down.pointerId) return;
        clearInterval(scroller);
        for (const name of ["pointermove", "pointerup", "pointercancel"]) window.removeEventListener(name, name === "pointermove" ? move : end);
        const target = over;
        if (over !== null) slots[over].row.classList.remove("sv-over");
        list.classList.remove("sv-dragging");
        if (!ghost) return;
        ghost.remove();
        // The click that follows a drag is not a tap.
        const swallow = (click) => click.stopPropagation();
        window.addEventListener("click", swallow, { capture: true, once: true });
        setTimeout(() => window.removeEventListener("click", swallow, { capture: true }), 0);
        if (event.type === "pointerup" && target !== null) place(item, target + 1);
      };
      window.addEventListener("pointermove", move, { passive: false });
      window.addEventListener("pointerup", end);
      window.addEventListener("pointercancel", end);
    };

    show();
    return {
      element: list,
      places,
      place,
      step,
      drag,
      /** Tell which output was heard last, whether it may be ranked, and what plays. */
      follow: (item, heard, sounding) => {
        if (item === chosen && heard === ready && sounding === playing) return;
        [chosen, ready, playing] = [item, heard, sounding];
        show();
      },
    };
  };

  Object.assign(window.MusicStar, { sign, ranking, Places });
})();
