/* Choosing a clip: upload, recording or shipped piece, and the two stems where the visitor has them. */
"use strict";
window.MusicStar ||= {};

window.MusicStar.clip = (root, props, watch, changed) => {
  const { node, icon, record } = window.MusicStar;
  const { seconds: maxSeconds, mb: maxMb } = props.limits;
  const PATIENCE = "The clip is still being read: one moment.";
  const PARTS = { melody: "Melody", accompaniment: "Accompaniment" };
  let job = ""; // The clip chosen, whose value Gradio holds too.
  let growing = ""; // A clip that still lacks a stem.
  let example = false;
  let recording = null;
  let asking = false; // For the microphone.
  let recorded = null; // A recording that could not be taken yet.
  let busy = false;
  let running = false;
  let domain = "sp";
  let unsettled = -Infinity; // When a clip or direction was asked for that the player does not show yet.

  /** The clip of this tab, as long as it is open; nothing where the browser keeps nothing. */
  const kept = {
    read: () => {
      try {
        return sessionStorage.getItem("musicstar.clip");
      } catch {
        return null;
      }
    },
    write: (name) => {
      try {
        sessionStorage.setItem("musicstar.clip", name);
      } catch {
        // Then a page that is loaded again begins anew.
      }
    },
  };

  const problem = node("p", { class: "ms-problem", role: "alert" });
  const status = node("p", { class: "ms-status", role: "status" });
  const chosen = node("p", { class: "ms-chosen", hidden: true });

  const say = (text) => (status.textContent = text);
  const complain = (text) => {
    problem.textContent = text;
    if (text) say("");
  };

  const setBusy = (on) => {
    busy = on;
    root.classList.toggle("ms-busy", on);
    root.setAttribute("aria-busy", String(on));
  };

  /** A recording cannot be made again: one that is not taken stays, behind a button. */
  const takeRecording = async () => {
    const blob = recorded;
    if ((await send(blob, "Recording.wav", "mixture")) && recorded === blob) recorded = null;
    keptButton.hidden = !recorded;
  };
  const keptButton = node(
    "button",
    { type: "button", class: "ms-button", id: "ms-kept", hidden: true, onclick: takeRecording },
    "Take the recording",
  );

  /** A POST with progress; gives the answer, or a sentence of what went wrong as an Error. */
  const post = (url, body) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", url);
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        if (event.lengthComputable && event.loaded < event.total)
          say(`Sending, ${Math.round((100 * event.loaded) / event.total)} %`);
      };
      request.upload.onload = () => say("Reading…");
      request.onload = () =>
        request.status === 200
          ? resolve(request.response)
          : reject(
              Object.assign(
                new Error(request.response?.error || `The server answered ${request.status}. Please try again.`),
                { gone: request.status === 410 },
              ),
            );
      request.onerror = () => reject(new Error("The studio could not be reached. Is it still running?"));
      request.send(body);
    });

  const take = async (url, body) => {
    if (busy) {
      complain("Another clip is still being read: choose this one again when it is done.");
      return false;
    }
    if (running) {
      complain("A translation is running: let it end, or cancel it, before you take another clip.");
      return false;
    }
    setBusy(true);
    unsettled = performance.now();
    complain("");
    say("Reading…");
    try {
      accept(await post(url, body));
      return true;
    } catch (error) {
      unsettled = -Infinity;
      complain(error.message);
      // What the server no longer has cannot be added to: the next file begins a new clip.
      if (error.gone) {
        growing = "";
        takeUp("");
        for (const slot of Object.values(slots)) slot.clear();
      }
      return false;
    } finally {
      setBusy(false);
    }
  };

  /** From now on this clip is the one; what the player hears of another comes too late. */
  const takeUp = (name) => {
    job = name;
    window.MusicStar.job = name;
    kept.write(name);
  };

  const accept = (answer) => {
    for (const [part, slot] of Object.entries(slots)) {
      if (answer.parts.includes(part)) slot.mark();
      else slot.clear();
    }
    if (!answer.ready) {
      growing = answer.job;
      unsettled = -Infinity;
      say(answer.note);
      return;
    }
    growing = "";
    takeUp(answer.job);
    example = Boolean(answer.example);
    for (const button of root.querySelectorAll(".ms-piece"))
      button.setAttribute("aria-pressed", String(button.dataset.number === answer.example));
    chosen.hidden = false;
    chosen.replaceChildren(
      node("b", {}, answer.name),
      ` ${answer.seconds.toFixed(1)} s${answer.stems ? ", with both stems" : ""}`,
    );
    const lacking = Object.keys(slots).filter((part) => !answer.parts.includes(part));
    say(lacking.length === 1 ? `Now add the other stem, the ${lacking[0]}.` : "");
    document.dispatchEvent(new CustomEvent("musicstar:clip", { detail: { stems: answer.stems } }));
    props.value = { job };
    changed();
  };

  const send = (file, name, part) => {
    if (!file) return false;
    if (file.size > maxMb * 1e6) {
      complain(`${name}: ${(file.size / 1e6).toFixed(1)} MB, the limit is ${maxMb} MB.`);
      return false;
    }
    const to = part === "mixture" ? growing : growing || (example ? "" : job);
    return take(`/clips?${new URLSearchParams({ name, part, to })}`, file);
  };

  /** A file button: an input that stays reachable by keyboard, under a label that looks like a button. */
  const fileButton = (id, part, label, big) => {
    const input = node("input", {
      type: "file",
      id,
      class: "ms-file",
      accept: "audio/*,.wav,.flac,.ogg,.mp3",
      onchange: () => {
        send(input.files[0], input.files[0]?.name, part);
        input.value = "";
      },
    });
    const face = node("label", { for: id, class: big ? "ms-button ms-strong" : "ms-button" }, icon("up"), ...label);
    return node("span", { class: "ms-filebutton" }, input, face);
  };

  const slots = {};
  for (const [part, title] of Object.entries(PARTS)) {
    const state = node("span", { class: "ms-slot-state" }, "none yet");
    slots[part] = {
      mark: () => (state.textContent = "added"),
      clear: () => (state.textContent = "none yet"),
      row: node(
        "li",
        {},
        node("span", {}, node("b", {}, title), " ", state),
        fileButton(`ms-file-${part}`, part, ["Choose ", node("span", { class: "ms-quiet" }, part)]),
      ),
    };
  }

  const meter = node("span", { class: "ms-meter", "aria-hidden": "true" }, node("i"));
  const recordText = node("span", {}, "Record");
  const recordButton = node(
    "button",
    {
      type: "button",
      class: "ms-button",
      id: "ms-record",
      onclick: async () => {
        if (recording) {
          recording.stop();
          return;
        }
        if (asking) return;
        asking = true;
        complain("");
        try {
          recording = await record({
            maxSeconds,
            heard: (elapsed, level) => {
              recordText.textContent = `Stop (${Math.floor(elapsed)} of ${maxSeconds} s)`;
              const share = Math.max(0, 1 + Math.log10(Math.max(level, 1e-6)) / 3);
              meter.firstElementChild.style.transform = `scaleX(${share.toFixed(3)})`;
            },
            done: (blob) => {
              recording = null;
              recordText.textContent = "Record";
              recordButton.classList.remove("ms-recording");
              meter.firstElementChild.style.transform = "scaleX(0)";
              if (blob) {
                recorded = blob;
                takeRecording();
              } else complain("The recording could not be used: it holds no sound. Please record again.");
            },
          });
          recordButton.classList.add("ms-recording");
          say("Recording. Press Stop when done.");
        } catch (error) {
          complain(
            error.name === "NotAllowedError"
              ? "The browser did not allow the microphone. Allow it for this page, or upload a file."
              : error.name === "NotFoundError"
                ? "No microphone was found. Connect one, or upload a file."
                : error.message,
          );
        } finally {
          asking = false;
        }
      },
    },
    icon("mic"),
    recordText,
    meter,
  );

  const drop = node(
    "div",
    { class: "ms-drop" },
    node("div", { class: "ms-drop-row" }, fileButton("ms-file", "mixture", ["Choose a file"], true), recordButton, keptButton),
    node("p", { class: "ms-hint" }, `or drop one here. WAV, FLAC, OGG or MP3, up to ${maxSeconds} s and ${maxMb} MB.`),
  );
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("ms-over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("ms-over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("ms-over");
    const file = event.dataTransfer.files[0];
    if (file) send(file, file.name, "mixture");
  });

  /** A shipped piece, heard in the domain that the form says the clip is in, where it is played there. */
  const piece = (offer) =>
    node(
      "li",
      {},
      node(
        "button",
        {
          type: "button",
          class: "ms-piece",
          "data-number": offer.number,
          onclick: () => take(`/examples/${offer.number}/${domain}`, null),
        },
        node("b", {}, offer.title),
        offer.note && node("span", {}, offer.note),
      ),
    );

  root.append(
    node(
      "section",
      { "aria-labelledby": "ms-clip-title" },
      node("h2", { id: "ms-clip-title" }, "Clip"),
      drop,
      chosen,
      status,
      problem,
      props.offered.length > 0 &&
        node(
          "details",
          { class: "ms-more", open: true },
          node("summary", {}, "Examples"),
          node("p", { class: "ms-hint" }, "Their stems and gold standards are known; say below which pair you hear and which it is translated to."),
          node("ul", { class: "ms-pieces" }, props.offered.map(piece)),
        ),
      node(
        "details",
        { class: "ms-more" },
        node("summary", {}, "I have the two stems"),
        node(
          "p",
          { class: "ms-hint" },
          "Single-instrument translates each instrument’s own recording. Both as long as the clip; without a clip, their sum is taken.",
        ),
        node("ul", { class: "ms-slots" }, Object.values(slots).map((slot) => slot.row)),
      ),
    ),
  );
  document.addEventListener("musicstar:running", (event) => {
    running = event.detail;
    unsettled = -Infinity;
    if (status.textContent === PATIENCE) say("");
  });
  document.addEventListener("musicstar:chosen", () => {
    if (job) unsettled = performance.now();
  });
  // A translation asked for meanwhile would be of the clip before, or in its direction.
  document.addEventListener(
    "click",
    (event) => {
      if (!event.target.closest?.("#ms-translate")) return;
      if (!busy && performance.now() - unsettled > 5000) return;
      event.stopImmediatePropagation();
      say(PATIENCE);
    },
    true,
  );
  document.addEventListener("musicstar:source", (event) => {
    domain = event.detail;
  });
  watch("value", () => {
    const { job: given, of = job } = props.value ?? {};
    if (!given) return;
    if (of === job) takeUp(given);
    else props.value = { job };
  });

  // A page that was loaded again, by the visitor or because the connection broke, goes on with its clip.
  const before = kept.read();
  if (before)
    fetch(`/clips/${before}`)
      .then(async (response) => {
        const answer = response.ok && (await response.json());
        if (job || busy) return;
        if (answer) accept(answer);
        // Whatever else goes wrong may be for the moment.
        else if (response.status === 410 || response.status === 422) kept.write("");
      })
      .catch(() => {});
};
