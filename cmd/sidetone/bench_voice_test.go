package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/bench/voice"
)

// What is wrong with a request is said before the work.
func TestBenchVoiceRefuses(t *testing.T) {
	eval := t.TempDir()
	list := "label\tenrol_spk\tenrol\ttest\tstart_s\tdur_s\ttest_spk\tsame_gender\tgroup\tchannel\ntarget\ta\te.wav\tt.wav\t0\t3\ta\t1\tadult\tg711\n"
	write(t, filepath.Join(eval, "voice", "trials_tel.tsv"), []byte(list))
	bad := filepath.Join(eval, "bad.json")
	write(t, bad, []byte("{}"))
	for want, args := range map[string][]string{
		`--far "0"`:                {"--far", "1%,0"},
		`--far "many"`:             {"--far", "many"},
		`--durations "x"`:          {"--durations", "3,x"},
		"no trials":                {"--durations", "4"},
		"trials_shout.tsv":         {"--conditions", "shout"},
		`--engine "ears"`:          {"--engine", "ears"},
		"bad.json: baseline":       {"--baseline", bad},
		"none.json":                {"--baseline", filepath.Join(eval, "none.json")},
		"no lists trials_*.tsv":    {"--eval", filepath.Join(eval, "voice")},
		"unknown command \"more\"": {"more"},
	} {
		if _, err := benchArgs(t, append([]string{"voice", "--eval", eval}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", args, err, want)
		}
	}
}

func TestVoiceBaselineFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "voice.json")
	r := &voice.Result{Engine: "e", Rows: []voice.Row{{Cut: voice.Pooled, Seconds: 5, Targets: 10, Impostors: 100, EER: voice.Figure{Value: 0.01}}}}
	o := benchVoice{saveBaseline: name}
	var out strings.Builder
	for range 2 {
		if err := o.write(r, nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	base, err := readVoiceBaseline(name)
	if err != nil || len(base.Rows) != 1 || base.Rows[0].EER != 1 {
		t.Fatalf("%+v, %v", base, err)
	}
	o = benchVoice{baseline: name, report: filepath.Join(t.TempDir(), "r.html"), jsonFile: filepath.Join(t.TempDir(), "r.json")}
	out.Reset()
	if err := o.write(r, base, &out); err != nil || !strings.Contains(out.String(), "0 figures differ") {
		t.Errorf("%v\n%s", err, out.String())
	}
	r.Rows[0].EER.Value = 0.02
	out.Reset()
	if err := o.write(r, base, &out); err == nil || !strings.Contains(out.String(), "EER 2 %, was 1 %") {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, f := range []string{o.report, o.jsonFile} {
		if b, err := os.ReadFile(f); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", f, len(b), err)
		}
	}
}
