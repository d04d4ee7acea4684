// What all pages of voices have: language, theme, requests, and how things are said.
import { $, el } from "/pane/dom.js";
import { isDark, toggleTheme } from "/pane/prefs.js";
import { current, common, has, knows, t, toggleLanguage, translate } from "./strings.js";

// place is the address: "voices", then the page, then whom it is about.
export const place = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);

// dress makes the buttons of the bar work; redraw writes everything anew.
export function dress(redraw) {
  const label = () => {
    translate();
    $("language").textContent = common("otherLanguage");
    $("theme").textContent = common(isDark() ? "themeLight" : "themeDark");
  };
  $("language").addEventListener("click", () => { toggleLanguage(); label(); redraw(); });
  $("theme").addEventListener("click", () => { toggleTheme(); label(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();
}

// typing says whether keys go into a field or a button, or belong to the browser.
export const typing = (e) => e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, button, summary:not(.to)") !== null;

// ask makes a request; an error has the server's words, hint, status and body.
export async function ask(url, method = "GET", body = null, kind = "application/json") {
  const headers = { Accept: "application/json" };
  if (body !== null) headers["Content-Type"] = kind;
  const answer = await fetch(url, { method, headers, body });
  if (answer.status === 401) location.href = "/login?next=" + encodeURIComponent(location.pathname + location.search);
  const reply = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(reply.error || answer.statusText), { status: answer.status, hint: reply.hint, body: reply });
  return reply;
}

// isOff says that an error is that of a server on which no voices are compared.
export const isOff = (e) => e.status === 404 && e.hint === "set voice.on";

// perhaps is ask for what a server may not have: null then.
export async function perhaps(url) {
  try { return await ask(url); } catch (e) {
    if (e.status === 404 && !isOff(e)) return null;
    throw e;
  }
}

export const personPage = (customer) => "/voices/people/" + encodeURIComponent(customer);
export const callPage = (key) => "/calls/" + encodeURIComponent(key);

const locale = () => (current() === "zh" ? "zh-CN" : "en-GB");
const number = (x, digits) => x.toLocaleString(locale(), digits);

export const when = (at) => new Date(at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium" });
export const day = (at) => new Date(at).toLocaleDateString(locale(), { dateStyle: "medium" });
export const count = (n) => number(n);
export const percent = (share) => number(100 * share, { maximumSignificantDigits: 2 }) + " %";
export const nats = (x) => number(x, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
export const seconds = (ms) => t("seconds", { s: number(ms / 1000, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) });

const named = (key, instead) => (has(key) ? t(key) : instead);
const plain = (s) => s.replaceAll("_", " ");

// reasonName says a reason as the agent's page does, where it knows it.
export const reasonName = (r) => (knows("reason_" + r) ? common("reason_" + r) : named("why_" + r, plain(r)));
export const stateName = (s) => named("state_" + s, plain(s));
export const outcomeName = (o) => (knows("voice_" + o) ? common("voice_" + o) : o);
export const signName = (s) => named("sign_" + s, plain(s));
export const lineName = (l) => named("line_" + l, l);
export const qualityName = (q) => named("quality_" + q, plain(q));
export const hitName = (s) => named("hit_" + s, s);
export const phaseName = (p) => named("phase_" + p, plain(p));
export const actionName = (a) => named("act_" + a.replace("voice.", "").replaceAll(".", "_"), a);
export const sayingName = (s) => named("said_" + s, plain(s));

export const comma = () => t("comma");
export const reasons = (list) => (list ?? []).map(reasonName).join(comma());

// chip is a state in a word, with a colour beside it.
export const chip = (state, text) => el("span", { class: "chip", "data-state": state }, text);

// facts are names with values; those without value are left out.
export const facts = (rows) => el("dl", { class: "pairs" }, ...rows.filter((r) => r[1] !== undefined && r[1] !== null && r[1] !== "").map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));

let sections = 0;

// section is a box with a heading, an optional tool beside it, and content.
export function section(title, kind, ...content) {
  const id = "s" + ++sections;
  return el("section", { class: "box " + kind, "aria-labelledby": id }, el("h2", { id }, title), ...content);
}

// table has a heading for each column, and rows of cells; where the page is narrow
// each cell shows its heading.
export function table(caption, heads, rows) {
  const cell = (c, i) => el("td", { "data-head": heads[i] }, ...(Array.isArray(c) ? c : [c ?? ""]));
  return el("table", {}, el("caption", { class: "vh" }, caption),
    el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map((r) => el("tr", {}, ...r.map(cell)))));
}

export const quiet = (text) => el("p", { class: "quiet" }, text);
export const keys = () => el("p", { class: "quiet keys" }, t("keys"));
