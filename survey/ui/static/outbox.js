/* What a participant has answered, on its way to the server: kept on the device until the server has it, sent in order,
   each under one submission id, so that sending twice does no harm. */
"use strict";
window.MusicStar ||= {};

(() => {
  const API = "/survey/api/";
  const PATIENCE_MS = 20_000;
  const FIRST_WAIT_MS = 1000;
  const LONGEST_WAIT_MS = 30_000;
  const MOST_EVENTS = 200;

  /** Why a request came to nothing.
      `kind`: "offline" (not reached), "unsaved" (reached, but it cannot write), "stale" (this page is behind),
      "refused" (the server will never take it). */
  class Trouble extends Error {
    constructor(kind, message, field = "") {
      super(message);
      this.kind = kind;
      this.field = field;
    }
  }

  const kindOf = (status, reload) => {
    if (status === 401 || reload) return "stale";
    if (status === 408 || status === 502 || status === 504) return "offline";
    return status >= 500 || status === 429 ? "unsaved" : "refused";
  };

  /** Ask the survey's server; gives the answer or throws a Trouble. */
  const ask = async (path, body) => {
    let response;
    let answer = null;
    try {
      response = await fetch(API + path, {
        method: body ? "POST" : "GET",
        headers: body ? { "content-type": "application/json" } : {},
        body: body && JSON.stringify(body),
        cache: "no-store",
        // What is under way when a tab is closed still goes out.
        keepalive: Boolean(body),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      answer = await response.json().catch(() => null);
    } catch (error) {
      throw new Trouble("offline", String(error));
    }
    if (response.ok && answer) return answer;
    // What is not in the survey's own words comes from something between here and it, or was cut off.
    if (!answer?.error) throw new Trouble("offline", `${response.status} ${response.statusText}`);
    throw new Trouble(kindOf(response.status, answer.reload), answer.error, answer.field);
  };

  /** A record on this device under a name; `kept` is false where the browser keeps nothing. */
  const record = (name) => {
    let memory = null;
    const made = {
      kept: true,
      read: () => {
        try {
          return JSON.parse(localStorage.getItem(name)) ?? memory ?? {};
        } catch {
          return memory ?? {};
        }
      },
      write: (value) => {
        memory = value;
        try {
          localStorage.setItem(name, JSON.stringify(value));
          made.kept = true;
        } catch {
          made.kept = false;
        }
      },
      clear: () => {
        memory = null;
        try {
          localStorage.removeItem(name);
        } catch {
          made.kept = false;
        }
      },
    };
    return made;
  };

  class Outbox {
    /** `entries` are those left from before; `keep(entries)` stores them, `told(outcome, entry, detail)` hears of each
        that was "sent" (with the server's answer) or met with trouble ("offline", "unsaved", "stale", "refused"). */
    constructor({ entries, generation, keep, told }) {
      Object.assign(this, { entries, generation, keep, told });
      this.busy = false;
      this.stopped = false;
      this.wait = FIRST_WAIT_MS;
      this.timer = 0;
      window.addEventListener("online", () => this.hurry());
      document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.hurry());
    }

    /** Take an answer; gives the id it travels under. `revises` says that the server may have one to its question from
        this device already. */
    answer(body, revises) {
      const submission = crypto.randomUUID?.().replaceAll("-", "") ?? Outbox.uuid();
      // Its generation is that of the moment it is first sent: those before it move it on.
      this._add({ path: "answers", revises, body: { submission, ...body, generation: null } });
      return submission;
    }

    /** Take events of playback. */
    events(events) {
      if (!events.length) return;
      const last = this.entries.at(-1);
      const joins = last?.path === "events" && !(this.busy && this.entries.length === 1);
      if (joins && last.body.events.length + events.length <= MOST_EVENTS) {
        last.body.events.push(...events);
        this._add();
      } else this._add({ path: "events", body: { events } });
    }

    /** The answer of a question that waits to be sent, if any. */
    waiting(trial, criterion) {
      return this.entries.find(({ body, withdrawn }) => !withdrawn && body.trial === trial && body.criterion === criterion);
    }

    /** Take an answer back that the server has not acknowledged; whether the server may have it all the same. One that
        it may have is sent until that is known, for what comes after it has to be a revision of it. */
    withdraw(submission) {
      const entry = this.entries.find(({ body }) => body.submission === submission);
      if (!entry) return false;
      entry.withdrawn = true;
      if (entry.unsure) this.keep(this.entries);
      else this._drop(entry);
      return Boolean(entry.unsure);
    }

    /** Try at once, whatever the wait. */
    hurry() {
      clearTimeout(this.timer);
      this.timer = 0;
      this.wait = FIRST_WAIT_MS;
      this.flush();
    }

    /** Send nothing any more from this page. */
    stop() {
      this.stopped = true;
      clearTimeout(this.timer);
    }

    static uuid() {
      // Pages that are not served over https have no randomUUID.
      const bytes = crypto.getRandomValues(new Uint8Array(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    }

    _add(entry) {
      if (entry) this.entries.push(entry);
      this.keep(this.entries);
      if (!this.timer) this.flush();
    }

    async flush() {
      if (this.busy || this.stopped) return;
      this.busy = true;
      try {
        while (this.entries.length && !this.stopped) {
          const [entry] = this.entries;
          if (!(await this._send(entry))) break;
        }
      } finally {
        this.busy = false;
      }
    }

    /** Send one; whether the next can follow. */
    async _send(entry) {
      const { path, body } = entry;
      if (path === "answers") body.generation ??= this.generation;
      const unsure = entry.unsure; // Whether the server may have it from an earlier time.
      entry.unsure = true;
      this.keep(this.entries);
      try {
        const answer = await ask(path, body);
        this.wait = FIRST_WAIT_MS;
        this._drop(entry);
        if (Number.isInteger(answer.generation)) this.generation = answer.generation;
        this.told("sent", entry, answer);
        return true;
      } catch (trouble) {
        if (!(trouble instanceof Trouble)) throw trouble;
        if (this.stopped) return false;
        entry.unsure = unsure || trouble.kind === "offline";
        if (trouble.kind === "refused" || (entry.withdrawn && !entry.unsure)) this._drop(entry);
        if (trouble.kind === "stale") this.stop();
        else if (trouble.kind !== "refused") this._later();
        this.told(trouble.kind, entry, trouble);
        return trouble.kind === "refused";
      }
    }

    _drop(entry) {
      this.entries = this.entries.filter((other) => other !== entry);
      this.keep(this.entries);
    }

    _later() {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => {
        this.timer = 0;
        this.flush();
      }, this.wait * (0.75 + Math.random() / 2));
      this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
    }
  }

  Object.assign(window.MusicStar, { ask, record, Outbox, Trouble });
})();
