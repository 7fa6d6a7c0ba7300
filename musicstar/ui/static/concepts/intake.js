/* Taking clips: by file, by dropping, by recording; sent one after the other, with how far each has come. */
"use strict";
window.MusicStar ||= {};
window.MusicStar.concepts ||= {};

/** `take(file, name)` is called for each clip and awaited; `limits` are `{seconds, mb}`, `several` takes more than one file at once. */
window.MusicStar.concepts.intake = ({ id, label, several = false, limits, take }) => {
  const { node, icon, record } = window.MusicStar;
  const problem = node("p", { class: "ms-problem", role: "alert" });
  const status = node("p", { class: "ms-status", role: "status" });
  let recording = null;
  let asking = false; // For the microphone.
  let busy = false;

  const say = (text) => (status.textContent = text);
  const run = async (jobs) => {
    if (busy) {
      problem.textContent = "A clip is still being read: one moment.";
      return;
    }
    busy = true;
    element.setAttribute("aria-busy", "true");
    element.classList.add("ms-busy");
    problem.textContent = "";
    const failed = [];
    for (const [k, { title, work }] of jobs.entries()) {
      say(jobs.length > 1 ? `Reading ${title} (${k + 1} of ${jobs.length})…` : `Reading ${title}…`);
      try {
        await work();
      } catch (error) {
        failed.push(error.message);
      }
    }
    say("");
    problem.textContent = failed.join(" ");
    busy = false;
    element.classList.remove("ms-busy");
    element.setAttribute("aria-busy", "false");
  };
  const send = (files) =>
    run(
      [...files].slice(0, several ? undefined : 1).map((file) => ({
        title: file.name,
        work: async () => {
          if (file.size > limits.mb * 1e6) throw new Error(`${file.name}: ${(file.size / 1e6).toFixed(1)} MB, the limit is ${limits.mb} MB.`);
          await take(file, file.name);
        },
      })),
    );

  const input = node("input", {
    type: "file",
    id,
    class: "ms-file",
    accept: "audio/*,.wav,.flac,.ogg,.mp3",
    multiple: several,
    onchange: async () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) await send(files);
    },
  });
  const text = node("span", {}, "Record");
  const meter = node("span", { class: "ms-meter", "aria-hidden": "true" }, node("i"));
  const REFUSED = {
    NotAllowedError: "The browser did not allow the microphone. Allow it for this page, or choose a file.",
    NotFoundError: "No microphone was found. Connect one, or choose a file.",
  };
  const recordButton = node(
    "button",
    {
      type: "button",
      class: "ms-button",
      onclick: async () => {
        if (recording) {
          recording.stop();
          return;
        }
        if (asking) return;
        asking = true;
        problem.textContent = "";
        try {
          recording = await record({
            maxSeconds: limits.seconds,
            heard: (elapsed, level) => {
              text.textContent = `Stop (${Math.floor(elapsed)} of ${limits.seconds} s)`;
              meter.firstElementChild.style.transform = `scaleX(${Math.max(0, 1 + Math.log10(Math.max(level, 1e-6)) / 3).toFixed(3)})`;
            },
            done: (blob) => {
              recording = null;
              text.textContent = "Record";
              recordButton.classList.remove("ms-recording");
              if (blob) run([{ title: "the recording", work: () => take(blob, "Recording.wav") }]);
              else problem.textContent = "The recording holds no sound. Please record again.";
            },
          });
          recordButton.classList.add("ms-recording");
        } catch (error) {
          problem.textContent = REFUSED[error.name] || error.message;
        } finally {
          asking = false;
        }
      },
    },
    icon("mic"),
    text,
    meter,
  );
  const element = node(
    "div",
    { class: "ms-drop" },
    node(
      "div",
      { class: "ms-drop-row" },
      node("span", { class: "ms-filebutton" }, input, node("label", { for: id, class: "ms-button ms-strong" }, icon("up"), label)),
      recordButton,
    ),
    node("p", { class: "ms-hint" }, `or drop ${several ? "them" : "one"} here. WAV, FLAC, OGG or MP3, up to ${limits.seconds} s and ${limits.mb} MB${several ? " each" : ""}.`),
  );
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("ms-over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("ms-over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("ms-over");
    if (event.dataTransfer.files.length) send(event.dataTransfer.files);
  });
  return { element: node("div", {}, element, status, problem), run, complain: (said) => (problem.textContent = said) };
};
