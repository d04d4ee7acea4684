package model

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecodeRefusesImpossibleOptions(t *testing.T) {
	d := made(t, madeEnglish).NewDecoder()
	for want, o := range map[string]Options{
		"context of -1 frames": {Context: -1},
		"context of 61 frames": {Context: madeAudio + 1},
		"17 beams":             {Beam: 17},
		"limit of -1 tokens":   {MaxTokens: -1},
		"prefix of 32 tokens":  {Prefix: make([]int, 32)},
		"token 400":            {Prompt: []int{400}},
		"token -1":             {Prefix: []int{-1}},
	} {
		if _, err := d.Decode(t.Context(), noise(1600), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", o, err, want)
		}
	}
}

// All combinations run, and their results keep the promises of Result.
func TestDecodeKeepsItsPromises(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	for _, n := range []int{100, 160, 480, 5000, 40000} {
		x := noise(n)
		for i := range 64 {
			o := Options{
				Context: []int{0, 1, 7, madeAudio}[i%4], Beam: []int{0, 5}[i/4%2],
				Timestamps: i/8%2 == 1, WordTimes: i/16%2 == 1, MaxTokens: i / 32 * 5,
			}
			if i%3 == 0 {
				o.Prompt = m.Encode(strings.Repeat(" long ago", 9))
			}
			if i%5 == 0 {
				o.Prefix = m.Encode(" so far it is well")
			}
			r, err := d.Decode(t.Context(), x, o)
			if err != nil {
				t.Fatalf("%d samples, %+v: %v", n, o, err)
			}
			again, err := d.Decode(t.Context(), x, o)
			if err != nil || !slices.Equal(r.Tokens, again.Tokens) || r.AvgLogProb != again.AvgLogProb {
				t.Fatalf("%d samples, %+v: the second time %+v, %v", n, o, again, err)
			}
			checkResult(t, m, n, &o, &r)
		}
	}
}

func checkResult(t *testing.T, m *Model, n int, o *Options, r *Result) {
	t.Helper()
	if n < 160 {
		if len(r.Tokens) != 0 || r.NoSpeechProb != 1 {
			t.Errorf("%d samples: %+v", n, r)
		}
		return
	}
	begin := 0
	if len(o.Prefix) > 0 {
		begin = len(o.Prefix)
		if o.Timestamps {
			begin++
		}
		if !slices.Equal(r.Tokens[begin-len(o.Prefix):begin], o.Prefix) {
			t.Errorf("%+v: tokens %v do not begin with the prefix", o, r.Tokens)
		}
	}
	if o.MaxTokens > 0 && len(r.Tokens) > begin+o.MaxTokens {
		t.Errorf("%+v: %d tokens", o, len(r.Tokens))
	}
	if len(r.LogProbs) != len(r.Tokens) || r.Text != m.Text(r.Tokens) || slices.Contains(r.Tokens, m.eot) {
		t.Errorf("%+v: %+v", o, r)
	}
	var sum float64
	for _, p := range r.LogProbs {
		if p > 1e-4 {
			t.Errorf("%+v: log probability %v", o, p)
		}
	}
	for _, p := range r.LogProbs[begin:] {
		sum += float64(p)
	}
	if mean := sum / float64(len(r.Tokens)+1); r.AvgLogProb > mean+1e-4 || r.Truncated && math.Abs(mean-r.AvgLogProb) > 1e-4 {
		t.Errorf("%+v: average %v, tokens alone %v, truncated %v", o, r.AvgLogProb, mean, r.Truncated)
	}
	if !o.WordTimes && r.Words != nil {
		t.Errorf("%+v: words without asking", o)
	}
	if o.Timestamps {
		checkTimes(t, m, begin, r.Tokens)
	}
	var text strings.Builder
	end := 0.0
	for _, w := range r.Words {
		text.WriteString(w.Text)
		if w.Start > w.End || w.Start < 0 || w.Prob < 0 || w.Prob > 1.001 || len(w.Tokens) == 0 {
			t.Errorf("%+v: word %+v", o, w)
		}
		end = max(end, w.End)
	}
	if end > float64(n)/16000+0.02 {
		t.Errorf("%+v: a word ends at %v of %v s", o, end, float64(n)/16000)
	}
	if got := strings.ToValidUTF8(text.String(), "\uFFFD"); len(r.Words) > 0 && strings.ReplaceAll(got, "\uFFFD", "") != strings.ReplaceAll(r.Text, "\uFFFD", "") {
		t.Errorf("%+v: words %q, text %q", o, got, r.Text)
	}
}

