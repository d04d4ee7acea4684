// Who is known: by state, and one by name.
import { $, el } from "/pane/dom.js";
import { ask, chip, day, keys, personPage, stateName } from "./page.js";
import { t } from "./strings.js";

const page = 50;
const states = ["consented", "asked", "opted_out", "expired"];
const chosen = () => new URLSearchParams(location.search);

export const title = () => t("people") + " · " + t("voices");

export async function load(before) {
  const q = chosen();
  q.set("limit", String(page));
  if (before) q.set("after", before.next);
  const { people } = await ask("/v1/voice/people?" + q);
  return { people: (before?.people ?? []).concat(people), next: people.length === page ? people.at(-1).id : "" };
}

function row(p) {
  const name = p.customer || t("nameErased");
  const cells = [
    el("strong", { class: "who" }, name), chip(p.state, stateName(p.state)),
    el("span", {}, t("templatesOf", { n: p.templates }), p.provisional ? t("provisionalOf", { n: p.provisional }) : ""),
    el("span", { class: "meta" }, p.erased ? t("erasedOn", { day: day(p.erased) }) : p.expires ? t("until", { day: day(p.expires) }) : p.since ? t("sinceDay", { day: day(p.since) }) : ""),
    el("span", { class: "meta" }, p.used ? t("usedOn", { day: day(p.used) }) : ""),
    el("span", { class: "meta id", title: p.id }, p.id.slice(0, 10)),
  ];
  return el("li", {}, p.customer ? el("a", { class: "human to", href: personPage(p.customer) }, ...cells) : el("div", { class: "human" }, ...cells));
}

export function draw(d, load) {
  const q = chosen();
  const apply = () => {
    const next = new URLSearchParams();
    if ($("state").value) next.set("state", $("state").value);
    if ($("enrolled").checked) next.set("enrolled", "true");
    history.replaceState(null, "", next.size ? "?" + next : location.pathname);
    load(false);
  };
  const find = el("form", { class: "filters", role: "search" },
    el("label", { class: "wide" }, el("span", {}, t("customer")), el("input", { id: "customer", type: "search", maxlength: "128", required: true, autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/", placeholder: t("customerHint") })),
    el("button", {}, t("open")),
    el("label", {}, el("span", {}, t("state")), el("select", { id: "state", "data-keep": "state", onchange: apply }, el("option", { value: "" }, t("anyState")),
      ...states.map((s) => el("option", { value: s, selected: q.get("state") === s }, stateName(s))))),
    el("label", { class: "check" }, el("input", { id: "enrolled", type: "checkbox", "data-keep": "enrolled", checked: q.get("enrolled") === "true", onchange: apply }), el("span", {}, t("onlyEnrolled"))));
  find.addEventListener("submit", (e) => {
    e.preventDefault();
    if ($("customer").value.trim()) location.href = personPage($("customer").value.trim());
  });
  return [
    find, el("p", { class: "quiet", role: "status" }, d.people.length ? t("shown", { n: d.people.length }) : t("nobody")),
    el("ol", { class: "rows" }, ...d.people.map(row)),
    el("button", { type: "button", hidden: d.next === "", "data-keep": "more", onclick: () => load(true) }, t("more")),
    keys(),
  ];
}
