// How well voices are told apart here, and what waits for somebody.
import { el } from "/pane/dom.js";
import { ask, callPage, chip, count, day, facts, nats, outcomeName, percent, perhaps, quiet, reasons, seconds, section, stateName, table, when } from "./page.js";
import { det } from "./charts.js";
import { t } from "./strings.js";

export const title = () => t("voices");

export async function load() {
  const [about, calibration, latest, watch, hits, links] = await Promise.all([
    ask("/v1/voice"), ask("/v1/voice/calibration"), ask("/v1/voice/comparisons?limit=8"),
    perhaps("/v1/voice/watch"), perhaps("/v1/voice/hits?state=open"), perhaps("/v1/voice/links"),
  ]);
  return { about, calibration, latest: latest.comparisons, watch: watch?.entries.filter((e) => !e.removed), hits: hits?.hits, links: links?.on === false ? undefined : links?.links };
}

const figure = (href, n, words, state) => el("li", {}, el("a", { href, class: "figure to", "data-state": state }, el("strong", {}, count(n)), " ", el("span", {}, words)));

function compared(c) {
  return section(t("comparing"), "wide", facts([
    [t("model"), c.model], [t("calibration"), t("calibrationOf", { version: c.calibration, date: day(c.trained.date) })], [t("trainedOn"), c.trained.calibration],
    [t("measuredOn"), t("measured", { targets: count(c.targets), impostors: count(c.impostors), speakers: count(c.speakers) })],
    [t("looksAt"), t("looks", { n: c.looks_ms.length, first: c.looks_ms[0] / 1000, last: c.looks_ms.at(-1) / 1000, limit: c.limit_ms / 1000 })],
  ]));
}

function trade(c) {
  return section(t("det"), "wide",
    el("p", { class: "say" }, t("inUseWords", { far: percent(c.in_use.false_accepts), frr: percent(c.in_use.false_rejects), llr: nats(c.accepts[0].threshold_llr), last: nats(c.accepts.at(-1).threshold_llr), first: c.accepts[0].net_ms / 1000, limit: c.accepts.at(-1).net_ms / 1000 })),
    det(c), quiet(t("detCaption", { targets: count(c.targets), impostors: count(c.impostors) })), c.built_in ? quiet(t("builtIn")) : "",
    el("details", {}, el("summary", {}, t("detTable")), table(t("det"), [t("far"), t("frr"), t("threshold")],
      c.points.map((p) => [percent(p.false_accepts), p.false_rejects > 0 ? percent(p.false_rejects) : t("noneOf", { n: count(c.targets) }), nats(p.threshold_llr)]))));
}

export function draw(d) {
  const states = ["consented", "asked", "opted_out", "expired"];
  const waits = [
    ...(d.hits ? [figure("/voices/watch", d.hits.length, t("openHits"), d.hits.length ? "open" : "")] : []),
    ...(d.watch ? [figure("/voices/watch#entries", d.watch.length, t("lookedFor"))] : []),
    ...(d.links ? [figure("/voices/watch#links", d.links.length, t("linkedVoices"), d.links.length ? "open" : "")] : []),
  ];
  return [
    el("div", { class: "boxes" },
      section(t("people"), "", el("ul", { class: "figures" }, figure("/voices/people?enrolled=true", d.about.enrolled, t("enrolledPeople"), "consented"),
        ...states.map((s) => figure("/voices/people?state=" + s, d.about.people[s] ?? 0, stateName(s))))),
      section(t("waiting"), "", waits.length ? el("ul", { class: "figures" }, ...waits) : quiet(t("noWatch"))),
      trade(d.calibration),
      compared(d.calibration),
      section(t("latest"), "wide", d.latest.length ? table(t("latest"), [t("at"), t("call"), t("outcome"), t("reasons"), t("llr"), t("net"), t("took")], d.latest.map((c) => [
        when(c.at), el("a", { href: callPage(c.call) }, c.call), chip(c.outcome, outcomeName(c.outcome)), reasons(c.reasons) || "–", nats(c.llr), seconds(c.net_ms), seconds(c.took_ms),
      ])) : quiet(t("noComparisons")))),
  ];
}
