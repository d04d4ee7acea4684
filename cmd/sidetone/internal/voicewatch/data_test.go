package voicewatch

import (
	"bytes"
	"encoding/csv"
	"flag"
	"hash/maphash"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
	"sidetone/media/resample"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/embed/campplus"
)

var full = flag.Bool("full", false, "embed all speakers: some three hours of speech")

// person is a speaker of the evaluation data: an enrolment of 20 to 30 s and a call of
// 15 s on each line, each over a handset of its own. Embeddings are raw.
type person struct {
	name, group string
	enrolment   []float32
	template    backend.Piece
	chunks      []backend.Piece
	calls       map[string][]backend.Piece // by line, the longest last
}

type people struct {
	engine  *remembering
	persons []*person
	// cohort are other speakers, of one short recording each.
	cohort []backend.Piece
}

// remembering embeds the same speech once.
type remembering struct {
	voiceprint.Embedder
	seed maphash.Seed
	have map[uint64]voiceprint.Embedding
}

func (r *remembering) Embed(x []float32) (voiceprint.Embedding, error) {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, v := range x {
		maphash.WriteComparable(&h, v)
	}
	if e, ok := r.have[h.Sum64()]; ok {
		return e, nil
	}
	e, err := r.Embedder.Embed(x)
	if err == nil {
		r.have[h.Sum64()] = e
	}
	return e, err
}

func lines() []string { return []string{"tel", "codec", "noise"} }

func looks() []time.Duration {
	return []time.Duration{3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second}
}

func load(t *testing.T) *people {
	t.Helper()
	root := needs.Eval(t, "voice")
	f, err := os.Open(needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	engine, err := campplus.Load(f, campplus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := &people{engine: &remembering{engine, maphash.MakeSeed(), map[uint64]voiceprint.Embedding{}}}
	begun := time.Now()
	for _, row := range table(t, root, "speakers.tsv") {
		p.persons = append(p.persons, p.person(t, root, row[0], row[5]))
		t.Logf("%d speakers after %v", len(p.persons), time.Since(begun).Round(time.Second))
	}
	for _, row := range table(t, root, "cohort.tsv") {
		p.cohort = append(p.cohort, p.piece(t, read(t, root, "cohort", row[0]+".wav")))
	}
	return p
}

func (p *people) person(t *testing.T, root, name, group string) *person {
	t.Helper()
	out := &person{name: name, group: group, calls: map[string][]backend.Piece{}}
	out.enrolment = read(t, root, "wav", name, "enrol_tel.wav")
	const chunk = 10 * voiceprint.Rate
	for at := 0; at+chunk <= len(out.enrolment); at += chunk {
		out.chunks = append(out.chunks, p.piece(t, out.enrolment[at:at+chunk]))
	}
	// The mean of chunks is as good as all in one.
	sum := make(voiceprint.Embedding, campplus.Dim)
	for _, c := range out.chunks {
		for i, x := range c.Raw {
			sum[i] += x
		}
	}
	voiceprint.Unit(sum)
	out.template = backend.Piece{Net: time.Duration(len(out.chunks)) * 10 * time.Second, Raw: sum}
	for _, line := range lines() {
		speech := read(t, root, "wav", name, "test1_"+line+".wav")
		for _, d := range looks() {
			out.calls[line] = append(out.calls[line], p.piece(t, speech[:min(len(speech), int(d.Seconds()*voiceprint.Rate))]))
		}
	}
	return out
}

func (p *people) piece(t *testing.T, speech []float32) backend.Piece {
	t.Helper()
	e, err := p.engine.Embed(speech)
	if err != nil {
		t.Fatal(err)
	}
	return backend.Piece{Net: time.Duration(len(speech)) * time.Second / voiceprint.Rate, Raw: e}
}

// train makes parameters from some people.
func (p *people) train(t *testing.T, from []*person) *backend.Params {
	t.Helper()
	var all []backend.Recording
	for _, who := range from {
		all = append(all, backend.Recording{
			Name: who.name + "/enrolment", Speaker: who.name, Group: who.group, Line: "enrolment",
			Template: who.template.Raw, Parts: who.chunks,
		})
		for _, line := range lines() {
			all = append(all, backend.Recording{
				Name: who.name + "/" + line, Speaker: who.name, Group: who.group, Line: line,
				Parts: who.calls[line], Looks: who.calls[line],
			})
		}
	}
	params, _, err := backend.Train(backend.Training{Of: p.engine.Model(), Recordings: all, Data: "half of the people", Date: "2026-11-23", Folds: 4})
	if err != nil {
		t.Fatal(err)
	}
	return params
}

func read(t *testing.T, elem ...string) []float32 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	x, err := resample.Convert(a.Channels[0], a.Rate, voiceprint.Rate)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v) / 32768
	}
	return out
}

func table(t *testing.T, elem ...string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = '\t'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}
