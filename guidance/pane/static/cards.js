// The cards: live ones by priority, then those that were dealt with. Exactly one
// live card is marked: the one that single keys act on.
import { $, el, arrange, clock } from "./dom.js";
import { t, has } from "./strings.js";

export const verdicts = { used: "U", dismissed: "D", wrong: "W" };
const settle = 1000; // ms for which keys still mean the card marked before

export class Cards {
  // host has now(), act(view, verdict), point(said), painted(view) and
  // announce(text).
  constructor(host) {
    this.host = host;
    this.views = new Map();
    this.target = null;
    this.seen = new IntersectionObserver((es) => this.visible(es), { root: null, threshold: 0.5 });
    this.held = null;
    document.addEventListener("focusin", (e) => this.hold(e.target));
    document.addEventListener("focusout", (e) => { if (!e.relatedTarget) this.hold(null); });
  }

  // show replaces everything; what stays keeps its element.
  show(entries) {
    const old = this.views;
    this.views = new Map();
    for (const e of entries) {
      const v = old.get(e.card.id) ?? this.make(e);
      const fresh = v.state === undefined;
      Object.assign(v, { state: e.state, reason: e.reason, painted: v.painted || e.painted });
      if (!v.painted) v.received = performance.now();
      if (fresh && e.state === "live" && !e.painted) this.say(v);
      this.views.set(e.card.id, v);
    }
    for (const [id, v] of old) if (!this.views.has(id)) this.seen.unobserve(v.head);
    this.render();
    // Observing again makes the observer report what is already in sight, so
    // that an ack lost with a connection is sent on the next.
    for (const v of this.views.values()) this.observe(v);
  }

  clear() { this.show([]); }

  add(card) {
    if (this.views.has(card.id)) return;
    const v = this.make({ card });
    Object.assign(v, { state: "live", painted: false, received: performance.now() });
    this.views.set(card.id, v);
    this.render();
    this.observe(v);
    this.say(v);
  }

  // set changes what became of a card.
  set(id, state, reason = "") {
    const v = this.views.get(id);
    if (!v || v.state === state) return;
    const focused = v.li.contains(document.activeElement);
    Object.assign(v, { state, reason, open: false });
    this.render();
    this.host.announce(state === "withdrawn" ? t("withdrawnSay", { title: v.card.title })
      : t("verdictSay", { state: t("state_" + state), title: v.card.title }));
    if (focused) (this.views.get(this.target)?.li ?? $("guide")).focus({ preventScroll: true });
  }

  // expire moves cards whose time is over; the page calls it every second.
  expire() {
    for (const v of this.views.values()) {
      if (v.state === "live" && v.expires && this.host.now() >= v.expires) this.set(v.card.id, "expired");
    }
  }

  say(v) {
    this.host.announce(t("newCard", { kind: this.kind(v.card), title: v.card.title, body: v.card.body }));
  }

  kind(card) { return has("kind_" + card.kind) ? t("kind_" + card.kind) : card.kind; }

  live() {
    return [...this.views.values()].filter((v) => v.state === "live")
      .sort((a, b) => b.card.priority - a.card.priority || a.born - b.born);
  }

  done() {
    return [...this.views.values()].filter((v) => v.state !== "live").reverse();
  }

  make({ card }) {
    const expires = Date.parse(card.expires);
    const v = {
      card, born: Date.parse(card.born),
      // The zero time of the server is the year 1: the card stays.
      expires: expires > 0 ? expires : 0,
      opened: performance.now(),
      li: el("li", { class: "card", tabindex: "-1", "data-kind": card.kind }),
    };
    v.head = el("div", { class: "head" });
    return v;
  }

  render() {
    const live = this.live(), done = this.done();
    this.retarget(false, live);
    for (const v of live) this.fill(v);
    for (const v of done) this.fill(v);
    arrange($("cards"), live.map((v) => v.li));
    arrange($("done"), done.map((v) => v.li));
    $("handled").hidden = done.length === 0;
    $("handled-count").textContent = t("handled", { n: done.length });
    $("quiet").hidden = live.length > 0;
  }

  // hold remembers the focused card; it stays the one while the agent looks up
  // its words in the transcript.
  hold(focused) {
    if (!$("talk").contains(focused)) this.held = focused?.closest("#cards > .card") ?? null;
    this.retarget(true);
  }

  // retarget chooses the card that keys act on: the held one, else the top one.
  // A new card that comes to the top becomes it a moment later, so that a key
  // already on its way down does not hit the wrong card.
  retarget(redraw, live = this.live()) {
    const held = live.find((v) => v.li === this.held);
    const before = live.find((v) => v.card.id === this.target);
    let next = held ?? live[0];
    if (!held && before && next.opened > before.opened) {
      const wait = settle - (performance.now() - next.opened);
      if (wait > 0) {
        next = before;
        clearTimeout(this.later);
        this.later = setTimeout(() => this.render(), wait);
      }
    }
    const changed = this.target !== (next?.card.id ?? null);
    this.target = next?.card.id ?? null;
    if (changed && redraw) for (const v of live) this.mark(v);
  }

  // mark shows which card keys act on. It changes attributes only: the button
  // that is just being clicked must stay where it is.
  mark(v) {
    const marked = v.state === "live" && v.card.id === this.target;
    if (marked) v.li.setAttribute("aria-current", "true"); else v.li.removeAttribute("aria-current");
    for (const b of v.li.querySelectorAll(".acts button")) {
      if (marked) b.setAttribute("aria-keyshortcuts", verdicts[b.dataset.part]);
      else b.removeAttribute("aria-keyshortcuts");
    }
  }

