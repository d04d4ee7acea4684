// The first page: which agents are on a call, and a way to any agent's page.
import { $, el, clock } from "./dom.js";
import { t, translate } from "./strings.js";
import { offer, reveal, stay } from "./account.js";

const page = (agent) => `/agent/${encodeURIComponent(agent)}`;

async function refresh() {
  try {
    const answer = await fetch("/v1/calls", { headers: { Accept: "application/json" } });
    if (answer.status === 401) stay();
    if (!answer.ok) throw new Error(answer.statusText);
    const calls = (await answer.json()).calls.filter((c) => c.state === "running");
    $("running").replaceChildren(...calls.map((c) => el("li", {},
      el("a", { href: page(c.agent) }, c.agent),
      el("span", { class: "meta" }, `${c.call} · ${clock(Date.now() - Date.parse(c.started))}`))));
    $("none").textContent = calls.length ? "" : t("noneRunning");
  } catch {
    $("running").replaceChildren();
    $("none").textContent = t("cannotList");
  }
}

$("go").addEventListener("submit", (e) => {
  e.preventDefault();
  const name = $("name").value.trim();
  if (name) location.href = page(name);
});
translate();
offer($("logout"));
reveal();
refresh();
setInterval(refresh, 5000);
