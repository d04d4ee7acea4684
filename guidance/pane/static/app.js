// The agent's page: joins connection, transcript, cards, search and keys.
import { $, el, arrange, clock } from "./dom.js";
import { t, has, translate, toggleLanguage, suggest, current } from "./strings.js";
import { load, save, toggleTheme, isDark } from "./prefs.js";
import { Link } from "./link.js";
import { Transcript } from "./transcript.js";
import { Cards } from "./cards.js";
import { Search } from "./search.js";
import { offer, reveal, stay } from "./account.js";

const agent = decodeURIComponent(location.pathname.split("/").at(-1));
const calls = new Map(); // id to {id, started, legs, ended, earlier, utterances, cards}
let shown = null;        // id of the call on the screen
let retryAt = null;
let draining = false;    // the server is about to stop and takes no new calls
let node = "";           // the server that this page is connected to
let back = null;         // where the focus was before it went to the transcript

const url = new URL(`/v1/push/${encodeURIComponent(agent)}`, location.href);
url.protocol = url.protocol.replace("http", "ws");
const link = new Link(url, receive, (_, at) => { retryAt = at; connection(); }, stay);
const transcript = new Transcript();
const search = new Search((m) => link.connected && link.send(m));
const resendAfter = 5000, mostTries = 10;
const unanswered = new Map(); // verdicts of which the server has not said what became, by call and card
const acks = new Map();       // when cards were received and painted, likewise
const keyOf = (m) => `${m.call}/${m.card}`;
const cards = new Cards({
  now: () => link.now(),
  act(v, verdict) {
    if (v.state === verdict || v.state === "withdrawn") return;
    const m = { type: "action", call: v.card.call, card: v.card.id, action: verdict };
    unanswered.set(keyOf(m), { m, tries: 0, at: 0 });
    resend(keyOf(m));
    setCard(m.call, m.card, verdict);
  },
  point(said) {
    back = document.activeElement;
    if (!transcript.point(said)) note(t("wordsGone"));
  },
  painted(v) {
    const m = { type: "ack", call: v.card.call, card: v.card.id, received_ms: v.received, painted_ms: performance.now() };
    if (acks.has(keyOf(m)) || !link.connected || !link.send(m)) return acks.has(keyOf(m));
    acks.set(keyOf(m), m);
    return true;
  },
  announce: (text) => { $("announce").textContent = text; },
});

function receive(m) {
  switch (m.type) {
    case "hello": draining = false; node = m.node ?? ""; suggest(m.language); retranslate(); connection(); break;
    case "draining": draining = m.draining; connection(); break;
    case "snapshot": snapshot(m); break;
    case "call_started": started(m.call); break;
    case "paused": if (calls.has(m.call)) { calls.get(m.call).paused = m.paused; if (m.call === shown) state(); } break;
    case "away": away(m); break;
    case "leg": if (calls.has(m.call)) leg(calls.get(m.call), m.leg); break;
    case "utterance": utterance(m); break;
    case "card": card(m); break;
    case "card_withdrawn": unanswered.delete(keyOf(m)); setCard(m.call, m.card, "withdrawn", m.reason); break;
    case "card_state": if (answered(m, m.state)) setCard(m.call, m.card, m.state); break;
    case "call_ended": ended(m); break;
    case "search_results": search.show(m); break;
    case "error":
      if (m.about === "search" && m.id) search.fail(m.id, has("err_" + m.code) ? t("err_" + m.code) : m.text);
      else note(has("err_" + m.code) ? t("err_" + m.code) : m.text);
      break;
  }
}

function keep(c) {
  const call = {
    id: c.id, started: Date.parse(c.started), paused: c.paused ?? "", away: c.away ?? "", node: c.node ?? "",
    legs: c.legs ?? [], ended: c.ended ?? null, earlier: c.earlier ?? 0, settled: calls.get(c.id)?.settled,
    utterances: new Map((c.utterances ?? []).map((u) => [`${u.leg}/${u.utterance}`, u])),
    cards: new Map((c.cards ?? []).map((e) => [e.card.id, e])),
  };
  calls.set(c.id, call);
  return call;
}

// snapshot replaces all that is known, but calls that the server has not heard of
// yet from other servers. What it shows not to have arrived is sent again.
function snapshot(m) {
  const ids = new Set(m.calls.map((c) => c.id));
  if (!m.gathering) {
    for (const id of calls.keys()) if (!ids.has(id)) calls.delete(id);
    for (const [key, ack] of acks) if (!ids.has(ack.call)) acks.delete(key);
  }
  for (const c of m.calls) {
    for (const e of keep(c).cards.values()) settle(e);
  }
  const running = [...calls.values()].filter((c) => !c.ended);
  const next = calls.get(shown) ?? running.at(-1) ?? [...calls.values()].at(-1) ?? null;
  show(next?.ended && running.length ? running.at(-1).id : next?.id ?? null);
}

