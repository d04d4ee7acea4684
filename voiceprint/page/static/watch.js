// The voices that are looked for, the calls in which one seems to be heard, and
// voices that called for several customers.
import { el } from "/pane/dom.js";
import { ask, callPage, chip, day, hitName, keys, nats, perhaps, personPage, quiet, section, table, when } from "./page.js";
import { judge, lookFor, lookLonger, lookNoMore } from "./acts.js";
import { t } from "./strings.js";

const states = ["open", "confirmed", "dismissed"];
const chosen = () => new URLSearchParams(location.search).get("hits") ?? "open";

export const title = () => t("watch") + " · " + t("voices");

export async function load() {
  const [list, hits, links] = await Promise.all([ask("/v1/voice/watch"), ask("/v1/voice/hits?state=" + encodeURIComponent(chosen())), perhaps("/v1/voice/links")]);
  return { entries: list.entries, hits: hits.hits, links: links?.links, on: links?.on !== false };
}

const calls = (keys) => (keys ?? []).flatMap((k, i) => [i ? ", " : "", el("a", { href: callPage(k) }, k)]);

function hit(h, entries, again) {
  const entry = entries.find((e) => e.id === h.watch);
  const button = (state, kind) => el("button", { type: "button", class: kind + " small", onclick: () => judge(h, state, again) }, t("do_" + state));
  return [
    when(h.at), el("a", { class: "to", href: callPage(h.call) }, h.call), entry?.reason || el("span", { class: "id" }, h.watch.slice(0, 10)), nats(h.llr),
    h.state === "open" ? el("span", { class: "acts" }, button("confirmed", "danger"), button("dismissed", "")) : el("span", {}, chip(h.state, hitName(h.state)), " ", el("span", { class: "meta" }, [h.by, h.decided && day(h.decided)].filter(Boolean).join(" · "))),
  ];
}

export function draw(d, load) {
  const again = () => load(false);
  const there = d.entries.filter((e) => !e.removed);
  const pick = (s) => el("button", { type: "button", "data-keep": "hits-" + s, "aria-pressed": String(s === chosen()), onclick: () => { history.replaceState(null, "", "?hits=" + s); load(false); } }, hitName(s));
  const due = (e) => Date.parse(e.review) < Date.now();
  return [
    section(t("hits"), "wide", el("div", { class: "acts choice", role: "group", "aria-label": t("state") }, ...states.map(pick)),
      d.hits.length ? table(t("hits"), [t("at"), t("call"), t("reason"), t("llr"), t("decision")], d.hits.map((h) => hit(h, d.entries, again))) : quiet(t("noHits"))),
    el("div", { id: "entries" }, section(t("entries"), "wide", el("div", { class: "acts" }, el("button", { type: "button", class: "main", "data-keep": "add", onclick: () => lookFor(again) }, t("addVoice"))),
      there.length ? table(t("entries"), [t("reason"), t("basis"), t("added"), t("by"), t("review"), t("expires"), t("change")], there.map((e) => [
        e.reason, e.basis, day(e.added), e.added_by, el("span", { class: due(e) ? "warn" : "" }, due(e) ? t("reviewDue", { day: day(e.review) }) : day(e.review)), day(e.expires),
        el("span", { class: "acts" }, el("button", { type: "button", class: "small", onclick: () => lookLonger(e, again) }, t("extend")),
          el("button", { type: "button", class: "danger small", onclick: () => lookNoMore(e, again) }, t("remove"))),
      ])) : quiet(t("noEntries")))),
    ...(d.links ? [el("div", { id: "links" }, section(t("links"), "wide", quiet(t("linksText")),
      d.links.length ? table(t("links"), [t("customers"), t("callsOf"), t("first"), t("last"), t("llr")], d.links.map((l) => [
        el("span", {}, ...l.customers.flatMap((c, i) => [i ? ", " : "", el("a", { href: personPage(c) }, c)])), el("span", {}, ...calls(l.calls)), when(l.first), when(l.last), nats(l.llr),
      ])) : quiet(t(d.on ? "noLinks" : "linksOff"))))] : []),
    keys(),
  ];
}
