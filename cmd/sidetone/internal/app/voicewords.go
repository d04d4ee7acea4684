package app

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sidetone/internal/seal"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/vault"
	"sidetone/voiceprint/store/watchlist"
)

// voiceFault is what people are told of an error of what is kept of voices.
type voiceFault struct {
	is     error
	status int
	// text is empty where the error's own words say more.
	text string
	// web and shell say what to do about it, over HTTP and at the command line.
	web, shell string
}

func voiceFaults() []voiceFault {
	return []voiceFault{
		{
			voicestore.ErrNoConsent, http.StatusConflict, "the customer has not consented to the use of their voice",
			"POST /v1/voice/people/{customer}/consent says that they have", "record their consent: sidetone voice consent CUSTOMER --state consented --text VERSION --how signed",
		},
		{
			voicestore.ErrExpired, http.StatusConflict, "the customer's consent has expired",
			"ask them anew, then POST /v1/voice/people/{customer}/consent", "ask them anew, then: sidetone voice consent CUSTOMER --state consented --text VERSION --how signed",
		},
		{
			voicestore.ErrOptedOut, http.StatusConflict, "the customer has opted out: nothing is made of their voice",
			"only the customer can change that, by a new consent", "only the customer can change that, by a new consent",
		},
		{
			voicestore.ErrNotEnrolled, http.StatusNotFound, "the customer is not enrolled",
			"POST /v1/voice/people/{customer}/templates enrols them", "enrol them: sidetone enroll --customer CUSTOMER FILE.wav",
		},
		{
			voicestore.ErrUnknown, http.StatusNotFound, "", "GET /v1/voice/people lists who is known", "sidetone voice list says who is known, sidetone voice show CUSTOMER which templates there are",
		},
		{
			watchlist.ErrUnknown, http.StatusNotFound, "", "", "sidetone voice watch list and sidetone voice watch hits say what there is",
		},
		{
			voicestore.ErrConflict, http.StatusConflict, "", "read it again, and decide anew", "look at it again, and decide anew",
		},
		{
			watchlist.ErrConflict, http.StatusConflict, "", "read it again, and decide anew", "look at it again, and decide anew",
		},
		{voicestore.ErrInvalid, http.StatusBadRequest, "", "", ""},
		{watchlist.ErrInvalid, http.StatusBadRequest, "", "", ""},
		{voiceprint.ErrModel, http.StatusConflict, "", "enrol again, or make the templates anew", "enrol again, or: sidetone voice reembed"},
		// The vault says which file, and from where to copy it.
		{vault.ErrKey, http.StatusInternalServerError, "", "", ""},
		{
			seal.ErrNoKey, http.StatusInternalServerError, "a key that this was sealed with is not in the keyring", "copy the folder of the keys from the node that has them", "copy the folder of the keys from the node that has them, or from the backup of the keys",
		},
	}
}

// faultOf finds what people are told of an error; nil: it is none of voices.
func faultOf(err error) *voiceFault {
	for _, f := range voiceFaults() {
		if errors.Is(err, f.is) {
			if f.text == "" {
				f.text = plainWords(err, f.is)
			}
			return &f
		}
	}
	return nil
}

// plainWords are an error's own, without the names of packages before them, nor what
// only says of which kind it is behind them.
func plainWords(err, kind error) string {
	text := err.Error()
	for {
		head, rest, ok := strings.Cut(text, ": ")
		if !ok || strings.ContainsAny(head, " \"/") || rest == "" {
			break
		}
		switch head {
		case "voices", "watchlist", "vault", "enrol", "ledger", "trail", "seal":
			text = rest
			continue
		}
		break
	}
	if errors.Is(kind, voicestore.ErrInvalid) || errors.Is(kind, watchlist.ErrInvalid) {
		return strings.TrimSuffix(text, ": "+kind.Error())
	}
	return text
}

// refusalWords say why no template is made of speech.
func refusalWords(no *enrol.RefusalError) string {
	why := make([]string, len(no.Reasons))
	for i, r := range no.Reasons {
		why[i] = strings.ReplaceAll(string(r), "_", " ")
	}
	text := fmt.Sprintf("no template is made of this speech (%s): %.1f s can be used", strings.Join(why, ", "), no.Report.Net.Seconds())
	if no.Report.Missing > 0 {
		text += fmt.Sprintf(", %.1f s more are needed", no.Report.Missing.Seconds())
	}
	for _, c := range no.Report.Chunks {
		if c.Other {
			text += fmt.Sprintf("; from %v to %v of it another voice speaks (%s)", c.Begin.Round(time.Second), c.End.Round(time.Second), strings.Join(c.Names, ", "))
		}
	}
	return text
}

// shellError is an error in words for who sits at the command line.
type shellError struct {
	text string
	err  error
}

func (e *shellError) Error() string { return e.text }

func (e *shellError) Unwrap() error { return e.err }

// ExplainVoice says an error of what is kept of voices in words for who sits at the
// command line; others it leaves as they are.
func ExplainVoice(err error) error {
	if no := (*enrol.RefusalError)(nil); errors.As(err, &no) {
		return &shellError{refusalWords(no), err}
	}
	f := faultOf(err)
	if f == nil {
		return err
	}
	if f.shell == "" {
		return &shellError{f.text, err}
	}
	return &shellError{f.text + ". " + strings.ToUpper(f.shell[:1]) + f.shell[1:], err}
}