  // fill writes the card into its element. While nothing changed it touches
  // nothing, so that focus and selection stay.
  fill(v) {
    const c = v.card, live = v.state === "live";
    if (live && v === this.live()[0]) v.open = v.open ?? true;
    const look = [v.state, v.reason, v.open].join("|");
    if (look === v.look) { this.mark(v); return; }
    const focus = v.li.contains(document.activeElement) ? document.activeElement.dataset.part : null;
    v.look = look;
    const titleID = `card-${c.id}`;
    v.li.setAttribute("aria-labelledby", titleID);
    v.li.classList.toggle("open", Boolean(v.open));
    v.li.classList.toggle("past", !live);
    v.head.replaceChildren(
      el("span", { class: "kind" }, this.kind(c)),
      el("h3", { id: titleID },
        el("button", {
          type: "button", class: "title", "data-part": "title", "aria-expanded": String(Boolean(v.open)),
          onclick: () => { v.open = !v.open; this.fill(v); },
        }, c.title)),
      live ? "" : el("span", { class: "fate", "data-state": v.state }, t("state_" + v.state)));
    v.li.replaceChildren(v.head,
      v.open ? this.body(v) : el("p", { class: "gist", lang: c.language || null }, c.body),
      this.actions(v));
    this.mark(v);
    if (focus) v.li.querySelector(`[data-part="${focus}"]`)?.focus({ preventScroll: true });
  }

  body(v) {
    const c = v.card, aloud = c.kind !== "alert" && c.kind !== "checklist";
    return el("div", { class: "body" },
      v.state === "withdrawn" && v.reason ? el("p", { class: "meta" }, t("withdrawnWhy", { reason: v.reason })) : null,
      c.body ? el("div", { class: aloud ? "say" : "say quietly" },
        el("span", { class: "tag" }, t(aloud ? "say" : "note")), el("p", { lang: c.language || null }, c.body)) : null,
      c.steps?.length ? el("ol", { class: "steps", "aria-label": t("steps"), lang: c.language || null },
        ...c.steps.map((s) => el("li", {}, s))) : null,
      this.why(c));
  }

  why(c) {
    const w = c.why ?? {};
    const sources = [
      w.rule ? t("rule", { rule: w.rule }) : null, w.intent || null,
      w.element ? t("element", { element: w.element, version: w.version ?? 0 }) : null,
    ].filter(Boolean);
    return el("div", { class: "why" },
      ...(w.words ?? []).map((s, i) => {
        const role = t(["agent", "customer"].includes(s.role) ? s.role : "unknown"), time = clock(s.start_ms);
        return el("button", {
          type: "button", class: "proof", "data-part": `why${i}`,
          "aria-label": t("whyJump", { role, text: s.text, time }), onclick: () => this.host.point(s),
        }, el("q", {}, s.text), el("span", { class: "by" }, t("said", { role, time })));
      }),
      w.note ? el("p", { class: "reason" }, w.note) : null,
      sources.length ? el("p", { class: "meta" }, sources.join(" · ")) : null);
  }

  actions(v) {
    if (v.state === "withdrawn") return "";
    return el("div", { class: "acts" }, ...Object.entries(verdicts).map(([state, key]) => el("button", {
      type: "button", "data-part": state, class: state === "used" ? "main" : null,
      "aria-pressed": v.state === "live" ? null : String(v.state === state),
      // A card that has just slid under the pointer is not what was aimed at.
      onclick: (e) => { if (e.detail === 0 || performance.now() - v.opened > 400) this.host.act(v, state); },
    }, t(state), el("kbd", { "aria-hidden": "true" }, key))));
  }

  // key gives the marked card a verdict.
  key(verdict) {
    const v = this.views.get(this.target);
    if (v) this.host.act(v, verdict);
  }

  // proof shows the last words that triggered the marked card.
  proof() {
    const said = this.views.get(this.target)?.card.why?.words?.at(-1);
    if (said) this.host.point(said);
  }

  focus() { (this.views.get(this.target)?.li ?? $("guide")).focus(); }

  // step moves the focus from card to card.
  step(by) {
    const all = [...$("cards").children];
    const i = all.findIndex((li) => li.contains(document.activeElement));
    const li = all[Math.min(Math.max(i + by, 0), all.length - 1)];
    li?.focus();
    li?.scrollIntoView({ block: "nearest" });
  }

  observe(v) {
    this.seen.unobserve(v.head);
    if (v.state === "live" && !v.painted) this.seen.observe(v.head);
  }

  // visible runs after the layout of a frame that has the card on the screen.
  // That frame is painted when the next but one animation frame begins.
  visible(entries) {
    for (const e of entries) {
      const v = e.isIntersecting && [...this.views.values()].find((x) => x.head === e.target);
      if (!v || v.painted) continue;
      requestAnimationFrame(() => requestAnimationFrame(() => {
        if (document.visibilityState !== "visible" || v.painted) return;
        if (this.host.painted(v)) { v.painted = true; this.seen.unobserve(v.head); }
      }));
    }
  }

  translate() {
    for (const v of this.views.values()) v.look = null;
    this.render();
  }
}
