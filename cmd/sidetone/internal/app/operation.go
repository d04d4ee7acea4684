package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/health"
	"sidetone/internal/models"
)

// about is the answer to GET /version.
type about struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	// Commit is what the program was built from, Modified says that there was
	// more to it.
	Commit   string       `json:"commit,omitempty"`
	Modified bool         `json:"modified,omitempty"`
	Models   []aboutModel `json:"models"`
	// Schema is the version of the tables of the records; 0: there are none.
	Schema int64 `json:"schema"`
}

// aboutModel names a model, and the hashes of its files.
type aboutModel struct {
	Name  string            `json:"name"`
	Files map[string]string `json:"sha256"`
}

// newAbout tells what runs here.
func newAbout(version string, used []string, manifest []models.Model) about {
	a := about{Version: version, Go: runtime.Version(), Models: []aboutModel{}}
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				a.Commit = s.Value
			case "vcs.modified":
				a.Modified = s.Value == "true"
			}
		}
	}
	for _, m := range manifest {
		for _, name := range used {
			if m.Name != name {
				continue
			}
			am := aboutModel{Name: name, Files: map[string]string{}}
			for _, f := range m.Files {
				am.Files[f.Name] = f.SHA256
			}
			a.Models = append(a.Models, am)
		}
	}
	return a
}

// usedModels are those that the configuration asks for.
func usedModels(c *config.Config) []string {
	used := []string{"silero-vad"}
	if c.Recognition.Uses(config.Whisper) {
		used = append(used, c.Recognition.Model)
		if f := c.Recognition.FinalsModel; f != "" && f != c.Recognition.Model {
			used = append(used, f)
		}
	}
	return used
}

// operate adds the checks of what this package builds, and says what runs.
func (a *App) operate(cfg *config.Config, store *models.Store) error {
	a.about = newAbout(a.version, usedModels(cfg), store.Models())
	a.metrics.build(a.about)
	return errors.Join(
		a.health.Add(health.Check{Name: "calls", Run: func(context.Context) error { return a.calls.ready() }}),
		a.health.Add(health.Check{Name: "recognition", Keep: time.Second, Run: func(context.Context) error { return a.recogniser.ready() }}),
	)
}

// ready says why no new call would be taken.
func (cs *calls) ready() error {
	return cs.env.admission.would(cs.running(), cs.env.cfg.Media.MaxCalls)
}

// ready says why the engine would refuse a leg.
func (r *recogniser) ready() error {
	if r.local == nil {
		return nil
	}
	if l := r.load(); l.Overloaded {
		return fmt.Errorf("overloaded: partials wait %v, a final waited %v (recognition.max_partial_wait, max_final_wait)",
			l.PartialWait.Round(time.Millisecond), l.FinalWait.Round(time.Millisecond))
	}
	return nil
}

// operationRoutes are those by which the server is watched.
func (a *App) operationRoutes(mux *http.ServeMux) {
	// That it answers is the answer: a server that is full or draining is alive,
	// and must not be killed for it.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": a.version})
	})
	mux.Handle("GET /readyz", &a.health)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, a.about) })
}
