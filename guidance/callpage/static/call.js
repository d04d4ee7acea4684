// The page of one call.
import { $, clock, el } from "/pane/dom.js";
import { ask, dress, roleName, stateName, typing, when } from "./page.js";
import { cue, follow, offer, ready, seek, skip, toggle } from "./player.js";
import { has, t } from "./strings.js";
import { draw as timeline } from "./timeline.js";

const id = decodeURIComponent(location.pathname.split("/").pop());
const url = "/v1/calls/" + encodeURIComponent(id);
const wanted = Number(new URLSearchParams(location.search).get("t") ?? NaN);
let call = null, words = new Map(), cued = false;

// hear reads the words' times, which only the events tell.
async function hear() {
  const answer = await fetch(url + "/events");
  if (!answer.ok) return;
  for (const line of (await answer.text()).split("\n")) {
    if (!line) continue;
    const e = JSON.parse(line);
    if (e.kind === "utterance.final") words.set(e.body.leg + " " + e.body.utterance, e.body);
  }
}

async function load() {
  try {
    const fresh = await ask(url);
    $("problem").hidden = true;
    if (call?.events === fresh.events) return;
    await hear().catch(() => { /* Lines are followed then, not words. */ });
    call = fresh;
    draw();
  } catch (e) {
    $("problem").textContent = e.status === 404 ? t("noCall", { id }) : t("cannotShow", { why: e.message });
    $("problem").hidden = false;
  }
}

const length = () => (call.ended ? Date.parse(call.ended) : Date.now()) - Date.parse(call.started);

function facts() {
  const rows = [
    ["started", when(call.started)], ["length", clock(length())], ["agent", call.agent || t("nobody")],
    ["customer", call.legs.find((l) => l.role === "customer" && l.identity)?.identity], ["name", call.call], ["source", call.source], ["external", call.external],
    ["direction", call.direction && (has("direction_" + call.direction) ? t("direction_" + call.direction) : call.direction)],
    ["language", call.language], ["node", call.node], ["key", call.key], ...Object.entries(call.facts ?? {}).map(([k, v]) => [null, v, k]),
  ];
  $("facts").replaceChildren(...rows.filter((r) => r[1]).flatMap(([key, value, own]) => [el("dt", {}, key ? t("fact_" + key) : own), el("dd", {}, value)]));
  const state = "end_" + call.state.replaceAll(" ", "_");
  $("end").textContent = (has(state) ? t(state) : stateName(call.state)) + (call.reason ? " " + t("because", { why: call.reason }) : "");
  $("end").dataset.state = call.state;
  $("legs").replaceChildren(...call.legs.map((l) => el("li", { class: l.role },
    el("strong", {}, roleName(l.role)), " ", el("span", { class: "meta" }, [l.id, l.identity, l.name, l.codec].filter(Boolean).join(" · ")),
    l.role_reason ? el("p", { class: "meta" }, t("known", { why: l.role_reason })) : null,
    ...(l.role_conflicts ?? []).map((c) => el("p", { class: "meta warn" }, t("against", { what: c }))),
    l.stats ? el("p", { class: "meta" }, t("quality", {
      lost: l.stats.received + l.stats.lost ? ((100 * l.stats.lost) / (l.stats.received + l.stats.lost)).toFixed(1) : "0",
      jitter: l.stats.jitter_ms.toFixed(0), level: l.stats.speech_frames ? l.stats.level_dbfs.toFixed(0) : "–",
    })) : null)));
}

