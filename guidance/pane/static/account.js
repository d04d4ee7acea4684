// Who is logged in: the way to the login page and back, and out again.
import { t } from "./strings.js";

// who is the person or null; a server that asks for no login has none.
async function who() {
  const answer = await fetch("/v1/me", { headers: { Accept: "application/json" } });
  if (answer.status === 401) throw new Error("nobody is logged in");
  return answer.ok ? answer.json() : null;
}

// stay sends to the login page whoever is not logged in, and from there back to
// this page. A server that does not answer says nothing about that.
export async function stay() {
  try {
    await who();
  } catch (e) {
    if (e instanceof TypeError) return;
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
}

// reveal shows the links to pages that only some may see: data-roles says who. A
// server that asks for no login shows all to everybody.
export async function reveal() {
  let me = null;
  try { me = await who(); } catch { return; }
  for (const a of document.querySelectorAll("[data-roles]")) a.hidden = me !== null && !a.dataset.roles.split(" ").some((r) => me.roles.includes(r));
}

// offer shows the button to those who can log out.
export async function offer(button) {
  let me = null;
  try { me = await who(); } catch { return; }
  if (me?.kind !== "account") return;
  button.hidden = false;
  button.title = t("loggedIn", { name: me.display || me.name });
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      if ((await fetch("/v1/logout", { method: "POST" })).ok) return location.assign("/login?out");
    } catch { /* It is said by the connection's state. */ }
    button.disabled = false;
  });
}
