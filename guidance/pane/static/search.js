// The search in the knowledge base: asks while one types, shows only the answer
// to the last question.
import { $, el } from "./dom.js";
import { t, current } from "./strings.js";

const pause = 250; // ms without a key before asking

export class Search {
  // ask sends a message and reports whether it went out.
  constructor(ask) {
    this.ask = ask;
    this.id = 0;
    $("query").addEventListener("input", (e) => {
      clearTimeout(this.timer);
      if (!e.isComposing) this.timer = setTimeout(() => this.go(), pause);
    });
    $("query").addEventListener("compositionend", () => { this.timer = setTimeout(() => this.go(), pause); });
    $("search").addEventListener("submit", (e) => { e.preventDefault(); this.go(); });
    $("query").addEventListener("keydown", (e) => {
      if (e.key === "Escape" && !e.isComposing) { e.preventDefault(); e.stopPropagation(); this.close(); }
      if (e.key === "ArrowDown") { e.preventDefault(); $("hits").querySelector("summary")?.focus(); }
    });
    $("results").addEventListener("keydown", (e) => {
      if (e.key === "Escape") { e.preventDefault(); e.stopPropagation(); this.close(); }
      if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); this.step(e.key === "ArrowDown" ? 1 : -1); }
    });
  }

  open() {
    this.from = document.activeElement;
    $("query").focus();
    $("query").select();
  }

  close() {
    clearTimeout(this.timer);
    this.id++;
    $("query").value = "";
    this.empty();
    const back = this.from?.isConnected && this.from !== document.body ? this.from : $("guide");
    this.from = null;
    back.focus({ preventScroll: true });
  }

  empty() {
    $("results").hidden = true;
    $("hits").replaceChildren();
    $("found").textContent = "";
    this.last = "";
  }

  step(by) {
    const all = [...$("hits").querySelectorAll("summary")];
    const i = all.indexOf(document.activeElement.closest("summary")) + by;
    if (i < 0) $("query").focus(); else all[Math.min(i, all.length - 1)]?.focus();
  }

  go() {
    clearTimeout(this.timer);
    const text = $("query").value.trim();
    if (!text) { this.empty(); return; }
    if (text === this.last) return;
    this.last = text;
    $("results").hidden = false;
    if (this.ask({ type: "search", id: ++this.id, text, language: current() })) {
      $("found").textContent = t("searching");
    } else {
      this.fail(this.id, t("searchOffline"));
    }
  }

  show(m) {
    if (m.id !== this.id) return;
    const n = m.results.length;
    $("found").textContent = n === 0 ? t("foundNone") : n === 1 ? t("foundOne") : t("found", { n });
    $("hits").replaceChildren(...m.results.map((r) => el("li", {}, el("details", {},
      el("summary", {}, el("span", { lang: r.language || null }, r.title),
        el("span", { class: "meta" }, t("element", { element: r.element, version: r.version }))),
      r.customer ? el("div", { class: "say" }, el("span", { class: "tag" }, t("say")), el("p", { lang: r.language || null }, r.customer)) : null,
      r.steps?.length ? el("ol", { class: "steps", "aria-label": t("steps"), lang: r.language || null }, ...r.steps.map((s) => el("li", {}, s))) : null,
      r.internal ? el("div", { class: "say quietly" }, el("span", { class: "tag" }, t("internal")), el("p", { lang: r.language || null }, r.internal)) : null))));
  }

  // fail shows why there is no answer, and lets the same words be asked again.
  fail(id, text) {
    if (id !== this.id) return;
    this.last = "";
    $("found").textContent = text;
  }
}
