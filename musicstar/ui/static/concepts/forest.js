/* A grown tree with what is asked of it often: children, sizes, ways to the root. ROOT stands for all concepts. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

(() => {
  const ROOT = -1;

  class Forest {
    /** `own` is a visitor's concept, `{title, parent, similarity}`, that is hung in as the last one. */
    constructor(atlas, grown, own = null) {
      this.atlas = atlas;
      this.count = atlas.names.length;
      this.own = own ? this.count : null;
      this.names = own ? [...atlas.names, own.title] : atlas.names;
      this.parents = own ? [...grown.parents, own.parent] : grown.parents;
      this.similarity = own ? [...grown.similarity, own.similarity] : grown.similarity;
      const size = this.names.length;
      this.below = Array.from({ length: size }, () => []);
      this.tops = [];
      this.parents.forEach((parent, node) => this.children(parent).push(node));
      this.depths = new Int32Array(size);
      this.leaves = new Int32Array(size);
      const order = [...this.tops];
      for (let k = 0; k < order.length; k += 1) {
        const node = order[k];
        this.depths[node] = this.parents[node] === ROOT ? 1 : this.depths[this.parents[node]] + 1;
        order.push(...this.below[node]);
      }
      for (const node of order.reverse()) {
        this.leaves[node] ||= 1; // It has none below it, or they would have been added up by now.
        if (this.parents[node] !== ROOT) this.leaves[this.parents[node]] += this.leaves[node];
      }
      const larger = (a, b) => this.leaves[b] - this.leaves[a] || a - b;
      for (const nodes of [this.tops, ...this.below]) nodes.sort(larger);
      this.deepest = this.depths.reduce((most, depth) => Math.max(most, depth), 0);
    }

    children(node) {
      return node === ROOT ? this.tops : this.below[node];
    }

    name(node) {
      return node === ROOT ? "All concepts" : this.names[node];
    }

    parent(node) {
      return node === ROOT ? ROOT : this.parents[node];
    }

    leavesOf(node) {
      return node === ROOT ? this.tops.reduce((sum, top) => sum + this.leaves[top], 0) : this.leaves[node];
    }

    /** From the root, left out, to the node. */
    path(node) {
      const found = [];
      for (let at = node; at !== ROOT; at = this.parents[at]) found.push(at);
      return found.reverse();
    }

    /** What a map is centred on while a node is chosen: itself, or the nearest above it that has more than one branch. */
    centre(node) {
      let centre = node;
      while (centre !== ROOT && this.leaves[centre] < 2) centre = this.parents[centre];
      return centre;
    }

    /** How many levels there are below a node, counted no further than `most`. */
    levels(node, most) {
      let front = this.children(node);
      let found = 0;
      while (front.length && found < most) {
        found += 1;
        front = front.flatMap((child) => this.below[child]);
      }
      return found;
    }

    /** The share of concepts that hang under one of their own cluster, and of how many that can be said. */
    get purity() {
      const { cluster } = this.atlas;
      let same = 0;
      let judged = 0;
      for (let node = 0; cluster.length && node < this.count; node += 1) {
        if (this.parents[node] === ROOT || this.parents[node] === this.own) continue;
        judged += 1;
        same += cluster[node] === cluster[this.parents[node]];
      }
      return judged ? same / judged : null;
    }
  }

  /** Of the concepts that two trees share by name, how many there are and how many have the same parent in both. */
  const agreement = (one, other) => {
    const found = new Map(other.names.map((name, node) => [name, node]));
    let both = 0;
    let same = 0;
    one.names.forEach((name, node) => {
      const there = found.get(name);
      if (there === undefined) return;
      both += 1;
      same += one.name(one.parents[node]) === other.name(other.parents[there]);
    });
    return { both, same };
  };

  Object.assign(window.MusicStar.concepts, { ROOT, Forest, agreement });
})();
