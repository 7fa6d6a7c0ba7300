/* Headphone check: three tones of 200 Hz, of which one is 6 dB quieter and another is in opposite phase at the two
   ears. On loudspeakers the two phases cancel in the air and the wrong tone seems the quietest.
   Woods, Siegel, Traer and McDermott, "Headphone screening to facilitate web-based auditory experiments", Attention,
   Perception & Psychophysics 79 (2017); six rounds, passed with five. */
"use strict";
window.MusicStar ||= {};

(() => {
  const FREQUENCY_HZ = 200;
  const TONE_S = 1;
  const GAP_S = 0.5;
  const RAMP_S = 0.1;
  const AMPLITUDE = 0.14;
  const QUIET_DB = -6;
  const ROUNDS = 6;
  const PASSED = 5;
  const KINDS = ["plain", "quiet", "opposite"];

  /** All six orders of the three tones, themselves in an order of chance: each place is the quiet one twice. */
  const rounds = () => {
    const orders = KINDS.flatMap((first) =>
      KINDS.filter((kind) => kind !== first).map((second) => [first, second, KINDS.find((kind) => kind !== first && kind !== second)]),
    );
    return orders
      .map((order) => [Math.random(), order])
      .sort(([one], [other]) => one - other)
      .map(([, order]) => order)
      .slice(0, ROUNDS);
  };

  /** Three tones as samples, one array per ear, in [-1, 1]. */
  const tones = (order, sampleRate) => {
    const every = Math.round((TONE_S + GAP_S) * sampleRate);
    const length = Math.round(TONE_S * sampleRate);
    const ears = [new Float32Array(every * order.length), new Float32Array(every * order.length)];
    order.forEach((kind, k) => {
      const level = AMPLITUDE * (kind === "quiet" ? 10 ** (QUIET_DB / 20) : 1);
      for (let n = 0; n < length; n += 1) {
        const edge = Math.min(1, n / sampleRate / RAMP_S, (length - 1 - n) / sampleRate / RAMP_S);
        const sample = level * Math.sin((Math.PI / 2) * edge) ** 2 * Math.sin((2 * Math.PI * FREQUENCY_HZ * n) / sampleRate);
        ears[0][k * every + n] = sample;
        ears[1][k * every + n] = kind === "opposite" ? -sample : sample;
      }
    });
    return ears;
  };

  /** Whether two channels can be played at all. */
  const available = () => {
    try {
      if (!window.AudioContext) return false;
      const context = new AudioContext();
      const stereo = context.destination.maxChannelCount >= 2;
      context.close();
      return stereo;
    } catch {
      return false;
    }
  };

  /** Run the check in an element at a volume; `done(result, answers)` gets "pass", "fail" or "skipped", and which of
      the three (1 to 3) was said to be the quietest in each round. */
  const headphoneCheck = (element, { volume, text, done }) => {
    const { node, icon } = window.MusicStar;
    const context = new AudioContext();
    const level = context.createGain();
    level.gain.value = volume ** 2;
    level.connect(context.destination);
    const plan = rounds();
    const answers = [];
    let source = null;
    let wanted = null; // What is to sound once the sound is there.
    let playedRound = -1;

    const finish = (result) => {
      silence();
      context.close();
      done(result, answers);
    };
    const silence = () => {
      wanted = null;
      if (!source) return;
      source.onended = null;
      source.stop();
      source = null;
    };
    const play = async () => {
      silence();
      const wish = (wanted = {});
      // Meanwhile it may be pressed again, or the question answered, or the check skipped, which closes the context.
      await context.resume().catch(() => {});
      if (wanted !== wish) return;
      const ears = tones(plan[answers.length], context.sampleRate);
      const buffer = context.createBuffer(2, ears[0].length, context.sampleRate);
      ears.forEach((ear, channel) => buffer.copyToChannel(ear, channel));
      source = new AudioBufferSourceNode(context, { buffer });
      source.connect(level);
      source.onended = () => {
        source = null;
        element.classList.remove("sv-sounding");
      };
      element.classList.add("sv-sounding");
      source.start();
      playedRound = answers.length;
    };
    const answer = (place) => {
      if (playedRound !== answers.length) {
        problem.textContent = text("headphones_first");
        return;
      }
      answers.push(place);
      silence();
      if (answers.length < plan.length) {
        show();
        playButton.focus({ preventScroll: true });
        return;
      }
      const right = answers.filter((place_, round) => plan[round][place_ - 1] === "quiet").length;
      finish(right >= PASSED ? "pass" : "fail");
    };

    const playButton = node("button", { type: "button", class: "ms-button ms-strong", onclick: play }, icon("play"), text("headphones_play"));
    const round = node("p", { class: "sv-step", role: "status", "aria-live": "polite" });
    const problem = node("p", { class: "ms-problem", role: "alert" });
    const choices = [1, 2, 3].map((place) =>
      node("button", { type: "button", class: "ms-button", onclick: () => answer(place) }, text(`headphones_${place}`)),
    );
    const show = () => {
      round.textContent = text("headphones_round", { number: answers.length + 1, count: plan.length });
      problem.textContent = "";
      element.classList.remove("sv-sounding");
    };
    element.replaceChildren(
      round,
      playButton,
      node("div", { role: "group", "aria-labelledby": "sv-quietest", class: "sv-quietest" }, node("p", { id: "sv-quietest" }, text("headphones_ask")), node("div", { class: "sv-three" }, choices)),
      problem,
      node("button", { type: "button", class: "ms-button sv-plain", onclick: () => finish("skipped") }, text("headphones_skip")),
    );
    show();
    playButton.focus({ preventScroll: true });
  };

  window.MusicStar.headphones = { available, check: headphoneCheck, rounds, tones };
})();
