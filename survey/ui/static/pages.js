/* The screens around the trials. Each gives `{element, title, close}`; `act` is what the participant decides. */
"use strict";
window.MusicStar ||= {};

(() => {
  const LONGEST_TEXT = 2000; // As many characters as the server takes.
  const MOST_OPTIONS = 8; // More are a list to open.
  const { MusicStar } = window;

  const heading = (words) => MusicStar.node("h1", { tabindex: -1 }, words);
  const button = (words, act, strong = false) =>
    MusicStar.node("button", { type: "button", class: strong ? "ms-button ms-strong" : "ms-button", onclick: act }, words);
  const screen = (title, ...content) => ({
    title,
    element: MusicStar.node("section", { class: "sv-page" }, title, ...content),
    close: () => {},
  });
  const buttons = (...made) => MusicStar.node("div", { class: "sv-buttons" }, ...made);
  const alertLine = () => MusicStar.node("p", { class: "ms-problem", role: "alert" });

  /** A title, a text, and buttons: `[words, act]`, the first the one to take. */
  const notice = ({ title, words, actions = [] }) =>
    screen(
      heading(title),
      MusicStar.node("div", { class: "sv-prose" }, MusicStar.prose(words)),
      actions.length > 0 && buttons(...actions.map(([said, act], k) => button(said, act, k === 0))),
    );

  /** Welcome and consent. */
  const welcome = ({ state, text, agree, speak }) => {
    const { node, prose } = MusicStar;
    const problem = alertLine();
    const languages = new Intl.DisplayNames([state.language], { type: "language" });
    const choice =
      state.languages.length > 1 &&
      node(
        "label",
        { class: "sv-language" },
        text("language"),
        node(
          "select",
          { onchange: (event) => speak(event.target.value) },
          state.languages.map((code) => node("option", { value: code, selected: code === state.language, lang: code }, languages.of(code))),
        ),
      );
    const made = screen(
      heading(state.title),
      choice,
      node("div", { class: "sv-prose" }, prose(state.welcome)),
      node("section", { class: "sv-consent", "aria-labelledby": "sv-consent" }, node("h2", { id: "sv-consent" }, text("consent_title")), node("div", { class: "sv-prose" }, prose(state.consent.text))),
      problem,
      buttons(button(text("agree"), agree, true), button(text("disagree"), () => decline())),
    );
    const whole = [...made.element.childNodes];
    const decline = () => {
      const title = heading(text("declined_title"));
      made.element.replaceChildren(title, node("p", {}, text("declined")), buttons(button(text("back"), () => made.element.replaceChildren(...whole))));
      title.focus();
    };
    return { ...made, complain: (sentence) => (problem.textContent = sentence) };
  };

  /** A question as nodes; `read()` gives the answer, undefined where there is none, NaN where it is no number. */
  const question = (asked, given, text, changed) => {
    const { node } = MusicStar;
    const id = `sv-q-${asked.key}`;
    const words = [asked.text, !asked.required && node("span", { class: "sv-optional" }, ` (${text("optional")})`)].filter(Boolean);
    const invalid = (element) => (on) => (on ? element.setAttribute("aria-invalid", "true") : element.removeAttribute("aria-invalid"));
    if (asked.kind === "choice" && asked.options.length <= MOST_OPTIONS) {
      const radios = asked.options.map(({ key }) => {
        const radio = node("input", { type: "radio", name: id, value: key, onchange: changed });
        radio.checked = key === given;
        return radio;
      });
      const group = node("div", { class: "sv-options", role: "radiogroup", "aria-labelledby": id, "aria-required": String(asked.required) }, asked.options.map((option, k) => node("label", { class: "sv-option" }, radios[k], option.text)));
      const element = node("div", { class: "sv-question" }, node("p", { id, class: "sv-asked" }, words), group);
      return { element, focus: () => radios[0].focus(), mark: invalid(group), read: () => radios.find((radio) => radio.checked)?.value };
    }
    let field;
    if (asked.kind === "choice") {
      const offered = [{ key: "", text: text("choose") }, ...asked.options];
      field = node("select", { id, onchange: changed }, offered.map((option) => node("option", { value: option.key, selected: option.key === (given ?? "") }, option.text)));
    } else if (asked.kind === "text") {
      field = node("textarea", { id, rows: 2, maxlength: LONGEST_TEXT, oninput: changed });
      field.value = given ?? "";
    } else {
      field = node("input", { id, type: "text", maxlength: 12, inputmode: "numeric", oninput: changed, autocomplete: "off" });
      field.value = given ?? "";
    }
    if (asked.required) field.setAttribute("aria-required", "true");
    const read = () => {
      const value = field.value.trim();
      if (!value) return undefined;
      if (asked.kind !== "number") return value;
      return /^\d{1,9}$/.test(value) ? Number(value) : NaN;
    };
    const element = node("div", { class: "sv-question" }, node("label", { for: id, class: "sv-asked" }, words), field);
    return { element, focus: () => field.focus(), mark: invalid(field), read };
  };

  /** Background questions; `keep(answers)` after every change. */
  const background = ({ state, text, given, keep, send }) => {
    const { node } = MusicStar;
    const problem = alertLine();
    const collect = () => {
      const pairs = fields.map(({ key, read }) => [key, read()]);
      return Object.fromEntries(pairs.filter(([, answer]) => answer !== undefined));
    };
    let pressed = false; // Whether Continue was, so that what is missing stays named.
    const fields = state.background.questions.map((asked) => {
      const changed = () => {
        keep(Object.fromEntries(Object.entries(collect()).filter(([, answer]) => !Number.isNaN(answer))));
        if (pressed) check();
      };
      return { ...asked, ...question(asked, given[asked.key], text, changed) };
    });
    /** Name and mark what is missing or wrong; gives the first such field. */
    const check = () => {
      const wrong = fields.filter(({ read }) => Number.isNaN(read()));
      const lacking = fields.filter(({ required, read }) => required && read() === undefined);
      for (const field of fields) field.mark(wrong.includes(field) || lacking.includes(field));
      const list = (some) => some.map((field) => field.text).join(" ");
      const sentences = [
        lacking.length > 0 && text("missing_answers", { what: list(lacking) }),
        wrong.length > 0 && text("not_a_number", { what: list(wrong) }),
      ];
      problem.textContent = sentences.filter(Boolean).join(" ");
      return fields.find((field) => wrong.includes(field) || lacking.includes(field));
    };
    const go = () => {
      pressed = true;
      const first = check();
      if (first) first.focus();
      else send(collect());
    };
    const made = screen(
      heading(text("background_title")),
      node("p", {}, [text("background"), fields.some(({ required }) => !required) && text("background_optional")].filter(Boolean).join(" ")),
      fields.map(({ element }) => element),
      problem,
      buttons(button(text("continue"), go, true)),
    );
    return { ...made, complain: (sentence) => (problem.textContent = sentence) };
  };

  /** Volume, then the headphone check unless it was done before; `done({volume, headphones, answers})`. */
  const sound = ({ state, text, deck, again, volume, done }) => {
    const { node, icon, headphones } = MusicStar;
    let played = false;
    const problem = alertLine();
    const setVolume = (value) => {
      volume = value;
      deck.setVolume(value);
    };
    const play = node("button", { type: "button", class: "ms-play", "aria-label": text("volume_play"), onclick: () => start() }, icon("play"));
    const slider = node("input", { type: "range", min: 0, max: 1, step: 0.01, class: "ms-volume", "aria-label": text("volume_slider"), oninput: () => setVolume(Number(slider.value)) });
    slider.value = volume;
    setVolume(volume);
    deck.changed = () => {
      played ||= deck.playing;
      const label = text(deck.playing ? "volume_pause" : "volume_play");
      if (play.getAttribute("aria-label") === label) return;
      play.setAttribute("aria-label", label);
      play.replaceChildren(icon(deck.playing ? "pause" : "play"));
      if (deck.playing) problem.textContent = "";
    };
    const start = async () => {
      try {
        if (!deck.current) await load();
        deck.toggle();
      } catch {
        problem.textContent = text(window.AudioContext ? "volume_failed" : "no_sound");
      }
    };
    const load = async () => {
      const response = await fetch(state.sound.volume_src);
      if (!response.ok) throw new Error(String(response.status));
      const { duration } = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(await response.arrayBuffer());
      deck.open(duration);
      deck.add("volume", state.sound.volume_src, 0);
      deck.select("volume");
      deck.setLooping(true);
    };
    const finish = (result, answers) => {
      deck.pause();
      done({ volume, headphones: result, answers });
    };
    const next = () => {
      if (!played && window.AudioContext) {
        problem.textContent = text("volume_first");
        play.focus();
        return;
      }
      deck.pause();
      if (again || !state.sound.headphone_check) finish("skipped", []);
      else check();
    };
    const check = () => {
      const title = heading(text("headphones_title"));
      if (!headphones.available()) {
        made.element.replaceChildren(title, node("p", { class: "sv-unavailable" }, text("headphones_unavailable")), problem, buttons(button(text("continue"), () => finish("unavailable", []), true)));
      } else {
        const rounds = node("div", { class: "sv-check" });
        const begin = () => {
          headphones.check(rounds, { volume, text, done: finish });
        };
        rounds.append(buttons(button(text("headphones_begin"), begin, true), button(text("headphones_skip"), () => finish("skipped", []))));
        made.element.replaceChildren(title, node("p", {}, text("headphones")), rounds, problem);
      }
      problem.textContent = "";
      title.focus();
    };
    const made = screen(
      heading(text("volume_title")),
      node("p", {}, text(again ? "volume_again" : "volume")),
      node("div", { class: "sv-volume" }, play, node("label", { class: "ms-vol" }, icon("volume"), slider)),
      problem,
      buttons(button(text("continue"), next, true)),
    );
    return { ...made, close: () => deck.pause(), complain: (sentence) => (problem.textContent = sentence) };
  };

  /** How a trial goes, before the first. */
  const instructions = ({ practice, text, begin }) =>
    screen(
      heading(text("how_title")),
      MusicStar.node("ol", { class: "sv-how" }, ["how_1", "how_2", "how_3"].map((key) => MusicStar.node("li", {}, text(key)))),
      practice && MusicStar.node("p", {}, text("how_practice")),
      buttons(button(text(practice ? "how_begin_practice" : "how_begin"), begin, true)),
    );

  /** The end: thanks, and a code or a link back. */
  const thanks = ({ finish, text, copied }) => {
    const { node, prose } = MusicStar;
    const copy = node("button", { type: "button", class: "ms-button" }, text("copy"));
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(finish.code);
        copied();
      } catch {
        getSelection().selectAllChildren(code);
      }
    });
    const code = node("output", { class: "sv-code", "aria-labelledby": "sv-code" }, finish.code);
    const link = /^https?:\/\//.test(finish.url) && finish.url;
    return screen(
      heading(text("thanks_title")),
      node("div", { class: "sv-prose" }, prose(finish.thanks)),
      finish.code && node("div", { class: "sv-code-box" }, node("p", { id: "sv-code" }, text("code")), node("div", { class: "sv-code-row" }, code, copy)),
      link && buttons(node("a", { class: "ms-button ms-strong", href: link }, text("return"))),
    );
  };

  MusicStar.pages = { notice, welcome, background, sound, instructions, thanks };
})();
