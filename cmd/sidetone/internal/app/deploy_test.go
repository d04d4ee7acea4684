package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"sidetone/cmd/sidetone/internal/config"
)

// exported are the names of all metrics of a server.
func exported(t *testing.T, r *running) map[string]bool {
	t.Helper()
	ch := make(chan *prometheus.Desc)
	go func() {
		r.metrics.registry.Describe(ch)
		close(ch)
	}()
	name := regexp.MustCompile(`fqName: "([a-z_:0-9]+)", help: "([^"]*)"`)
	out := map[string]bool{}
	for d := range ch {
		m := name.FindStringSubmatch(d.String())
		switch {
		case m == nil:
			t.Errorf("a metric without a name: %v", d)
		case strings.HasPrefix(m[1], "sidetone_") && !strings.HasSuffix(m[2], "."):
			t.Errorf("%s: the help %q is no sentence", m[1], m[2])
		default:
			out[m[1]] = true
		}
	}
	return out
}

// The dashboard and the alerts ask for metrics that there are, and for labels that
// these have.
func TestDashboardAndAlertsNameWhatIsExported(t *testing.T) {
	collector := newCollector(t)
	r := host(t, func(c *config.Config) { c.Tracing.Endpoint = collector.URL })
	have := exported(t, r)
	named := regexp.MustCompile(`\b(?:sidetone|process|go)_[a-z_0-9]+`)
	used := map[string]bool{}
	check := func(where, expr string) {
		t.Helper()
		names := named.FindAllString(expr, -1)
		if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
			t.Errorf("%s asks for no metric: %s", where, expr)
		}
		for _, n := range names {
			base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(n, "_bucket"), "_sum"), "_count")
			if !have[n] && !have[base] {
				t.Errorf("%s asks for %s, which is not exported", where, n)
			}
			used[base] = true
		}
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name string }
		}
	}
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if err := json.Unmarshal(read("grafana.json"), &board); err != nil {
		t.Fatal(err)
	}
	ids, queries := map[int]bool{}, 0
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the number %d", p.ID)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			queries++
			check("panel "+p.Title, q.Expr)
		}
	}
	if queries < 30 || len(board.Templating.List) != 2 {
		t.Errorf("%d queries, %d variables: this is not the dashboard", queries, len(board.Templating.List))
	}
	var alerts struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.UnmarshalWithOptions(read("alerts.yaml"), &alerts, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if len(alerts.Groups) != 1 || len(alerts.Groups[0].Rules) < 10 {
		t.Fatalf("%+v", alerts)
	}
	for _, a := range alerts.Groups[0].Rules {
		check("alert "+a.Alert, a.Expr)
		if a.Alert == "" || a.Annotations["summary"] == "" || a.Annotations["action"] == "" || a.Labels["severity"] == "" {
			t.Errorf("alert %+v lacks words", a)
		}
	}
	for _, must := range []string{"sidetone_journal_oldest_seconds", "sidetone_calls_refused_total", "sidetone_storage_free_bytes", "sidetone_records_behind"} {
		if !used[must] {
			t.Errorf("nobody looks at %s", must)
		}
	}
}
