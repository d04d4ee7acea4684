package app

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

// What is kept of voices speaks to people in their words, and to programs by a status.
func TestVoiceErrorsAreReadable(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		web    string
		shell  string
	}{
		{
			fmt.Errorf("voices: %w", voicestore.ErrOptedOut), http.StatusConflict, "the customer has opted out: nothing is made of their voice",
			"the customer has opted out: nothing is made of their voice. Only the customer can change that, by a new consent",
		},
		{
			fmt.Errorf("voices: a subject of 600 bytes; 1 to 512 are needed: %w", voicestore.ErrInvalid), http.StatusBadRequest,
			"a subject of 600 bytes; 1 to 512 are needed", "a subject of 600 bytes; 1 to 512 are needed",
		},
		{
			fmt.Errorf("watchlist: %w", fmt.Errorf("hit 7 is dismissed: %w", watchlist.ErrConflict)), http.StatusConflict,
			"hit 7 is dismissed: the watch list was changed meanwhile", "hit 7 is dismissed: the watch list was changed meanwhile. Look at it again, and decide anew",
		},
		{
			fmt.Errorf("voices: %w", fmt.Errorf("vault: %w", fmt.Errorf("%w: there is none at /keys/voice.key", vault.ErrKey))), http.StatusInternalServerError,
			"the voices' key: there is none at /keys/voice.key",
			"the voices' key: there is none at /keys/voice.key",
		},
	} {
		var e *apiError
		if err := classifyVoice(c.err); !errors.As(err, &e) || e.Status != c.status || e.Text != c.web {
			t.Errorf("%v became %v, want %d %s", c.err, err, c.status, c.web)
		}
		if err := ExplainVoice(c.err); err.Error() != c.shell || !errors.Is(err, c.err) {
			t.Errorf("%v became %v, want %s", c.err, err, c.shell)
		}
	}
	other := errors.New("voices: the disk is full")
	for _, err := range []error{ExplainVoice(other), classifyVoice(other)} {
		if err.Error() != other.Error() {
			t.Errorf("another error became %v", err)
		}
	}
	no := &enrol.RefusalError{Reasons: []voiceprint.Reason{voiceprint.TooLittle, voiceprint.SeveralVoices}, Report: enrol.Report{
		Net: 4 * time.Second, Missing: 16 * time.Second, Chunks: []enrol.Chunk{{End: 3 * time.Second, Names: []string{"a.wav"}, Other: true}},
	}}
	want := "no template is made of this speech (too little speech, several speakers): 4.0 s can be used, 16.0 s more are needed; from 0s to 3s of it another voice speaks (a.wav)"
	if err := ExplainVoice(fmt.Errorf("x: %w", no)); err.Error() != want {
		t.Errorf("%v", err)
	}
}