// settle compares a card of a snapshot with what this page has sent about it.
function settle(e) {
  const key = keyOf({ call: e.card.call, card: e.card.id });
  const ack = acks.get(key);
  if (ack && !e.painted) link.send({ ...ack, sent_ms: performance.now() });
  const sent = unanswered.get(key);
  if (!sent || answered(sent.m, e.state)) return;
  e.state = sent.m.action;
  sent.tries = 0;
  resend(key);
}

// answered takes note of what became of a card. It reports false while a verdict
// of this page is still on its way, which will change it again.
function answered(m, state) {
  const sent = unanswered.get(keyOf(m));
  if (sent && state !== sent.m.action && state !== "withdrawn") return false;
  unanswered.delete(keyOf(m));
  return true;
}

// resend sends a verdict, again if need be.
function resend(key) {
  const sent = unanswered.get(key);
  if (!link.open || !link.send(sent.m)) return;
  sent.at = performance.now();
  if (++sent.tries > mostTries) unanswered.delete(key);
}

// resendLate sends verdicts again that have not been answered for a while.
function resendLate() {
  if (!link.connected) return;
  for (const [key, sent] of unanswered) {
    if (performance.now() - sent.at > resendAfter && !calls.get(sent.m.call)?.away) resend(key);
  }
}

// away says that nothing of a call arrives, or that it does again.
function away(m) {
  const call = calls.get(m.call);
  if (!call) return;
  call.away = m.away;
  if (m.call === shown) state();
}

function started(c) {
  for (const old of [...calls.values()]) if (old.ended) calls.delete(old.id);
  keep(c);
  const busy = calls.has(shown) && !calls.get(shown).ended;
  show(busy ? shown : c.id);
}

function leg(call, l) {
  call.legs = [...call.legs.filter((o) => o.id !== l.id), l].sort((a, b) => a.id.localeCompare(b.id));
  const said = [...call.utterances.values()].filter((u) => u.leg === l.id && u.role !== l.role);
  if (said.length) {
    for (const u of said) u.role = l.role;
    if (call.id === shown) transcript.show([...call.utterances.values()], call.earlier);
  }
  if (call.id === shown) state();
}

function utterance(m) {
  const call = calls.get(m.call);
  if (!call) return;
  const key = `${m.leg}/${m.utterance}`, old = call.utterances.get(key);
  if (old && (old.final || (!m.final && m.revision <= old.revision))) return;
  call.utterances.set(key, m);
  if (m.call !== shown) return;
  transcript.put(m);
  state();
}

function card(m) {
  const call = calls.get(m.card.call);
  if (!call || call.cards.has(m.card.id)) return;
  call.cards.set(m.card.id, { card: m.card, state: m.state, reason: m.reason, painted: m.painted });
  if (call.id === shown) cards.add(m.card); else tabs();
}

function setCard(callID, cardID, to, reason) {
  const e = calls.get(callID)?.cards.get(cardID);
  if (!e) return;
  Object.assign(e, { state: to, reason });
  if (callID === shown) cards.set(cardID, to, reason);
}

function ended(m) {
  const call = calls.get(m.call);
  if (!call) return;
  call.ended = { at: m.at, state: m.state, reason: m.reason };
  const other = [...calls.values()].find((c) => !c.ended);
  if (other && m.call === shown) show(other.id); else state();
  transcript.follow();
}

// show puts a call on the screen, or none.
function show(id) {
  const changed = id !== shown;
  shown = id;
  const call = calls.get(id);
  if (changed) { transcript.clear(); cards.clear(); back = null; }
  transcript.show(call ? [...call.utterances.values()] : [], call?.earlier ?? 0);
  cards.show(call ? [...call.cards.values()] : []);
  state();
}

