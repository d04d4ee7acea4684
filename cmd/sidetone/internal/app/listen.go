package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"sidetone/internal/access"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/seal"
	"sidetone/media/recording"
)

// getRecording plays a call's recording, in ranges as players ask for them. With
// the parameter download it is to be saved, which takes a role that reads all
// calls.
func (a *App) getRecording(w http.ResponseWriter, r *http.Request) {
	rec, err := a.record(r.Context(), r.PathValue("call"))
	if err != nil {
		writeError(w, err)
		return
	}
	save := r.URL.Query().Has("download")
	if err = mayListen(access.From(r.Context()), &rec, save); err != nil {
		writeError(w, err)
		return
	}
	p, err := a.storage.recordings.open(&rec)
	if err != nil {
		writeError(w, err)
		return
	}
	defer func() {
		if closed := p.Close(); closed != nil {
			a.log.Warn("closing a recording", "call", rec.Call, "error", closed)
		}
	}()
	if r.Method != http.MethodHead {
		if err = a.noteListening(r, rec.Key, save); err != nil {
			writeError(w, fmt.Errorf("what is not in the audit log is not played: %w", err))
			return
		}
	}
	h := w.Header()
	h.Set("Content-Type", p.Format.MediaType())
	h.Set("Cache-Control", "private, no-store")
	h.Set("ETag", `"`+rec.Key+`"`)
	how := "inline"
	if save {
		how = "attachment"
	}
	if note := a.storage.recordings.note; note != "" {
		h.Set("Sidetone-Recording-Note", url.PathEscape(note))
	}
	h.Set("Content-Disposition", how+`; filename="`+rec.Key+"."+string(p.Format)+`"`)
	http.ServeContent(w, r, "", p.Made, p)
}

// mayListen refuses whom a call's words are not for.
func mayListen(p access.Principal, rec *journal.Call, save bool) error {
	switch {
	case !p.Reads(rec.Agent):
		return unknownCall(rec.Call)
	case save && !p.Has(access.Supervisor, access.Security, access.Administrator):
		return &apiError{Status: http.StatusForbidden, Text: "agents may listen to their recordings, but not save them", Hint: "ask a supervisor"}
	default:
		return nil
	}
}

// open opens the recording of a call, or says in words why there is none.
func (r *recordings) open(rec *journal.Call) (*recording.Playback, error) {
	refused := func(status int, text, hint string) error { return &apiError{Status: status, Text: text, Hint: hint} }
	none := refused(http.StatusNotFound, fmt.Sprintf("call %q was not recorded", rec.Call), "see recording.calls")
	if r == nil {
		return nil, none
	}
	p, err := r.store.Open(rec.Key)
	switch {
	case err == nil:
		return p, nil
	case errors.Is(err, seal.ErrNoKey):
		return nil, refused(http.StatusInternalServerError, err.Error(), "put the key's file back; see `sidetone keys list`")
	case errors.Is(err, recording.ErrRunning), rec.Record && rec.Running():
		return nil, refused(http.StatusConflict, "the recording is still being made", "it can be played after the end of the call")
	case !errors.Is(err, recording.ErrNone):
		return nil, err
	case rec.Recording != nil:
		return nil, refused(http.StatusNotFound, "the recording is not on this server", "ask the server "+rec.Node)
	case rec.Record:
		return nil, refused(http.StatusGone, "the recording is no longer kept, or there was no sound", "see storage.keep.recordings")
	default:
		return nil, none
	}
}

// noteListening keeps in the audit log who listens to a recording; a player asks for
// it in many parts.
func (a *App) noteListening(r *http.Request, key string, save bool) error {
	what := [3]string{access.From(r.Context()).Actor(), "recording.played", key}
	if save {
		what[1] = "recording.saved"
	}
	if a.readers.noted(what, time.Now()) {
		return nil
	}
	err := a.storage.audit.Append(r.Context(), audit.Entry{Actor: what[0], Action: what[1], Object: key, Address: a.guard.From(r)})
	if err == nil {
		a.readers.note(what, time.Now())
	}
	return err
}
