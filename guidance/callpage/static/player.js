// The player, and the transcript that follows it.
import { $ } from "/pane/dom.js";
import { ask, kilobytes } from "./page.js";
import { t } from "./strings.js";

const audio = $("audio");
let lines = [], current = null, word = null, consent = "";

// follow takes the lines, in the order of their time: {from, to, row, words}, the
// words as {from, to, node}.
export function follow(all) { lines = all; current = word = null; }

export const ready = () => !$("player").hidden;

// seek plays from a time on, in milliseconds.
export function seek(ms) {
  if (!ready()) return;
  audio.currentTime = ms / 1000;
  audio.play().catch(() => { /* The browser wants a click on the player first. */ });
}

export function toggle() {
  if (!ready()) return;
  if (audio.paused) audio.play().catch(() => {});
  else audio.pause();
}

export const skip = (s) => { if (ready()) audio.currentTime = Math.max(0, audio.currentTime + s); };

export function cue(ms) {
  if (ready()) audio.currentTime = ms / 1000;
}

function mark(list, now) {
  // The last that has begun; sides may speak at once.
  let found = null;
  for (const x of list) if (x.from <= now && now < x.to + 300) found = x;
  return found;
}

function tick() {
  const now = audio.currentTime * 1000;
  const line = mark(lines, now);
  if (line !== current) {
    current?.row.removeAttribute("aria-current");
    line?.row.setAttribute("aria-current", "true");
    if (line && !audio.paused) line.row.scrollIntoView({ block: "nearest" });
    current = line;
  }
  const spoken = line && mark(line.words, now);
  if (spoken?.node !== word) {
    word?.classList.remove("now");
    spoken?.node.classList.add("now");
    word = spoken?.node ?? null;
  }
  document.dispatchEvent(new CustomEvent("playing-at", { detail: now }));
}

audio.addEventListener("timeupdate", tick);
audio.addEventListener("seeked", tick);
audio.addEventListener("play", () => {
  const frame = () => { tick(); if (!audio.paused) requestAnimationFrame(frame); };
  frame();
});

// offer shows the player if there is a recording, or why there is none.
export async function offer(call) {
  const url = "/v1/calls/" + encodeURIComponent(call.key) + "/recording";
  const recording = call.recording;
  const say = (key, values) => { $("silent").textContent = t(key, values); };
  if (recording) {
    const side = (legs) => (legs ?? []).map((id) => call.legs.findLast((l) => l.id === id)?.role ?? "unknown");
    const names = (legs) => [...new Set(side(legs))].map((r) => t("role_" + r)).join(", ") || t("noOne");
    $("sides").textContent = t("sides", { left: names(recording.left), right: names(recording.right), kb: kilobytes(recording.bytes), format: recording.format.toUpperCase() });
  }
  const told = () => {
    $("silent").textContent = recording?.problem ? t("damaged", { why: recording.problem, s: ((recording.lost_ms ?? 0) / 1000).toFixed(1) }) : "";
    $("note").hidden = consent === "";
    $("note").textContent = t("note", { note: consent });
  };
  if (ready()) {
    told();
    return;
  }
  let head;
  try {
    head = await fetch(url, { method: "HEAD" });
  } catch {
    say("cannotPlay", { why: t("offline") });
    return;
  }
  consent = decodeURIComponent(head.headers.get("Sidetone-Recording-Note") ?? "");
  switch (head.status) {
    case 200: {
      audio.src = url;
      $("player").hidden = false;
      told();
      const save = await fetch(url + "?download", { method: "HEAD" }).catch(() => null);
      $("save").hidden = !save?.ok;
      $("save").href = url + "?download";
      break;
    }
    case 404: say(recording ? "elsewhere" : "notRecorded", { node: call.node ?? "" }); break;
    case 409: say("recordingNow"); break;
    case 410: say("recordingGone"); break;
    default: ask(url).catch((e) => say("cannotPlay", { why: e.message }));
  }
}
audio.addEventListener("error", () => { $("silent").textContent = t("cannotPlay", { why: audio.error?.message || t("offline") }); });
