// Every word of the interface, in each language it speaks.
import { load, save } from "./prefs.js";

const en = {
  skipToCards: "Skip to the cards",
  transcript: "Transcript", guidance: "Guidance", calls: "Calls", legs: "Parties",
  agent: "Agent", customer: "Customer", unknown: "Speaker",
  legState: "{role}: {state}",
  leg_waiting: "waiting for audio", leg_live: "live", leg_held: "on hold", leg_ended: "left",
  roleReason: "Role: {reason}",
  quality: "Loss {loss} %, jitter {jitter} ms, level {level} dBFS",
  poor_loss: "bad line: losses", poor_level: "too quiet", poor_clipping: "distorted", poor_late: "bad line: delays",
  pause: "Pause", resume: "Resume", key_pause: "Pause or resume hearing, for card data",
  paused: "Paused ({reason}). Nothing of the call is heard, shown or kept until you resume.",
  voice_match: "Voice confirmed", voice_mismatch: "Another voice", voice_inconclusive: "Voice not certain", voice_listening: "Listening to the voice",
  voiceWhy: "{state}: {why}",
  voiceHelp_match: "The caller’s voice is the one that this customer enrolled.",
  voiceHelp_mismatch: "The caller’s voice is not the one that this customer enrolled. Ask for another proof of identity, as for any caller; it need not be fraud.",
  voiceHelp_inconclusive: "The voice proves nothing here. Ask for another proof of identity.",
  voiceHelp_listening: "The caller’s voice is being compared; go on as usual.",
  reason_too_little_speech: "too little speech", reason_noise: "noise", reason_clipping: "distortion", reason_too_quiet: "too quiet",
  reason_narrow_band: "poor line", reason_reverberation: "echo", reason_music: "music", reason_several_speakers: "more than one speaker",
  reason_between_thresholds: "no clear answer", reason_voice_changed: "somebody else speaks now", reason_other_channel: "unusual line",
  reason_spoof_suspected: "it may be a recording", reason_expired: "enrolled too long ago", reason_other_model: "must be enrolled again",
  doubt: "Swapped? {heard}", doubtHeard: "{role}: {words}", doubtVoice: "your own voice", swap: "Swap", swapNo: "It is right", listComma: "; ",
  call_waiting: "Waiting for a call", call_running: "On a call", call_ended: "Call ended",
  call_away: "Call interrupted", link_elsewhere: "Connected · call on {node}",
  away_server: "The connection to the server that has this call was lost. The call itself may go on; Sidetone waits for that server or another one to take it up.",
  away_fork: "No sound of this call arrives any more. Sidetone waits for the telephone system to connect again.",
  link_connecting: "Connecting…", link_connected: "Connected",
  link_reconnecting: "Reconnecting…", link_offline: "Offline",
  bannerReconnecting: "Connection lost. What you see may be out of date; trying again in {s} s.",
  bannerConnecting: "Connection lost. What you see may be out of date; trying again now.",
  bannerDraining: "This server is about to stop. Your call goes on; new calls come from another server.",
  bannerOffline: "This computer is offline. What you see may be out of date; it goes on when the network is back.",
  waitingTitle: "Waiting for a call",
  waitingWhat: "Take the next call as usual. What both sides say appears here, and cards appear beside it. There is nothing to press.",
  waitingHint1: "Leave this page open, in a window of its own or beside your CRM.",
  waitingName: "It shows calls of the agent “{agent}”. If that is not you, change the name in the address.",
  waitingHint3: "On a call, and still nothing here? Tell your supervisor that the call’s audio does not reach Sidetone.",
  end_ended: "Call ended", end_timed_out: "Call ended: no more audio came", end_lost: "Call lost: Sidetone could not follow it any further", end_aborted: "Sidetone stopped following the call", end_refused: "The call did not begin", end_moved: "Another agent has taken the call over",
  over: "{state} after {time}.", overReason: "{state} after {time} ({reason}).", overNext: "Waiting for the next call.",
  earlier: "{n} earlier utterances are not shown.",
  now: "Jump to now", nowNew: "Jump to now · {n} new",
  spoken: "Spoken: “{words}”",
  wordsGone: "Those words are no longer in the transcript.",
  noCards: "No card right now. Cards appear here when somebody says something that one answers.",
  newCard: "New card. {kind}: {title}. {body}",
  withdrawnSay: "Card withdrawn: {title}",
  kind_answer: "Answer", kind_action: "Action", kind_script: "Script", kind_checklist: "Checklist",
  kind_compliance: "Required", kind_offer: "Offer", kind_alert: "Alert",
  say: "Say", note: "Note", steps: "Steps", why: "Why",
  whyJump: "Why: {role} said “{text}” at {time}. Show it in the transcript.",
  said: "{role} · {time}",
  rule: "rule {rule}", element: "{element} v{version}",
  used: "Used", dismissed: "Dismiss", wrong: "Wrong",
  state_used: "Used", state_dismissed: "Dismissed", state_wrong: "Wrong", state_withdrawn: "Withdrawn", state_expired: "Expired",
  withdrawnWhy: "Withdrawn: {reason}",
  verdictSay: "{state}: {title}",
  expand: "Show {title}", handled: "Handled ({n})",
  search: "Search the knowledge base", searchPlaceholder: "Search knowledge",
  searching: "Searching…", found: "{n} results", foundOne: "1 result", foundNone: "Nothing found. Try other words.",
  searchOffline: "Search needs the connection; try again when it is back.",
  closeResults: "Close results", internal: "For you",
  themeDark: "Dark", themeLight: "Light", themeTo: "Switch to the {theme} theme",
  switchLanguage: "切换到中文", otherLanguage: "中文",
  shortcuts: "Keyboard shortcuts", close: "Close",
  singleKeys: "Use single-key shortcuts (U, D, W, …)",
  key_used: "Used: the marked card", key_dismissed: "Dismiss the marked card", key_wrong: "The marked card is wrong",
  key_why: "Show the words that triggered the marked card", key_cards: "Go to the cards", key_move: "Go from card to card",
  key_transcript: "Go to the transcript", key_now: "Jump to now", key_search: "Search", key_help: "This help",
  key_escape: "Close search or help, or go back to the card",
  err_unknown_card: "That card is gone.", err_unknown_call: "That call is over.", err_unreachable: "The server that has this call cannot be reached right now. Verdicts on cards are kept and sent again.", err_search_failed: "The search failed; try again.",
  err_search_off: "This server has no knowledge base to search.", err_too_fast: "Too fast; slow down.",
  err_bad_message: "The server did not understand this page. Reload it.",
  pages: "Pages", voices: "Voices",
  openPane: "Open an agent’s page", agentName: "Agent’s name", open: "Open", runningCalls: "Running calls",
  noneRunning: "No call is running.", cannotList: "The list of calls cannot be read right now.",
  logout: "Log out", loggedIn: "{name} is logged in",
};

