// What changes something: it is asked for in a dialog first, and told of after.
import { $, el } from "/pane/dom.js";
import { ask, comma, facts, lineName, percent, personPage, qualityName, reasons, sayingName, seconds } from "./page.js";
import { t } from "./strings.js";

let clear = 0;

// note says in passing what was done.
export function note(words) {
  $("note").textContent = words;
  clearTimeout(clear);
  clear = setTimeout(() => { $("note").textContent = ""; }, 6000);
}

// field is a labelled input: what of options, a select; what of choices, suggestions.
function field(f) {
  let input;
  if (f.options) input = el("select", { name: f.name }, ...f.options.map(([value, words]) => el("option", { value, selected: value === f.value }, words)));
  else input = el("input", { name: f.name, type: f.type ?? "text", value: f.value, required: f.required, maxlength: f.type ? null : "200", accept: f.accept, min: f.min, autocomplete: "off", list: f.choices ? "of-" + f.name : null });
  const choices = f.choices && el("datalist", { id: "of-" + f.name }, ...f.choices.map((value) => el("option", { value })));
  if (f.type === "checkbox") return el("label", { class: "check" }, input, " ", f.label);
  return el("label", {}, el("span", {}, f.label), input, choices, f.hint ? el("span", { class: "quiet" }, f.hint) : null);
}

// dialog asks for fields and for a yes. What do returns is told in passing, and then
// after is called; an error stays in the dialog, which stays open.
export function dialog({ title, text, fields = [], go, danger = false, run, after }) {
  const d = $("ask"), back = document.activeElement;
  const problem = el("div", { class: "problem", role: "alert", hidden: true });
  const yes = el("button", { class: danger ? "danger" : "main" }, go);
  const no = el("button", { type: "button", onclick: () => d.close() }, t("cancel"));
  const form = el("form", {}, el("h2", { id: "ask-title" }, title), ...[text].flat().filter(Boolean).map((p) => el("p", {}, p)), ...fields.map(field), problem, el("p", { class: "answers" }, no, yes));
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    yes.disabled = true;
    yes.setAttribute("aria-busy", "true");
    problem.hidden = true;
    try {
      const words = await run(new FormData(form));
      d.close();
      note(words);
      after();
    } catch (err) {
      const others = err.body?.customers ?? [];
      problem.replaceChildren(el("p", {}, el("strong", {}, err.message)), ...(err.body?.report ? [report(err.body.report)] : err.hint ? [el("p", {}, err.hint)] : []),
        ...others.map((c) => el("p", {}, el("a", { href: personPage(c) }, c))));
      problem.hidden = false;
    }
    yes.disabled = false;
    yes.removeAttribute("aria-busy");
  });
  d.replaceChildren(form);
  d.onclose = () => { if (back?.isConnected) back.focus(); };
  d.showModal();
  if (danger) no.focus();
  else form.querySelector("input, select")?.focus();
}

// measure is a quality in its unit.
export function measure(name, value) {
  const round = (x, n) => x.toLocaleString(undefined, { maximumFractionDigits: n });
  if (name === "clipped" || name === "music" || name === "unlike") return percent(value);
  const unit = { snr_db: " dB", level_dbfs: " dBFS", edge_hz: " Hz", reverberation_s: " s" }[name] ?? "";
  return round(value, name === "reverberation_s" ? 2 : 0) + unit;
}

export const qualities = (q) => Object.entries(q ?? {}).sort().map(([name, value]) => [qualityName(name), measure(name, value)]);

// report is what was measured of speech to enrol.
function report(r) {
  const rows = [[t("speechUsed"), seconds(r.net_ms)], [t("speechMissing"), r.missing_ms > 0 ? seconds(r.missing_ms) : ""], [t("against"), reasons(r.reasons)], ...qualities(r.quality)];
  return facts(rows);
}

const moment = (date) => new Date(date + "T00:00:00").toISOString();
const route = (customer, more = "") => "/v1/voice" + personPage(customer).slice("/voices".length) + more;
const today = () => new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 10);

// consent records what a customer said to the use of their voice.
export function consent(customer, after) {
  dialog({
    title: t("consentTitle", { customer }), text: t("consentText"), go: t("record"), after,
    fields: [
      { name: "state", label: t("saidWhat"), options: ["consented", "asked"].map((s) => [s, sayingName(s)]), value: "consented" },
      { name: "text", label: t("wording"), required: true },
      { name: "language", label: t("language"), value: document.documentElement.lang.slice(0, 2) },
      { name: "channel", label: t("channel"), required: true, choices: ["call", "branch", "letter", "web"] },
      { name: "how", label: t("how"), required: true, choices: ["spoken", "signed", "clicked"] },
      { name: "expires", label: t("expires"), type: "date", min: today() },
    ],
    run: async (data) => {
      const q = Object.fromEntries([...data].filter(([, v]) => v));
      if (q.expires) q.expires = moment(q.expires);
      await ask(route(customer, "/consent"), "POST", JSON.stringify(q));
      return t("recorded");
    },
  });
}

// optOut records that they do not want it; what there is goes at once.
export function optOut(customer, after) {
  dialog({
    title: t("optOutTitle", { customer }), text: t("optOutText"), go: t("optOut"), danger: true, after,
    fields: [
      { name: "channel", label: t("channel"), required: true, choices: ["call", "branch", "letter", "web"] },
      { name: "how", label: t("how"), required: true, choices: ["spoken", "signed", "clicked"] },
    ],
    run: async (data) => {
      await ask(route(customer, "/consent"), "POST", JSON.stringify({ state: "opted_out", ...Object.fromEntries(data) }));
      return t("optedOut");
    },
  });
}