function transcript() {
  const lines = [];
  $("transcript").replaceChildren(...call.transcript.map((s) => {
    const own = words.get(s.leg + " " + s.utterance)?.words ?? [];
    const spoken = own.map((w) => ({ from: w.start_ms, to: w.end_ms, node: el("span", {}, w.text) }));
    const text = el("span", { class: "spoken" });
    if (spoken.length && own.map((w) => w.text).join("") === s.text.replaceAll(" ", "")) {
      spoken.forEach((w, i) => text.append(i > 0 && !own[i].joined ? " " : "", w.node));
    } else {
      text.append(s.text);
      spoken.length = 0;
    }
    const row = el("li", { class: "line " + s.role, "data-at": s.start_ms },
      el("button", { type: "button", class: "jump", "aria-label": t("playFrom", { time: clock(s.start_ms) }), onclick: () => seek(s.start_ms) }, clock(s.start_ms)),
      el("span", { class: "who" }, roleName(s.role)),
      el("p", { class: "text", onclick: () => seek(s.start_ms) }, text, s.written ? el("span", { class: "written" }, el("span", { class: "vh" }, t("writtenAs") + " "), s.written) : null));
    lines.push({ from: s.start_ms, to: s.end_ms, row, words: spoken });
    return row;
  }));
  follow(lines);
  $("talk-none").hidden = call.transcript.length > 0;
}

// shownCards are the cards with their place on the call's clock.
const shownCards = () => call.cards.map((c) => ({ ...c, at: Date.parse(c.born) - Date.parse(call.started) }));

function cards(all) {
  $("cards").replaceChildren(...all.map((c) => {
    const fate = has("card_" + c.state) ? t("card_" + c.state) : c.state;
    const why = c.why ?? {};
    return el("li", { class: "card", "data-kind": c.kind, "data-state": c.state },
      el("p", { class: "head" }, el("button", { type: "button", class: "jump", "aria-label": t("playFrom", { time: clock(c.at) }), onclick: () => seek(c.at) }, clock(c.at)),
        el("span", { class: "kind" }, has("kind_" + c.kind) ? t("kind_" + c.kind) : c.kind), el("span", { class: "fate" }, fate)),
      el("h3", {}, c.title), c.body ? el("p", { class: "body" }, c.body) : null,
      ...(why.words ?? []).map((w) => el("p", { class: "why" }, t("said", { role: roleName(w.role), time: clock(w.start_ms) }), " ", el("q", {}, w.text))),
      el("p", { class: "meta" }, [
        why.rule ? t("rule", { rule: why.rule }) : "", c.reason ? t("withdrawn", { why: c.reason }) : "",
        c.latency_ms === undefined ? t("notPainted") : t(c.from_words === false ? "paintedOwn" : "painted", { ms: c.latency_ms, who: c.painted_by || t("nobody") }),
      ].filter(Boolean).join(" · ")));
  }));
  $("cards-none").hidden = all.length > 0;
}

function draw() {
  if (!call) return;
  document.title = `${call.agent || t("nobody")} · ${when(call.started)} · Sidetone`;
  $("title").textContent = `${call.agent || t("nobody")} · ${when(call.started)}`;
  $("call").hidden = false;
  const all = shownCards();
  facts();
  transcript();
  cards(all);
  timeline(call, Math.max(length(), call.recording?.duration_ms ?? 0), all);
  offer(call).then(() => {
    if (cued || Number.isNaN(wanted)) return;
    cued = true;
    cue(wanted * 1000);
    [...document.querySelectorAll(".line")].findLast((l) => Number(l.dataset.at) <= wanted * 1000 + 999)?.scrollIntoView({ block: "center" });
  });
}

// step goes to the line before or after, and plays it.
function step(by) {
  const buttons = [...document.querySelectorAll(".line > .jump")];
  const at = buttons.findIndex((b) => b === document.activeElement || (document.activeElement === document.body && b.parentElement.hasAttribute("aria-current")));
  const to = buttons[Math.max(0, Math.min(buttons.length - 1, at + by))];
  to?.focus();
  if (to && ready()) cue(Number(to.parentElement.dataset.at));
}

document.addEventListener("keydown", (e) => {
  if (e.key === "j" || e.key === "k") {
    if (!e.ctrlKey && !e.metaKey && !e.altKey) step(e.key === "j" ? 1 : -1);
    return;
  }
  if (typing(e)) return;
  if (e.key === " ") { e.preventDefault(); toggle(); }
  else if (e.key === "ArrowLeft") skip(-5);
  else if (e.key === "ArrowRight") skip(5);
});
dress(draw);
load();
setInterval(() => { if (!call || !call.closed || (call.record && !call.recording)) load(); }, 3000);
