// The list of calls, with a search over what was said.
import { $, clock, el } from "/pane/dom.js";
import { ask, dress, roleName, stateName, states, when } from "./page.js";
import { t } from "./strings.js";

let shown = [], next = "", turn = 0, failed = "";

function read() {
  const q = new URLSearchParams(location.search);
  for (const id of ["text", "agent", "state", "day"]) $(id).value = q.get(id) ?? "";
}

function query() {
  const q = new URLSearchParams();
  for (const id of ["text", "agent", "state"]) if ($(id).value.trim()) q.set(id, $(id).value.trim());
  if ($("day").value) {
    const from = new Date($("day").value + "T00:00:00");
    const to = new Date(from);
    to.setDate(to.getDate() + 1);
    q.set("from", from.toISOString());
    q.set("to", to.toISOString());
  }
  return q;
}

async function load(more) {
  const mine = ++turn;
  const q = query();
  q.set("limit", "50");
  if (more) q.set("before", next);
  try {
    const reply = await ask("/v1/calls?" + q);
    if (mine !== turn) return;
    shown = more ? shown.concat(reply.calls) : reply.calls;
    next = reply.next ?? "";
    failed = reply.missing ?? "";
  } catch (e) {
    if (mine !== turn) return;
    failed = t("cannotList", { why: e.message });
  }
  draw();
}

const stateChip = (c) => el("span", { class: "chip", "data-state": c.state }, stateName(c.state));

function row(c) {
  const found = c.found && el("p", { class: "found" },
    el("span", { class: "by" }, `${roleName(c.found.role)} · ${clock(c.found.start_ms)} `),
    ...c.found.pieces.map((p) => (p.hit ? el("mark", {}, p.text) : p.text)));
  const at = c.found ? "?t=" + Math.floor(c.found.start_ms / 1000) : "";
  return el("li", {},
    el("a", { href: "/calls/" + encodeURIComponent(c.key) + at, class: "row" },
      el("span", { class: "time" }, when(c.started)),
      el("span", { class: "who" }, c.agent || t("nobody")),
      el("span", { class: "peer" }, c.customer || c.call),
      el("span", { class: "long" }, c.duration_ms === undefined ? clock(Date.now() - Date.parse(c.started)) : clock(c.duration_ms)),
      stateChip(c),
      el("span", { class: "counts" }, t("counts", { words: c.utterances, cards: c.cards.shown }),
        c.recording ? el("span", { class: "rec" }, t("recorded")) : null)),
    found);
}

function draw() {
  const chosen = $("state").value;
  $("state").replaceChildren(el("option", { value: "" }, t("anyState")), ...states.map((s) => el("option", { value: s }, stateName(s))));
  $("state").value = chosen;
  document.title = t("calls") + " · Sidetone";
  $("calls").replaceChildren(...shown.map(row));
  $("more").hidden = next === "";
  $("missing").hidden = failed === "";
  $("missing").textContent = failed;
  $("status").textContent = shown.length ? t(shown.length === 1 ? "foundOne" : "foundMany", { n: shown.length }) : t("foundNone");
}

// move goes from row to row.
function move(step) {
  const rows = [...document.querySelectorAll(".row")];
  const at = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
}

$("filters").addEventListener("submit", (e) => {
  e.preventDefault();
  const q = new URLSearchParams();
  for (const id of ["text", "agent", "state", "day"]) if ($(id).value) q.set(id, $(id).value);
  history.replaceState(null, "", q.size ? "?" + q : location.pathname);
  load(false);
});
for (const id of ["state", "day"]) $(id).addEventListener("change", () => $("filters").requestSubmit());
$("more").addEventListener("click", () => load(true));
document.addEventListener("keydown", (e) => {
  const field = e.target.closest("input, select");
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === "Escape" && field) field.blur();
  else if (field) return;
  else if (e.key === "/") { e.preventDefault(); $("text").focus(); }
  else if (e.key === "ArrowDown" || e.key === "j") { e.preventDefault(); move(1); }
  else if (e.key === "ArrowUp" || e.key === "k") { e.preventDefault(); move(-1); }
});
dress(draw);
draw();
read();
load(false);
