// The page: a form, two buttons, a meter and the state in words.
import { Refused, Session } from "./session.js";
import { remember, switchLanguage, t, translate } from "./strings.js";

const $ = (id) => document.getElementById(id);

let state = "idle", muted = false, began = 0, role = "agent", session = null, stream = null, problem = null;
let context = null, analyser = null, samples = null;

// show paints everything that depends on the state or the language.
function show() {
  const shown = state === "live" && muted ? "muted" : state;
  const running = session !== null || state === "asking";
  $("box").dataset.state = shown;
  $("state").textContent = t("state_" + shown);
  const call = $("call").value.trim();
  $("what").textContent = shown === "live" && !call ? t("what_liveNew") : t("what_" + shown, { call });
  $("start-text").textContent = t(running ? "stop" : "start");
  $("start").toggleAttribute("data-stop", running);
  $("mute").disabled = session === null;
  $("mute").setAttribute("aria-pressed", String(muted));
  $("fields").disabled = running;
  $("problem").hidden = problem === null;
  if (problem) {
    $("problem-text").textContent = t(problem.key, { why: problem.why });
    $("problem-hint").textContent = problem.hint ?? (problem.hintKey ? t(problem.hintKey) : "");
  }
  const dark = isDark();
  $("theme").textContent = t(dark ? "light" : "dark");
  $("theme").title = t(dark ? "toLight" : "toDark");
  $("theme").setAttribute("aria-label", $("theme").title);
  $("language").textContent = t("otherLanguage");
  hear();
}

function enter(next, trouble = null) {
  state = next;
  problem = trouble;
  show();
}

// inWords puts an error into words.
function inWords(err) {
  if (err.status === 401) return { key: "refused", why: err.message, hintKey: "tokenHint" };
  if (err instanceof Refused) return { key: "refused", why: err.message, hint: err.hint };
  if (err.message === "hungUp") return { key: "hungUp", hintKey: "hungUpHint" };
  if (err.message === "gaveUp") return { key: "gaveUp", hintKey: "gaveUpHint" };
  return { key: "unreachable", hintKey: "unreachableHint" };
}

