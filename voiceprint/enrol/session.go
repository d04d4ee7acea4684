package enrol

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"sidetone/voiceprint"
)

// mostChunks is how much a session takes: beyond, more speech makes no better template.
const mostChunks = 32

// SessionConfig shapes NewSession.
type SessionConfig struct {
	Embedder voiceprint.Embedder
	Scorer   voiceprint.Scorer
	Policy   Policy
	// Line is what the speech was heard over, Source where it comes from: see
	// voiceprint.Template.
	Line, Source string
}

// Session makes one template of speech that comes in pieces. It holds the speech of
// at most two chunks. It is not safe for concurrent use.
type Session struct {
	config SessionConfig
	model  voiceprint.Model
	rules  ExplicitPolicy

	rest []float32
	// marks are the pieces in rest.
	marks   []mark
	net     time.Duration
	chunks  []chunk
	refused []Refused
	quality average
	done    bool
}

// mark says that a piece reaches up to a sample of rest.
type mark struct {
	name string
	end  int
}

type chunk struct {
	Chunk
	embedding voiceprint.Embedding
}

// Piece is some net speech: mono, at voiceprint.Rate, full scale at ±1.
type Piece struct {
	// Name says which it is in reports, such as a file's.
	Name    string
	Speech  []float32
	Quality voiceprint.Quality
	// Gates are the reasons for which it should not be enrolled. With any it is not.
	Gates []voiceprint.Reason
}

// Refused is a piece that was not used.
type Refused struct {
	Name    string
	Net     time.Duration
	Reasons []voiceprint.Reason
}

// Chunk is speech that was embedded in one go.
type Chunk struct {
	// Begin and End count the net speech of the pieces that were used.
	Begin, End time.Duration
	// Names are those of the pieces it is of.
	Names []string
	// Other says that it is another voice's than most.
	Other bool
}

// Report is how an enrolment stands.
type Report struct {
	// Net is the speech that is used. Percent is that of what is recommended, at most
	// 100; Missing is how much must come before there can be a template.
	Net     time.Duration
	Percent int
	Missing time.Duration
	// Reasons are all that stands between the speech and a template; none means that
	// Finish will make one. Recommended says that there is no need for more.
	Reasons     []voiceprint.Reason
	Recommended bool
	Chunks      []Chunk
	Refused     []Refused
	// Quality is that of what is used; Unlike is of the most unlike two chunks.
	Quality voiceprint.Quality
}

// RefusalError says that there is no template, and why.
type RefusalError struct {
	Reasons []voiceprint.Reason
	Report  Report
}

func (e *RefusalError) Error() string {
	words := make([]string, len(e.Reasons))
	for i, r := range e.Reasons {
		words[i] = string(r)
	}
	text := fmt.Sprintf("enrol: refused: %s; %v of speech", strings.Join(words, ", "), e.Report.Net.Round(100*time.Millisecond))
	if e.Report.Missing > 0 {
		text += fmt.Sprintf(", add %v", e.Report.Missing.Round(100*time.Millisecond))
	}
	for _, c := range e.Report.Chunks {
		if c.Other {
			text += fmt.Sprintf("; another voice from %v to %v (%s)", c.Begin.Round(100*time.Millisecond), c.End.Round(100*time.Millisecond), strings.Join(c.Names, ", "))
		}
	}
	return text
}

// ErrDone is returned by a session that has made its template.
var ErrDone = errors.New("enrol: the session has made its template")

// NewSession begins an enrolment.
func NewSession(c SessionConfig) (*Session, error) {
	p, err := c.Policy.WithDefaults()
	if err != nil {
		return nil, err
	}
	m, info := c.Embedder.Model(), c.Scorer.Info()
	if m != info.Model {
		return nil, fmt.Errorf("enrol: the calibration %s is for %s, embeddings are %w: %s", info.Calibration, info.Model.ID, voiceprint.ErrModel, m.ID)
	}
	return &Session{config: c, model: m, rules: p.Explicit}, nil
}