// checkTimes checks the rules of timestamps.
func checkTimes(t *testing.T, m *Model, begin int, tokens []int) {
	t.Helper()
	if begin == 0 && len(tokens) > 0 && tokens[0] < m.firstTime {
		t.Errorf("no timestamp first: %v", tokens)
	}
	last := 0
	for i, id := range tokens {
		if id < m.firstTime {
			continue
		}
		if id < last {
			t.Errorf("timestamps go back: %v", tokens)
		}
		last = id
		if i >= begin+2 && tokens[i-1] >= m.firstTime && tokens[i-2] >= m.firstTime {
			t.Errorf("three timestamps in a row: %v", tokens)
		}
	}
}

// ending is a context that ends when it has been asked so often.
type ending struct{ left int }

func (e *ending) Deadline() (time.Time, bool) { return time.Time{}, false }
func (e *ending) Done() <-chan struct{}       { return nil }
func (e *ending) Value(any) any               { return nil }

func (e *ending) Err() error {
	if e.left--; e.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestDecodeStopsWithItsContext(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	o := Options{Beam: 3, WordTimes: true, Timestamps: true, Prompt: m.Encode("before that")}
	x := noise(16000)
	want, err := d.Decode(t.Context(), x, o)
	if err != nil {
		t.Fatal(err)
	}
	stops := 0
	for left := 0; ; left++ {
		_, err = d.Decode(&ending{left}, x, o)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d: %v", left, err)
		}
		stops++
	}
	if stops < 10 {
		t.Errorf("the context was asked %d times only", stops)
	}
	got, err := d.Decode(t.Context(), x, o)
	if err != nil || !slices.Equal(got.Tokens, want.Tokens) {
		t.Errorf("after being stopped: %v, %v; before %v", got.Tokens, err, want.Tokens)
	}
}

