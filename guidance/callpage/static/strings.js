// Every word of these pages, in each language they speak.
import { load, save } from "/pane/prefs.js";

const en = {
  calls: "Calls", pages: "Pages", voices: "Voices", allCalls: "Calls", skip: "Skip to the transcript",
  words: "What was said", wordsHint: "Words said in the call", agent: "Agent", state: "State", day: "Day", find: "Find", more: "Show more",
  anyState: "Any", nobody: "nobody", counts: "lines: {words}, cards: {cards}", recorded: "recorded",
  foundNone: "No call fits.", foundOne: "1 call", foundMany: "{n} calls", cannotList: "The calls cannot be listed: {why}",
  listKeys: "Keys: / searches, ↑ ↓ or j k go from call to call, Enter opens.",
  callKeys: "Keys: space plays and pauses, ← → skip 5 s, j k go from line to line.",
  state_running: "running", state_ended: "ended", state_refused: "refused", state_aborted: "aborted", state_lost: "lost", state_timed_out: "timed out",
  end_running: "The call is running.", end_ended: "The call ended in the usual way.", end_refused: "The call was refused: it did not begin.",
  end_aborted: "Sidetone stopped following the call.", end_lost: "The connection was lost and did not come back.", end_timed_out: "The call is over since no more audio came.",
  because: "Reason: {why}.",
  role_agent: "Agent", role_customer: "Customer", role_unknown: "Unknown", noOne: "nobody",
  facts: "Call", legs: "Parties", recording: "Recording", transcript: "Transcript", cards: "Cards",
  fact_started: "Began", fact_length: "Length", fact_agent: "Agent", fact_customer: "Customer", fact_name: "Name", fact_source: "Source", fact_external: "Source’s name",
  fact_direction: "Direction", fact_language: "Language", fact_node: "Server", fact_key: "Key",
  direction_inbound: "inbound", direction_outbound: "outbound",
  known: "Role known by: {why}", against: "But: {what}", quality: "Loss {lost} %, jitter {jitter} ms, level {level} dBFS",
  noCall: "There is no call {id}, or it is not for you.", cannotShow: "The call cannot be read: {why}",
  sides: "Left: {left}. Right: {right}. {format}, {kb} kB.", save: "Save the recording", note: "Consent: {note}",
  notRecorded: "This call was not recorded.", recordingNow: "The recording is being made; it can be played after the call.",
  recordingGone: "The recording is no longer kept, or there was no sound.", elsewhere: "The recording is at the server {node}.",
  damaged: "Part of the recording is missing ({s} s): {why}", cannotPlay: "The recording cannot be played: {why}", offline: "the server does not answer",
  timeline: "{n} lines, {pauses} pauses and {cards} cards on the call’s time", pause: "Paused until {to}: {why}", pauseOpen: "Paused: {why}", gap: "{s} s were not heard: {why}",
  noWords: "Nothing was said, or it is no longer kept.", noCards: "No card was shown, or they are no longer kept.",
  writtenAs: "written:", playFrom: "Play from {time}",
  card_live: "not answered", card_used: "used", card_dismissed: "dismissed", card_wrong: "marked as wrong", card_withdrawn: "withdrawn",
  kind_answer: "Answer", kind_action: "Action", kind_script: "Script", kind_checklist: "Checklist", kind_compliance: "Required", kind_offer: "Offer", kind_alert: "Alert",
  said: "{role} at {time}:", rule: "rule {rule}", withdrawn: "withdrawn: {why}",
  painted: "on {who}’s screen {ms} ms after the words", paintedOwn: "on {who}’s screen {ms} ms after it was made", notPainted: "never on a screen",
  themeDark: "Dark", themeLight: "Light", switchLanguage: "切换到中文", otherLanguage: "中文",
};

