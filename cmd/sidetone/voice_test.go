package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/asr/vad"
	"sidetone/bench/voice"
	"sidetone/cmd/sidetone/internal/voicecal"
	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
)

// dummy tells voices apart by their first sample.
type dummy struct{}

func (dummy) Model() voiceprint.Model { return voiceprint.Model{ID: "dummy", Dim: 8} }

func (dummy) Embed(x []float32) (voiceprint.Embedding, error) {
	who := uint64(x[0] * (1 << 15))
	own, now := rand.New(rand.NewPCG(who, 1)), rand.New(rand.NewPCG(who, uint64(len(x))))
	out := make(voiceprint.Embedding, 8)
	for i := range out {
		out[i] = float32(own.NormFloat64() + 0.4*now.NormFloat64())
	}
	voiceprint.Unit(out)
	return out, nil
}

// A space is trained, then calibrated anew on other data without changing it.
func TestVoiceTraining(t *testing.T) {
	dir := t.TempDir()
	voices := func(from, n int) []voicecal.Utterance {
		var us []voicecal.Utterance
		for s := from; s < from+n; s++ {
			for i, seconds := range []int{20, 5} {
				x := make([]int16, voiceprint.Rate*seconds)
				for k := range x {
					x[k] = int16(s + 1)
				}
				var b bytes.Buffer
				if err := wav.Encode(&b, &wav.Audio{Rate: voiceprint.Rate, Channels: [][]int16{x}}, wav.PCM16); err != nil {
					t.Fatal(err)
				}
				name := fmt.Sprintf("%d-%d.wav", s, i)
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				us = append(us, voicecal.Utterance{Name: name, Path: path, Speaker: fmt.Sprint(s), Group: "adult", Line: "call", Enrols: i == 0, Calls: i == 1, Channel: -1, Whole: true})
			}
		}
		return us
	}
	first, second := filepath.Join(dir, "first.json"), filepath.Join(dir, "second.json")
	o := voiceTraining{out: first, data: "test one", cache: filepath.Join(dir, "cache"), folds: 4, looks: []time.Duration{3 * time.Second, 5 * time.Second}}
	var w bytes.Buffer
	if err := o.train(t.Context(), &w, voicecal.Hearing{Raw: dummy{}}, voices(0, 40), nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"40 speakers, dealt into 4 folds", "pooled", "FAR %", "Written: " + first} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("no %q in\n%s", want, w.String())
		}
	}
	p, err := voiceParams(first)
	if err != nil {
		t.Fatal(err)
	}
	o = voiceTraining{out: second, data: "test two", folds: 4, looks: o.looks, asJSON: true}
	w.Reset()
	if err := o.train(t.Context(), &w, voicecal.Hearing{Raw: dummy{}}, voices(40, 20), p); err != nil {
		t.Fatal(err)
	}
	q, err := voiceParams(second)
	if err != nil {
		t.Fatal(err)
	}
	var r voice.Result
	if err := json.Unmarshal(w.Bytes(), &r); err != nil || r.Calibration != q.Version() || r.Speakers != 20 {
		t.Errorf("%+v, %v", r, err)
	}
	if q.Space.Model() != p.Space.Model() || q.Version() == p.Version() || q.Trained.Space != "test one" || q.Trained.Calibration != "test two" {
		t.Errorf("%+v of %s, %+v of %s", p.Trained, p.Space.Model().ID, q.Trained, q.Space.Model().ID)
	}
	o.out = filepath.Join(dir, "third.json")
	if err := o.train(t.Context(), &w, voicecal.Hearing{Raw: dummy{}}, voices(60, 10), p); err == nil || !strings.Contains(err.Error(), "at least 20 are needed") {
		t.Errorf("ten speakers: %v", err)
	}
	if _, err := os.Stat(o.out); err == nil {
		t.Error("a file is written in spite of an error")
	}
}

// What is wrong with a request is said before the work.
func TestVoiceCalibrateRefuses(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "speakers.csv")
	f, err := os.Create(list)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	w.WriteAll([][]string{{"speaker", "file"}, {"ann", "1.wav"}})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"format": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no such file":           {"calibrate", filepath.Join(dir, "none")},
		"bad.json: backend: unu": {"calibrate", list, "--from", bad},
		"accepts 1 arg":          {"calibrate"},
	} {
		c := voiceCmd()
		c.SetArgs(args)
		c.SilenceErrors, c.SilenceUsage = true, true
		if err := c.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

// Pauses are cut out, speech is kept, and what is no good is said.
func TestNetSpeech(t *testing.T) {
	weights, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer weights.Close()
	m, err := vad.Load(weights)
	if err != nil {
		t.Fatal(err)
	}
	a, err := readWav(needs.Eval(t, "voice", "wav", "d002", "test1_tel.wav"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := resample.Convert(a.Channels[0], a.Rate, voiceprint.Rate)
	if err != nil {
		t.Fatal(err)
	}
	with := append(append(append([]int16{}, x[:5*16000]...), make([]int16, 10*16000)...), x[5*16000:]...)
	out, err := netSpeech(m, with)
	if err != nil {
		t.Fatal(err)
	}
	if got := float64(len(out.Speech)) / 16000; got < 11 || got > 15.3 || len(out.Call) != 0 {
		t.Errorf("%.1f s of speech found in 15 s with 10 s of silence; against it: %v", got, out.Call)
	}
	noise := rand.New(rand.NewPCG(1, 2))
	for i := range with {
		with[i] = int16(max(-32768, min(32767, int(with[i])+noise.IntN(8000)-4000)))
	}
	if out, err = netSpeech(m, with); err != nil || len(out.Enrolment) == 0 {
		t.Errorf("nothing speaks against noise: %v, %v", out.Enrolment, err)
	}
	var n unusable
	n.add(nil, voicecal.AsCall, []voiceprint.Reason{voiceprint.Noise})
	n.add(nil, voicecal.AsCall, []voiceprint.Reason{voiceprint.Music, voiceprint.Noise})
	n.add(nil, voicecal.AsCall, []voiceprint.Reason{voiceprint.Noise})
	var w strings.Builder
	if err = n.write(&w, 9); err != nil || w.String() != "Not good enough as call: 3 of 9 recordings (music, noise 1; noise 2)\n" {
		t.Errorf("%q, %v", w.String(), err)
	}
}
