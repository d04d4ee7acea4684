// A WHIP client (RFC 9725): one microphone, sent to the server, kept connected.

const endpoint = "/v1/whip";
const typeSDP = "application/sdp";
const typeFragment = "application/trickle-ice-sdpfrag";
// How long a broken connection may mend itself before ICE is restarted, how long
// a restart may take before a new session is begun, and how long the first
// connection may take, in milliseconds.
const mendPatience = 3000, restartPatience = 8000, connectPatience = 15000;
// How long a server keeps a session at least whose client is silent.
const grace = 15000;
const pauses = [1000, 2000, 4000, 8000];

// Refused is an answer of the server that is no success.
export class Refused extends Error {
  constructor(status, body) {
    super(body.error ?? `HTTP ${status}`);
    this.status = status;
    this.hint = body.hint ?? "";
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

export class Session {
  #track; #query; #token; #report; #pc = null; #location = ""; #etag = ""; #answer = "";
  #pending = []; #over = false; #busy = false; #live = false; #tries = 0; #timer = 0; #lostAt = 0;

  // report(state, error) hears "connecting", "live", "lost" and "failed".
  constructor(track, query, token, report) {
    this.#track = track;
    this.#query = query;
    this.#token = token;
    this.#report = report;
  }

  async start() {
    this.#report("connecting");
    await this.#again();
  }

  // stop ends the session; at the end of the page, without waiting.
  stop() {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  // online says that the network has come back.
  online() {
    if (!this.#over && this.#live && this.#pc?.connectionState !== "connected") this.#later(0);
  }

  #headers(more = {}) {
    return this.#token ? { ...more, Authorization: `Bearer ${this.#token}` } : more;
  }

  #drop() {
    if (this.#location) fetch(this.#location, { method: "DELETE", headers: this.#headers(), keepalive: true }).catch(() => {});
    this.#location = "";
    if (this.#pc) {
      this.#pc.onconnectionstatechange = this.#pc.onicecandidate = null;
      this.#pc.close();
    }
    this.#pc = null;
  }

  // again begins sessions until one is accepted. Once one was live, a server
  // that is full, or has not yet missed the old session, is asked again.
  async #again() {
    if (this.#busy) return;
    this.#busy = true;
    clearTimeout(this.#timer);
    while (!this.#over) {
      try {
        this.#drop();
        await this.#connect();
        break;
      } catch (err) {
        if (this.#over) break;
        if (err instanceof Refused && !(this.#live && (err.status === 503 || err.status === 409))) {
          this.#fail(err);
          break;
        }
        this.#report("lost", err);
        await wait(pauses[Math.min(this.#tries++, pauses.length - 1)]);
      }
    }
    this.#busy = false;
  }

  #fail(err) {
    this.#over = true;
    this.#drop();
    this.#report("failed", err);
  }

  async #connect() {
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    this.#pc = pc;
    this.#pending = [];
    pc.addTransceiver(this.#track, { direction: "sendonly" });
    pc.onicecandidate = (e) => { if (e.candidate?.candidate) this.#trickle(e.candidate.candidate); };
    pc.onconnectionstatechange = () => this.#changed(pc.connectionState);
    await pc.setLocalDescription(await pc.createOffer());
    const resp = await fetch(`${endpoint}?${this.#query}`, {
      method: "POST", headers: this.#headers({ "Content-Type": typeSDP }), body: pc.localDescription.sdp, cache: "no-store",
    });
    const text = await resp.text();
    if (resp.status !== 201) throw new Refused(resp.status, parse(text));
    this.#location = new URL(resp.headers.get("Location"), resp.url).href;
    if (this.#over) return this.#drop(); // stopped meanwhile
    this.#etag = resp.headers.get("ETag") ?? "";
    this.#answer = text;
    await pc.setRemoteDescription({ type: "answer", sdp: text });
    this.#flush();
    this.#later(connectPatience);
  }

  // trickle sends candidates that were found after the offer was sent. The
  // server learns of us by our checks as well, so that nothing waits for it.
  #trickle(candidate) {
    this.#pending.push(candidate);
    if (this.#location) this.#flush();
  }

  #flush() {
    if (this.#pending.length === 0) return;
    const body = this.#fragment(this.#pending);
    this.#pending = [];
    fetch(this.#location, { method: "PATCH", headers: this.#headers({ "Content-Type": typeFragment, "If-Match": this.#etag }), body }).catch(() => {});
  }

  #fragment(candidates) {
    const sdp = this.#pc.localDescription.sdp;
    return [`a=ice-ufrag:${value(sdp, "ice-ufrag")}`, `a=ice-pwd:${value(sdp, "ice-pwd")}`, "m=audio 9 UDP/TLS/RTP/SAVPF 0", `a=mid:${value(sdp, "mid")}`,
      ...candidates.map((c) => `a=${c}`), ""].join("\r\n");
  }

  #changed(state) {
    if (state === "connected") {
      clearTimeout(this.#timer);
      this.#live = true;
      this.#tries = this.#lostAt = 0;
      this.#report("live");
    } else if (state === "disconnected" || state === "failed" || state === "closed") {
      if (state === "disconnected" || this.#lostAt === 0) this.#lostAt = Date.now();
      this.#report("lost");
      this.#later(state === "disconnected" ? mendPatience : 0);
    }
  }

  // later looks whether the connection is there, and if not, mends it.
  #later(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#mend(), ms);
  }

  async #mend() {
    if (this.#over || this.#busy || this.#pc?.connectionState === "connected") return;
    if (!this.#live) return this.#fail(new Error("gaveUp")); // a new session would fare no better
    try {
      await this.#restart();
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => { if (this.#pc?.connectionState !== "connected") this.#again(); }, restartPatience);
    } catch (err) {
      // A server that no longer has the session so soon has ended it.
      if (err instanceof Refused && err.status === 404 && Date.now() - this.#lostAt < grace) this.#fail(new Error("hungUp"));
      else this.#again();
    }
  }

  // restart restarts ICE (RFC 9725, section 4.3.3): the answer stays, with the
  // server's new credentials and candidates.
  async #restart() {
    const pc = this.#pc;
    await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
    this.#pending = [];
    const resp = await fetch(this.#location, {
      method: "PATCH", headers: this.#headers({ "Content-Type": typeFragment, "If-Match": "*" }), body: this.#fragment([]), cache: "no-store",
    });
    const text = await resp.text();
    if (resp.status !== 200) throw new Refused(resp.status, parse(text));
    this.#etag = resp.headers.get("ETag") ?? this.#etag;
    const lines = this.#answer.split("\r\n").filter((l) => !/^a=(candidate:|ice-ufrag:|ice-pwd:|end-of-candidates)/.test(l));
    const ours = text.split("\r\n").filter((l) => /^a=(candidate:|ice-ufrag:|ice-pwd:)/.test(l));
    lines.splice(lines.findIndex((l) => l.startsWith("a=setup:")) + 1, 0, ...ours);
    this.#answer = lines.join("\r\n");
    await pc.setRemoteDescription({ type: "answer", sdp: this.#answer });
    this.#flush();
  }
}

const value = (sdp, key) => sdp.match(new RegExp(`^a=${key}:(.*)$`, "m"))[1].trim();

function parse(text) {
  try { return JSON.parse(text); } catch { return { error: text.slice(0, 200) }; }
}
