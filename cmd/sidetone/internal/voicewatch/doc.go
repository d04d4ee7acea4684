// Package voicewatch holds the tests that join enrolment and watch lists with the
// engine and the back-end that they are used with, on the evaluation data: what lies
// below voiceprint knows nothing of its siblings.
//
//	go test ./cmd/sidetone/internal/voicewatch -v -timeout 1h -full
//
// prints the rates; without -full it is skipped.
package voicewatch
