package benchvoice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sidetone/bench/voice"
	"sidetone/cmd/sidetone/internal/core"
	"sidetone/voiceprint"
)

// Space lays raw embeddings out.
type Space interface {
	Model() voiceprint.Model
	Map(raw voiceprint.Embedding) (voiceprint.Embedding, error)
}

// Judge is what trials are scored by.
type Judge struct {
	Space  Space
	Scorer voiceprint.Scorer
}

// Judges says who scores the trials of two speakers, who may be one.
type Judges interface {
	Judge(enrolled, speaker string) (*Judge, error)
}

// Selection is which trials are run.
type Selection struct {
	// Root is the folder with the lists trials_CONDITION.tsv.
	Root       string
	Conditions []string
	// Lengths are those of the stretches, in seconds; none means all.
	Lengths []float64
	// Limit bounds the speakers of each group; 0 means all.
	Limit int
}

// Trials reads the lists. Both speakers of a trial are among the first Limit of
// their group.
func (s Selection) Trials() ([]voice.Trial, error) {
	var out []voice.Trial
	speakers := map[string][]string{}
	for _, condition := range s.Conditions {
		trials, err := s.list(condition)
		if err != nil {
			return nil, err
		}
		for i := range trials {
			if t := &trials[i]; t.Target && !slices.Contains(speakers[t.Group], t.Speaker) {
				speakers[t.Group] = append(speakers[t.Group], t.Speaker)
			}
		}
		out = append(out, trials...)
	}
	out = slices.DeleteFunc(out, func(t voice.Trial) bool {
		if len(s.Lengths) > 0 && !slices.Contains(s.Lengths, t.Net.Seconds()) {
			return true
		}
		if s.Limit == 0 {
			return false
		}
		first := speakers[t.Group][:min(s.Limit, len(speakers[t.Group]))]
		return !slices.Contains(first, t.Enrolled) || !slices.Contains(first, t.Speaker)
	})
	if len(out) == 0 {
		return nil, fmt.Errorf("bench voice: no trials in %s under conditions %q of %v seconds", s.Root, s.Conditions, s.Lengths)
	}
	return out, nil
}

func (s Selection) list(condition string) ([]voice.Trial, error) {
	name := filepath.Join(s.Root, "trials_"+condition+".tsv")
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("bench voice: condition %q: %w", condition, err)
	}
	defer f.Close()
	trials, err := voice.ReadTrials(f, condition)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return trials, nil
}

// Config shapes Run.
type Config struct {
	Trials []voice.Trial
	Stock  *Stock
	// Judges is asked once the trials' stretches are in the stock.
	Judges func(ctx context.Context) (Judges, error)
	// Policies are those of the sequential decisions.
	Policies  []voiceprint.Policy
	Bootstrap voice.Bootstrap
	// Progress, if not nil, is told what is being done and how far it is.
	Progress func(what string, n, of int)
}

// Run scores the trials and replays the calls that their files make. What names the
// run in the result is left to the caller.
func Run(ctx context.Context, c Config) (*voice.Result, error) {
	if c.Progress == nil {
		c.Progress = func(string, int, int) {}
	}
	err := c.Stock.Make(ctx, stretches(c.Trials), func(n, of int) { c.Progress("embeddings of trials", n, of) })
	if err != nil {
		return nil, err
	}
	judges, err := c.Judges(ctx)
	if err != nil {
		return nil, err
	}
	scored, err := c.score(judges)
	if err != nil {
		return nil, err
	}
	r := &voice.Result{Speakers: speakers(c.Trials)}
	if r.Rows, r.Curves, err = c.Bootstrap.Rows(scored); err != nil {
		return nil, err
	}
	for _, p := range c.Policies {
		answered, expected, failed := c.replay(ctx, judges, p)
		if errors.Is(failed, errThreshold) {
			r.Notes = append(r.Notes, failed.Error())
			continue
		}
		if failed != nil {
			return nil, failed
		}
		d, failed := c.Bootstrap.DecisionRows(answered, p.FAR, expected)
		if failed != nil {
			return nil, failed
		}
		r.Decisions = append(r.Decisions, d...)
	}
	if r.Speeds, err = c.Stock.speeds(c.Trials); err != nil {
		return nil, err
	}
	return r, nil
}

func speakers(trials []voice.Trial) int {
	seen := map[string]bool{}
	for i := range trials {
		seen[trials[i].Enrolled], seen[trials[i].Speaker] = true, true
	}
	return len(seen)
}

func samples(d time.Duration) int { return int(d * voiceprint.Rate / time.Second) }

func enrolment(t *voice.Trial) Stretch { return Stretch{File: t.Enrol} }

func test(t *voice.Trial) Stretch { return Stretch{t.Test, samples(t.Start), samples(t.Net)} }

// stretches are what the trials compare.
func stretches(trials []voice.Trial) []Stretch {
	var out []Stretch
	seen := map[Stretch]bool{}
	for i := range trials {
		for _, at := range []Stretch{enrolment(&trials[i]), test(&trials[i])} {
			if !seen[at] {
				seen[at] = true
				out = append(out, at)
			}
		}
	}
	return out
}

func (c *Config) score(judges Judges) ([]voice.Scored, error) {
	out := make([]voice.Scored, len(c.Trials))
	for i := range c.Trials {
		t := &c.Trials[i]
		llr, err := c.llr(judges, t)
		if err != nil {
			return nil, fmt.Errorf("%s against %s: %w", t.Test, t.Enrol, err)
		}
		out[i] = voice.Scored{Trial: t, LLR: llr}
		c.Progress("scores", i+1, len(c.Trials))
	}
	return out, nil
}

