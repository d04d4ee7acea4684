// The transcript: one row for each utterance, in the order in which they began.
import { $, el, arrange, clock, gap } from "./dom.js";
import { t } from "./strings.js";

const roles = new Set(["agent", "customer"]);
const roleOf = (u) => (roles.has(u.role) ? u.role : "unknown");
const key = (u) => `${u.leg}/${u.utterance}`;

// covered is how many words are shown together from one on.
const covered = (u, i) => Math.min(Math.max(u.words[i].written?.words ?? 1, 1), u.words.length - i);

// writing shows what is written for spoken words, which the tooltip and screen
// readers still tell.
function writing(form, said) {
  const spoken = said.map((w, i) => (i ? gap(said[i - 1].text, w.text) : "") + w.text).join("");
  return el("span", { class: "written" },
    el("span", { class: "form", "aria-hidden": "true", title: t("spoken", { words: spoken }) }, form),
    el("span", { class: "vh" }, spoken));
}

export class Transcript {
  constructor() {
    this.rows = new Map();
    this.box = $("scroll");
    this.list = $("lines");
    this.following = true;
    this.missed = 0;
    this.mark = null;
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.follow()).observe(this.box);
    $("now").addEventListener("click", () => this.jump());
  }

  // show replaces everything. Rows that stay keep their place and element.
  show(utterances, earlier) {
    const want = utterances.filter((u) => u.words.length)
      .sort((a, b) => a.start_ms - b.start_ms || a.role.localeCompare(b.role));
    const old = this.rows;
    this.rows = new Map();
    for (const u of want) {
      const kept = old.get(key(u));
      // A leg whose role has changed is shown anew.
      const row = kept?.role === roleOf(u) ? kept : this.makeRow(u);
      this.rows.set(key(u), row);
      this.fill(row, u);
    }
    arrange(this.list, want.map((u) => this.rows.get(key(u)).li));
    for (const row of this.rows.values()) this.join(row.li);
    $("earlier").hidden = !earlier;
    $("earlier").textContent = earlier ? t("earlier", { n: earlier }) : "";
    this.follow();
  }

  clear() {
    this.missed = 0;
    this.following = true;
    this.mark = null;
    this.show([], 0);
  }

  // put brings one utterance up to date. A row keeps the place it got when the
  // utterance began, so that nothing jumps when its first words move.
  put(u) {
    let row = this.rows.get(key(u));
    if (row && (row.u.final || (!u.final && u.revision <= row.u.revision))) return;
    if (u.words.length === 0) {
      if (row) this.remove(row);
      return;
    }
    if (!row) {
      row = this.makeRow(u);
      this.rows.set(key(u), row);
      const after = [...this.list.children].reverse().find((li) => Number(li.dataset.start) <= u.start_ms);
      if (after) after.after(row.li); else this.list.prepend(row.li);
      if (!this.following) this.missed++;
    }
    this.fill(row, u);
    this.join(row.li);
    if (row.li.nextElementSibling) this.join(row.li.nextElementSibling);
    this.follow();
  }

  remove(row) {
    const next = row.li.nextElementSibling;
    this.rows.delete(key(row.u));
    row.li.remove();
    if (next) this.join(next);
  }

  makeRow(u) {
    const role = roleOf(u);
    const text = el("span", { class: "text" });
    const li = el("li", { class: `line ${role}`, tabindex: "-1", "data-start": u.start_ms },
      el("span", { class: "who" }), el("span", { class: "when" }), text);
    return { u, li, text, role };
  }

  // fill writes an utterance into its row as runs of words that look alike.
  fill(row, u) {
    row.u = u;
    row.li.classList.toggle("partial", !u.final);
    row.li.querySelector(".who").textContent = t(row.role);
    row.li.querySelector(".when").textContent = clock(u.start_ms);
    const runs = [];
    for (let i = 0, before = ""; i < u.words.length;) {
      const n = covered(u, i), said = u.words.slice(i, i + n);
      const look = said.some((w) => this.marked(u, w)) ? "hit" : u.final || i + n <= u.stable ? "stable" : "rest";
      const form = u.words[i].written ? u.words[i].written.text : null;
      const text = form ?? said[0].text;
      const space = i ? gap(before, text) : "";
      if (runs.at(-1)?.look !== look) runs.push({ look, space, parts: [] });
      else if (space) runs.at(-1).parts.push(space);
      runs.at(-1).parts.push(form === null ? text : writing(form, said));
      before = text;
      i += n;
    }
    row.text.replaceChildren(...runs.flatMap((r) => [
      r.space, el(r.look === "hit" ? "mark" : "span", { class: r.look }, ...r.parts),
    ]));
  }

  // marked says whether a word is among those that a card points at.
  marked(u, w) {
    const m = this.mark;
    return m && m.leg === u.leg && m.utterance === u.utterance &&
      (m.end_ms <= m.start_ms || (w.start_ms < m.end_ms && w.end_ms > m.start_ms));
  }

  // join hides the speaker's name on rows that go on from the one before.
  join(li) {
    const before = li.previousElementSibling;
    li.classList.toggle("goes-on", Boolean(before) && before.classList[1] === li.classList[1]);
  }

  // point shows the words that triggered a card and moves the focus there. It
  // reports whether they are still in the transcript.
  point(said) {
    const row = this.rows.get(key(said));
    const old = this.mark;
    this.mark = row ? said : null;
    if (old && this.rows.has(key(old))) this.fill(this.rows.get(key(old)), this.rows.get(key(old)).u);
    if (!row) return false;
    this.fill(row, row.u);
    this.following = this.box.scrollHeight <= this.box.clientHeight;
    row.li.scrollIntoView({ block: "center" });
    row.li.focus({ preventScroll: true });
    this.button();
    return true;
  }

  jump() {
    this.following = true;
    this.follow();
    if (document.activeElement === $("now")) this.box.focus({ preventScroll: true });
    this.button();
  }

  scrolled() {
    const b = this.box;
    this.following = b.scrollHeight - b.scrollTop - b.clientHeight < 24;
    this.button();
  }

  follow() {
    if (this.following) this.box.scrollTop = this.box.scrollHeight;
    this.button();
  }

  button() {
    if (this.following) this.missed = 0;
    $("now").hidden = this.following;
    $("now").textContent = this.missed ? t("nowNew", { n: this.missed }) : t("now");
  }

  // translate writes names and labels again in the language of now.
  translate() {
    for (const row of this.rows.values()) this.fill(row, row.u);
    this.button();
  }

  // speaking says whether a role's last utterance is still growing.
  speaking(role) {
    for (const li of [...this.list.children].reverse()) {
      if (li.classList.contains(role)) return li.classList.contains("partial");
    }
    return false;
  }
}
