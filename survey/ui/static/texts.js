/* The words of the participants' pages: English unless the study says otherwise. */
"use strict";
window.MusicStar ||= {};

/** The sentence of a key with its values filled in; the study's own words go before the English ones. */
window.MusicStar.texts = (english) => {
  let own = {};
  const text = (key, values = {}) => {
    const sentence = own[key] ?? english[key];
    if (sentence === undefined) throw new Error(`There are no words for ${key}.`);
    return sentence.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  };
  text.use = (words) => (own = words || {});
  return text;
};

/** A text of several paragraphs, of which lines that begin with a dash are a list. */
window.MusicStar.prose = (text) => {
  const { node } = window.MusicStar;
  return text
    .trim()
    .split(/\n\s*\n/)
    .flatMap((paragraph) => {
      const blocks = [];
      for (const line of paragraph.split("\n")) {
        const item = /^\s*- (.*)/.exec(line)?.[1];
        const last = blocks.at(-1);
        if (item === undefined) {
          if (last?.tagName === "P") last.append(` ${line.trim()}`);
          else blocks.push(node("p", {}, line.trim()));
        } else if (last?.tagName === "UL") last.append(node("li", {}, item));
        else blocks.push(node("ul", {}, node("li", {}, item)));
      }
      return blocks;
    });
};
