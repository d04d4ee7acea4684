package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/benchload"
)

func TestParseRamp(t *testing.T) {
	r, err := parseRamp("4:2:20")
	if err != nil || *r != (benchload.Ramp{From: 4, Step: 2, To: 20}) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, s := range []string{"", "4", "4:2", "4:0:8", "8:1:4", "a:b:c", "1:2:3:4", "-1:1:4"} {
		if r, err := parseRamp(s); err == nil {
			t.Errorf("%q is read as %+v", s, r)
		}
	}
}

func TestParseShare(t *testing.T) {
	for s, want := range map[string]float64{"0%": 0, "5%": 0.05, "0.25": 0.25, " 12.5% ": 0.125} {
		if got, err := parseShare(s); err != nil || got != want {
			t.Errorf("%q: %g, %v, want %g", s, got, err, want)
		}
	}
	for _, s := range []string{"", "x", "100%", "-1%", "NaN", "1"} {
		if got, err := parseShare(s); err == nil {
			t.Errorf("%q is read as %g", s, got)
		}
	}
}

func TestBenchLoadRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--slo fast": "--slo", "--loss much": "--loss", "--end sometime": "--end", "--ramp up": "--ramp", "--material songs": "--material",
		"--material eval --eval /nowhere": "no calls", "--pin x": "--pin", "--server-cpus x": "--server-cpus", "--url nowhere --calls 1": "no address",
	} {
		c := benchLoadCmd()
		c.SetArgs(strings.Fields(args))
		c.SilenceUsage, c.SilenceErrors = true, true
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", args, err, want)
		}
	}
}

func TestLoadBar(t *testing.T) {
	var b bytes.Buffer
	bar := newLoadBar(&b, 10*time.Minute)
	for i := range 130 {
		bar.show(benchload.Status{Elapsed: time.Duration(i) * time.Second, Running: 7, Refused: 2})
	}
	bar.end()
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "1m0s of 10m0s: 7 calls") || !strings.Contains(lines[1], "2 refused") {
		t.Errorf("it says\n%s", b.String())
	}
}
