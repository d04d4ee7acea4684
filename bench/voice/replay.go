package voice

import (
	"fmt"
	"slices"
	"time"

	"sidetone/voiceprint"
)

// frame is how many samples a verifier hears at a time: 20 ms.
const frame = voiceprint.Rate / 50

// Answer is what a verifier said in a call.
type Answer struct {
	Outcome voiceprint.Outcome
	// Net is the speech that the answer took, Looks how many scores.
	Net   time.Duration
	Looks int
	// LLR is the evidence, Accept the threshold, both in nats.
	LLR, Accept float64
}

// Replay has a verifier hear speech, at voiceprint.Rate, as it would in a call, up
// to its answer. If speech ends before, the answer is what it knows by then.
func Replay(c voiceprint.VerifierConfig, speech []float32) (Answer, error) {
	v, err := voiceprint.NewVerifier(c)
	if err != nil {
		return Answer{}, err
	}
	d := v.Decision()
	for at := 0; at < len(speech) && !d.Final; at += frame {
		end := min(at+frame, len(speech))
		v.Hear(speech[at:end], int64(end))
		if !v.Due() {
			continue
		}
		if d, err = v.Look(voiceprint.Quality{}, nil); err != nil {
			return Answer{}, err
		}
	}
	return Answer{Outcome: d.Outcome, Net: d.Net, Looks: d.Scores, LLR: d.LLR, Accept: d.Accept}, nil
}

// Answered is a call, and what was said in it.
type Answered struct {
	*Trial
	Answer
}

// Calls is what became of calls of one kind.
type Calls struct {
	Count int `json:"count"`
	// Match, Mismatch and Undecided are shares of the calls.
	Match     Figure `json:"match"`
	Mismatch  Figure `json:"mismatch"`
	Undecided Figure `json:"undecided"`
	// Matches and Mismatches are the calls that were decided so.
	Matches    int `json:"matches"`
	Mismatches int `json:"mismatches"`
	// ToMatch and ToMismatch are how much speech the decisions took, in seconds.
	ToMatch    Times `json:"to_match"`
	ToMismatch Times `json:"to_mismatch"`
}

// Times is how much speech decisions took, in seconds.
type Times struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	// Counts are the decisions of each half second: Counts[i] those that took more
	// than i halves and no more than i+1.
	Counts []int `json:"counts,omitempty"`
}

// halves is how many halves of a second there are in one.
const halves = 2

func times(seconds []float64) Times {
	if len(seconds) == 0 {
		return Times{}
	}
	slices.Sort(seconds)
	t := Times{P50: Quantile(seconds, 0.5), P90: Quantile(seconds, 0.9), P99: Quantile(seconds, 0.99), Max: seconds[len(seconds)-1]}
	for _, s := range seconds {
		t.Mean += s / float64(len(seconds))
		i := max(int(s*halves-1e-9), 0)
		if grow := i + 1 - len(t.Counts); grow > 0 {
			t.Counts = append(t.Counts, make([]int, grow)...)
		}
		t.Counts[i]++
	}
	return t
}

// Decisions is how calls ended under one policy.
type Decisions struct {
	// Cut is which calls, as in Row.
	Cut string `json:"cut"`
	// FAR is the share of impostors that was to be matched at most.
	FAR float64 `json:"far"`
	// Accept is the LLR from which on it was a match, in nats, the mean over the
	// calls; Expected the FRR that the parameters promised for it.
	Accept    float64 `json:"accept"`
	Expected  float64 `json:"expected_frr"`
	True      Calls   `json:"true"`
	Impostors Calls   `json:"impostors"`
}

// Decide counts how calls ended. There must be some of true callers and some of
// impostors.
func (b Bootstrap) Decide(all []Answered) (Decisions, error) {
	var d Decisions
	at := map[string]int{}
	number := func(name string) int {
		k, ok := at[name]
		if !ok {
			k = len(at)
			at[name] = k
		}
		return k
	}
	var own, others []ending
	for _, a := range all {
		d.Accept += a.Accept / float64(len(all))
		e := ending{a.Answer, number(a.Enrolled), number(a.Speaker)}
		if a.Target {
			own = append(own, e)
		} else {
			others = append(others, e)
		}
	}
	if len(own) == 0 || len(others) == 0 {
		return d, fmt.Errorf("%d calls: %w", len(all), ErrOneSided)
	}
	d.True, d.Impostors = b.count(own, len(at)), b.count(others, len(at))
	return d, nil
}

// ending is how a call ended, and the numbers of its people.
type ending struct {
	Answer
	enrolled, speaker int
}

// count counts calls among so many speakers.
func (b Bootstrap) count(all []ending, speakers int) Calls {
	c := Calls{Count: len(all)}
	var match, mismatch []float64
	for i := range all {
		switch all[i].Outcome {
		case voiceprint.Match:
			match = append(match, all[i].Net.Seconds())
		case voiceprint.Mismatch:
			mismatch = append(mismatch, all[i].Net.Seconds())
		case voiceprint.Inconclusive:
		}
	}
	c.Matches, c.Mismatches = len(match), len(mismatch)
	n := float64(c.Count)
	c.Match.Value = float64(c.Matches) / n
	c.Mismatch.Value = float64(c.Mismatches) / n
	c.Undecided.Value = float64(c.Count-c.Matches-c.Mismatches) / n
	c.ToMatch, c.ToMismatch = times(match), times(mismatch)
	drawn := map[voiceprint.Outcome][]float64{}
	b.draws(speakers, func(drew []float64) bool {
		sums := map[voiceprint.Outcome]float64{}
		var sum float64
		for i := range all {
			w := often(drew, all[i].enrolled, all[i].speaker)
			sum += w
			sums[all[i].Outcome] += w
		}
		if sum == 0 {
			return false
		}
		for _, o := range []voiceprint.Outcome{voiceprint.Match, voiceprint.Mismatch, voiceprint.Inconclusive} {
			drawn[o] = append(drawn[o], sums[o]/sum)
		}
		return true
	})
	c.Match.CI, c.Mismatch.CI, c.Undecided.CI = middle(drawn[voiceprint.Match]), middle(drawn[voiceprint.Mismatch]), middle(drawn[voiceprint.Inconclusive])
	return c
}
