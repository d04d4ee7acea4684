// Package e2e holds the end-to-end tests: they start the built binary, bring
// calls into it by RTP, by SIPp, by a WebSocket and by a browser's microphone, and
// watch it as a pane and as a browser do. They run with `make e2e`, behind the
// build tag of the same name.
package e2e
