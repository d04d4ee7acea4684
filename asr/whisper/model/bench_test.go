package model

import (
	"fmt"
	"testing"

	"sidetone/internal/needs"
)

// benchClip is speech of 10 s and more at telephone quality.
const benchClip = "librispeech/tel8k/1688-142285-0001.wav"

func BenchmarkEncode(b *testing.B) {
	m := tinyEn(b)
	d := m.NewDecoder()
	var mem memory
	for _, s := range []int{5, 10, 30} {
		x := noise(s * 16000)
		b.Run(fmt.Sprintf("%ds", s), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := d.encode(b.Context(), &mem, x, s*framesPerSecond, &Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStep is one decoder step with the projection to logits.
func BenchmarkStep(b *testing.B) {
	m := tinyEn(b)
	d := m.NewDecoder()
	var mem memory
	for _, s := range []int{5, 30} {
		if err := d.encode(b.Context(), &mem, noise(s*16000), s*framesPerSecond, &Options{}); err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{1, 5, 16} {
			b.Run(fmt.Sprintf("%ds/rows=%d", s, n), func(b *testing.B) {
				var rows []row
				for range n {
					q := m.newSequence()
					q.mem = &mem
					rows = append(rows, row{q, 50})
				}
				b.ReportAllocs()
				for b.Loop() {
					for i := range rows {
						rows[i].seq.n = 20
					}
					d.stepper.step(rows)
					d.stepper.project(n, false)
				}
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := tinyEn(b)
	d := m.NewDecoder()
	needs.Eval(b, "asr")
	x := clip(b, benchClip)
	for _, c := range []struct {
		name    string
		seconds int
		o       Options
	}{
		{"5s/context=6s", 5, Options{Context: 300}},
		{"5s/context=6s/words", 5, Options{Context: 300, WordTimes: true}},
		{"5s/context=30s", 5, Options{}},
		{"10s/context=11s", 10, Options{Context: 550}},
		{"10s/context=30s", 10, Options{}},
		{"10s/context=30s/beam=5", 10, Options{Beam: 5}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			tokens := 0
			for b.Loop() {
				r, err := d.Decode(b.Context(), x[:c.seconds*16000], c.o)
				if err != nil {
					b.Fatal(err)
				}
				tokens = len(r.Tokens)
			}
			b.ReportMetric(float64(tokens), "tokens")
		})
	}
}

// BenchmarkPartial is a partial of a stream: short context with silence behind
// it, word times, a draft that is right but for its end.
func BenchmarkPartial(b *testing.B) {
	needs.Eval(b, "asr")
	x := clip(b, benchClip)[:4*16000]
	for _, compute := range []Compute{Default, Int8} {
		m := tinyEnBy(b, compute)
		d := m.NewDecoder()
		quiet, err := d.NewSilence(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		o := Options{Context: 225, Silence: quiet, WordTimes: true, Brisk: true}
		r, err := d.Decode(b.Context(), x, o)
		if err != nil {
			b.Fatal(err)
		}
		for name, draft := range map[string][]int{"none": nil, "most": r.Tokens[:len(r.Tokens)-3]} {
			b.Run(fmt.Sprintf("%v/draft=%s", compute, name), func(b *testing.B) {
				o.Draft = draft
				b.ReportAllocs()
				for b.Loop() {
					if _, err := d.Decode(b.Context(), x, o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("%v/beam=5", compute), func(b *testing.B) {
			o.Draft, o.Beam = nil, 5
			for b.Loop() {
				if _, err := d.Decode(b.Context(), x, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
