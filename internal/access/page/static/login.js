// The login page: a form, and what went wrong in words.
import { switchLanguage, t, translate } from "./strings.js";

const $ = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const next = local(asked.get("next") ?? "");

let problem = null, busy = false, sso = "";

// local is the path if it is one of this site, else the first page.
function local(path) {
  try {
    const u = new URL(path, location.origin);
    if (path.startsWith("/") && u.origin === location.origin && !u.pathname.startsWith("/login")) return u.pathname + u.search;
  } catch { /* It is no address at all. */ }
  return "/";
}

function show() {
  translate();
  document.title = `${t("title")} · Sidetone`;
  $("go").textContent = t(busy ? "going" : "go");
  $("go").disabled = busy;
  const open = $("password").type === "text";
  $("reveal").textContent = t(open ? "hide" : "show");
  $("reveal").setAttribute("aria-label", t(open ? "hideLabel" : "showLabel"));
  $("reveal").setAttribute("aria-pressed", String(open));
  $("sso").textContent = sso ? t("sso", { name: sso }) : "";
  $("problem").hidden = problem === null;
  $("problem").classList.toggle("calm", problem === "out");
  $("problem-text").textContent = problem ? t(problem) : "";
  $("problem-hint").textContent = problem && problem !== "out" ? t(problem + "Hint") : "";
  for (const id of ["name", "password"]) $(id).setAttribute("aria-invalid", String(problem === "wrong"));
  $("language").textContent = t("otherLanguage");
  const dark = isDark();
  $("theme").textContent = t(dark ? "light" : "dark");
  $("theme").title = t("themeTo", { theme: t(dark ? "light" : "dark") });
  $("theme").setAttribute("aria-label", $("theme").title);
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function toggleTheme() {
  const to = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = to;
  try { localStorage.setItem("sidetone.theme", to); } catch { /* The choice lasts until reload. */ }
  show();
}

async function logIn() {
  busy = true;
  problem = null;
  show();
  try {
    const answer = await fetch("/v1/login", {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name: $("name").value.trim(), password: $("password").value }),
    });
    if (answer.ok) return location.replace(next);
    problem = answer.status === 401 || answer.status === 400 ? "wrong" : answer.status === 429 ? "tooMany" : "broken";
  } catch {
    problem = "unreachable";
  }
  busy = false;
  show();
  if (problem === "wrong") { $("password").focus(); $("password").select(); }
}

// begin finds out how one logs in here, and whether it is needed: who comes by a
// link of another site is logged in, though the browser did not say so at first.
async function begin() {
  try {
    if (!asked.has("out") && (await fetch("/v1/me")).ok) return location.replace(next);
    const ways = await (await fetch("/v1/login")).json();
    sso = ways.sso ?? "";
    $("form").hidden = !ways.password;
    $("sso").hidden = !sso;
    $("or").hidden = !sso || !ways.password;
    $("sso").href = `/v1/oidc/start?next=${encodeURIComponent(next)}`;
  } catch {
    problem = "unreachable";
    $("form").hidden = false;
  }
  show();
  if (!$("form").hidden) ($("name").value ? $("password") : $("name")).focus();
}

$("form").addEventListener("submit", (e) => {
  e.preventDefault();
  if (!busy) logIn();
});
$("reveal").addEventListener("click", () => {
  $("password").type = $("password").type === "text" ? "password" : "text";
  show();
});
for (const type of ["keydown", "keyup"]) {
  $("password").addEventListener(type, (e) => { $("caps").hidden = !e.getModifierState?.("CapsLock"); });
}
$("language").addEventListener("click", () => { switchLanguage(); show(); });
$("theme").addEventListener("click", toggleTheme);

const told = { provider: "provider", refused: "refused" }[asked.get("error")];
if (told) problem = told;
else if (asked.has("out")) problem = "out";
show();
begin();
