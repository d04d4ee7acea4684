package app

import (
	"context"
	"net/http"
	"time"
)

const (
	// drainLook is how often a draining server looks whether calls still run, and
	// drainTell how often it says so in the log when nothing changes.
	drainLook = 100 * time.Millisecond
	drainTell = 30 * time.Second
)

// drain has every source refuse new calls in its protocol's own way, or take
// them again. Running calls go on either way, and panes are told.
func (a *App) drain(on bool) {
	if a.admission.draining.Swap(on) == on {
		return
	}
	a.log.Info("draining", "on", on, "calls", a.calls.running())
	a.sources.drain(on)
	a.hub.Draining(on)
	a.announce()
}

// finish lets the running calls come to their ends, until now ends or the time
// for it is over.
func (a *App) finish(now context.Context) {
	limit, cancel := context.WithTimeout(now, a.drainLimit)
	defer cancel()
	a.drain(true)
	if a.calls.running() == 0 {
		return
	}
	look := time.NewTicker(drainLook)
	defer look.Stop()
	told, at := -1, time.Now()
	for {
		n := a.calls.running()
		if n != told || time.Since(at) >= drainTell {
			told, at = n, time.Now()
			a.log.Info("draining: calls that still run", "calls", n)
		}
		if n == 0 {
			return
		}
		select {
		case <-look.C:
		case <-limit.Done():
			why := "the time for it is over (server.drain_limit)"
			if now.Err() != nil {
				why = "told to stop at once"
			}
			a.log.Warn("draining ends before the calls do: they are aborted", "calls", n, "because", why)
			return
		}
	}
}

// drainReply is the answer to the requests under /v1/drain.
type drainReply struct {
	Draining bool `json:"draining"`
	// Running is how many calls have not ended.
	Running int `json:"running"`
}

// drainRoutes let an administrator take the server out of service, and back, while
// it runs.
func (a *App) drainRoutes(mux router) {
	reply := func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, drainReply{a.admission.drains(), a.calls.running()})
	}
	mux.HandleFunc("GET /v1/drain", reply)
	mux.HandleFunc("POST /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		a.drain(true)
		reply(w, r)
	})
	mux.HandleFunc("DELETE /v1/drain", func(w http.ResponseWriter, r *http.Request) {
		a.drain(false)
		reply(w, r)
	})
}
