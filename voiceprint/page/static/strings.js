// Every word of these pages that the agent's page does not have, in each language.
import { current, has as knows, t as common, toggleLanguage } from "/pane/strings.js";

const en = {
  voices: "Voices", skip: "Skip to the content", ways: "Pages", overview: "Overview", people: "People", watch: "Watch list", audit: "Audit trail", calls: "Calls",
  switchLanguage: "切换到中文", comma: ", ", seconds: "{s} s", yes: "yes", no: "no", more: "Show more", find: "Find", open: "Open", cancel: "Cancel",
  keys: "Keys: j k go from row to row, Enter opens, / goes to the search.",
  cannotShow: "This cannot be read: {why}", off: "No voices are compared on this server (voice.on).",
  comparing: "How voices are compared", model: "Model", calibration: "Calibration", calibrationOf: "{version} of {date}", trainedOn: "Estimated on", measuredOn: "Thresholds measured on",
  measured: "{targets} calls of true callers and {impostors} of impostors, {speakers} speakers, none of them trained on", looksAt: "Looked at", looks: "{n} times, from {first} s of speech to {last} s; the answer is there after {limit} s",
  det: "False accepts against false rejects", far: "False accepts", frr: "False rejects", threshold: "Threshold of the first looks (nats)", inUse: "in use",
  inUseWords: "In use: at most {far} of impostors are accepted, and {frr} of true callers are not confirmed; a match takes {llr} nats after {first} s of speech, and {last} after {limit} s.",
  detLabel: "DET curve with {n} thresholds. In use: {far} false accepts, {frr} false rejects.",
  detCaption: "Each point is a threshold of the sequential decision as a whole, not of a single score, as measured on {targets} calls of true callers and {impostors} of impostors; the ring between them is the one in use. Triangles: no true caller was refused, so the true share is below what can be shown.",
  builtIn: "These are the built-in parameters, measured on simulated lines and one session per speaker: expect 2 to 4 times these shares on real calls, until you calibrate on your own (sidetone voice calibrate).",
  detTable: "The thresholds as a table", noneOf: "none of {n}",
  waiting: "To look at", openHits: "open watch-list hits", lookedFor: "voices looked for", linkedVoices: "voices that called for several customers", noWatch: "This server has no watch list.",
  enrolledPeople: "enrolled", latest: "Latest decisions", noComparisons: "No voice has been compared yet.",
  at: "When", call: "Call", leg: "Leg", outcome: "Answer", reasons: "Reasons", llr: "Evidence (nats)", net: "Speech", took: "Took",
  state: "State", anyState: "Any", state_unknown: "not asked", state_asked: "asked", state_consented: "consented", state_opted_out: "opted out", state_expired: "consent expired",
  customer: "Customer", customerHint: "Number or name, exactly as enrolled", onlyEnrolled: "only enrolled", shown: "{n} shown", nobody: "Nobody.", nameErased: "(erased)",
  templatesOf: "voices: {n}", provisionalOf: ", on trial: {n}", erasedOn: "erased {day}", until: "until {day}", sinceDay: "since {day}", usedOn: "heard {day}",
  unknown: "Nothing is known of the voice of {customer}. Record a consent to begin.",
  recordConsent: "Record consent", enrolFile: "Enrol from a file", optOut: "Opt out", erase: "Erase all", standing: "Standing", since: "Since", expires: "Expires", erasedAt: "Erased", used: "Last heard", pseudonym: "Pseudonym",
  consents: "Consents", noConsents: "No consent is recorded.", saidWhat: "What they said", wording: "Version of the text", language: "Language", channel: "Over", how: "How", by: "By",
  said_asked: "asked", said_consented: "consented", said_opted_out: "opted out", said_erased: "erased",
  templates: "Voice templates", noTemplates: "No voice is enrolled.", line: "Line", version: "Version", use: "Use", made: "Made", audioKept: "Audio kept", change: "Change", useLive: "compared with", useWaits: "on trial", useOld: "earlier version", revoke: "Revoke", revokeLine: "Revoke: {line}",
  line_phone: "Phone", line_headset: "Headset", line_mobile: "Mobile", line_web: "Web",
  comparisons: "Comparisons", because: ": {why}", llrAgainst: "{llr} (accepts from {accept}, rejects down from {reject})", netAxis: "Speech heard (s)", llrAxis: "Evidence (nats)", acceptLine: "match from {llr}", acceptFalls: "match from {llr}, later {last}", acceptHead: "Match from", rejectLine: "mismatch below {llr}",
  scoresLabel: "Evidence over {n} looks: at last {llr} nats after {s}. A match takes {accept}, a mismatch {reject}.", scoresTable: "The scores as a table",
  quality_snr_db: "Speech to noise", quality_level_dbfs: "Level", quality_clipped: "Clipped", quality_edge_hz: "Band up to", quality_reverberation_s: "Reverberation", quality_music: "Music", quality_unlike: "Second speaker",
  signs: "Signs of a recording or of a made voice", sign: "Sign", probability: "Probability", seen: "What was seen", signsText: "The probability is that of the sign being real, not of fraud. It never changes the evidence of the voice.",
  sign_repeated_audio: "heard before from this customer", sign_repeated_audio_elsewhere: "heard before in another call", sign_enrolment_replayed: "the enrolment’s own audio", sign_loudspeaker: "played by a loudspeaker", sign_synthetic_speech: "synthetic speech",
  why_not_enrolled: "not enrolled", why_no_consent: "no consent", why_opted_out: "opted out", why_identity_not_confirmed: "identity not confirmed otherwise", why_watch_list: "on the watch list", why_voice_of_another_customer: "voice of another customer", why_voices_disagree: "the calls’ voices disagree",
  why_enough_speech: "enough speech already", why_too_few_calls: "too few calls", why_cooling_off: "waiting period", why_match_too_weak: "match too weak", why_too_soon: "too soon after the last change", why_drifted: "the voice has drifted", why_scores_decline: "scores decline", why_unused: "not heard for long",
  passive: "Passive enrolment", phase: "Phase", phase_collecting: "collecting calls", phase_provisional: "on trial", phase_active: "in use", phase_stopped: "stopped: somebody has to look", callsKept: "Calls that agree", conflicts: "Calls that disagreed", renew: "Enrol anew", renewText: "This person should be enrolled anew: {why}.",
  wholeTrail: "The whole trail", auditText: "From the hash-chained audit log; reading this list is an entry, too. sidetone audit verify checks that nothing was changed.",
  did: "What", about: "About", details: "Details", from: "From", noEntriesYet: "Nothing yet.", everybody: "everybody", withReads: "with reads", toPerson: "All about {customer}",
  act_listed: "looked it up", act_read: "read voices to compare", act_compared: "compared", act_consent: "recorded consent", act_enrolled: "enrolled", act_activated: "put into use", act_adapted: "adapted", act_rolled_back: "rolled back", act_revoked: "revoked", act_erased: "erased", act_expired: "deleted when due",
  act_passive: "kept for passive enrolment", act_print_kept: "kept a print of what was said", act_signs: "noted signs", act_key_made: "made a key", act_rekeyed: "changed keys", act_reembedded: "made templates of a new model", act_watch_added: "put on the watch list", act_watch_hit: "watch-list hit", act_watch_confirmed: "confirmed a hit", act_watch_dismissed: "dismissed a hit", act_watch_extended: "extended a watch-list entry", act_watch_removed: "took off the watch list",
  hits: "Hits", hit_open: "open", hit_confirmed: "confirmed", hit_dismissed: "dismissed", noHits: "No such hit.", decision: "Decision", do_confirmed: "Confirm", do_dismissed: "Dismiss",
  entries: "Voices that are looked for", noEntries: "No voice is looked for.", addVoice: "Add a voice", reason: "Reason", basis: "Legal basis", basisHint: "By what right the voice is looked for", whoseVoice: "Whose voice, if known", extend: "Extend", extendTitle: "Reviewed: look for it longer", extended: "Extended.", added: "Added", review: "Review", reviewDue: "due since {day}", remove: "Remove",
  links: "One voice, several customers", linksText: "Voices that nobody was verified by and that called for more than one customer. Families share telephones: it is a reason to look, not a proof.", noLinks: "No such voice is known.", linksOff: "Links are not looked for (voice.links).", customers: "Customers", callsOf: "Calls", first: "First", last: "Last",
  consentTitle: "What {customer} said", consentText: "Without consent nothing is made of a voice.", record: "Record", recorded: "Recorded.",
  optOutTitle: "{customer} opts out", optOutText: "Their templates and audio are deleted at once. None is made until they consent anew.", optedOut: "Opted out; templates and audio are deleted.",
  enrolTitle: "Enrol {customer}", enrolText: "A WAV file in which only they speak: 20 s of clear speech or more, best over the line that they call by.", enrol: "Enrol", file: "WAV file", fileChannel: "Channel of the file", replace: "replace the templates of this line", enrolled: "Enrolled by {s} of speech",
  speechUsed: "Speech that can be used", speechMissing: "Still missing", against: "Against it", duplicates: "even if the voice is enrolled under another name, too",
  revokeTitle: "Revoke a template", revokeText: "The template ({line}) is deleted with all its versions and its audio. This cannot be undone.", revoked: "Revoked.", back: "Roll back", backLine: "Roll back to version {version}: {line}", backTitle: "Roll back a template", backText: "Version {version} ({line}) is compared with again; the versions after it are deleted.", wentBack: "Rolled back.",
  anew: "Begin anew", anewTitle: "Begin anew with {customer}", anewText: "What calls have said so far for the passive enrolment is forgotten.", begunAnew: "Begun anew.",
  eraseTitle: "Erase {customer}", eraseText: "Templates, audio, decisions, name and consents are deleted. A pseudonym with the proof of the erasure stays. This cannot be undone.", eraseWatch: "watch-list entries about them, too", erased: "Erased: templates {templates}, comparisons {comparisons}.",
  addTitle: "Look for a voice", addText: "A WAV file in which only this voice speaks. Whoever is on the list is told of nothing: have a basis for it, and a date by which it is looked at again.", add: "Add",
  removeTitle: "Take off the watch list", removeText: "The voice is deleted: {reason}", removed: "Removed.",
  judge_confirmed: "Confirm the hit", judge_dismissed: "Dismiss the hit", judgeText_confirmed: "The voice in the call is the one that is looked for.", judgeText_dismissed: "The voice in the call is another one.", judgeFinal: "Who decided is kept; it cannot be decided again.", judged: "Decided.",
};