// state writes everything about the call that is not transcript or card.
function state() {
  const call = calls.get(shown);
  const name = !call ? "waiting" : call.ended ? "ended" : call.away ? "away" : "running";
  $("call").dataset.state = name;
  $("call-state").textContent = t("call_" + name);
  $("empty").hidden = Boolean(call);
  $("empty-what").textContent = t("waitingWhat");
  $("empty-name").textContent = t("waitingName", { agent });
  $("quiet").hidden = !call || cards.live().length > 0;
  const paused = Boolean(call && !call.ended && call.paused);
  $("pause").hidden = !call || Boolean(call.ended);
  $("pause").textContent = t(paused ? "resume" : "pause");
  $("pause").setAttribute("aria-pressed", String(paused));
  $("paused").hidden = !paused;
  $("paused").textContent = paused ? t("paused", { reason: call.paused }) : "";
  const gone = Boolean(call && !call.ended && call.away);
  $("away").hidden = !gone;
  $("away").textContent = gone ? has("away_" + call.away) ? t("away_" + call.away) : t("away_fork") : "";
  doubt(call && !call.ended && !call.settled ? call : null);
  arrange($("legs"), []);
  if (call && !call.ended) $("legs").append(...call.legs.map((l) => chip(call.away && l.state === "live" ? { ...l, state: "waiting" } : l)));
  voice(call && !call.ended ? call : null);
  $("over").hidden = !call?.ended;
  $("over").textContent = call?.ended ? verdictOf(call) : "";
  connection();
  document.title = `${t("call_" + name)} · ${agent} · Sidetone`;
  tabs();
  tick();
}

function chip(l) {
  const role = ["agent", "customer"].includes(l.role) ? l.role : "unknown";
  const text = has("leg_" + l.state) ? t("leg_" + l.state) : l.state;
  const q = l.quality, poor = q?.poor && l.state === "live" ? t("poor_" + q.poor) : "";
  const title = [
    t("legState", { role: t(role), state: text }), l.role_reason ? t("roleReason", { reason: l.role_reason }) : "",
    q ? t("quality", { loss: q.loss_pct.toFixed(1), jitter: Math.round(q.jitter_ms), level: Math.round(q.level_dbfs) }) : "",
  ];
  return el("li", {
    class: role, "data-state": l.state, "data-speaking": transcript.speaking(role) || null,
    title: title.filter(Boolean).join("\n"),
  }, el("span", { class: "dot", "aria-hidden": "true" }), t(role), el("span", { class: "leg-state" }, text),
  poor ? el("span", { class: "poor" }, poor) : "");
}

// voice shows whether the customer is who was enrolled: three states, no number. It
// is written only when it changes, so that it is read out once.
const signs = { match: "✓", mismatch: "✕", inconclusive: "?", listening: "…" };

function voice(call) {
  const v = call?.legs.find((l) => l.role === "customer" && l.voice && l.state !== "ended")?.voice;
  const name = !v ? "" : !v.final && v.outcome === "inconclusive" ? "listening" : has("voice_" + v.outcome) ? v.outcome : "inconclusive";
  $("voice").hidden = !name;
  if (!name) return;
  const why = (v.reasons ?? []).filter((r) => has("reason_" + r)).map((r) => t("reason_" + r)).join(t("listComma"));
  const text = name === "inconclusive" && why ? t("voiceWhy", { state: t("voice_" + name), why }) : t("voice_" + name);
  $("voice").dataset.outcome = name;
  $("voice").title = `${text}\n${t("voiceHelp_" + name)}`;
  $("voice-sign").textContent = signs[name];
  if ($("voice-text").textContent !== text) $("voice-text").textContent = text;
}

// doubt suggests a swap where what is said, or the agent's voice, speaks against the roles. The words
// are written only when they change, so that they are read out once.
function doubt(call) {
  const legs = call ? call.legs.filter((l) => (l.doubt || l.doubt_voice) && l.state !== "ended") : [];
  const heard = legs.map((l) => t("doubtHeard", { role: t(l.role), words: l.doubt_voice ? t("doubtVoice") : l.doubt })).join(t("listComma"));
  const text = heard ? t("doubt", { heard }) : "";
  if (!text && $("doubt").contains(document.activeElement)) $("scroll").focus();
  $("doubt").hidden = !text;
  if ($("doubt-text").textContent !== text) $("doubt-text").textContent = text;
}

// swap asks the server to make the agent the customer and the other way round.
function swap() {
  const call = calls.get(shown);
  if (!call || call.ended) return;
  if (!link.connected || !link.send({ type: "swap", call: call.id })) note(t("bannerOffline"));
}

// keepRoles puts the suggestion away for this call.
function keepRoles() {
  const call = calls.get(shown);
  if (call) call.settled = true;
  state();
}

// pause asks the server to hear nothing of the call, or to hear it again.
function pause() {
  const call = calls.get(shown);
  if (!call || call.ended) return;
  if (!link.connected || !link.send({ type: "pause", call: call.id, paused: !call.paused })) note(t("bannerOffline"));
}

