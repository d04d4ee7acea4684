// The call at a glance: who spoke when, pauses, gaps and cards.
import { $, clock, el } from "/pane/dom.js";
import { roleName } from "./page.js";
import { t } from "./strings.js";
import { seek } from "./player.js";

// draw shows the call, which is length milliseconds long, and what happened at
// points of it, also as a list: a picture alone tells nothing to who cannot see it.
export function draw(call, length, cards) {
  const share = (ms) => Math.max(0, Math.min(100, (100 * ms) / Math.max(1, length)));
  const bar = (kind, from, to) => {
    const b = el("span", { class: "span " + kind });
    b.style.left = share(from) + "%";
    b.style.width = Math.max(0.15, share(to) - share(from)) + "%";
    return b;
  };
  const lanes = ["agent", "customer", "unknown"].filter((r) => r !== "unknown" || call.transcript.some((s) => s.role === r)).map((r) =>
    el("div", { class: "lane " + r }, el("span", { class: "lane-name" }, roleName(r)),
      el("div", { class: "track" }, ...call.transcript.filter((s) => s.role === r).map((s) => bar(r, s.start_ms, s.end_ms)))));
  const now = el("span", { class: "playhead", id: "playhead" });
  const pauses = (call.pauses ?? []).map((p) => bar("pause", p.start_ms, p.end_ms ?? length));
  const points = cards.map((c) => bar("shown", c.at, c.at));
  $("timeline").replaceChildren(...lanes, el("div", { class: "lane over" }, el("span", { class: "lane-name" }), el("div", { class: "track" }, ...pauses, ...points, now)));
  $("timeline").setAttribute("aria-label", t("timeline", { n: call.transcript.length, pauses: pauses.length, cards: cards.length }));

  const jump = (ms) => el("button", { type: "button", class: "jump", onclick: () => seek(ms) }, clock(ms));
  const events = [
    ...(call.pauses ?? []).map((p) => ({ at: p.start_ms, text: p.end_ms === undefined ? t("pauseOpen", { why: p.reason }) : t("pause", { to: clock(p.end_ms), why: p.reason }) })),
    ...(call.gaps ?? []).map((g) => ({ text: t("gap", { s: (g.gap_ms / 1000).toFixed(1), why: g.reason }) })),
  ];
  $("marks").replaceChildren(...events.map((e) => el("li", {}, ...(e.at === undefined ? [] : [jump(e.at), " "]), e.text)));
}

document.addEventListener("playing-at", (e) => {
  const head = $("playhead");
  const audio = $("audio");
  if (head && audio.duration) head.style.left = Math.min(100, (e.detail / 10 / audio.duration)) + "%";
});
