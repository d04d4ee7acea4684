// What this browser remembers: theme, language, single-key shortcuts.

export function load(key) {
  try { return localStorage.getItem("sidetone." + key); } catch { return null; }
}

export function save(key, value) {
  try {
    if (value === null) localStorage.removeItem("sidetone." + key);
    else localStorage.setItem("sidetone." + key, value);
  } catch { /* Storage may be forbidden; the choice then lasts until reload. */ }
}

// toggleTheme changes to the other theme; when that is the system's, it follows
// the system again.
export function toggleTheme() {
  const dark = isDark();
  const system = matchMedia("(prefers-color-scheme: dark)").matches;
  const next = dark ? "light" : "dark";
  const follow = (next === "dark") === system;
  if (follow) delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  save("theme", follow ? null : next);
}

export function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