function verdictOf(call) {
  const key = "end_" + call.ended.state.replaceAll(" ", "_");
  const words = {
    state: has(key) ? t(key) : call.ended.state, reason: call.ended.reason,
    time: clock(Date.parse(call.ended.at) - call.started),
  };
  const parts = current() === "zh" ? "" : " ";
  return t(call.ended.reason ? "overReason" : "over", words) + parts + t("overNext");
}

// tabs lets the agent choose among several calls at once.
function tabs() {
  $("calls").hidden = calls.size < 2;
  $("calls").replaceChildren(...(calls.size < 2 ? [] : [...calls.values()].map((c) => el("button", {
    type: "button", "aria-pressed": String(c.id === shown), onclick: () => show(c.id),
  }, c.id))));
}

function tick() {
  const call = calls.get(shown);
  const until = call?.ended ? Date.parse(call.ended.at) : link.now();
  const text = call ? clock(until - call.started) : "";
  if ($("timer").textContent !== text) $("timer").textContent = text;
  if (call && !call.ended) cards.expire();
  if (retryAt) connection();
  resendLate();
}

function connection() {
  $("link").dataset.state = link.state;
  const call = calls.get(shown), elsewhere = link.state === "connected" && call?.node && !call.ended && call.node !== node;
  const text = elsewhere ? t("link_elsewhere", { node: call.node }) : t("link_" + link.state);
  if ($("link-text").textContent !== text) $("link-text").textContent = text;
  const wait = retryAt ? Math.ceil((retryAt - performance.now()) / 1000) : 0;
  const banner = link.state === "offline" ? t("bannerOffline")
    : link.state !== "reconnecting" ? draining ? t("bannerDraining") : "" : wait > 0 ? t("bannerReconnecting", { s: wait }) : t("bannerConnecting");
  $("banner").hidden = !banner;
  if ($("banner").textContent !== banner) $("banner").textContent = banner;
}

let noteTimer;
function note(text) {
  clearTimeout(noteTimer);
  $("note").textContent = text;
  noteTimer = setTimeout(() => { $("note").textContent = ""; }, 5000);
}

function retranslate() {
  translate();
  $("agent").textContent = agent;
  $("language").textContent = t("otherLanguage");
  themeButton();
  $("keys").replaceChildren(...[
    ["U", "used"], ["D", "dismissed"], ["W", "wrong"], ["P", "pause"], ["Y", "why"], ["C", "cards"], ["↑ ↓", "move"],
    ["T", "transcript"], ["J", "now"], ["/", "search"], ["?", "help"], ["Esc", "escape"],
  ].flatMap(([key, what]) => [el("dt", {}, ...key.split(" ").map((k) => el("kbd", {}, k))), el("dd", {}, t("key_" + what))]));
  transcript.translate();
  cards.translate();
  state();
  connection();
}

function themeButton() {
  const other = t(isDark() ? "themeLight" : "themeDark");
  $("theme").textContent = other;
  $("theme").setAttribute("aria-label", t("themeTo", { theme: other }));
  $("theme").title = t("themeTo", { theme: other });
}

const singleKeys = () => load("keys") !== "off";
const shortcuts = {
  u: () => cards.key("used"), d: () => cards.key("dismissed"), w: () => cards.key("wrong"),
  p: pause, y: () => cards.proof(), c: () => cards.focus(), t: () => $("scroll").focus(), j: () => transcript.jump(),
  "/": () => search.open(), "?": () => $("help").showModal(),
};

document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing || $("help").open) return;
  if (e.target.matches("input, textarea, select, [contenteditable]")) return;
  if (e.key === "Escape" && back?.isConnected && $("talk").contains(document.activeElement)) {
    back.focus();
    back = null;
    return;
  }
  if ((e.key === "ArrowDown" || e.key === "ArrowUp") && $("cards").contains(e.target)) {
    e.preventDefault();
    cards.step(e.key === "ArrowDown" ? 1 : -1);
    return;
  }
  const act = shortcuts[e.key.toLowerCase()];
  // A key that is held down deals with one card, not with all.
  if (!act || e.repeat || !singleKeys()) return;
  e.preventDefault();
  act();
});

$("pause").addEventListener("click", pause);
$("swap").addEventListener("click", swap);
$("swap-no").addEventListener("click", keepRoles);
$("language").addEventListener("click", () => { toggleLanguage(); retranslate(); });
$("theme").addEventListener("click", () => { toggleTheme(); themeButton(); });
$("help-open").addEventListener("click", () => $("help").showModal());
$("single-keys").checked = singleKeys();
$("single-keys").addEventListener("change", (e) => save("keys", e.target.checked ? null : "off"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themeButton);

retranslate();
setInterval(tick, 500);
offer($("logout"));
reveal();
link.connect();