// Cancelling must free the core at once, also in the middle of a long encode.
func TestDecodeStopsSoon(t *testing.T) {
	m := tinyEn(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.NewDecoder().Decode(ctx, noise(480000), Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// What a long job or a search of several texts needs is not kept.
func TestLanesForget(t *testing.T) {
	m := tinyEn(t)
	for name, o := range map[string]Options{
		"several texts": {Beam: 5, MaxTokens: 8, Context: 50},
		"a long sound":  {MaxTokens: 8, Context: usualFrames + 1},
	} {
		d := m.NewDecoder()
		if _, err := d.Decode(t.Context(), noise(16000), o); err != nil {
			t.Fatal(err)
		}
		if l := d.lanes[0]; l.unusual() || l.memory.layers != nil {
			t.Errorf("after %s the lane keeps its scratch", name)
		}
		if _, err := d.Decode(t.Context(), noise(16000), Options{MaxTokens: 8, Context: 50}); err != nil {
			t.Fatal(err)
		}
		if l := d.lanes[0]; l.memory.layers == nil {
			t.Errorf("after a usual job the lane has given up its scratch")
		}
	}
}

func TestDecodeAllocatesOnlyItsResult(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	x := noise(16000)
	o := Options{MaxTokens: 8}
	few := testing.AllocsPerRun(10, func() { d.Decode(t.Context(), x, o) })
	o.MaxTokens = 24
	many := testing.AllocsPerRun(10, func() { d.Decode(t.Context(), x, o) })
	if few > 24 || many > few+4 {
		t.Errorf("%v allocations for 8 tokens, %v for 24", few, many)
	}
}

// Steps of several texts on several sounds at once are the steps of each alone.
func TestStepsBatchAcrossStreams(t *testing.T) {
	m := made(t, madeEnglish)
	r := rand.New(rand.NewPCG(5, 6))
	d, mems := m.NewDecoder(), make([]memory, 2)
	for i := range mems {
		n := 20 + 10*i
		audio := make([]float32, n*m.width)
		for j := range audio {
			audio[j] = float32(r.NormFloat64())
		}
		if err := d.listen(t.Context(), &mems[i], audio, n, nil); err != nil {
			t.Fatal(err)
		}
	}
	texts := [][]int{{3, 5, 7, 11, 13}, {2, 4, 6}, {100, 101, 102, 103}}
	alone := func(k int) []float32 {
		s, q := newStepper(m), m.newSequence()
		q.mem = &mems[k%2]
		for _, tok := range texts[k] {
			s.step([]row{{q, tok}})
		}
		return slices.Clone(s.project(1, false))
	}
	var rows []row
	for k, text := range texts {
		q := m.newSequence()
		q.mem = &mems[k%2]
		for _, tok := range text {
			rows = append(rows, row{q, tok})
		}
	}
	s := newStepper(m)
	s.step(rows)
	got := s.project(len(rows), false)
	end := 0
	for k, text := range texts {
		end += len(text)
		for i, want := range alone(k) {
			if v := got[(end-1)*m.vocabSize+i]; math.Abs(float64(v-want)) > 1e-3 {
				t.Fatalf("text %d, logit %d: %v together, %v alone", k, i, v, want)
			}
		}
	}
}

// Word times from what the search kept are those of a second pass.
func TestKeptAttentionIsThatOfASecondPass(t *testing.T) {
	m := made(t, madeEnglish)
	d := m.NewDecoder()
	x := noise(16000)
	for _, o := range []Options{{}, {MaxTokens: 3}, {Prefix: m.Encode("so it is")}, {Prefix: m.Encode(strings.Repeat("a", 25)), MaxTokens: 2}, {Context: 20}} {
		o.WordTimes = true
		got, err := d.Decode(t.Context(), x, o)
		if err != nil || len(got.Words) == 0 {
			t.Fatalf("%+v: %v, %v", o, got.Words, err)
		}
		l := d.lanes[0]
		if !l.align.kept {
			t.Errorf("%+v: nothing was kept", o)
		}
		l.align.kept = false
		l.spelling.begin()
		for l.spelling.at < len(l.spelling.tokens) {
			rows := l.spelling.rows(nil, 7)
			d.stepper.step(rows)
			l.spelling.take(d.stepper.project(len(rows), false))
		}
		want := l.words()
		if len(want) != len(got.Words) {
			t.Errorf("%+v: %d words, %d by a second pass", o, len(got.Words), len(want))
			continue
		}
		for i, w := range want {
			g := got.Words[i]
			if g.Text != w.Text || g.Start != w.Start || g.End != w.End || math.Abs(float64(g.Prob-w.Prob)) > 1e-4 {
				t.Errorf("%+v: word %+v, by a second pass %+v", o, g, w)
			}
		}
	}
}

// The most probable path of every kind, by trying all of them.
func TestPathMatchesNaive(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var a aligner
	for range 50 {
		rows, n := 1+r.IntN(4), 1+r.IntN(6)
		x := make([]float32, rows*n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		var best float64
		found := false
		var walk func(i, j int, sum float64)
		walk = func(i, j int, sum float64) {
			sum += float64(x[i*n+j])
			if i == rows-1 && j == n-1 {
				if !found || sum > best {
					best, found = sum, true
				}
				return
			}
			for _, d := range [][2]int{{1, 1}, {1, 0}, {0, 1}} {
				if i+d[0] < rows && j+d[1] < n {
					walk(i+d[0], j+d[1], sum)
				}
			}
		}
		walk(0, 0, 0)
		starts := a.path(x, rows, n)
		if cost := float64(a.cost[rows*(n+1)+n]); math.Abs(cost+best) > 1e-4 {
			t.Errorf("%d rows of %d: weight %v, best %v", rows, n, -cost, best)
		}
		// The starts lie on a path of that weight.
		if starts[0] != 0 || !slices.IsSorted(starts) {
			t.Errorf("%d rows of %d: starts %v", rows, n, starts)
		}
		var sum float64
		for i, from := range starts {
			to := n - 1
			if i+1 < rows {
				// A row ends where the next begins or just before it; the better counts.
				to = starts[i+1] - 1
				if v := float64(x[i*n+starts[i+1]]); starts[i+1] == from || v > 0 {
					to = starts[i+1]
				}
			}
			for j := from; j <= to; j++ {
				sum += float64(x[i*n+j])
			}
		}
		if math.Abs(sum-best) > 1e-4 {
			t.Errorf("%d rows of %d: starts %v weigh %v, best %v", rows, n, starts, sum, best)
		}
	}
}
