// Every word of the page, in each language it speaks.

const en = {
  title: "Microphone", switchLanguage: "切换到中文", otherLanguage: "中文",
  toDark: "Switch to the Dark theme", toLight: "Switch to the Light theme", dark: "Dark", light: "Light",
  state_idle: "Not speaking", state_asking: "Waiting for the microphone", state_connecting: "Connecting…",
  state_live: "On the call", state_muted: "Muted", state_lost: "Connection lost", state_ended: "Over", state_failed: "It did not work",
  what_idle: "Press Start to speak into a call.", what_asking: "Allow this page to use the microphone.",
  what_connecting: "The microphone is open; the server is being called.", what_live: "What you say reaches the call “{call}”.",
  what_liveNew: "What you say reaches a new call.",
  what_muted: "Nothing that you say is sent.", what_lost: "Trying again. What you say now is not heard.",
  what_ended: "You have left the call.", what_failed: "Nothing is sent. See below.",
  level: "Level of the microphone", silent: "Nothing is heard. Is it the right microphone, and is it switched on?", loud: "Too loud: speak more softly or turn the microphone down.",
  start: "Start", stop: "Stop", mute: "Mute",
  who: "Who speaks, and into which call", agent: "Agent", customer: "Customer (test caller)",
  call: "Call", callNew: "a new one", agentName: "Agent’s pane", agentExample: "such as ann",
  spoken: "Language spoken", spokenDefault: "as the server is set", device: "Microphone", deviceDefault: "the system’s",
  token: "Access token", tokenNone: "if the server asks for one", clean: "Remove echo and noise (without a headset)",
  insecure: "This page cannot use a microphone.", insecureHint: "Browsers give one only to pages of https, or of this machine (http://localhost). Open the page that way.",
  denied: "The microphone was not allowed.", deniedHint: "Allow it in the browser’s address bar, then press Start.",
  noDevice: "There is no microphone.", noDeviceHint: "Plug one in, then press Start.",
  deviceFailed: "The microphone does not work: {why}", deviceFailedHint: "Another program may be using it.",
  unplugged: "The microphone was unplugged.", unpluggedHint: "Plug it in, then press Start.",
  refused: "The server refused: {why}", unreachable: "The server cannot be reached.", unreachableHint: "It is tried again every few seconds.",
  tokenHint: "Enter the access token below, then press Start.",
  hungUp: "The server ended the connection.", hungUpHint: "The call may be over. Press Start to begin again.",
  gaveUp: "The connection cannot be made.", gaveUpHint: "A firewall may block UDP to the server. Ask your administrator.",
};

const zh = {
  title: "麦克风", switchLanguage: "Switch to English", otherLanguage: "English",
  toDark: "切换到深色主题", toLight: "切换到浅色主题", dark: "深色", light: "浅色",
  state_idle: "未发言", state_asking: "等待麦克风", state_connecting: "正在连接…",
  state_live: "通话中", state_muted: "已静音", state_lost: "连接中断", state_ended: "已结束", state_failed: "未能成功",
  what_idle: "按“开始”即可向通话发言。", what_asking: "请允许本页面使用麦克风。",
  what_connecting: "麦克风已打开，正在呼叫服务器。", what_live: "您的讲话正在进入通话“{call}”。",
  what_liveNew: "您的讲话正在进入一个新通话。",
  what_muted: "您的讲话不会被发送。", what_lost: "正在重试。您现在说的话不会被听到。",
  what_ended: "您已离开通话。", what_failed: "没有发送任何声音，请看下方说明。",
  level: "麦克风音量", silent: "没有听到声音。麦克风选对了吗？打开了吗？", loud: "声音太大。请小声一些，或调低麦克风音量。",
  start: "开始", stop: "停止", mute: "静音",
  who: "谁在讲话，进入哪个通话", agent: "坐席", customer: "客户（测试来电）",
  call: "通话", callNew: "新建", agentName: "坐席页面", agentExample: "例如 ann",
  spoken: "所说语言", spokenDefault: "按服务器设置", device: "麦克风", deviceDefault: "系统默认",
  token: "访问令牌", tokenNone: "服务器要求时填写", clean: "消除回声和噪声（未戴耳机时）",
  insecure: "本页面无法使用麦克风。", insecureHint: "浏览器只允许 https 页面或本机页面使用麦克风，请用 https 或 http://localhost 打开。",
  denied: "麦克风未获允许。", deniedHint: "请在浏览器地址栏中允许，然后按“开始”。",
  noDevice: "没有麦克风。", noDeviceHint: "请插上麦克风，然后按“开始”。",
  deviceFailed: "麦克风无法工作：{why}", deviceFailedHint: "可能有其他程序正在使用它。",
  unplugged: "麦克风已被拔出。", unpluggedHint: "请重新插上，然后按“开始”。",
  refused: "服务器拒绝：{why}", unreachable: "无法连接服务器。", unreachableHint: "每隔几秒会自动重试。",
  tokenHint: "请在下方填写访问令牌，然后按“开始”。",
  hungUp: "服务器结束了连接。", hungUpHint: "通话可能已结束。按“开始”可重新开始。",
  gaveUp: "无法建立连接。", gaveUpHint: "防火墙可能阻挡了到服务器的 UDP，请联系管理员。",
};

const tables = { en, zh };

function recall(key) {
  try { return localStorage.getItem("sidetone." + key); } catch { return null; }
}

export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem("sidetone." + key);
    else localStorage.setItem("sidetone." + key, value);
  } catch { /* Storage may be forbidden; the choice then lasts until reload. */ }
}

let language = recall("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
if (!(language in tables)) language = "en";

export function switchLanguage() {
  language = language === "en" ? "zh" : "en";
  remember("language", language);
}

// t is the string of a key with its {names} filled in.
export function t(key, values = {}) {
  const s = tables[language][key];
  if (s === undefined) throw new Error(`no string "${key}"`);
  return s.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// translate fills the static parts: data-t the text, data-tl the label and
// tooltip, data-tp the placeholder.
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = `${t("title")} · Sidetone`;
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-tp]")) e.placeholder = t(e.dataset.tp);
  for (const e of document.querySelectorAll("[data-tl]")) {
    e.setAttribute("aria-label", t(e.dataset.tl));
    if (e.tagName === "BUTTON") e.title = t(e.dataset.tl);
  }
}
