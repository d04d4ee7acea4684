package load

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// result is one with something of everything in it.
func result() *Result {
	s := &Sketch{}
	for i := range 200 {
		s.Add(time.Duration(300+5*i) * time.Millisecond)
	}
	capacity := 8
	figure := LatencyFigure{Name: CardLatency, What: "from here to there", Spread: s.Spread()}
	line := sloped(120, 3, 0.01, 0.2)
	return &Result{
		Title: "A <test>", Version: "v1", Server: "http://127.0.0.1:1", Started: time.Unix(1.7e9, 0), Seconds: 120, Interrupted: true,
		Settings: []Fact{{"calls", "8"}}, Service: DefaultService,
		Calls:     CallCounts{AtOnce: 8, Opened: 30, Whole: 28, Cut: 2, Refused: 1},
		Latencies: []LatencyFigure{figure, {Name: "server card", Estimated: true, Spread: s.Spread()}},
		Words:     []WordFigure{{Name: "demo", Calls: 28, Agent: 1, Customer: 2, Both: 1.5, Best: 1, Worst: 3}},
		Usage:     Usage{Cores: 1.5, PerCall: 0.19, Allowed: 2},
		Checks:    []Check{{Name: "a", OK: true, Text: "fine"}, {Name: "b", Text: "not so"}, {Name: "c", Skipped: true, Text: "who knows"}},
		Problems:  []Problem{{"a & b", 3}},
		Steps: []Step{
			{Calls: 4, Latencies: []LatencyFigure{figure}, Usage: Usage{Cores: 0.8}},
			{Calls: 8, Latencies: []LatencyFigure{figure}, Usage: Usage{Cores: 1.5}},
			{Calls: 12, Latencies: []LatencyFigure{figure}, Usage: Usage{Cores: 1.9}, Breaches: []string{"card p95 < 1s: 1.24s"}},
		},
		Capacity: &capacity, Bound: []string{"processor"},
		Series: map[string][]Sample{"calls": line, "cores": line, "memory": line, "card p95": line},
		Bars:   map[string][]Bar{CardLatency: s.Bars(4)},
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, result()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Interrupted", "Capacity: 8 calls", "At 12 calls broke: card p95 < 1s: 1.24s", "Bound by processor", "30 opened",
		"FAILED  b: not so", "ok      a: fine", "-       c: who knows", "3 x a & b", "demo",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if r := result(); len(r.Failed()) != 1 || r.Failed()[0].Name != "b" {
		t.Errorf("failed: %v", r.Failed())
	}
}

func TestHTML(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, result()); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"A &lt;test&gt;", "a &amp; b", "Capacity: 8 calls", "card p95 &lt; 1s: 1.24s", "prefers-color-scheme", "Processor by calls"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	// What the page shows lies in it, and no chart keeps a colour of its own for
	// words.
	for _, bad := range []string{"src=", "href=\"http", hex(text())} {
		if strings.Contains(page, bad) {
			t.Errorf("%q in the page", bad)
		}
	}
	charts := strings.Split(page, "<svg")[1:]
	if len(charts) != 7 {
		t.Errorf("%d charts, want 7", len(charts))
	}
	for _, c := range charts {
		body, _, ok := strings.Cut(c, "</svg>")
		if !ok {
			t.Fatal("a chart does not end")
		}
		d := xml.NewDecoder(strings.NewReader("<svg" + body + "</svg>"))
		paths := 0
		for {
			tok, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("a chart is no XML: %v", err)
			}
			if e, is := tok.(xml.StartElement); is && e.Name.Local == "path" {
				paths++
			}
		}
		if paths < 5 {
			t.Errorf("a chart of %d paths", paths)
		}
	}
	if dir := os.Getenv("SIDETONE_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "load.html"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHTMLOfNothing(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, &Result{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<svg") || !strings.Contains(b.String(), "Sidetone under load") {
		t.Error("a report without a run has charts or no title")
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestTableSaysThatItCannotWrite(t *testing.T) {
	if err := Table(full{}, result()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v", err)
	}
}
