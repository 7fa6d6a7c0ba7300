/* The survey: where the participant stands, and which screen that is. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.survey = (root, props) => {
  const { ask, record, texts, pages, frame: makeFrame, saving: makeSaving, trialScreen, deckOf, Deck, Trouble } = window.MusicStar;
  const FIRST_WAIT_MS = 1000;
  const LONGEST_WAIT_MS = 30_000;
  const FIRST_VOLUME = 0.6;
  const query = new URLSearchParams(location.search);
  const study = query.get("study") || props.study;
  const text = texts(props.words);
  const frame = makeFrame(root, text);
  const introduced = new Set(); // Trials whose introduction was read.

  let state = null;
  let saving = null;
  let deck = new Deck(() => {});
  let deckTrial = ""; // The trial whose recordings `deck` has.
  let nextDeck = null; // That of the trial to come, with its recordings.
  let resumed = false;
  let stopped = false;

  /** Try until it is done or hopeless: `once()` throws a Trouble where it failed, `hopeless(trouble)` ends the trying. */
  const persist = async (once, hopeless, waiting) => {
    for (let wait = FIRST_WAIT_MS; !stopped; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        await once();
        return;
      } catch (trouble) {
        if (!(trouble instanceof Trouble)) throw trouble;
        if (trouble.kind === "stale" || trouble.kind === "refused") {
          hopeless(trouble);
          return;
        }
        waiting(trouble);
      }
      await new Promise((done) => {
        setTimeout(done, wait);
        window.addEventListener("online", done, { once: true });
      });
    }
  };

  /* ---- this page is behind ---- */
  const halt = (title, words, said) => {
    if (stopped) return;
    stopped = true;
    saving?.stop();
    frame.complain("");
    frame.say("");
    frame.notice(title, words, [[text(said), () => location.reload()]]);
  };
  const stale = () => halt("moved_title", "moved", "reload");
  const channel = window.BroadcastChannel ? new BroadcastChannel("musicstar.survey") : null;
  if (channel)
    // Whoever it is that another tab has opened the survey for, the browser's one cookie is now theirs.
    channel.onmessage = () => state && !state.complete && halt("other_tab_title", "other_tab", "other_tab_button");
  // A page that the browser has put aside and brings back may be long behind.
  window.addEventListener("pageshow", (event) => event.persisted && location.reload());

  /* ---- before the trials ---- */
  let posting = null;
  /** Hand in what was entered, once at a time however often the button is pressed; the latest is what goes. */
  const post = async (path, body) => {
    if (posting) {
      posting.body = body;
      return;
    }
    posting = { body };
    const send = () => ask(path, { ...posting.body, generation: saving.outbox.generation });
    const once = async () => {
      frame.say("saving");
      state = await send().catch(async (trouble) => {
        if (trouble.kind !== "stale") throw trouble;
        // Perhaps by what was handed in before, and its receipt was lost; or the browser's cookie is somebody else's now.
        const now = await ask("state");
        if (stopped || now.participant !== state.participant || now.study !== state.study) throw trouble;
        saving.outbox.generation = now.generation;
        return send();
      });
      saving.outbox.generation = state.generation;
      frame.say("");
      frame.complain("");
    };
    let failed = false;
    const hopeless = (trouble) => {
      failed = true;
      frame.say("");
      frame.complain("");
      if (trouble.kind === "stale") stale();
      else frame.shown.complain(text("refused", { reason: trouble.message }));
    };
    await persist(once, hopeless, (trouble) => saving.lament(trouble.kind));
    posting = null;
    if (!failed) route();
  };

  const consent = () =>
    pages.welcome({
      state,
      text,
      agree: () => post("consent", { agreed: true, language: state.language }),
      speak: (language) => {
        setAddress("language", language);
        open(state.participant, language);
      },
    });
  const background = () =>
    pages.background({
      state,
      text,
      given: { ...state.background.answers, ...saving.kept.background },
      keep: (answers) => {
        saving.kept.background = answers;
        saving.keep();
      },
      send: (answers) => post("background", { answers }),
    });
  const sound = () => {
    // On another device the level is set once more, for this device alone.
    const again = state.sound.done;
    const done = ({ volume, headphones, answers }) => {
      saving.kept.volume = volume;
      saving.keep();
      if (again) route();
      else post("sound", { volume, headphones, answers });
    };
    return pages.sound({ state, text, deck, again, volume: saving.kept.volume ?? FIRST_VOLUME, done });
  };

  /* ---- the way through ---- */
  const isDone = (trial) => trial.criteria.every((criterion) => saving.isAnswered(trial.id, criterion));

  const showProgress = () => {
    const answers = state.trials.flatMap((trial) => trial.criteria.map((criterion) => saving.isAnswered(trial.id, criterion)));
    const steps = [state.consent.given, state.background.done, state.sound.done, ...answers];
    frame.advance(state.complete ? 1 : steps.filter(Boolean).length / (steps.length + 1));
  };

  /** Show the screen of the place where the participant is. */
  const route = () => {
    if (stopped) return;
    showProgress();
    if (state.complete && state.finish) thanks(state.finish);
    else if (!state.consent.given) frame.show(consent());
    else if (!state.background.done && !state.background.questions.length) post("background", { answers: {} });
    else if (!state.background.done) frame.show(background());
    else if (!window.AudioContext && state.sound.done) frame.notice("no_sound_title", "no_sound");
    else if (!state.sound.done || saving.kept.volume === undefined) frame.show(sound());
    else {
      deck.setVolume(saving.kept.volume);
      const trial = state.trials.find((one) => !isDone(one));
      if (trial) toTrial(trial);
      else finishing();
    }
  };

  const toTrial = (trial) => {
    takeDeck(trial);
    const begun = trial.criteria.some((criterion) => saving.isAnswered(trial.id, criterion)) || saving.heardOf(trial.id).length > 0;
    if (begun || introduced.has(trial.id)) showTrial(trial);
    else introduce(trial);
  };

  const introduce = (trial) => {
    const begin = () => {
      introduced.add(trial.id);
      showTrial(trial);
    };
    const before = state.trials[state.trials.indexOf(trial) - 1];
    const count = state.trials.filter(({ practice }) => !practice).length;
    if (!before) frame.show(pages.instructions({ practice: trial.practice, text, begin }));
    else if (before.practice) {
      const words = count > 1 ? text("practice_done", { count, questions: trial.criteria.length }) : text("practice_done_one");
      frame.show(pages.notice({ title: text("practice_done_title"), words, actions: [[text("how_begin"), begin]] }));
    } else {
      const title = text("piece_done_title", { number: before.number, count });
      frame.show(pages.notice({ title, words: text("piece_done"), actions: [[text("next_piece"), begin]] }));
    }
  };

  /** Have the recordings of a trial, and when they are there, fetch those of the next. */
  const takeDeck = (trial) => {
    if (deckTrial !== trial.id) {
      deck.pause();
      deck = nextDeck?.trial === trial.id ? nextDeck.deck : deckOf(trial, deck);
      deckTrial = trial.id;
      nextDeck = null;
    }
    const next = state.trials[state.trials.indexOf(trial) + 1];
    const here = deck;
    Promise.all([...here.sounds.keys()].map((item) => here.load(item))).then(() => {
      if (next && deck === here && !nextDeck && !stopped) nextDeck = { trial: next.id, deck: deckOf(next, here) };
    });
  };

  const showTrial = (trial) => {
    const key = trial.criteria.find((one) => !saving.isAnswered(trial.id, one));
    const count = state.trials.filter(({ practice }) => !practice).length;
    const piece = text("step_piece", { number: trial.number, count });
    const question = text("step_question", { number: trial.criteria.indexOf(key) + 1, count: trial.criteria.length });
    const elapsed = saving.clock(trial.id, key);
    frame.show(
      trialScreen({
        trial,
        criterion: state.criteria.find((one) => one.key === key),
        step: trial.practice ? text("practice") : trial.criteria.length > 1 ? `${piece} · ${question}` : piece,
        ranks: saving.draftOf(trial.id, key).ranks,
        deck,
        known: saving.heardOf(trial.id),
        text,
        note: (kind, item, position) => saving.note(trial.id, kind, item, position),
        save: (ranks) => saving.saveDraft(trial.id, key, ranks),
        submit: (ranks) => saving.submit(trial.id, key, ranks, elapsed()),
        retract: saving.retract,
      }),
    );
    root.deck = deck;
    if (resumed) frame.say("welcome_back");
    resumed = false;
  };

  /** What became of the answer that the screen waits for. */
  const answered = (outcome, reason) => {
    if (outcome === "sent" || outcome === "kept") route();
    else frame.shown.complain(reason ?? text("not_saved"), { final: outcome === "refused" });
  };

  /* ---- the end ---- */
  let finishingUp = false;
  const finishing = async () => {
    deck.pause();
    if (frame.shown?.name !== "sending") frame.notice("sending_title", "sending");
    frame.shown.name = "sending";
    saving.sendEvents();
    if (saving.outbox.entries.length) {
      saving.outbox.hurry();
      return;
    }
    if (finishingUp) return;
    finishingUp = true;
    const once = async () => thanks(await ask("finish", { generation: saving.outbox.generation }));
    await persist(once, stale, (trouble) => saving.lament(trouble.kind));
    finishingUp = false;
  };
  const thanks = (finish) => {
    state.complete = true;
    saving.stop();
    saving.clear();
    if (lately.read().participant === state.participant) lately.clear();
    frame.complain("");
    frame.say("");
    showProgress();
    frame.show(pages.thanks({ finish, text, copied: () => frame.say("copied") }));
  };

  /* ---- coming in ---- */
  // Whoever opens the bare link again may be the one who has begun here.
  const lately = record(`musicstar.survey.lately:${study}`);
  const given = (query.get("participant") || query.get("PROLIFIC_PID") || "").trim().replaceAll(" ", "+"); // A "+" in a link reads as a space.
  const preview = !["", "0", "false", "no"].includes((query.get("preview") ?? "").toLowerCase());

  const setAddress = (name, value) => {
    const address = new URL(location.href);
    address.searchParams.set(name, value);
    history.replaceState(history.state, "", address);
  };
  const take = (next) => {
    state = next;
    text.use(state.words);
    frame.introduce(state);
    if (!given) {
      setAddress("participant", state.participant);
      if (!state.preview && !state.complete) lately.write({ participant: state.participant });
    }
    channel?.postMessage("opened");
    if (saving) {
      saving.outbox.generation = state.generation;
      return;
    }
    const settled = () => frame.shown?.name === "sending" && route();
    const reopened = (reason) => {
      route();
      frame.shown.complain?.(reason, { final: true });
    };
    saving = makeSaving({ state, frame, text, stale, answered, settled, reopened });
    resumed = state.trials.some(({ answered: done }) => Object.values(done).some(Boolean));
    saving.begin();
  };
  const open = async (participant, language = (query.get("language") ?? "").slice(0, 16)) => {
    const once = async () => {
      take(await ask("open", { study, participant, language, preview }));
      route();
    };
    const hopeless = (trouble) => {
      const words = trouble.field === "participant" ? text("bad_participant", { id: participant }) : trouble.message;
      frame.show(pages.notice({ title: text("failed_title"), words }));
    };
    const waiting = () => {
      if (frame.shown?.name !== "unreachable") frame.notice("unreachable_title", "unreachable");
      frame.shown.name = "unreachable";
    };
    await persist(once, hopeless, waiting);
  };

  if (navigator.audioSession) navigator.audioSession.type = "playback"; // Heard also where the ringer is switched off.
  const before = !given && !preview && lately.read().participant;
  if (!navigator.cookieEnabled) frame.notice("no_cookies_title", "no_cookies");
  else if (before)
    frame.notice("resume_title", "resume", [
      [text("resume_yes"), () => open(before)],
      [text("resume_no"), () => open("")],
    ]);
  else open(given);
};