func (c *Config) llr(judges Judges, t *voice.Trial) (float64, error) {
	j, err := judges.Judge(t.Enrolled, t.Speaker)
	if err != nil {
		return 0, err
	}
	enrolled, err := j.Space.Map(c.Stock.Get(enrolment(t)))
	if err != nil {
		return 0, err
	}
	said, err := j.Space.Map(c.Stock.Get(test(t)))
	if err != nil {
		return 0, err
	}
	return j.Scorer.LLR([]voiceprint.Embedding{enrolled}, said, t.Net)
}

// errThreshold is in the chain of errors about thresholds that parameters do not
// have.
var errThreshold = errors.New("not replayed")

// replay has verifiers hear the calls that the trials' files make. The share is the
// mean FRR that the parameters promised.
func (c *Config) replay(ctx context.Context, judges Judges, p voiceprint.Policy) ([]voice.Answered, float64, error) {
	expected := 0.0
	claims := voice.Claims(c.Trials)
	byFile := map[string][]int{}
	var files []string
	for i := range claims {
		t := &claims[i]
		j, err := judges.Judge(t.Enrolled, t.Speaker)
		if err != nil {
			return nil, 0, err
		}
		op, err := j.Scorer.Threshold(p.FAR)
		if err != nil {
			return nil, 0, fmt.Errorf("%w at FAR %.4g %%: %w", errThreshold, 100*p.FAR, err)
		}
		expected += op.FRR / float64(len(claims))
		if byFile[t.Test] == nil {
			files = append(files, t.Test)
		}
		byFile[t.Test] = append(byFile[t.Test], i)
	}
	out := make([]voice.Answered, len(claims))
	played := counter{of: len(claims), tell: func(n, of int) { c.Progress(fmt.Sprintf("calls at FAR %.4g %%", 100*p.FAR), n, of) }}
	err := c.Stock.each(ctx, files, func(ctx context.Context, file string) error {
		speech, err := c.Stock.Speech(file)
		if err != nil {
			return err
		}
		for _, i := range byFile[file] {
			if err := ctx.Err(); err != nil {
				return err
			}
			a, err := c.call(judges, &claims[i], p, speech)
			if err != nil {
				return fmt.Errorf("%s against %s: %w", claims[i].Test, claims[i].Enrol, err)
			}
			out[i] = voice.Answered{Trial: &claims[i], Answer: a}
			played.add()
		}
		return nil
	})
	return out, expected, err
}

func (c *Config) call(judges Judges, t *voice.Trial, p voiceprint.Policy, speech []float32) (voice.Answer, error) {
	j, err := judges.Judge(t.Enrolled, t.Speaker)
	if err != nil {
		return voice.Answer{}, err
	}
	enrolled, err := j.Space.Map(c.Stock.Get(enrolment(t)))
	if err != nil {
		return voice.Answer{}, err
	}
	return voice.Replay(voiceprint.VerifierConfig{
		Embedder: &beginnings{stock: c.Stock, space: j.Space, file: t.Test},
		Scorer:   j.Scorer, Enrolled: []voiceprint.Embedding{enrolled}, Policy: p,
	}, speech[:min(samples(t.Net), len(speech))])
}

// beginnings embeds what it takes for the beginning of a file, which many calls
// share: so much of it is embedded once.
type beginnings struct {
	stock *Stock
	space Space
	file  string
}

var _ voiceprint.Embedder = (*beginnings)(nil)

// Model implements voiceprint.Embedder.
func (b *beginnings) Model() voiceprint.Model { return b.space.Model() }

// Embed implements voiceprint.Embedder.
func (b *beginnings) Embed(speech []float32) (voiceprint.Embedding, error) {
	raw, err := b.stock.embed(Stretch{File: b.file, Length: len(speech)}, speech)
	if err != nil {
		return nil, err
	}
	return b.space.Map(raw)
}

// speedFiles is how many files' embeddings are timed.
const speedFiles = 3

// speeds times embeddings of the trials' lengths on one goroutine, by processor time.
func (s *Stock) speeds(trials []voice.Trial) ([]voice.Speed, error) {
	var lengths []time.Duration
	var files []string
	for i := range trials {
		if t := &trials[i]; !slices.Contains(lengths, t.Net) {
			lengths = append(lengths, t.Net)
		}
		if t := &trials[i]; len(files) < speedFiles && !slices.Contains(files, t.Test) {
			files = append(files, t.Test)
		}
	}
	slices.Sort(lengths)
	var speech [][]float32
	for _, f := range files {
		x, err := s.Speech(f)
		if err != nil {
			return nil, err
		}
		speech = append(speech, x)
	}
	var out []voice.Speed
	for _, l := range lengths {
		var spent time.Duration
		n := 0
		for _, x := range speech {
			if len(x) < samples(l) {
				continue
			}
			before := core.Time()
			if _, err := s.engine.Embed(x[:samples(l)]); err != nil {
				return nil, err
			}
			spent += core.Time() - before
			n++
		}
		if n > 0 {
			out = append(out, voice.Speed{Seconds: l.Seconds(), Cores: spent.Seconds() / (float64(n) * l.Seconds())})
		}
	}
	return out, nil
}

// Conditions are the lists that lie in a folder, sorted.
func Conditions(root string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(root, "trials_*.tsv"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("bench voice: no lists trials_*.tsv in %s", root)
	}
	for i, n := range names {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(n), "trials_"), ".tsv")
	}
	return names, nil
}
