package bench

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestLatencyRow(t *testing.T) {
	ds := []Decode{
		{Wall: 0.4, CPU: 0.30, Tokens: 11, First: 0.2, FirstTokens: 1},
		{Wall: 0.2, CPU: 0.20, Tokens: 12, First: 0.1, FirstTokens: 2},
		{Wall: 0.3, CPU: 0.25, Tokens: 10, First: 0.1, FirstTokens: 0},
		{Wall: 9.0, CPU: 0.26, Tokens: 11, First: 0.1, FirstTokens: 1},
	}
	r := NewLatencyRow("e", true, Int8, Job{Seconds: 2, Fitted: true, Frames: 300}, ds)
	for name, c := range map[string][2]float64{
		"wall": {r.Wall, 300}, "low": {r.Low, 200}, "high": {r.High, 400}, "cpu": {r.CPU, 250}, "tokens": {r.Tokens, 11},
		"first": {r.First, 100},
		// Of 10, 10, 15 and 16 ms the second.
		"token": {r.Token, 10},
		// Of 190, 80, 100 and 84 ms the second.
		"encoder": {r.Encode, 84},
	} {
		if !near(c[0], c[1]) {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	told := NewLatencyRow("e", true, Float, Job{}, []Decode{{CPU: 1, First: 0.9, FirstTokens: 1, Encode: 0.5, Tokens: 1}})
	if told.Encode != 500 || told.Token != 0 {
		t.Errorf("an encoder's own time: %+v", told)
	}
	if none := NewLatencyRow("e", true, Float, Job{}, nil); none.Wall != 0 || none.Decodes != 0 {
		t.Errorf("nothing measured: %+v", none)
	}
}

// rows are two engines of ours and three peers at one job, and one of each at
// another.
func latencyRows() []LatencyRow {
	row := func(engine string, ours bool, k Kind, seconds int, wall, cpu float64) LatencyRow {
		return LatencyRow{Engine: engine, Ours: ours, Kind: k, Seconds: seconds, Frames: 1500, Decodes: 3, Wall: wall, CPU: cpu}
	}
	return []LatencyRow{
		row("our floats", true, Float, 2, 100, 100),
		row("floats", false, Float, 2, 300, 300),
		row("our bytes", true, Int8, 2, 50, 40),
		row("bytes", false, Int8, 2, 200, 200),
		row("either", false, Either, 2, 250, 210),
		row("our floats", true, Float, 5, 0, 0),
		row("our bytes", true, Int8, 5, 50, 50),
		row("floats", false, Float, 5, 300, 300),
	}
}

func TestSpeedups(t *testing.T) {
	got := Speedups(latencyRows())
	if len(got) != 2 {
		t.Fatalf("%+v, want two: the others have nothing to be compared with", got)
	}
	if s := got[0]; s.Engine != "our floats" || s.Peer != "either" || !near(s.Wall, 2.5) || !near(s.CPU, 2.1) {
		t.Errorf("floats: %+v", s)
	}
	if s := got[1]; s.Engine != "our bytes" || s.Peer != "bytes" || !near(s.Wall, 4) || !near(s.CPU, 5) {
		t.Errorf("bytes: %+v", s)
	}
	if c := Crowded(latencyRows()); c != 1 {
		t.Errorf("crowded %v, want 1", c)
	}
}

func TestLatencyTables(t *testing.T) {
	rows := latencyRows()
	// The table puts the rows of one job together again.
	rows[1], rows[7] = rows[7], rows[1]
	var b bytes.Buffer
	if err := LatencyTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 9 || !strings.Contains(lines[5], "floats") || !strings.HasPrefix(strings.TrimSpace(lines[5]), "2 ") {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := SpeedupTable(&b, []Speedup{{Engine: "a", Peer: "b", Seconds: 5, Fitted: true, Wall: 2, CPU: 3}}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(b.String()), " "); !strings.HasSuffix(got, "5 fitted a b 2.00 x 3.00 x") {
		t.Errorf("got %s", got)
	}
}
