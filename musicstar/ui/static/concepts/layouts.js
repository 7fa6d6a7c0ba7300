/* Where each concept lies in a map: cells of a sunburst (angles and radii), an icicle or a treemap (boxes).
   The first cell is what the map is centred on. Only what can be seen is laid out, so that a click costs little. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const SMALLEST_PX = 0.6;
  const TURN = 2 * Math.PI;

  /** Around the centre, a ring for each level. */
  const sunburst = (forest, focus, { width, height }) => {
    const radius = Math.min(width, height) / 2 - 5;
    const rings = Math.max(1, forest.levels(focus, width < 480 ? 3 : 4));
    const hub = radius * (rings === 1 ? 0.34 : 0.2);
    const ring = (radius - hub) / rings;
    const shape = { kind: "sunburst", x: width / 2, y: height / 2, hub, ring, rings };
    const cells = [{ node: focus, level: 0, from: 0, to: TURN, inner: 0, outer: hub - 3 }];
    const lay = (node, level, from, to) => {
      const inner = hub + (level - 1) * ring;
      let at = from;
      const each = (to - from) / Math.max(1, forest.leavesOf(node));
      for (const child of forest.children(node)) {
        const end = at + forest.leaves[child] * each;
        if ((end - at) * (inner + ring) >= SMALLEST_PX) {
          const more = level === rings && forest.below[child].length > 0;
          cells.push({ node: child, level, from: at, to: end, inner, outer: inner + ring, more });
          if (level < rings) lay(child, level + 1, at, end);
        }
        at = end;
      }
    };
    lay(focus, 1, 0, TURN);
    return { ...shape, cells };
  };

  /** From left to right, a column for each level. */
  const icicle = (forest, focus, { width, height }) => {
    const columns = Math.max(1, forest.levels(focus, width < 480 ? 3 : 4));
    const first = Math.min(120, 0.6 * (width / (columns + 1)));
    const column = (width - first) / columns;
    const cells = [{ node: focus, level: 0, x: 0, y: 0, width: first, height }];
    const lay = (node, level, top, bottom) => {
      let at = top;
      const each = (bottom - top) / Math.max(1, forest.leavesOf(node));
      for (const child of forest.children(node)) {
        const end = at + forest.leaves[child] * each;
        if (end - at >= SMALLEST_PX) {
          const more = level === columns && forest.below[child].length > 0;
          const x = first + (level - 1) * column;
          cells.push({ node: child, level, x, y: at, width: column, height: end - at, more });
          if (level < columns) lay(child, level + 1, at, end);
        }
        at = end;
      }
    };
    lay(focus, 1, 0, height);
    return { kind: "icicle", cells };
  };

  /** Boxes of given areas, as square as can be, in a box (Bruls, Huizing and van Wijk 2000). */
  const squarify = (areas, { x, y, width, height }, found) => {
    let start = 0;
    while (start < areas.length) {
      const side = Math.min(width, height);
      let sum = 0;
      let worst = Infinity;
      let end = start;
      while (end < areas.length) {
        const next = sum + areas[end];
        const [largest, smallest] = [areas[start], areas[end]];
        const ratio = Math.max((side * side * largest) / (next * next), (next * next) / (side * side * smallest));
        if (ratio > worst) break;
        [sum, worst, end] = [next, ratio, end + 1];
      }
      const depth = sum / side;
      let at = 0;
      for (let k = start; k < end; k += 1) {
        const length = areas[k] / depth;
        found(k, width >= height ? { x, y: y + at, width: depth, height: length } : { x: x + at, y, width: length, height: depth });
        at += length;
      }
      if (width >= height) [x, width] = [x + depth, width - depth];
      else [y, height] = [y + depth, height - depth];
      start = end;
    }
  };

  /** Boxes in boxes. */
  const treemap = (forest, focus, { width, height }) => {
    const bar = 30;
    const cells = [{ node: focus, level: 0, x: 0, y: 0, width, height: bar }];
    const lay = (node, level, box) => {
      const children = forest.children(node);
      const each = (box.width * box.height) / Math.max(1, forest.leavesOf(node));
      squarify(children.map((child) => forest.leaves[child] * each), box, (k, cell) => {
        if (Math.min(cell.width, cell.height) < SMALLEST_PX) return;
        const child = children[k];
        const head = cell.height > 34 && cell.width > 44 ? 18 : 2;
        const room = { x: cell.x + 2, y: cell.y + head, width: cell.width - 4, height: cell.height - head - 2 };
        const open = level < 3 && forest.below[child].length > 0 && room.width > 26 && room.height > 16;
        cells.push({ node: child, level, ...cell, head: open ? head : 0, more: forest.below[child].length > 0 && !open });
        if (open) lay(child, level + 1, room);
      });
    };
    lay(focus, 1, { x: 0, y: bar + 2, width, height: height - bar - 2 });
    return { kind: "treemap", cells };
  };

  /** The cell at a point, the innermost of boxes that lie in each other; null outside. */
  const cellAt = (laid, x, y) => {
    if (laid.kind === "sunburst") {
      const [right, down] = [x - laid.x, y - laid.y];
      const radius = Math.hypot(right, down);
      const angle = (Math.atan2(right, -down) + TURN) % TURN;
      return laid.cells.find((cell) => radius >= cell.inner && radius < cell.outer && angle >= cell.from && angle < cell.to) || null;
    }
    return (
      laid.cells.findLast((cell) => x >= cell.x && x < cell.x + cell.width && y >= cell.y && y < cell.y + cell.height) || null
    );
  };

  Object.assign(window.MusicStar.concepts, { layouts: { sunburst, treemap, icicle }, cellAt });
})();
