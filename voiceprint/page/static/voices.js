// Which of the pages this is, and what all of them do.
import { $, el } from "/pane/dom.js";
import { dress, isOff, place, typing } from "./page.js";
import { t } from "./strings.js";
import * as audit from "./audit.js";
import * as overview from "./overview.js";
import * as people from "./people.js";
import * as person from "./person.js";
import * as watch from "./watch.js";

const view = { people: place[2] === undefined ? people : person, watch, audit }[place[1]] ?? overview;
let data = null, failed = null, turn = 0;

// load reads all that a page shows before it shows any of it, so that nothing moves
// once it is there. What was given is kept where it only asks for more.
async function load(more) {
  const mine = ++turn;
  try {
    const fresh = await view.load(more ? data : null);
    if (mine !== turn) return;
    data = fresh;
    failed = null;
  } catch (e) {
    if (mine !== turn) return;
    failed = e;
  }
  draw();
}

function draw() {
  document.title = view.title() + " · Sidetone";
  const had = document.activeElement?.dataset?.keep;
  const what = data ? view.draw(data, load) : [];
  if (failed) what.unshift(el("p", { class: "banner", role: "alert" }, isOff(failed) ? t("off") : t("cannotShow", { why: failed.message })));
  $("main").replaceChildren(...what);
  if (had) document.querySelector(`[data-keep="${CSS.escape(had)}"]`)?.focus();
}

// move goes from row to row.
function move(step) {
  const rows = [...document.querySelectorAll("main .to")];
  const at = rows.indexOf(document.activeElement);
  rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
}

for (const a of $("ways").querySelectorAll("a")) {
  const own = a.getAttribute("href");
  if (own === "/voices" ? place.length === 1 : location.pathname.startsWith(own)) a.setAttribute("aria-current", "page");
}
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && e.target.closest("input, select") && !$("ask").open) e.target.blur();
  if (typing(e) || $("ask").open) return;
  if (e.key === "/" && $("customer")) { e.preventDefault(); $("customer").focus(); }
  else if (e.key === "ArrowDown" && e.target.closest(".to") || e.key === "j") { e.preventDefault(); move(1); }
  else if (e.key === "ArrowUp" && e.target.closest(".to") || e.key === "k") { e.preventDefault(); move(-1); }
});
dress(draw);
load(false);
