/* The deck: many recordings of one piece on one Web Audio clock.
   All that is loaded runs at once and one is heard, so that switching is a change of gain and never of time.
   A recording that arrives while others play joins them where they are. */
"use strict";
window.MusicStar ||= {};

(() => {
  const RAMP_S = 0.012;
  const AHEAD_S = 0.03;

  class Deck {
    /** `changed` is called whenever something other than the position has changed. */
    constructor(changed) {
      this.changed = changed;
      this.context = null;
      this.sounds = new Map();
      this.duration = 0;
      this.current = "";
      this.playing = false;
      this.loop = { on: false, start: 0, end: 0 };
      this.region = null;
      this.volume = 1;
      this.matched = true;
      this.rest = 0; // Position while not playing, in seconds.
      this.anchor = { time: 0, offset: 0 };
      this.bus = null;
      this.wish = null; // To play, while what it takes is still awaited.
    }

    /** Forget everything and take up a piece of so many seconds. */
    open(duration) {
      this.pause();
      this.sounds.clear();
      this.duration = duration;
      this.current = "";
      this.rest = 0;
      this.region = null;
      this._setLoop();
    }

    /** Make a recording known under a key, at a gain in dB; `load` fetches it at once. */
    add(key, src, gain, { load = true } = {}) {
      const known = this.sounds.get(key);
      if (known && known.src === src) {
        if (known.gain !== gain) {
          known.gain = gain;
          this._level(known);
        }
        return;
      }
      // What is had of it is heard until the new one can join.
      const { buffer, node, level } = known ?? { buffer: null, node: null, level: null };
      const sound = { key, src, gain, buffer, node, level, failed: false, loading: null };
      this.sounds.set(key, sound);
      if (load || key === this.current) this.load(key);
    }

    /** Drop what is no longer there. */
    keep(keys) {
      for (const [key, sound] of this.sounds) {
        if (keys.has(key)) continue;
        this._silence(sound);
        this.sounds.delete(key);
      }
    }

    /** Fetch and decode a recording; it joins in if the deck is playing. */
    load(key) {
      const sound = this.sounds.get(key);
      if (!sound) return Promise.resolve();
      sound.loading ||= this._fetch(sound).then(
        (buffer) => {
          if (this.sounds.get(key) !== sound) return;
          sound.buffer = buffer;
          sound.failed = false;
          if (this.playing) this._join(sound);
          this.changed();
        },
        () => {
          sound.failed = true;
          sound.loading = null;
          this.changed();
        },
      );
      return sound.loading;
    }

    async _fetch(sound) {
      const response = await fetch(sound.src);
      if (!response.ok) throw new Error(`${response.status}`);
      const context = this._ready();
      const heard = await context.decodeAudioData(await response.arrayBuffer());
      // One length for all, or loops of the whole piece would drift apart.
      const length = Math.max(1, Math.round(this.duration * heard.sampleRate));
      if (heard.length === length) return heard;
      const fitted = context.createBuffer(1, length, heard.sampleRate);
      fitted.copyToChannel(heard.getChannelData(0).subarray(0, length), 0);
      return fitted;
    }

    _ready() {
      if (!this.context) {
        this.context = new AudioContext({ latencyHint: "interactive" });
        this.master = this.context.createGain();
        this.master.gain.value = this.volume ** 2;
        this.master.connect(this.context.destination);
      }
      return this.context;
    }

    /** Where the piece is, in seconds. */
    get position() {
      return this.playing ? this._at(this.context.currentTime) : this.rest;
    }

    _at(time) {
      const { start, end, on } = this.loop;
      const run = this.anchor.offset + Math.max(0, time - this.anchor.time);
      if (on) return run < end ? run : start + ((run - start) % (end - start));
      return Math.min(run, this.duration);
    }

    async play() {
      const context = this._ready();
      if (this.playing || !this.duration) return;
      const wish = (this.wish = {});
      // A phone may take the sound away, for a call or another tab, and what it took does not come back by itself.
      context.onstatechange = () => context.state !== "running" && this.pause();
      let wanted = false;
      try {
        await Promise.all([context.resume(), this.load(this.current)]);
      } finally {
        wanted = this.wish === wish;
        if (wanted) this.wish = null;
      }
      if (!wanted || this.playing) return;
      if (this.rest >= this.duration - 0.01) this.rest = this.loop.start;
      this.playing = true;
      this._schedule(this.rest);
      this.changed();
    }

    pause() {
      this.wish = null;
      if (!this.playing) return;
      this.rest = this.position;
      this.playing = false;
      this._retire(this.context.currentTime);
      this.changed();
    }

    toggle() {
      return this.playing || this.wish ? this.pause() : this.play();
    }

    seek(seconds) {
      const to = Math.min(Math.max(0, seconds), this.duration);
      if (this.playing) this._schedule(Math.min(to, this.duration - 0.02));
      else this.rest = to;
      this.changed();
    }

    /** Hear another recording; the position does not move. */
    select(key) {
      if (!this.sounds.has(key)) return;
      const before = this.sounds.get(this.current);
      this.current = key;
      if (before) this._level(before);
      this._level(this.sounds.get(key));
      this.load(key);
      this.changed();
    }

    setVolume(volume) {
      this.volume = volume;
      if (this.context) this.master.gain.setTargetAtTime(volume ** 2, this.context.currentTime, 0.01);
    }

    /** Whether recordings are brought to one loudness. */
    setMatched(matched) {
      this.matched = matched;
      for (const sound of this.sounds.values()) this._level(sound);
      this.changed();
    }

    setLooping(on) {
      this._setLoop({ on });
    }

    /** The stretch that is repeated, `{start, end}` in seconds, or null for all of it. */
    setRegion(region) {
      this.region = region;
      this._setLoop();
    }

    _setLoop({ on = this.loop.on } = {}) {
      const { start, end } = this.region || { start: 0, end: this.duration };
      let position = this.playing ? this._at(this.context.currentTime + AHEAD_S) : this.rest;
      // A stretch that was marked is what is wanted next, even from before it.
      if (on && this.region && (position < start || position >= end)) position = start;
      this.loop = { on, start, end };
      if (this.playing) this._schedule(position);
      else this.rest = position;
      this.changed();
    }

    /** The factor a recording is heard at when it is the one heard. */
    factor(sound) {
      return this.matched ? 10 ** (sound.gain / 20) : 1;
    }

    _level(sound) {
      if (!sound.level) return;
      const { gain } = sound.level;
      const now = this.context.currentTime;
      gain.cancelScheduledValues(now);
      gain.setValueAtTime(gain.value, now);
      gain.linearRampToValueAtTime(sound.key === this.current ? this.factor(sound) : 0, now + RAMP_S);
    }

    /** Start everything anew at a position, cross-fading from what runs. */
    _schedule(position) {
      const when = this.context.currentTime + AHEAD_S;
      this._retire(when);
      const { on, start, end } = this.loop;
      const offset = on && position >= end ? start : position;
      this.bus = this.context.createGain();
      this.bus.gain.value = 0;
      this.bus.gain.setValueAtTime(0, when);
      this.bus.gain.linearRampToValueAtTime(1, when + RAMP_S);
      this.bus.connect(this.master);
      this.anchor = { time: when, offset };
      for (const sound of this.sounds.values()) if (sound.buffer) this._launch(sound, when, offset);
    }

    /** Let a recording come in, and what was heard in its place go. */
    _join(sound) {
      const when = this.context.currentTime + AHEAD_S;
      const { node, level } = sound;
      this._launch(sound, when, this._at(when));
      const { gain } = sound.level;
      const full = gain.value;
      gain.value = 0;
      gain.setValueAtTime(0, when);
      gain.linearRampToValueAtTime(full, when + RAMP_S);
      if (!node) return;
      node.onended = null;
      node.stop(when + RAMP_S);
      level.gain.cancelScheduledValues(when);
      level.gain.setValueAtTime(level.gain.value, when);
      level.gain.linearRampToValueAtTime(0, when + RAMP_S);
    }

    _launch(sound, when, offset) {
      const { on, start, end } = this.loop;
      const node = this.context.createBufferSource();
      node.buffer = sound.buffer;
      node.loop = on;
      node.loopStart = start;
      node.loopEnd = end;
      const level = this.context.createGain();
      level.gain.value = sound.key === this.current ? this.factor(sound) : 0;
      node.connect(level).connect(this.bus);
      node.start(when, offset);
      node.onended = () => this._ended(sound.key, node);
      Object.assign(sound, { node, level });
    }

    _ended(key, node) {
      if (this.sounds.get(key)?.node !== node || !this.playing || this.loop.on) return;
      if (this.position < this.duration - 0.05) return;
      this.playing = false;
      this.rest = this.duration;
      this._retire(this.context.currentTime);
      this.changed();
    }

    /** Let what runs fade out from a moment on. */
    _retire(when) {
      if (!this.bus) return;
      const { gain } = this.bus;
      // From where it is by then, which is not the top if it began to fade in just before.
      gain.cancelScheduledValues(when);
      gain.linearRampToValueAtTime(Math.min(1, Math.max(0, (when - this.anchor.time) / RAMP_S)), when);
      gain.linearRampToValueAtTime(0, when + RAMP_S);
      for (const sound of this.sounds.values()) this._silence(sound, when + RAMP_S);
      const { bus } = this;
      setTimeout(() => bus.disconnect(), 500);
      this.bus = null;
    }

    _silence(sound, when = 0) {
      if (sound.node) {
        sound.node.onended = null;
        sound.node.stop(when);
      }
      Object.assign(sound, { node: null, level: null });
    }
  }

  window.MusicStar.Deck = Deck;
})();
