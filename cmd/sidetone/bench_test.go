package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchasr"
	"sidetone/internal/models"
	"sidetone/internal/needs"
)

// benchArgs runs `sidetone bench` with args.
func benchArgs(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := benchCmd()
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestBenchWER(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, engine := range []string{"ours", "peer"} {
		f := filepath.Join(dir, engine)
		us := []bench.Utterance{{Engine: engine, Set: "s", Condition: "c", Clip: "a", Seconds: 2, CPU: 1, Ref: "ONE TWO", Hyp: "one."}}
		var b bytes.Buffer
		if err := bench.WriteUtterances(&b, us); err != nil {
			t.Fatal(err)
		}
		write(t, f, b.Bytes())
		files = append(files, f)
	}
	out, err := benchArgs(t, append([]string{"wer"}, files...)...)
	if err != nil || strings.Count(out, "50.00") != 2 || !strings.Contains(out, "peer") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = benchArgs(t, append([]string{"wer", "--json"}, files...)...)
	var rows []bench.Row
	if err != nil || json.Unmarshal([]byte(out), &rows) != nil || len(rows) != 2 || rows[1].WER != 50 {
		t.Errorf("%v\n%s", err, out)
	}
	write(t, files[1], []byte("no table"))
	if _, err := benchArgs(t, append([]string{"wer"}, files...)...); err == nil || !strings.Contains(err.Error(), files[1]) {
		t.Errorf("error %v does not name the file", err)
	}
}

func TestBenchASRErrors(t *testing.T) {
	eval := t.TempDir()
	write(t, filepath.Join(eval, "asr", "s", "manifest.tsv"), []byte("path\tref_raw\nwav16/a.wav\ta\n"))
	t.Setenv(models.EnvVar, t.TempDir())
	base := []string{"asr", "--eval", eval, "--sets", "s"}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"mode":       {[]string{"--mode", "fast"}, "whole, careful or stream"},
		"second":     {[]string{"--second", "y"}, "mode whole asks no second model"},
		"no weights": {nil, "sidetone models pull whisper-tiny.en"},
		"no such":    {[]string{"--model", "x"}, `no model "x"`},
		"no set":     {[]string{"--sets", "t"}, "set t"},
		"baseline":   {[]string{"--baseline", "none.json"}, "none.json"},
	} {
		if _, err := benchArgs(t, append(base[:len(base):len(base)], c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

// TestBenchASR measures one clip, makes a baseline of it and holds it to it.
func TestBenchASR(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	baseline := filepath.Join(t.TempDir(), "b.json")
	o := benchASR{
		clips: benchasr.Selection{Root: needs.Eval(t), Sets: []string{"asterisk"}, Conditions: []string{"wav16"}, Limit: 1},
		mode:  "whole", model: "whisper-tiny.en", saveBaseline: baseline, write: filepath.Join(t.TempDir(), "u.tsv"),
	}
	var out bytes.Buffer
	if err := o.run(t.Context(), &out, models.Default()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "sidetone tiny.en whole") {
		t.Errorf("table:\n%s", &out)
	}
	again, err := benchArgs(t, "wer", o.write)
	if err != nil || strings.Join(strings.Fields(again), " ") != strings.Join(strings.Fields(out.String()), " ") {
		t.Errorf("bench wer: %v\n%s\nwant\n%s", err, again, &out)
	}
	o.saveBaseline, o.baseline = "", baseline
	if err := o.run(t.Context(), &out, models.Default()); err != nil {
		t.Errorf("held to its own baseline: %v", err)
	}
	o.clips.Conditions = []string{"tel8k"}
	if err := o.run(t.Context(), &out, models.Default()); err == nil || !strings.Contains(err.Error(), "no entry") {
		t.Errorf("without an entry: %v", err)
	}
	if _, err := os.Stat(baseline); errors.Is(err, os.ErrNotExist) {
		t.Error("no baseline was written")
	}
}