const zh = {
  skipToCards: "跳到提示卡",
  transcript: "通话实录", guidance: "坐席提示", calls: "通话", legs: "通话双方",
  agent: "坐席", customer: "客户", unknown: "说话人",
  legState: "{role}：{state}",
  leg_waiting: "等待语音", leg_live: "通话中", leg_held: "保持中", leg_ended: "已离开",
  roleReason: "角色依据：{reason}",
  quality: "丢包 {loss} %，抖动 {jitter} 毫秒，电平 {level} dBFS",
  poor_loss: "线路差：丢包", poor_level: "声音太小", poor_clipping: "声音失真", poor_late: "线路差：延迟",
  pause: "暂停", resume: "继续", key_pause: "暂停或继续收听（录入卡号时）",
  paused: "已暂停（{reason}）。继续之前，通话内容不会被收听、显示或保存。",
  voice_match: "声音已确认", voice_mismatch: "声音不符", voice_inconclusive: "声音无法确认", voice_listening: "正在识别声音",
  voiceWhy: "{state}：{why}",
  voiceHelp_match: "来电者的声音与该客户登记的声音一致。",
  voiceHelp_mismatch: "来电者的声音与该客户登记的声音不一致。请像对待任何来电者一样，用其他方式核实身份；这不一定是欺诈。",
  voiceHelp_inconclusive: "声音不能作为证明。请用其他方式核实身份。",
  voiceHelp_listening: "正在比对来电者的声音，请照常进行。",
  reason_too_little_speech: "说话太少", reason_noise: "噪声", reason_clipping: "失真", reason_too_quiet: "音量太低",
  reason_narrow_band: "线路质量差", reason_reverberation: "回声", reason_music: "有音乐", reason_several_speakers: "不止一人说话",
  reason_between_thresholds: "结果不明确", reason_voice_changed: "换了说话人", reason_other_channel: "线路与平时不同",
  reason_spoof_suspected: "可能是录音", reason_expired: "登记已过期", reason_other_model: "需要重新登记",
  doubt: "双方弄反了？{heard}", doubtHeard: "{role}：{words}", doubtVoice: "您自己的声音", swap: "互换", swapNo: "没有弄反", listComma: "；",
  call_waiting: "等待来电", call_running: "通话中", call_ended: "通话已结束",
  call_away: "通话中断", link_elsewhere: "已连接 · 通话在 {node}",
  away_server: "与承载本通话的服务器的连接已中断。通话本身可能仍在继续；Sidetone 正等待该服务器恢复或由其他服务器接手。",
  away_fork: "本通话已收不到声音。Sidetone 正等待电话系统重新连接。",
  link_connecting: "正在连接…", link_connected: "已连接",
  link_reconnecting: "正在重连…", link_offline: "网络已断开",
  bannerReconnecting: "连接中断，所见内容可能不是最新。{s} 秒后重试。",
  bannerConnecting: "连接中断，所见内容可能不是最新。正在重试。",
  bannerDraining: "此服务器即将停止。当前通话会继续；新的通话将由其他服务器提供。",
  bannerOffline: "本机网络已断开，所见内容可能不是最新。网络恢复后会自动继续。",
  waitingTitle: "等待来电",
  waitingWhat: "照常接听下一通电话即可，无需任何操作。双方的对话会显示在这里，提示卡会显示在旁边。",
  waitingHint1: "请保持本页面打开，可单独成窗，也可放在 CRM 旁边。",
  waitingName: "本页面显示坐席“{agent}”的通话。如果不是您，请修改网址中的姓名。",
  waitingHint3: "正在通话却没有内容？请告知主管：通话语音没有送到 Sidetone。",
  end_ended: "通话结束", end_timed_out: "通话结束：未再收到语音", end_lost: "通话丢失：Sidetone 无法继续跟踪", end_aborted: "Sidetone 已停止跟踪本通话", end_refused: "通话未能开始", end_moved: "通话已由其他坐席接手",
  over: "{state}，时长 {time}。", overReason: "{state}，时长 {time}（{reason}）。", overNext: "等待下一通来电。",
  earlier: "更早的 {n} 句未显示。",
  now: "回到最新", nowNew: "回到最新 · {n} 条新内容",
  spoken: "原话：“{words}”",
  wordsGone: "这句话已不在实录中。",
  noCards: "暂无提示卡。当对话内容有对应的提示时，会显示在这里。",
  newCard: "新提示卡。{kind}：{title}。{body}",
  withdrawnSay: "提示卡已撤回：{title}",
  kind_answer: "解答", kind_action: "操作", kind_script: "话术", kind_checklist: "清单",
  kind_compliance: "必说", kind_offer: "推荐", kind_alert: "警示",
  say: "话术", note: "说明", steps: "步骤", why: "依据",
  whyJump: "依据：{role}在 {time} 说“{text}”。在实录中显示。",
  said: "{role} · {time}",
  rule: "规则 {rule}", element: "{element} 版本 {version}",
  used: "已用", dismissed: "忽略", wrong: "有误",
  state_used: "已用", state_dismissed: "已忽略", state_wrong: "有误", state_withdrawn: "已撤回", state_expired: "已过期",
  withdrawnWhy: "已撤回：{reason}",
  verdictSay: "{state}：{title}",
  expand: "展开 {title}", handled: "已处理（{n}）",
  search: "搜索知识库", searchPlaceholder: "搜索知识库",
  searching: "正在搜索…", found: "{n} 条结果", foundOne: "1 条结果", foundNone: "没有找到，请换个说法。",
  searchOffline: "搜索需要连接，请在恢复后重试。",
  closeResults: "关闭结果", internal: "内部说明",
  themeDark: "深色", themeLight: "浅色", themeTo: "切换到{theme}主题",
  switchLanguage: "Switch to English", otherLanguage: "English",
  shortcuts: "键盘快捷键", close: "关闭",
  singleKeys: "启用单键快捷键（U、D、W 等）",
  key_used: "已用：当前提示卡", key_dismissed: "忽略当前提示卡", key_wrong: "当前提示卡有误",
  key_why: "显示触发当前提示卡的原话", key_cards: "转到提示卡", key_move: "在提示卡之间移动",
  key_transcript: "转到通话实录", key_now: "回到最新", key_search: "搜索", key_help: "本帮助",
  key_escape: "关闭搜索或帮助，或回到提示卡",
  err_unknown_card: "该提示卡已不存在。", err_unknown_call: "该通话已结束。", err_unreachable: "暂时无法连接承载本通话的服务器。对提示卡的处理已保留，稍后会重新发送。", err_search_failed: "搜索失败，请重试。",
  err_search_off: "本服务器没有可搜索的知识库。", err_too_fast: "操作过快，请稍候。",
  err_bad_message: "服务器无法识别本页面的请求，请刷新。",
  pages: "页面", voices: "声纹",
  openPane: "打开坐席页面", agentName: "坐席姓名", open: "打开", runningCalls: "进行中的通话",
  noneRunning: "目前没有通话。", cannotList: "暂时无法读取通话列表。",
  logout: "退出登录", loggedIn: "已登录：{name}",
};

const tables = { en, zh };
let language = pick();

function pick() {
  const chosen = load("language");
  if (chosen in tables) return chosen;
  for (const l of navigator.languages ?? [navigator.language]) {
    const base = l.toLowerCase().split("-")[0];
    if (base in tables) return base;
  }
  return "en";
}

export const current = () => language;

// suggest takes the server's default where neither agent nor browser chose.
export function suggest(l) {
  const known = (navigator.languages ?? []).some((x) => x.toLowerCase().split("-")[0] in tables);
  if (load("language") === null && !known && l in tables) language = l;
}

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

// translate fills the static parts: data-t the text, data-tl the label and
// tooltip, data-tp the placeholder.
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const e of root.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll("[data-tp]")) e.placeholder = t(e.dataset.tp);
  for (const e of root.querySelectorAll("[data-tl]")) {
    e.setAttribute("aria-label", t(e.dataset.tl));
    if (e.tagName === "BUTTON") e.title = t(e.dataset.tl);
  }
}