const zh = {
  calls: "通话", pages: "页面", voices: "声纹", allCalls: "通话", skip: "跳到通话实录",
  words: "说过的话", wordsHint: "通话中出现的词语", agent: "坐席", state: "状态", day: "日期", find: "查找", more: "显示更多",
  anyState: "全部", nobody: "无", counts: "{words} 句，{cards} 张提示卡", recorded: "有录音",
  foundNone: "没有符合条件的通话。", foundOne: "1 通", foundMany: "{n} 通", cannotList: "无法列出通话：{why}",
  listKeys: "按键：/ 搜索，↑ ↓ 或 j k 在通话间移动，Enter 打开。",
  callKeys: "按键：空格播放或暂停，← → 跳 5 秒，j k 逐句移动。",
  state_running: "进行中", state_ended: "已结束", state_refused: "被拒绝", state_aborted: "已中止", state_lost: "连接丢失", state_timed_out: "超时",
  end_running: "通话进行中。", end_ended: "通话正常结束。", end_refused: "通话被拒绝，未能开始。",
  end_aborted: "Sidetone 已停止跟踪本通话。", end_lost: "连接中断，且未恢复。", end_timed_out: "未再收到语音，通话结束。",
  because: "原因：{why}。",
  role_agent: "坐席", role_customer: "客户", role_unknown: "未知", noOne: "无",
  facts: "通话信息", legs: "通话双方", recording: "录音", transcript: "通话实录", cards: "提示卡",
  fact_started: "开始", fact_length: "时长", fact_agent: "坐席", fact_customer: "客户", fact_name: "名称", fact_source: "来源", fact_external: "来源中的名称",
  fact_direction: "方向", fact_language: "语言", fact_node: "服务器", fact_key: "编号",
  direction_inbound: "呼入", direction_outbound: "呼出",
  known: "角色依据：{why}", against: "但是：{what}", quality: "丢包 {lost} %，抖动 {jitter} 毫秒，电平 {level} dBFS",
  noCall: "没有通话 {id}，或您无权查看。", cannotShow: "无法读取通话：{why}",
  sides: "左声道：{left}。右声道：{right}。{format}，{kb} kB。", save: "保存录音", note: "录音告知：{note}",
  notRecorded: "本通话没有录音。", recordingNow: "正在录音，通话结束后可以播放。",
  recordingGone: "录音已不再保存，或没有声音。", elsewhere: "录音在服务器 {node} 上。",
  damaged: "录音有缺失（{s} 秒）：{why}", cannotPlay: "无法播放录音：{why}", offline: "服务器没有响应",
  timeline: "通话时间线：{n} 句，{pauses} 次暂停，{cards} 张提示卡", pause: "暂停到 {to}：{why}", pauseOpen: "已暂停：{why}", gap: "{s} 秒没有听到：{why}",
  noWords: "没有说话，或内容已不再保存。", noCards: "没有显示过提示卡，或已不再保存。",
  writtenAs: "书面形式：", playFrom: "从 {time} 播放",
  card_live: "未处理", card_used: "已用", card_dismissed: "已忽略", card_wrong: "标为有误", card_withdrawn: "已撤回",
  kind_answer: "解答", kind_action: "操作", kind_script: "话术", kind_checklist: "清单", kind_compliance: "必说", kind_offer: "推荐", kind_alert: "警示",
  said: "{role}在 {time} 说：", rule: "规则 {rule}", withdrawn: "撤回原因：{why}",
  painted: "说完 {ms} 毫秒后显示给 {who}", paintedOwn: "生成 {ms} 毫秒后显示给 {who}", notPainted: "没有显示过",
  themeDark: "深色", themeLight: "浅色", switchLanguage: "Switch to English", otherLanguage: "English",
};

const tables = { en, zh };
let language = pick();

function pick() {
  const chosen = load("language");
  if (chosen in tables) return chosen;
  return (navigator.languages ?? []).map((l) => l.toLowerCase().split("-")[0]).find((l) => l in tables) ?? "en";
}

export const current = () => language;

export function toggleLanguage() {
  language = language === "en" ? "zh" : "en";
  save("language", language);
}

// t is the string of a key with its {names} filled in.
export function t(key, values = {}) {
  const s = tables[language][key];
  if (s === undefined) throw new Error(`no string "${key}"`);
  return s.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const has = (key) => key in tables[language];

// translate fills the static parts: data-t the text, data-tl the label and tooltip,
// data-tp the placeholder.
export function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-tp]")) e.placeholder = t(e.dataset.tp);
  for (const e of document.querySelectorAll("[data-tl]")) {
    e.setAttribute("aria-label", t(e.dataset.tl));
    if (e.tagName === "BUTTON") e.title = t(e.dataset.tl);
  }
}