async function start() {
  if (!navigator.mediaDevices?.getUserMedia) return enter("failed", { key: "insecure", hintKey: "insecureHint" });
  enter("asking");
  const clean = $("clean").checked;
  const audio = { echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean };
  if ($("device").value) audio.deviceId = { exact: $("device").value };
  let got;
  try {
    got = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (err) {
    if (state !== "asking") return;
    switch (err.name) {
      case "NotAllowedError": return enter("failed", { key: "denied", hintKey: "deniedHint" });
      case "NotFoundError": case "OverconstrainedError": return enter("failed", { key: "noDevice", hintKey: "noDeviceHint" });
      default: return enter("failed", { key: "deviceFailed", why: err.message, hintKey: "deviceFailedHint" });
    }
  }
  if (state !== "asking") { // stopped meanwhile
    for (const track of got.getTracks()) track.stop();
    return;
  }
  stream = got;
  const track = stream.getAudioTracks()[0];
  track.onended = () => finish("failed", { key: "unplugged", hintKey: "unpluggedHint" });
  muted = false;
  devices();
  listen();
  const mine = new Session(track, query(), $("token").value.trim(), (next, err) => {
    if (mine !== session) return;
    if (next === "failed") return finish("failed", inWords(err));
    if (next === "live" && !began) began = Date.now();
    enter(next, err ? inWords(err) : null);
  });
  session = mine;
  await session.start();
}

function query() {
  const q = new URLSearchParams({ role });
  for (const id of ["call", "agent"]) if ($(id).value.trim()) q.set(id, $(id).value.trim());
  if ($("spoken").value) q.set("language", $("spoken").value);
  return q;
}

// finish lets go of everything.
function finish(next, trouble = null) {
  session?.stop();
  session = null;
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
  context?.close();
  stream = context = analyser = null;
  began = 0;
  enter(next, trouble);
}

function toggle() {
  if (session || state === "asking") finish("ended");
  else start();
}

function mute() {
  if (!session) return;
  muted = !muted;
  for (const track of stream.getAudioTracks()) track.enabled = !muted;
  show();
}

let peak = -60, heard = 0, loudUntil = 0, spokenAt = 0;

// listen begins to measure what the microphone hears.
function listen() {
  context = new AudioContext();
  analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  samples = new Float32Array(analyser.fftSize);
  context.createMediaStreamSource(stream).connect(analyser);
  heard = Date.now();
  requestAnimationFrame(measure);
}

function measure(now) {
  if (!analyser) return paint(-60, now);
  analyser.getFloatTimeDomainData(samples);
  let sum = 0, top = 0;
  for (const s of samples) {
    sum += s * s;
    top = Math.max(top, Math.abs(s));
  }
  const db = Math.max(-60, 10 * Math.log10(sum / samples.length + 1e-9));
  if (db > -50) heard = Date.now();
  if (top > 0.98) loudUntil = Date.now() + 2000;
  paint(db, now);
  requestAnimationFrame(measure);
}

const share = (db) => Math.max(0, Math.min(1, (db + 60) / 60));

function paint(db, now) {
  peak = analyser ? Math.max(db, peak - 0.4) : -60;
  $("fill").style.transform = `scaleX(${share(db)})`;
  $("peak").style.transform = `translateX(${share(peak) * $("meter").clientWidth - 3}px)`;
  $("meter").toggleAttribute("data-loud", Date.now() < loudUntil);
  if (analyser && now - spokenAt < 500) return; // often enough for who listens to it
  spokenAt = now;
  $("meter").setAttribute("aria-valuenow", String(Math.round(db)));
  $("meter").setAttribute("aria-valuetext", `${Math.round(db)} dB`);
  $("timer").textContent = began ? clock(Date.now() - began) : "";
  hear();
}

// hear says what is wrong with what is heard.
function hear() {
  let text = "";
  if (analyser && !muted && Date.now() - heard > 5000) text = t("silent");
  else if (analyser && Date.now() < loudUntil) text = t("loud");
  if ($("hearing").textContent !== text) $("hearing").textContent = text;
}

function clock(ms) {
  const s = Math.floor(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

// devices fills the list; their names are known once one was allowed.
async function devices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const chosen = $("device").value;
  for (const o of [...$("device").options].slice(1)) o.remove();
  for (const d of all) {
    if (d.kind !== "audioinput" || d.deviceId === "default" || !d.label) continue;
    $("device").append(new Option(d.label, d.deviceId));
  }
  $("device").value = chosen;
  if ($("device").selectedIndex < 0) $("device").value = "";
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

$("start").onclick = toggle;
$("mute").onclick = mute;
$("form").onsubmit = (e) => e.preventDefault();
$("roles").onchange = (e) => { role = e.target.value; };
$("language").onclick = () => { switchLanguage(); translate(); show(); };
$("theme").onclick = () => {
  const next = isDark() ? "light" : "dark";
  const follow = (next === "dark") === matchMedia("(prefers-color-scheme: dark)").matches;
  if (follow) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  remember("theme", follow ? null : next);
  show();
};
matchMedia("(prefers-color-scheme: dark)").onchange = show;
document.onkeydown = (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.repeat || e.target.closest("input:not([type=radio], [type=checkbox]), select")) return;
  if (e.key.toLowerCase() === "s") toggle();
  else if (e.key.toLowerCase() === "m") mute();
};
addEventListener("pagehide", () => { if (session) finish("ended"); });
addEventListener("online", () => session?.online());
navigator.mediaDevices?.addEventListener("devicechange", devices);

const address = new URLSearchParams(location.search);
for (const id of ["call", "agent"]) $(id).value = (address.get(id) ?? "").slice(0, 128);
if (["en", "zh"].includes(address.get("language"))) $("spoken").value = address.get("language");
if (["agent", "customer"].includes(address.get("role"))) role = $("form").elements.role.value = address.get("role");
translate();
show();
devices();
