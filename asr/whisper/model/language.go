package model

import (
	"context"
	"fmt"
	"strings"
)

// Multilingual tells whether the model knows other languages than English.
func (m *Model) Multilingual() bool { return m.multilingual }

// Languages lists the codes of the languages that the model knows: "en" first
// and the others in the order of how much of them Whisper has heard.
func (m *Model) Languages() []string {
	if !m.multilingual {
		return []string{"en"}
	}
	first, end := m.languages()
	out := make([]string, 0, end-first)
	for id := first; id < end; id++ {
		out = append(out, m.languageCode(id))
	}
	return out
}

// languages are the first of the languages' tokens and the one after them. They
// stand before those for translate, transcribe, startoflm, startofprev and
// nospeech.
func (m *Model) languages() (first, end int) { return m.sot + 1, max(m.sot+1, m.noSpeech-4) }

func (m *Model) languageCode(id int) string {
	return strings.TrimSuffix(strings.TrimPrefix(string(m.vocab.Bytes(id)), "<|"), "|>")
}

// startOfText is the reference's sequence before the text.
func (m *Model) startOfText(language string) ([]int, error) {
	if !m.multilingual {
		return []int{m.sot}, nil
	}
	if language == "" {
		language = "en"
	}
	id, ok := m.vocab.ID("<|" + language + "|>")
	if first, end := m.languages(); !ok || id < first || id >= end {
		return nil, fmt.Errorf("whisper: unknown language %q", language)
	}
	return []int{m.sot, id, m.transcribe}, nil
}

// DetectLanguage returns the code of the language that is most likely spoken in
// samples (mono, 16 kHz, full scale at ±1) and its probability among the
// languages that the model knows. frames is as Options.Context; the reference
// listens to the full 30 s. A model that knows only English answers so without
// listening; so does one that hears less than 10 ms, with a probability of 0.
func (d *Decoder) DetectLanguage(ctx context.Context, samples []float32, frames int) (code string, prob float64, err error) {
	if !d.m.multilingual {
		return "en", 1, nil
	}
	o := Options{Context: frames}
	if frames, err = d.check(&o); err != nil {
		return "", 0, err
	}
	samples = samples[:min(len(samples), frames*FrameSamples)]
	if len(samples) < FrameSamples/2 {
		return "en", 0, nil
	}
	l := d.lane(0)
	if err = d.encode(ctx, &l.memory, samples, frames, &Options{}); err != nil {
		return "", 0, fmt.Errorf("whisper: %w", err)
	}
	code, prob = d.language(l)
	return code, prob, nil
}

// language is DetectLanguage on audio that is encoded already.
func (d *Decoder) language(l *lane) (code string, prob float64) {
	seq := l.sequences[0]
	seq.mem, seq.n, seq.keep = &l.memory, 0, nil
	d.stepper.step([]row{{seq, d.m.sot}})
	first, end := d.m.languages()
	best := 0
	p := l.rules.softmax(d.stepper.project(1, false)[first:end])
	for i := range p {
		if p[i] > p[best] {
			best = i
		}
	}
	return d.m.languageCode(first + best), float64(p[best])
}
