// Package e2e holds the end-to-end tests: they start the built binary, play
// calls into it over RTP and watch it as a pane and as a browser do. They run
// with `make e2e`, behind the build tag of the same name.
package e2e
