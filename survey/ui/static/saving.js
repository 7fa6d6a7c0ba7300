/* What has to reach the server of a participant's doings: drafts after every change, what was played, answers. All of it
   is kept on the device first. */
"use strict";
window.MusicStar ||= {};

(() => {
  const DRAFT_MS = 400;
  const DRAFT_AGAIN_MS = 3000;
  const EVENTS_MS = 3000;
  const MOST_EVENTS = 50;
  // A connection that hangs is no reason to wait; the answer is kept.
  const SLOW_MS = 5000;
  // The longest time that the server takes: 24 days.
  const LONGEST_MS = 2 ** 31 - 1;

  const nameOf = (trial, criterion) => `${trial}/${criterion}`;

  /** The doings of a participant whose state was just told.
      `frame` says how it goes; `stale()` is called when this page is behind; `answered(outcome, reason)` when the answer
      that the screen waits for is "sent", waits on the device ("kept"), could not be written yet ("unsaved") or is not
      taken ("refused"); `settled()` when nothing waits any more, `reopened(reason)` when an answer that was given
      earlier is not taken. */
  window.MusicStar.saving = ({ state, frame, text, stale, answered, settled, reopened }) => {
    const { ask, record, Outbox, Trouble } = window.MusicStar;
    const store = record(`musicstar.survey:${state.study}:${state.participant}${state.preview ? ":preview" : ""}`);
    const kept = { drafts: {}, times: {}, outbox: [], background: {}, ...store.read() };
    const trials = new Map(state.trials.map((trial) => [trial.id, trial]));
    const heard = new Map(state.trials.map((trial) => [trial.id, new Set(trial.heard)]));
    let stopped = false;
    let handing = null; // The answer that the screen waits for.
    const perhapsThere = new Set(); // Questions of which an answer was taken back that the server may have.

    const keep = () => !stopped && store.write(kept);
    const lament = (kind) => {
      frame.say("");
      frame.complain(kind !== "offline" ? "not_saved" : store.kept ? "not_sent" : "not_sent_page");
    };
    const allWell = () => {
      if (outbox.entries.length || unsent) return;
      if (frame.trouble) frame.say("all_sent");
      frame.complain("");
    };

    /* ---- answers ---- */
    // What the server has meanwhile is not sent again, unless this is a revision of it; what it has not goes on from
    // where it is now.
    const whole = Array.isArray(kept.outbox) ? kept.outbox.filter((entry) => entry?.path && entry.body) : [];
    const left = whole.filter(({ path, body, withdrawn, revises }) => {
      const trial = trials.get(body.trial);
      return path === "events" || (trial && !withdrawn && (revises || !trial.answered[body.criterion]));
    });
    for (const { body } of left) if ("generation" in body) body.generation = null;

    const release = () => {
      clearTimeout(handing?.timer);
      handing = null;
    };
    const told = (outcome, entry, detail) => {
      const { trial, criterion, submission } = entry.body;
      const awaited = handing !== null && submission === handing.submission;
      if (outcome === "stale") stale();
      else if (entry.withdrawn && (outcome === "sent" || outcome === "refused")) {
        // Nobody waits for it, and its question is still being answered.
        allWell();
      } else if (outcome === "sent") {
        if (entry.path === "answers") {
          trials.get(trial).answered[criterion] = true;
          delete kept.drafts[nameOf(trial, criterion)];
          delete kept.times[nameOf(trial, criterion)];
          keep();
          if (!frame.trouble) frame.say("saved");
        }
        allWell();
        if (awaited) {
          release();
          answered("sent");
        } else if (!outbox.entries.length) settled();
      } else if (outcome === "refused") {
        if (entry.path === "answers") {
          // Perhaps what was heard never came through: it is told once more, and kept once.
          for (const item of heard.get(trial)) note(trial, "heard", item, 0);
          const reason = text("refused", { reason: detail.message });
          if (awaited) {
            release();
            answered("refused", reason);
          } else reopened(reason);
        } else if (!outbox.entries.length) settled();
      } else if (!entry.withdrawn || outbox.entries.length) {
        lament(outcome);
        if (handing === null) return;
        if (outcome === "offline") release();
        answered(outcome === "offline" ? "kept" : "unsaved");
      }
    };
    const outbox = new Outbox({
      entries: left,
      generation: state.generation,
      keep: (entries) => {
        kept.outbox = entries;
        keep();
      },
      told,
    });

    const submit = (trial, criterion, ranks, elapsed) => {
      sendEvents();
      clearTimeout(draftTimer);
      unsent = null;
      const name = nameOf(trial, criterion);
      const submission = outbox.answer({ trial, criterion, ranks, elapsed_ms: elapsed }, perhapsThere.has(name));
      handing = { submission, name };
      handing.timer = setTimeout(() => {
        if (frame.trouble === "not_saved") return;
        release();
        lament("offline");
        answered("kept");
      }, SLOW_MS);
      frame.say("saving");
    };
    /** Take back the answer that the screen waits for, because its ranking has changed since. */
    const retract = () => {
      if (handing === null) return;
      const { submission, name } = handing;
      if (outbox.withdraw(submission)) perhapsThere.add(name);
      release();
    };

    /* ---- how long a question takes ---- */
    let running = null;
    /** Time a question, from before a reload on; gives what tells the milliseconds. */
    const clock = (trial, criterion) => {
      const name = nameOf(trial, criterion);
      const began = performance.now() - (kept.times[name] ?? 0);
      running = { name, elapsed: () => Math.min(Math.round(performance.now() - began), LONGEST_MS) };
      return running.elapsed;
    };
    const keepTime = () => {
      if (running) kept.times[running.name] = running.elapsed();
    };

    /* ---- drafts ---- */
    let draftTimer = 0;
    let unsent = null;
    /** The ranks of a question as they were last, here or on another device. */
    const draftOf = (trial, criterion) => {
      const here = kept.drafts[nameOf(trial, criterion)];
      const there = trials.get(trial).drafts[criterion];
      return (here && (!there || here.sequence > there.sequence) ? here : there) ?? { ranks: {}, sequence: 0 };
    };
    const saveDraft = (trial, criterion, ranks) => {
      const draft = { ranks, sequence: draftOf(trial, criterion).sequence + 1 };
      kept.drafts[nameOf(trial, criterion)] = draft;
      keepTime();
      keep();
      frame.say("saving");
      unsent = { trial, criterion, ...draft };
      clearTimeout(draftTimer);
      draftTimer = setTimeout(sendDraft, DRAFT_MS);
    };
    const sendDraft = async () => {
      clearTimeout(draftTimer);
      const draft = unsent;
      if (!draft || stopped) return;
      try {
        await ask("draft", draft);
        if (unsent !== draft) return;
        unsent = null;
        frame.say("saved");
      } catch (error) {
        if (!(error instanceof Trouble)) throw error;
        if (error.kind === "stale") stale();
        else if (error.kind === "refused") unsent = null;
        else {
          lament(error.kind);
          clearTimeout(draftTimer);
          draftTimer = setTimeout(sendDraft, DRAFT_AGAIN_MS);
        }
        return;
      }
      allWell();
    };

    /* ---- playback ---- */
    let events = [];
    let eventsTimer = 0;
    const sendEvents = () => {
      clearTimeout(eventsTimer);
      eventsTimer = 0;
      const batch = events;
      events = [];
      outbox.events(batch);
    };
    const note = (trial, kind, item, position) => {
      events.push({ trial, item, kind, at_ms: Math.round(performance.now()), position_s: Math.round(1000 * position) / 1000 });
      if (kind === "heard") heard.get(trial).add(item);
      if (kind === "heard" || events.length >= MOST_EVENTS) sendEvents();
      else eventsTimer ||= setTimeout(sendEvents, EVENTS_MS);
    };
    window.addEventListener("pagehide", () => {
      if (stopped) return;
      keepTime();
      keep();
      sendEvents();
      sendDraft();
    });

    return {
      kept,
      keep,
      outbox,
      submit,
      retract,
      clock,
      draftOf,
      saveDraft,
      sendEvents,
      note,
      lament,
      heardOf: (trial) => [...heard.get(trial)],
      isAnswered: (trial, criterion) => trials.get(trial).answered[criterion] || Boolean(outbox.waiting(trial, criterion)),
      /** Go on with what was left from before. */
      begin: () => outbox.flush(),
      /** Send and keep nothing any more from this page. */
      stop: () => {
        stopped = true;
        outbox.stop();
      },
      /** Keep nothing of a survey that has ended. */
      clear: () => store.clear(),
    };
  };
})();
