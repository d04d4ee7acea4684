// Who did what to voices.
import { $, el } from "/pane/dom.js";
import { actionName, ask, personPage, quiet, section, table, when } from "./page.js";
import { t } from "./strings.js";

const chosen = () => new URLSearchParams(location.search).get("customer") ?? "";
let reads = true;

export const title = () => t("audit") + " · " + t("voices");

export async function load(before) {
  const q = new URLSearchParams({ limit: "100" });
  if (chosen()) q.set("customer", chosen());
  if (before) q.set("before", before.next);
  const reply = await ask("/v1/voice/audit?" + q);
  return { entries: (before?.entries ?? []).concat(reply.entries), next: reply.next };
}

const isRead = (e) => e.action === "voice.listed" || e.action === "voice.read";
const about = (object) => (object?.startsWith("voice:") || object?.startsWith("watch:") ? el("span", { class: "id", title: object }, object.slice(0, 16)) : object ?? "");
const details = (d) => Object.entries(d ?? {}).filter(([, v]) => v).map(([k, v]) => `${k}: ${v.length > 40 ? v.slice(0, 12) + "…" : v}`).join(" · ");

// trail is the entries as a table.
export const trail = (entries) => (entries.length ? table(t("audit"), [t("at"), t("by"), t("did"), t("about"), t("details"), t("from")], entries.map((e) => [
  when(e.at), e.actor, el("span", { class: isRead(e) ? "meta" : "", title: e.action }, actionName(e.action)), about(e.object), el("span", { class: "meta" }, details(e.detail)), el("span", { class: "meta" }, e.address ?? ""),
])) : quiet(t("noEntriesYet")));

export function draw(d, load) {
  const find = el("form", { class: "filters", role: "search" },
    el("label", { class: "wide" }, el("span", {}, t("customer")), el("input", { id: "customer", type: "search", maxlength: "128", autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/", value: chosen(), placeholder: t("everybody") })),
    el("button", {}, t("find")),
    el("label", { class: "check" }, el("input", { type: "checkbox", "data-keep": "reads", checked: reads, onchange: (e) => { reads = e.target.checked; shown(); } }), el("span", {}, t("withReads"))));
  find.addEventListener("submit", (e) => {
    e.preventDefault();
    const c = $("customer").value.trim();
    history.replaceState(null, "", c ? "?customer=" + encodeURIComponent(c) : location.pathname);
    load(false);
  });
  const place = el("div", {});
  const shown = () => place.replaceChildren(trail(d.entries.filter((e) => reads || !isRead(e))));
  shown();
  return [
    find, ...(chosen() ? [el("p", {}, el("a", { href: personPage(chosen()) }, t("toPerson", { customer: chosen() })))] : []),
    section(t("audit"), "wide", quiet(t("auditText")), place),
    el("button", { type: "button", hidden: !d.next, "data-keep": "more", onclick: () => load(true) }, t("more")),
  ];
}
