// What both pages have: language, theme, and words for a call's end.
import { $ } from "/pane/dom.js";
import { reveal } from "/pane/account.js";
import { isDark, toggleTheme } from "/pane/prefs.js";
import { current, has, t, toggleLanguage, translate } from "./strings.js";

// dress makes the buttons of the bar work; redraw writes everything anew.
export function dress(redraw) {
  const label = () => {
    translate();
    $("language").textContent = t("otherLanguage");
    $("theme").textContent = t(isDark() ? "themeLight" : "themeDark");
  };
  $("language").addEventListener("click", () => { toggleLanguage(); label(); redraw(); });
  $("theme").addEventListener("click", () => { toggleTheme(); label(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();
  reveal();
}

export const states = ["running", "ended", "refused", "aborted", "lost", "timed out"];

export const stateName = (s) => {
  const key = "state_" + s.replaceAll(" ", "_");
  return has(key) ? t(key) : s;
};

export const roleName = (r) => (has("role_" + r) ? t("role_" + r) : r);

const locale = () => (current() === "zh" ? "zh-CN" : "en-GB");

// when shows the day and time of a moment.
export const when = (at) => new Date(at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium" });

export const kilobytes = (n) => (n / 1024).toLocaleString(locale(), { maximumFractionDigits: 0 });

// ask gets JSON; an error has the server's words and its status.
export async function ask(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (answer.status === 401) location.href = "/login?next=" + encodeURIComponent(location.pathname + location.search);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error || answer.statusText), { status: answer.status });
  return body;
}

// typing says whether keys go into a field or press a button.
export const typing = (e) => e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, audio, button, a[href]") !== null;