// Add takes a piece; it keeps a copy of what it needs. One with gates is refused and
// reported, which is no error. It takes as long as an embedding whenever a chunk is
// full; after an error of that the session is of no more use.
func (s *Session) Add(p Piece) error {
	if s.done {
		return ErrDone
	}
	net := durationOf(len(p.Speech))
	why := p.Gates
	if len(why) == 0 && len(p.Speech) == 0 {
		why = []voiceprint.Reason{voiceprint.TooLittle}
	}
	if len(why) > 0 {
		s.refuse(p.Name, net, why)
		return nil
	}
	size := samplesOf(s.rules.Chunk)
	for rest := p.Speech; len(rest) > 0; {
		if len(s.chunks) == mostChunks {
			left := durationOf(len(rest))
			net -= left
			s.refuse(p.Name, left, []voiceprint.Reason{Enough})
			break
		}
		// What follows a chunk is at least half of one, so none is short.
		n := min(len(rest), size+size/2-len(s.rest))
		s.rest, rest = append(s.rest, rest[:n]...), rest[n:]
		s.mark(p.Name)
		if len(s.rest) == size+size/2 {
			if err := s.embed(size); err != nil {
				return err
			}
			s.rest = s.rest[:copy(s.rest, s.rest[size:])]
			s.marks = slices.DeleteFunc(s.marks, func(m mark) bool { return m.end <= size })
			for i := range s.marks {
				s.marks[i].end -= size
			}
		}
	}
	if net > 0 {
		s.quality.add(p.Quality, net)
	}
	return nil
}

// mark notes that rest ends with a piece.
func (s *Session) mark(name string) {
	if n := len(s.marks); n > 0 && s.marks[n-1].name == name {
		s.marks = s.marks[:n-1]
	}
	s.marks = append(s.marks, mark{name, len(s.rest)})
}

// refuse notes a piece; those that follow each other for the same reasons are one.
func (s *Session) refuse(name string, net time.Duration, why []voiceprint.Reason) {
	if n := len(s.refused); n > 0 && s.refused[n-1].Name == name && slices.Equal(s.refused[n-1].Reasons, why) {
		s.refused[n-1].Net += net
		return
	}
	s.refused = append(s.refused, Refused{Name: name, Net: net, Reasons: slices.Clone(why)})
}

// embed makes a chunk of the first n samples of rest.
func (s *Session) embed(n int) error {
	e, err := s.config.Embedder.Embed(s.rest[:n])
	if err != nil {
		return fmt.Errorf("enrol: the speech from %v on: %w", s.net, err)
	}
	if len(e) != s.model.Dim {
		return fmt.Errorf("enrol: an embedding of %d dimensions, %s has %d: %w", len(e), s.model.ID, s.model.Dim, voiceprint.ErrModel)
	}
	c := chunk{Chunk{Begin: s.net, End: s.net + durationOf(n)}, slices.Clone(e)}
	begin := 0
	for _, m := range s.marks {
		if begin < n && !slices.Contains(c.Names, m.name) {
			c.Names = append(c.Names, m.name)
		}
		begin = m.end
	}
	s.net = c.End
	s.chunks = append(s.chunks, c)
	return nil
}

// Report says how it stands. The speech that is not embedded yet counts, but whether
// it is the same voice is not known before Finish.
func (s *Session) Report() (Report, error) {
	r := Report{Net: s.net + durationOf(len(s.rest)), Refused: slices.Clone(s.refused)}
	r.Percent = int(100 * min(r.Net, s.rules.Recommended) / s.rules.Recommended)
	r.Recommended = r.Net >= s.rules.Recommended
	if r.Missing = max(0, s.rules.Least-r.Net); r.Missing > 0 {
		r.Reasons = append(r.Reasons, voiceprint.TooLittle)
	}
	several, unlike, err := s.compare()
	if err != nil {
		return Report{}, err
	}
	if several {
		r.Reasons = append(r.Reasons, voiceprint.SeveralVoices)
	}
	for _, c := range s.chunks {
		r.Chunks = append(r.Chunks, c.Chunk)
	}
	r.Quality = s.quality.quality()
	if len(s.chunks) > 1 {
		r.Quality.Unlike = unlike
	}
	return r, nil
}

