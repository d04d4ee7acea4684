// Every word of the login page, in each language it speaks.

const en = {
  title: "Log in", name: "Name", password: "Password", go: "Log in", going: "Logging in…",
  show: "Show", hide: "Hide", showLabel: "Show the password", hideLabel: "Hide the password", caps: "Caps Lock is on.",
  or: "or", sso: "Log in with {name}",
  help: "No account, or the password is forgotten? Ask whoever looks after Sidetone here.",
  wrong: "The name or the password is wrong.", wrongHint: "Capital letters count.",
  tooMany: "Too many tries.", tooManyHint: "Wait a minute, then try again.",
  unreachable: "Sidetone does not answer.", unreachableHint: "Check the network, then try again.",
  broken: "Logging in does not work right now.", brokenHint: "Try again in a minute; if it goes on, tell whoever looks after Sidetone.",
  provider: "The other login service does not answer as it should.", providerHint: "Try again, or log in with name and password.",
  refused: "You were not let in.", refusedHint: "Your login is good, but nobody gave it a role here, or the name is someone else’s. Ask whoever looks after Sidetone.",
  out: "You are logged out.",
  dark: "Dark", light: "Light", themeTo: "Switch to the {theme} theme",
  switchLanguage: "切换到中文", otherLanguage: "中文",
};

const zh = {
  title: "登录", name: "用户名", password: "密码", go: "登录", going: "正在登录…",
  show: "显示", hide: "隐藏", showLabel: "显示密码", hideLabel: "隐藏密码", caps: "大写锁定已打开。",
  or: "或", sso: "使用 {name} 登录",
  help: "没有账号，或忘记密码？请联系本单位的 Sidetone 管理员。",
  wrong: "用户名或密码不正确。", wrongHint: "请注意区分大小写。",
  tooMany: "尝试次数过多。", tooManyHint: "请稍候一分钟再试。",
  unreachable: "Sidetone 没有响应。", unreachableHint: "请检查网络后重试。",
  broken: "暂时无法登录。", brokenHint: "请一分钟后再试；如仍不行，请联系 Sidetone 管理员。",
  provider: "外部登录服务没有正常响应。", providerHint: "请重试，或使用用户名和密码登录。",
  refused: "您未获准进入。", refusedHint: "登录本身有效，但您在此没有角色，或该用户名属于他人。请联系 Sidetone 管理员。",
  out: "您已退出登录。",
  dark: "深色", light: "浅色", themeTo: "切换到{theme}主题",
  switchLanguage: "Switch to English", otherLanguage: "English",
};

const tables = { en, zh };
let language = pick();

function pick() {
  try {
    const chosen = localStorage.getItem("sidetone.language");
    if (chosen in tables) return chosen;
  } catch { /* Storage may be forbidden; the browser's language then stands. */ }
  for (const l of navigator.languages ?? [navigator.language]) {
    const base = l.toLowerCase().split("-")[0];
    if (base in tables) return base;
  }
  return "en";
}

export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  try { localStorage.setItem("sidetone.language", language); } catch { /* The choice lasts until reload. */ }
}

// t is the string of a key with its {names} filled in.
export function t(key, values = {}) {
  const s = tables[language][key];
  if (s === undefined) throw new Error(`no string "${key}"`);
  return s.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// translate fills the static parts: data-t the text, data-tl label and tooltip.
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-tl]")) {
    e.setAttribute("aria-label", t(e.dataset.tl));
    e.title = t(e.dataset.tl);
  }
}