const zh = {
  voices: "声纹", skip: "跳到内容", ways: "页面", overview: "概览", people: "人员", watch: "监视名单", audit: "审计记录", calls: "通话",
  switchLanguage: "Switch to English", comma: "、", seconds: "{s} 秒", yes: "是", no: "否", more: "显示更多", find: "查找", open: "打开", cancel: "取消",
  keys: "按键：j k 逐行移动，Enter 打开，/ 转到搜索。",
  cannotShow: "无法读取：{why}", off: "本服务器未启用声音比对（voice.on）。",
  comparing: "比对方式", model: "模型", calibration: "校准", calibrationOf: "{version}，{date}", trainedOn: "估计所用数据", measuredOn: "阈值测量所用数据",
  measured: "本人通话 {targets} 通，冒充者通话 {impostors} 通，说话人 {speakers} 位，均未参与训练", looksAt: "判断时刻", looks: "共 {n} 次，净语音 {first} 至 {last} 秒；最迟 {limit} 秒给出结果",
  det: "误受率与误拒率", far: "误受率", frr: "误拒率", threshold: "首次评分的阈值（奈特）", inUse: "当前使用",
  inUseWords: "当前使用：最多接受 {far} 的冒充者，{frr} 的本人未能确认；净语音 {first} 秒时一致需达到 {llr} 奈特，{limit} 秒时 {last}。",
  detLabel: "DET 曲线，{n} 个阈值。当前使用：误受率 {far}，误拒率 {frr}。",
  detCaption: "每个点是整个序贯判决（而非单次评分）的一个阈值，测自 {targets} 通本人通话和 {impostors} 通冒充者通话；圆环为当前使用的阈值。三角形：没有本人被拒，真实比例低于可显示的范围。",
  builtIn: "这是内置参数，测自模拟线路，每位说话人仅一次录音：在用自己的通话校准（sidetone voice calibrate）之前，真实通话的比例可能是其 2 至 4 倍。",
  detTable: "阈值表", noneOf: "{n} 通中无",
  waiting: "待查看", openHits: "待处理的监视名单命中", lookedFor: "正在监视的声音", linkedVoices: "为多位客户来电的声音", noWatch: "本服务器没有监视名单。",
  enrolledPeople: "已登记", latest: "最近的判决", noComparisons: "尚未比对过声音。",
  at: "时间", call: "通话", leg: "线路", outcome: "结果", reasons: "原因", llr: "证据（奈特）", net: "净语音", took: "用时",
  state: "状态", anyState: "全部", state_unknown: "未询问", state_asked: "已询问", state_consented: "已同意", state_opted_out: "已拒绝", state_expired: "同意已过期",
  customer: "客户", customerHint: "号码或名称，须与登记时完全一致", onlyEnrolled: "仅已登记", shown: "显示 {n} 位", nobody: "无。", nameErased: "（已删除）",
  templatesOf: "声纹：{n}", provisionalOf: "，试用：{n}", erasedOn: "{day} 删除", until: "至 {day}", sinceDay: "自 {day}", usedOn: "{day} 听到",
  unknown: "没有关于 {customer} 声音的任何记录。请先记录同意。",
  recordConsent: "记录同意", enrolFile: "用文件登记", optOut: "拒绝使用", erase: "全部删除", standing: "状况", since: "自", expires: "到期", erasedAt: "删除于", used: "最近听到", pseudonym: "假名",
  consents: "同意记录", noConsents: "没有同意记录。", saidWhat: "客户的表示", wording: "文本版本", language: "语言", channel: "渠道", how: "方式", by: "操作者",
  said_asked: "已询问", said_consented: "同意", said_opted_out: "拒绝", said_erased: "已删除",
  templates: "声纹模板", noTemplates: "尚未登记声音。", line: "线路", version: "版本", use: "用途", made: "生成", audioKept: "保留录音", change: "更改", useLive: "用于比对", useWaits: "试用", useOld: "旧版本", revoke: "撤销", revokeLine: "撤销：{line}",
  line_phone: "电话", line_headset: "耳机", line_mobile: "手机", line_web: "网页",
  comparisons: "比对记录", because: "：{why}", llrAgainst: "{llr}（{accept} 及以上为一致，{reject} 及以下为不符）", netAxis: "已听到的语音（秒）", llrAxis: "证据（奈特）", acceptLine: "{llr} 以上一致", acceptFalls: "{llr} 以上一致，其后 {last}", acceptHead: "一致需", rejectLine: "{llr} 以下不符",
  scoresLabel: "共 {n} 次评分的证据：最终在 {s}后为 {llr} 奈特。一致需 {accept}，不符需 {reject}。", scoresTable: "评分表",
  quality_snr_db: "信噪比", quality_level_dbfs: "电平", quality_clipped: "削波", quality_edge_hz: "频带上限", quality_reverberation_s: "混响", quality_music: "音乐", quality_unlike: "第二位说话人",
  signs: "录音或合成声音的迹象", sign: "迹象", probability: "概率", seen: "所见", signsText: "概率是指迹象属实的概率，而非欺诈的概率。它从不改变声音的证据。",
  sign_repeated_audio: "该客户曾播放过相同声音", sign_repeated_audio_elsewhere: "其他通话中出现过相同声音", sign_enrolment_replayed: "登记时的录音", sign_loudspeaker: "扬声器播放", sign_synthetic_speech: "合成语音",
  why_not_enrolled: "未登记", why_no_consent: "未同意", why_opted_out: "已拒绝", why_identity_not_confirmed: "身份未经其他方式确认", why_watch_list: "在监视名单上", why_voice_of_another_customer: "与其他客户的声音相同", why_voices_disagree: "各次通话的声音不一致",
  why_enough_speech: "语音已足够", why_too_few_calls: "通话太少", why_cooling_off: "等待期内", why_match_too_weak: "一致程度太弱", why_too_soon: "距上次更改太近", why_drifted: "声音已有变化", why_scores_decline: "评分下降", why_unused: "很久没有听到",
  passive: "被动登记", phase: "阶段", phase_collecting: "收集通话", phase_provisional: "试用", phase_active: "使用中", phase_stopped: "已停止，需人工查看", callsKept: "一致的通话", conflicts: "不一致的通话", renew: "重新登记", renewText: "该客户应重新登记：{why}。",
  wholeTrail: "完整记录", auditText: "来自哈希链审计日志；查看本列表也会留下记录。sidetone audit verify 可检查记录是否被改动。",
  did: "操作", about: "对象", details: "详情", from: "来源", noEntriesYet: "暂无记录。", everybody: "所有人", withReads: "包括读取", toPerson: "{customer} 的全部信息",
  act_listed: "查看", act_read: "读取声纹以比对", act_compared: "比对", act_consent: "记录同意", act_enrolled: "登记", act_activated: "启用", act_adapted: "调整", act_rolled_back: "回退", act_revoked: "撤销", act_erased: "删除", act_expired: "到期删除",
  act_passive: "为被动登记保留", act_print_kept: "保留语音指纹", act_signs: "记录迹象", act_key_made: "生成密钥", act_rekeyed: "更换密钥", act_reembedded: "为新模型生成模板", act_watch_added: "加入监视名单", act_watch_hit: "监视名单命中", act_watch_confirmed: "确认命中", act_watch_dismissed: "排除命中", act_watch_extended: "延长监视", act_watch_removed: "移出监视名单",
  hits: "命中", hit_open: "待处理", hit_confirmed: "已确认", hit_dismissed: "已排除", noHits: "没有此类命中。", decision: "决定", do_confirmed: "确认", do_dismissed: "排除",
  entries: "正在监视的声音", noEntries: "没有正在监视的声音。", addVoice: "添加声音", reason: "理由", basis: "法律依据", basisHint: "凭何权利监视该声音", whoseVoice: "谁的声音（如已知）", extend: "延长", extendTitle: "已复核：继续监视", extended: "已延长。", added: "加入", review: "复核", reviewDue: "自 {day} 待复核", remove: "移除",
  links: "同一声音，多位客户", linksText: "未通过验证、却为多位客户来电的声音。家人可能共用电话：这只是查看的理由，不是证明。", noLinks: "没有此类声音。", linksOff: "未启用关联分析（voice.links）。", customers: "客户", callsOf: "通话", first: "首次", last: "最近",
  consentTitle: "{customer} 的表示", consentText: "未经同意，不对声音做任何处理。", record: "记录", recorded: "已记录。",
  optOutTitle: "{customer} 拒绝使用声音", optOutText: "其模板和录音将立即删除；在重新同意之前不再生成。", optedOut: "已记录拒绝，模板和录音已删除。",
  enrolTitle: "登记 {customer}", enrolText: "仅有本人说话的 WAV 文件：至少 20 秒清晰语音，最好来自其惯用的线路。", enrol: "登记", file: "WAV 文件", fileChannel: "文件中的声道", replace: "替换该线路的模板", enrolled: "已用 {s}语音登记",
  speechUsed: "可用语音", speechMissing: "还缺", against: "问题", duplicates: "即使该声音已以其他名称登记",
  revokeTitle: "撤销模板", revokeText: "该模板（{line}）及其所有版本和录音将被删除，无法恢复。", revoked: "已撤销。", back: "回退", backLine: "回退到版本 {version}：{line}", backTitle: "回退模板", backText: "重新使用版本 {version}（{line}）比对，其后的版本将被删除。", wentBack: "已回退。",
  anew: "重新开始", anewTitle: "{customer} 重新开始", anewText: "被动登记至今从通话中得到的信息将被遗忘。", begunAnew: "已重新开始。",
  eraseTitle: "删除 {customer}", eraseText: "模板、录音、判决、名称和同意记录都将删除，仅保留带有删除证明的假名，无法恢复。", eraseWatch: "同时删除监视名单中的相关条目", erased: "已删除：模板 {templates}，比对 {comparisons}。",
  addTitle: "监视一个声音", addText: "仅有该声音的 WAV 文件。名单上的人不会得到任何通知：请确保有依据，并设定复核日期。", add: "添加",
  removeTitle: "移出监视名单", removeText: "该声音将被删除：{reason}", removed: "已移除。",
  judge_confirmed: "确认命中", judge_dismissed: "排除命中", judgeText_confirmed: "通话中的声音就是正在监视的声音。", judgeText_dismissed: "通话中的声音是另一个人的。", judgeFinal: "决定者会被记录；决定后不能更改。", judged: "已决定。",
};

const tables = { en, zh };

export { common, current, knows, toggleLanguage };

// t is the string of a key with its {names} filled in.
export function t(key, values = {}) {
  const s = tables[current()][key];
  if (s === undefined) throw new Error(`no string "${key}"`);
  return s.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export const has = (key) => key in tables[current()];

// translate fills the static parts: data-t the text, data-tl the label.
export function translate() {
  document.documentElement.lang = current() === "zh" ? "zh-Hans" : "en";
  for (const e of document.querySelectorAll("[data-t]")) e.textContent = t(e.dataset.t);
  for (const e of document.querySelectorAll("[data-tl]")) {
    e.setAttribute("aria-label", t(e.dataset.tl));
    if (e.tagName === "BUTTON") e.title = t(e.dataset.tl);
  }
}