// enrol makes a template of a file.
export function enrol(customer, after) {
  dialog({
    title: t("enrolTitle", { customer }), text: t("enrolText"), go: t("enrol"), after,
    fields: [
      { name: "file", label: t("file"), type: "file", accept: ".wav,audio/wav", required: true },
      { name: "line", label: t("line"), options: ["phone", "headset", "mobile", "web"].map((l) => [l, lineName(l)]), value: "phone" },
      { name: "channel", label: t("fileChannel"), type: "number", value: "1", min: "1" },
      { name: "replace", label: t("replace"), type: "checkbox" }, { name: "duplicates", label: t("duplicates"), type: "checkbox" },
    ],
    run: async (data) => {
      const q = new URLSearchParams({ line: data.get("line"), channel: data.get("channel") || "1" });
      if (data.get("replace")) q.set("replace", "true");
      if (data.get("duplicates")) q.set("duplicates", "allow");
      const done = await ask(route(customer, "/templates?" + q), "POST", data.get("file"), "audio/wav");
      return t("enrolled", { s: seconds(done.report.net_ms) }) + (done.report.reasons.length ? comma() + reasons(done.report.reasons) : "");
    },
  });
}

// revoke deletes a template with its versions.
export function revoke(customer, template, after) {
  dialog({
    title: t("revokeTitle"), text: t("revokeText", { line: lineName(template.line) }), go: t("revoke"), danger: true, after,
    run: async () => {
      await ask(route(customer, "/templates/" + encodeURIComponent(template.id)), "DELETE");
      return t("revoked");
    },
  });
}

// back has a template be again what it was in an earlier version.
export function back(customer, template, after) {
  dialog({
    title: t("backTitle"), text: t("backText", { version: template.version, line: lineName(template.line) }), go: t("back"), danger: true, after,
    run: async () => {
      await ask(route(customer, "/templates/" + encodeURIComponent(template.id) + "/rollback"), "POST");
      return t("wentBack");
    },
  });
}

// anew forgets what calls have said for a passive enrolment.
export function anew(customer, after) {
  dialog({
    title: t("anewTitle", { customer }), text: t("anewText"), go: t("anew"), danger: true, after,
    run: async () => {
      await ask(route(customer, "/passive"), "DELETE");
      return t("begunAnew");
    },
  });
}

// erase deletes all that is known of a person.
export function erase(customer, after) {
  dialog({
    title: t("eraseTitle", { customer }), text: t("eraseText"), go: t("erase"), danger: true, after,
    fields: [{ name: "watch", label: t("eraseWatch"), type: "checkbox" }],
    run: async (data) => {
      const gone = await ask(route(customer, data.get("watch") ? "?watch=true" : ""), "DELETE");
      return t("erased", { templates: gone.templates, comparisons: gone.comparisons });
    },
  });
}

// lookFor puts a voice on the watch list.
export function lookFor(after) {
  dialog({
    title: t("addTitle"), text: t("addText"), go: t("add"), after,
    fields: [
      { name: "customer", label: t("whoseVoice") },
      { name: "file", label: t("file"), type: "file", accept: ".wav,audio/wav", required: true },
      { name: "reason", label: t("reason"), required: true }, { name: "basis", label: t("basis"), required: true, hint: t("basisHint") },
      { name: "review", label: t("review"), type: "date", required: true, min: today() },
      { name: "expires", label: t("expires"), type: "date", required: true, min: today() },
    ],
    run: async (data) => {
      const q = new URLSearchParams(["customer", "reason", "basis", "review", "expires"].filter((k) => data.get(k)).map((k) => [k, data.get(k)]));
      await ask("/v1/voice/watch?" + q, "POST", data.get("file"), "audio/wav");
      return t("added");
    },
  });
}

// lookLonger sets the dates of an entry, for instance once it was reviewed.
export function lookLonger(entry, after) {
  dialog({
    title: t("extendTitle"), text: entry.reason, go: t("extend"), after,
    fields: [
      { name: "review", label: t("review"), type: "date", required: true, min: today() },
      { name: "expires", label: t("expires"), type: "date", required: true, min: today(), value: entry.expires.slice(0, 10) },
    ],
    run: async (data) => {
      await ask("/v1/voice/watch/" + encodeURIComponent(entry.id), "POST", JSON.stringify({ ...Object.fromEntries(data), version: entry.version }));
      return t("extended");
    },
  });
}

// lookNoMore takes a voice off the watch list.
export function lookNoMore(entry, after) {
  dialog({
    title: t("removeTitle"), text: t("removeText", { reason: entry.reason }), go: t("remove"), danger: true, after,
    run: async () => {
      await ask("/v1/voice/watch/" + encodeURIComponent(entry.id), "DELETE");
      return t("removed");
    },
  });
}

// judge says of a hit that it is right or wrong.
export function judge(hit, state, after) {
  dialog({
    title: t("judge_" + state), text: [t("judgeText_" + state), t("judgeFinal")], go: t("do_" + state), danger: state === "confirmed", after,
    run: async () => {
      await ask("/v1/voice/hits/" + encodeURIComponent(hit.id), "POST", JSON.stringify({ state }));
      return t("judged");
    },
  });
}
