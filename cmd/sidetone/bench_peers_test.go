package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/bench"
	"sidetone/cmd/sidetone/internal/benchlive"
	"sidetone/cmd/sidetone/internal/benchpeer"
	"sidetone/internal/models"
	"sidetone/internal/needs"
)

func TestBenchEngine(t *testing.T) {
	for name, want := range map[string]benchpeer.Engine{
		"sidetone":            {Name: "sidetone tiny.en whole", Ours: true},
		"sidetone:default":    {Name: "sidetone tiny.en whole", Ours: true},
		"sidetone:int8":       {Name: "sidetone tiny.en whole int8", Ours: true, Kind: bench.Int8},
		"stream:float32":      {Name: "sidetone tiny.en stream float32", Ours: true, Streams: true},
		"faster-whisper:int8": {Name: "faster-whisper tiny.en int8", Kind: bench.Int8},
		"ctranslate2:float32": {Name: "ctranslate2 tiny.en float32"},
		"whisper.cpp":         {Name: "whisper.cpp tiny.en float16", Kind: bench.Either},
	} {
		got, err := benchEngine(name, "whisper-tiny.en", "/bin/sidetone", "peers/peer.py", "/models")
		args := strings.Join(got.Args, " ")
		got.Args = nil
		if err != nil || got.Name != want.Name || got.Ours != want.Ours || got.Kind != want.Kind || got.Streams != want.Streams {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if want.Ours != strings.HasPrefix(args, "/bin/sidetone bench serve --model whisper-tiny.en") || !want.Ours && !strings.HasPrefix(args, "peers/peer.py ") {
			t.Errorf("%s: started as %s", name, args)
		}
	}
	for _, name := range []string{"", "vosk", "sidetone:float16", "ctranslate2", "faster-whisper:default", "whisper.cpp:int8"} {
		if _, err := benchEngine(name, "m", "s", "p", "f"); err == nil || !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

// TestBenchServe has our own engine answer a request as a child would.
func TestBenchServe(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	o := benchASR{mode: "whole", model: "whisper-tiny.en", compute: "int8"}
	var out bytes.Buffer
	request := "{\"samples\":16000,\"context\":300,\"max_tokens\":2}\n" + strings.Repeat("\x00", 32000)
	if err := o.serve(t.Context(), strings.NewReader(request), &out, models.Default()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var a benchpeer.Answer
	if len(lines) != 2 || !strings.Contains(lines[0], "sidetone tiny.en whole int8") || json.Unmarshal([]byte(lines[1]), &a) != nil || a.Error != "" || a.Wall <= 0 {
		t.Errorf("got %q", lines)
	}
	if o.compute = "int3"; o.serve(t.Context(), strings.NewReader(""), &out, models.Default()) == nil {
		t.Error("int3: no error")
	}
}

// TestBenchStreams plays a call, in real time, for some seconds.
func TestBenchStreams(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	root := needs.Eval(t)
	out, err := benchArgs(t, "streams", "--eval", root, "--core", "-1", "--warm", "1s", "--duration", "1s", "--calls", "--limit", "2", "--n", "1", "--json")
	var r streamsReport
	if err != nil || json.Unmarshal([]byte(out), &r) != nil || len(r.Results) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	if x := r.Results[0]; x.Legs != 2 || x.Seconds <= 0 || x.Core <= 0 || r.ModelBytes < 1e7 {
		t.Errorf("%+v", r)
	}
}

func TestBenchPeersErrors(t *testing.T) {
	eval := t.TempDir()
	write(t, filepath.Join(eval, "asr", "s", "manifest.tsv"), []byte("path\tref_raw\nwav16/a.wav\ta\n"))
	t.Setenv(models.EnvVar, t.TempDir())
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"compare, no weights": {[]string{"compare"}, "sidetone models pull whisper-tiny.en"},
		"compare, baseline":   {[]string{"compare", "--baseline", "none.json"}, "none.json"},
		"latency, no rounds":  {[]string{"latency", "--rounds", "0"}, "1 or more"},
		"latency, no clips":   {[]string{"latency"}, "a.wav"},
		"words, one engine":   {[]string{"words", "--engines", "sidetone"}, "want two"},
		"streams, no time":    {[]string{"streams", "--duration", "0s", "--core", "-1"}, "a second or more"},
		"streams, no sound":   {[]string{"streams", "--core", "-1"}, "a.wav"},
		"streams, no calls":   {[]string{"streams", "--core", "-1", "--calls"}, "set calls"},
	} {
		if _, err := benchArgs(t, append(c.args, "--eval", eval, "--sets", "s")...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestStreamsReport(t *testing.T) {
	r := streamsReport{Results: []benchlive.Result{{Memory: 5}, {Memory: 3, Holds: true}, {Memory: 9}}}
	if m := r.memory(); m != 3 {
		t.Errorf("a leg keeps %v, want what it kept where all held", m)
	}
	o := benchStreams{counts: []int{2, 0}, asJSON: true}
	err := o.search(t.Context(), nil, &r, func(n int) (benchlive.Result, error) { return benchlive.Result{Legs: n, Holds: true}, nil })
	if err == nil || r.Held != 2 {
		t.Errorf("held %d, %v", r.Held, err)
	}
}
