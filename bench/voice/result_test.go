package voice

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// result is one with something of everything in it.
func result(t *testing.T) *Result {
	t.Helper()
	b := Bootstrap{Rounds: 30, Seed: 1}
	scored := made(2, 12, 150, 800)
	for i := range scored {
		if i%3 > 0 {
			scored[i].Condition, scored[i].Channel = "codec", []string{"", "gsm", "g729"}[i%3]
		}
		if i%2 > 0 {
			scored[i].Net = 10 * time.Second
		}
		scored[i].SameGender = i%5 > 0
		if i%7 == 0 {
			scored[i].Group = Child
		}
	}
	r := &Result{
		Version: "v1", Started: time.Unix(1.8e9, 0), Seconds: 20, Engine: "synthetic", Model: "two/1", Calibration: "1", Trained: "Trained on <nothing>.",
		Folds: 5, Speakers: 12, Settings: []Fact{{"seed", "1"}}, Speeds: []Speed{{10, 0.0123}}, Notes: []string{"not at FAR 0.01 %"},
	}
	var err error
	if r.Rows, r.Curves, err = b.Rows(scored); err != nil {
		t.Fatal(err)
	}
	if r.Decisions, err = b.DecisionRows(calls(), 0.0005, 0.02); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRows(t *testing.T) {
	r := result(t)
	var got []string
	for _, x := range r.Rows {
		if x.Seconds == 5 {
			got = append(got, x.Cut)
		}
		if x.Targets+x.Impostors == 0 || x.EER.CI == nil || x.Loss < 0 || !near(x.Loss, x.Cllr-x.MinCllr) || x.FRR01.Value < x.FRR1.Value ||
			len(x.Fixed) != 3 || x.Fixed[0].LLR != 0 || x.Fixed[1].FAR.Value > x.Fixed[0].FAR.Value || x.Fixed[2].FRR.Value < x.Fixed[1].FRR.Value || x.Fixed[2].FRR.CI == nil || x.Fixed[0].FAR.CI[0] > x.Fixed[0].FAR.Value || x.Fixed[0].FAR.CI[1] < x.Fixed[0].FAR.Value || math.Abs(x.Fixed[1].LLR-4.595) > 0.001 {
			t.Errorf("%+v", x)
		}
	}
	if want := []string{Pooled, "tel", "codec", SameGender, Children, "channel g729", "channel gsm"}; !slices.Equal(got, want) {
		t.Errorf("cuts %q, want %q", got, want)
	}
	if len(r.Curves) != len(r.Rows) || len(r.Rows) != 2*len(got) {
		t.Errorf("%d curves of %d rows of %d cuts", len(r.Curves), len(r.Rows), len(got))
	}
	n := map[string]int{}
	for _, x := range r.Rows {
		n[x.Cut] += x.Targets + x.Impostors
	}
	if n[Pooled]+n[Children] != 950 || n["tel"]+n["codec"] != n[Pooled] || n["channel g729"]+n["channel gsm"] != n["codec"] {
		t.Errorf("trials by cut: %v", n)
	}
	if d := r.Decisions; len(d) != 1 || d[0].Cut != Pooled || d[0].FAR != 0.0005 || d[0].Expected != 0.02 {
		t.Errorf("decisions %+v", d)
	}
}

// The same-gender cut keeps all targets and only those impostors.
func TestCuts(t *testing.T) {
	all := []Trial{
		{Target: true, Group: Adult, Condition: "tel"}, {Group: Adult, SameGender: true, Condition: "tel"}, {Group: Adult, Condition: "tel"},
		{Group: Child, SameGender: true, Condition: "tel"},
	}
	want := map[string][]bool{Pooled: {true, true, true, false}, SameGender: {true, true, false, false}, Children: {false, false, false, true}}
	got := cuts([]*Trial{&all[0]})
	if len(got) != len(want) {
		t.Fatalf("%d cuts", len(got))
	}
	for _, c := range got {
		for i := range all {
			if c.keep(&all[i]) != want[c.name][i] {
				t.Errorf("%s keeps trial %d: %v", c.name, i, !want[c.name][i])
			}
		}
	}
}

func TestRowsRefuse(t *testing.T) {
	all := made(1, 4, 3, 3)
	all[0].LLR /= 0 * all[0].LLR
	all[0].LLR *= 0
	if _, _, err := (Bootstrap{}).Rows(all); err == nil {
		t.Error("a score that is not a number is taken")
	}
	if rows, _, err := (Bootstrap{}).Rows(nil); err != nil || rows != nil {
		t.Errorf("of nothing: %v, %v", rows, err)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, result(t)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"two/1, calibration 1; Trained on <nothing>.", "12 speakers, dealt into 5 folds", "same gender", "channel gsm", "FRR at FAR 1 %", "loss",
		"Sequential decisions", "50.00", "20.00", "0.0123", "not at FAR 0.01 %",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if err := Table(full{}, &Result{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v", err)
	}
}

// full takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestResultAsJSON(t *testing.T) {
	r := result(t)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again Result
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if len(again.Rows) != len(r.Rows) || *again.Rows[0].EER.CI != *r.Rows[0].EER.CI || again.Decisions[0].True.Match.Value != 0.5 {
		t.Errorf("%+v", again)
	}
}

func TestHTML(t *testing.T) {
	r := result(t)
	var b bytes.Buffer
	if err := HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"Trained on &lt;nothing&gt;", "EER at 5 s", "speech to a match, FAR 0.05 %", "prefers-color-scheme", "At 10 s", "found out by then", "0.0123", "not at FAR 0.01 %"} {
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
	// By length, at each of two, two over time and one distribution.
	if len(charts) != 6 {
		t.Errorf("%d charts, want 6", len(charts))
	}
	for _, c := range charts {
		body, _, ok := strings.Cut(c, "</svg>")
		if !ok {
			t.Fatal("a chart does not end")
		}
		if err := xml.Unmarshal([]byte("<svg"+body+"</svg>"), new(struct{})); err != nil {
			t.Errorf("a chart is no XML: %v", err)
		}
		if n := strings.Count(body, "<path"); n < 5 {
			t.Errorf("a chart of %d paths", n)
		}
	}
	if dir := os.Getenv("SIDETONE_SHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "voice.html"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestHTMLOfNothing(t *testing.T) {
	var b bytes.Buffer
	if err := HTML(&b, &Result{}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<svg") || !strings.Contains(b.String(), "parameters as they are") {
		t.Error("a report without a run has charts or does not say how it was made")
	}
}

// The probit of a rate is where the normal distribution has it below.
func TestProbit(t *testing.T) {
	for _, c := range []struct{ p, want float64 }{{0.1, -1.2815515655}, {0.01, -2.3263478740}, {0.0228, -1.9990772149}, {0, -3.7190164855}, {1, -0.2533471031}} {
		if got := probit(c.p); got-c.want > 1e-9 || c.want-got > 1e-9 {
			t.Errorf("%v: %v, want %v", c.p, got, c.want)
		}
	}
}

func TestShares(t *testing.T) {
	l := shares("x", times([]float64{2, 2, 4}), 4)
	at := func(x float64) (y float64) {
		for _, p := range l.at {
			if p.X <= x {
				y = p.Y
			}
		}
		return y
	}
	for x, want := range map[float64]float64{1.9: 0, 2: 50, 3.9: 50, 4: 75, 15: 75} {
		if got := at(x); got != want {
			t.Errorf("by %v s: %v %%, want %v", x, got, want)
		}
	}
}

func TestBaseline(t *testing.T) {
	r := result(t)
	b := &Baseline{Points: 0.1}
	b.Set(r)
	var buf bytes.Buffer
	if err := b.Write(&buf); err != nil {
		t.Fatal(err)
	}
	b, err := ReadBaseline(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if changes, err := b.Compare(r); err != nil || len(changes) > 0 {
		t.Fatalf("against itself: %v, %q", err, changes)
	}
	b.Set(r)
	if len(b.Rows) != len(r.Rows) || len(b.Decisions) != len(r.Decisions) {
		t.Errorf("set twice: %d rows and %d decisions", len(b.Rows), len(b.Decisions))
	}
	for name, c := range map[string]struct {
		change  func(*Result)
		changed string
		fails   string
	}{
		"a bit worse":      {func(r *Result) { r.Rows[0].EER.Value += 0.0008 }, "EER", ""},
		"worse":            {func(r *Result) { r.Rows[0].EER.Value += 0.002 }, "EER", "0.1 points"},
		"better":           {func(r *Result) { r.Rows[0].EER.Value -= 0.02 }, "EER", ""},
		"loss":             {func(r *Result) { r.Rows[1].Loss += 1 }, "loss", ""},
		"other trials":     {func(r *Result) { r.Rows[0].Targets++ }, "", "trials measured"},
		"another engine":   {func(r *Result) { r.Engine = "x" }, "", "no entry"},
		"fewer matched":    {func(r *Result) { r.Decisions[0].True.Match.Value -= 0.01 }, "true callers matched 49", "points"},
		"more matched":     {func(r *Result) { r.Decisions[0].True.Match.Value += 0.01 }, "true callers matched 51", ""},
		"impostors":        {func(r *Result) { r.Decisions[0].Impostors.Match.Value += 0.01 }, "impostors matched 21", "points"},
		"slower":           {func(r *Result) { r.Decisions[0].True.ToMatch.Mean = 9 }, "speech to a match 9 s, was 3 s", ""},
		"other calls":      {func(r *Result) { r.Decisions[0].Impostors.Count++ }, "", "calls measured"},
		"nothing measured": {func(r *Result) { r.Rows, r.Decisions = nil, nil }, "", "nothing was measured"},
	} {
		x := result(t)
		c.change(x)
		changes, err := b.Compare(x)
		if got := strings.Join(changes, "\n"); (c.changed == "") != (got == "") || !strings.Contains(got, c.changed) {
			t.Errorf("%s: changes %q", name, got)
		}
		if (c.fails == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.fails)
		}
	}
	for _, bad := range []string{"", "{}", `{"points": 0, "rows": [{}]}`, `{"points": 1}`, `{"points": 1, "rows": [{}], "more": 1}`} {
		if _, err := ReadBaseline(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
