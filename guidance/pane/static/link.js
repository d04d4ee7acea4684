// The connection to the server: connects again by itself, knows the server's
// clock, and notices a connection that is dead without having been closed.

const pingEvery = 10_000, pongWithin = 8_000, longestWait = 10_000;

export class Link {
  // onMessage gets each parsed message; onState "connecting", "connected",
  // "reconnecting" or "offline" with the time of the next try (performance.now);
  // onRefused hears of a connection that did not come to be.
  constructor(url, onMessage, onState, onRefused) {
    Object.assign(this, { url, onMessage, onState, onRefused, state: "connecting" });
    this.failures = 0;
    this.pingID = 0;
    this.samples = [];
    this.offset = 0;
    addEventListener("online", () => { if (!this.socket) this.connect(); });
    addEventListener("offline", () => this.socket?.close());
  }

  // now is the server's wall clock in milliseconds.
  now() { return performance.timeOrigin + performance.now() + this.offset; }

  // open says that messages can be sent: the server has told what is known.
  get open() { return this.told && this.socket?.readyState === WebSocket.OPEN; }

  get connected() { return this.state === "connected"; }

  connect() {
    clearTimeout(this.retry);
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.abandon(), pongWithin);
    this.told = false;
    this.set(this.failures ? "reconnecting" : "connecting");
    const s = this.socket = new WebSocket(this.url);
    s.onmessage = (e) => { if (s === this.socket) this.receive(JSON.parse(e.data)); };
    s.onclose = (e) => { if (s === this.socket) this.lost(e.code); };
  }

  // send drops the message when there is no connection, and says so.
  send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  receive(m) {
    switch (m.type) {
      case "hello":
        if (!this.samples.length) this.offset = Date.parse(m.time) - (performance.timeOrigin + performance.now());
        break;
      case "pong": this.pong(m); return;
      case "snapshot":
        this.failures = 0;
        if (!this.told) this.ping();
        this.told = true;
        break;
    }
    this.onMessage(m);
    if (m.type === "snapshot") this.set("connected");
  }

  ping() {
    this.pinged = performance.now();
    this.send({ type: "ping", id: ++this.pingID });
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.abandon(), pongWithin);
  }

  // pong takes the offset from the quickest of the last round trips, where the
  // guess that both ways took equally long errs least.
  pong(m) {
    if (m.id !== this.pingID) return;
    const now = performance.now(), rtt = now - this.pinged;
    this.samples = [...this.samples.slice(-7), {
      rtt, offset: Date.parse(m.time) - (performance.timeOrigin + now - rtt / 2),
    }];
    this.offset = this.samples.reduce((a, b) => (b.rtt < a.rtt ? b : a)).offset;
    clearTimeout(this.watch);
    this.watch = setTimeout(() => this.ping(), pingEvery);
  }

  // abandon gives up a connection that no longer answers.
  abandon() {
    const s = this.socket;
    this.lost(0);
    s?.close();
  }

  // lost plans the next try: soon when the server only found us slow (1013),
  // else later each time, and not at the same moment as every other pane.
  lost(code) {
    clearTimeout(this.watch);
    clearTimeout(this.retry);
    this.socket = null;
    if (!this.told) this.onRefused();
    if (!navigator.onLine) { this.failures = 1; this.set("offline"); return; }
    const longest = code === 1013 ? 300 : Math.min(longestWait, 500 * 2 ** this.failures);
    this.failures++;
    const wait = longest * (0.5 + Math.random() / 2);
    this.retry = setTimeout(() => this.connect(), wait);
    this.set("reconnecting", performance.now() + wait);
  }

  set(state, at = null) {
    this.state = state;
    this.onState(state, at);
  }
}
