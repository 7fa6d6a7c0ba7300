/* Recording from the microphone into a WAV file, without the browser's speech processing. */
"use strict";
window.MusicStar ||= {};

(() => {
  /** Mono 16-bit WAV of float samples. */
  const encode = (samples, sampleRate) => {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, word) => [...word].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * samples.length, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, 1, true);
    view.setUint32(24, sampleRate, true);
    view.setUint32(28, 2 * sampleRate, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * samples.length, true);
    samples.forEach((sample, k) =>
      view.setInt16(44 + 2 * k, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true),
    );
    return new Blob([view], { type: "audio/wav" });
  };

  /** Record until `stop()`, or `maxSeconds`; `heard(seconds, level)` is told how it goes, `done(blob)` gets the file. */
  window.MusicStar.record = async ({ maxSeconds, heard, done }) => {
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder)
      throw new Error("This browser records only on a secure page (https, or this machine itself).");
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const context = new AudioContext();
    const meter = context.createAnalyser();
    meter.fftSize = 1024;
    context.createMediaStreamSource(stream).connect(meter);
    const recorder = new MediaRecorder(stream);
    const pieces = [];
    recorder.ondataavailable = (event) => pieces.push(event.data);
    const began = performance.now();
    const window_ = new Float32Array(meter.fftSize);
    const timer = setInterval(() => {
      meter.getFloatTimeDomainData(window_);
      const level = Math.sqrt(window_.reduce((sum, sample) => sum + sample * sample, 0) / window_.length);
      const seconds = (performance.now() - began) / 1000;
      heard(seconds, level);
      if (seconds >= maxSeconds - 0.15 && recorder.state === "recording") recorder.stop();
    }, 100);
    recorder.onstop = async () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      try {
        const buffer = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
        const mono = new Float32Array(buffer.length);
        for (let channel = 0; channel < buffer.numberOfChannels; channel += 1)
          buffer.getChannelData(channel).forEach((sample, k) => (mono[k] += sample / buffer.numberOfChannels));
        done(encode(mono.subarray(0, Math.floor(maxSeconds * buffer.sampleRate)), buffer.sampleRate));
      } catch {
        done(null);
      } finally {
        context.close();
      }
    };
    recorder.start();
    return { stop: () => recorder.state === "recording" && recorder.stop() };
  };
})();
