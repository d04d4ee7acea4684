package app

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/health"
	"sidetone/media"
)

func TestReadyWhileThereIsRoom(t *testing.T) {
	r := host(t, func(c *config.Config) { c.Media.MaxCalls = 1 })
	ready := func(want int, problem string) {
		t.Helper()
		var report health.Report
		if st := r.do(t, "GET", "/readyz", "", &report); st != want || report.Ready != (want == http.StatusOK) || !strings.Contains(report.Problems(), problem) {
			t.Errorf("readyz: %d, %+v, want %d with %q", st, report, want, problem)
		}
	}
	ready(200, "")
	c := open(t, r, media.Call{ID: "one"})
	ready(503, "1 calls are running, which is the limit")
	if st := r.do(t, "GET", "/healthz", "", nil); st != 200 {
		t.Errorf("a full server is not alive: %d", st)
	}
	c.End(media.End{State: media.Ended, At: time.Now()})
	<-c.done
	ready(200, "")

	var v about
	if st := r.do(t, "GET", "/version", "", &v); st != 200 || v.Version != "test" || v.Go != runtime.Version() || len(v.Models) != 2 {
		t.Errorf("version: %d, %+v", st, v)
	}
	for _, m := range v.Models {
		if len(m.Files) == 0 {
			t.Errorf("model %s has no hashes", m.Name)
		}
	}
	if _, _, b := r.ask(t, "GET", "/metrics", ""); !strings.Contains(string(b), `sidetone_build_info{`) || !strings.Contains(string(b), `version="test"`) {
		t.Error("the metrics do not tell what runs")
	}
}