// compare weighs each two chunks and marks those that are not the voice of the chunk
// that most others agree with, in doubt the likeliest.
func (s *Session) compare() (several bool, unlike float64, err error) {
	n := len(s.chunks)
	agree, sums := make([]int, n), make([]float64, n)
	llrs := make([]float64, n*n)
	lowest := math.Inf(1)
	for i := range n {
		for j := range i {
			a, b := &s.chunks[i], &s.chunks[j]
			llr, err := s.config.Scorer.LLR([]voiceprint.Embedding{a.embedding}, b.embedding, min(a.End-a.Begin, b.End-b.Begin))
			if err != nil {
				return false, 0, fmt.Errorf("enrol: comparing chunks: %w", err)
			}
			llrs[i*n+j], llrs[j*n+i] = llr, llr
			lowest = min(lowest, llr)
			for _, k := range []int{i, j} {
				sums[k] += llr
				if llr >= s.rules.OneVoice {
					agree[k]++
				}
			}
		}
	}
	main := 0
	for i := range n {
		if agree[i] > agree[main] || agree[i] == agree[main] && sums[i] > sums[main] {
			main = i
		}
	}
	for i := range n {
		s.chunks[i].Other = i != main && llrs[i*n+main] < s.rules.OneVoice
	}
	return lowest < s.rules.OneVoice, 1 / (1 + math.Exp(lowest)), nil
}

// Finish makes the template, under a random ID, or a *RefusalError says why not; then
// more speech may be added. A session that several voices spoke in makes none: begin
// anew without the pieces that its report names.
func (s *Session) Finish(id string, now time.Time) (voiceprint.Template, Report, error) {
	if s.done {
		return voiceprint.Template{}, Report{}, ErrDone
	}
	if s.net+durationOf(len(s.rest)) < s.rules.Least {
		r, err := s.Report()
		if err == nil {
			err = &RefusalError{Reasons: r.Reasons, Report: r}
		}
		return voiceprint.Template{}, r, err
	}
	// The last speech is tried as a chunk, and is given back if there is more to come.
	net := s.net
	if err := s.embed(len(s.rest)); err != nil {
		return voiceprint.Template{}, Report{}, err
	}
	rest := s.rest
	s.rest = s.rest[:0]
	r, err := s.Report()
	var mean voiceprint.Embedding
	if err == nil && len(r.Reasons) > 0 {
		err = &RefusalError{Reasons: r.Reasons, Report: r}
	}
	if err == nil {
		mean, err = s.mean()
	}
	if err != nil {
		s.net, s.rest, s.chunks = net, rest, s.chunks[:len(s.chunks)-1]
		return voiceprint.Template{}, r, err
	}
	s.done = true
	return voiceprint.Template{
		ID: id, Line: s.config.Line, Model: s.model.ID, Embedding: mean,
		Made: now, Source: s.config.Source, Quality: r.Quality,
	}, r, nil
}

func (s *Session) mean() (voiceprint.Embedding, error) {
	all := make([]weighted, len(s.chunks))
	for i, c := range s.chunks {
		all[i] = weighted{c.embedding, 1}
	}
	return mean(all)
}

type weighted struct {
	embedding voiceprint.Embedding
	weight    float64
}

// mean is the weighted mean of unit vectors, made a unit vector.
func mean(all []weighted) (voiceprint.Embedding, error) {
	out := make(voiceprint.Embedding, len(all[0].embedding))
	for _, w := range all {
		for i, x := range w.embedding {
			out[i] += float32(w.weight) * x
		}
	}
	if !voiceprint.Unit(out) {
		return nil, errors.New("enrol: the embeddings are no unit vectors of one voice: their mean has no direction")
	}
	return out, nil
}

func samplesOf(d time.Duration) int { return int(d * voiceprint.Rate / time.Second) }

func durationOf(n int) time.Duration { return time.Duration(n) * time.Second / voiceprint.Rate }
