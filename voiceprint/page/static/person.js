// All that is known of one person's voice, and what can be done about it.
import { el } from "/pane/dom.js";
import { ask, callPage, chip, day, facts, isOff, keys, lineName, nats, outcomeName, percent, phaseName, place, quiet, reasons, sayingName, seconds, section, signName, stateName, table, when } from "./page.js";
import { anew, back, consent, enrol, erase, optOut, qualities, revoke } from "./acts.js";
import { scores } from "./charts.js";
import { trail } from "./audit.js";
import { t } from "./strings.js";

const customer = place[2];
const url = "/v1/voice/people/" + encodeURIComponent(customer ?? "");
// open are the comparisons whose picture is shown.
let open = null;

export const title = () => customer + " · " + t("voices");

export async function load() {
  let person = null;
  try { person = await ask(url); } catch (e) {
    if (e.status !== 404 || isOff(e)) throw e;
  }
  const audit = await ask("/v1/voice/audit?limit=50&customer=" + encodeURIComponent(customer));
  return { person, entries: audit.entries, more: audit.next !== undefined };
}

function comparison(c) {
  open ??= new Set([c.id]);
  const place = el("div", { class: "evidence" });
  const fill = () => place.replaceChildren(
    el("p", { class: "say" }, el("strong", {}, outcomeName(c.outcome)), c.reasons.length ? t("because", { why: reasons(c.reasons) }) : ""),
    scores(c),
    facts([
      [t("llr"), t("llrAgainst", { llr: nats(c.llr), accept: nats(c.accept), reject: nats(c.reject) })], [t("far"), percent(c.false_accepts)],
      [t("net"), seconds(c.net_ms)], [t("took"), seconds(c.took_ms)], ...qualities(c.quality), [t("call"), el("a", { href: callPage(c.call) }, c.call)], [t("leg"), c.leg],
      [t("model"), c.model], [t("calibration"), c.calibration], [t("templates"), (c.templates ?? []).map((id) => id.slice(0, 8)).join(", ")],
    ]),
    ...(c.signs?.length ? [el("h3", {}, t("signs")), table(t("signs"), [t("sign"), t("probability"), t("seen")], c.signs.map((s) => [signName(s.name), percent(s.probability), s.evidence])), quiet(t("signsText"))] : []),
    el("details", {}, el("summary", {}, t("scoresTable")), table(t("scoresTable"), [t("net"), t("llr"), t("acceptHead")], (c.looks ?? []).map((l) => [seconds(l.net_ms), nats(l.llr), nats(l.accept || c.accept)]))));
  const d = el("details", { class: "comparison", open: open.has(c.id) },
    el("summary", { class: "to" }, el("span", { class: "time" }, when(c.at)), chip(c.outcome, outcomeName(c.outcome)), el("span", {}, nats(c.llr)), el("span", {}, seconds(c.net_ms)),
      el("span", { class: "meta" }, [reasons(c.reasons), ...(c.signs ?? []).map((s) => signName(s.name))].filter(Boolean).join(" · "))), place);
  d.addEventListener("toggle", () => {
    if (!d.open) return open.delete(c.id);
    open.add(c.id);
    if (!place.hasChildNodes()) fill();
  });
  if (open.has(c.id)) fill();
  return el("li", {}, d);
}

function passive(p, again) {
  const v = p.passive;
  return [
    ...(v ? [section(t("passive"), "", facts([[t("phase"), phaseName(v.phase)], [t("callsKept"), String(v.calls ?? 0)], [t("conflicts"), String(v.conflicts ?? 0)], [t("reasons"), reasons(v.reasons)]]),
      el("p", { class: "under" }, el("button", { type: "button", class: "small", onclick: () => anew(customer, again) }, t("anew"))))] : []),
    ...(p.renew?.length ? [section(t("renew"), "wide", el("p", { class: "warn" }, t("renewText", { why: reasons(p.renew) })))] : []),
  ];
}

function buttons(p, again) {
  const button = (words, kind, onclick, keep) => el("button", { type: "button", class: kind, "data-keep": keep, onclick }, words);
  const consented = p?.state === "consented";
  return el("div", { class: "acts" },
    button(t("recordConsent"), consented ? "" : "main", () => consent(customer, again), "consent"),
    consented ? button(t("enrolFile"), "main", () => enrol(customer, again), "enrol") : null,
    p && p.state !== "opted_out" ? button(t("optOut"), "danger", () => optOut(customer, again), "out") : null,
    p && !p.erased ? button(t("erase"), "danger", () => erase(customer, again), "erase") : null);
}

export function draw(d, load) {
  const again = () => load(false);
  const p = d.person;
  const head = el("header", { class: "whom" }, el("h2", {}, customer), p ? chip(p.state, stateName(p.state)) : null, buttons(p, again));
  if (!p) return [head, quiet(t("unknown", { customer })), ...(d.entries.length ? [section(t("audit"), "wide", trail(d.entries))] : [])];
  return [head, el("div", { class: "boxes" },
    section(t("standing"), p.passive ? "" : "wide", facts([[t("since"), p.since && when(p.since)], [t("expires"), p.expires && day(p.expires)], [t("erasedAt"), p.erased && when(p.erased)], [t("used"), p.used && when(p.used)], [t("pseudonym"), el("span", { class: "id" }, p.id)]])),
    ...passive(p, again),
    section(t("consents"), "wide", p.consents.length ? table(t("consents"), [t("at"), t("saidWhat"), t("wording"), t("language"), t("channel"), t("how"), t("by"), t("expires")], p.consents.map((c) => [
      when(c.at), chip(c.state, sayingName(c.state)), c.text, c.language, c.channel, c.how, c.by, c.expires ? day(c.expires) : "",
    ])) : quiet(t("noConsents"))),
    section(t("templates"), "wide", p.versions.length ? table(t("templates"), [t("line"), t("version"), t("use"), t("made"), t("model"), t("audioKept"), t("change")], p.versions.map((v) => [
      lineName(v.line), String(v.version), v.live ? chip(v.active ? "live" : "waits", t(v.active ? "useLive" : "useWaits")) : chip("old", t("useOld")), when(v.made), el("span", { class: "id" }, v.model), t(v.audio ? "yes" : "no"),
      v.live ? el("button", { type: "button", class: "danger small", "aria-label": t("revokeLine", { line: lineName(v.line) }), onclick: () => revoke(customer, v, again) }, t("revoke"))
        : el("button", { type: "button", class: "small", "aria-label": t("backLine", { version: v.version, line: lineName(v.line) }), onclick: () => back(customer, v, again) }, t("back")),
    ])) : quiet(t("noTemplates"))),
    section(t("comparisons"), "wide", p.comparisons.length ? el("ol", { class: "comparisons" }, ...p.comparisons.map(comparison)) : quiet(t("noComparisons"))),
    section(t("audit"), "wide", trail(d.entries), d.more ? el("p", {}, el("a", { href: "/voices/audit?customer=" + encodeURIComponent(customer) }, t("wholeTrail"))) : null),
  ), keys()];
}
