// Package voice measures how well voices are verified: it reads lists of trials,
// and makes of scored trials and of replayed calls the figures by which systems are
// compared.
//
// A trial is one stretch of speech held against one enrolment, a target trial where
// one person spoke both. Scores are log-likelihood ratios in nats, higher where it
// is likelier one person. Names are those of ISO/IEC 19795-1: FAR is the share of
// impostors that is accepted, FRR that of true callers that is not; where both are
// equal lies the EER. Cllr is what the scores cost as log-likelihood ratios, in
// bits (Brümmer and du Preez, Application-independent evaluation of speaker
// detection, 2006).
//
// Intervals are of 95 % and come from drawing speakers, not trials: those of one
// speaker are not independent.
package voice

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Trial is a stretch of speech that is held against an enrolment.
type Trial struct {
	// Target says that one person spoke both.
	Target bool
	// Enrolled is whom the enrolment is of, Speaker who speaks in the test.
	Enrolled, Speaker string
	// Enrol and Test are files, by paths with slashes from the list's folder. The
	// stretch begins at Start of Test and holds Net of speech.
	Enrol, Test string
	Start, Net  time.Duration
	// SameGender says that both are of one gender.
	SameGender bool
	// Group is Adult or Child, for both of them.
	Group string
	// Condition is the list's name, Channel what the test went through.
	Condition, Channel string
}

// The groups.
const (
	Adult = "adult"
	Child = "child"
)

// columns is the first line of a list of trials.
const columns = "label\tenrol_spk\tenrol\ttest\tstart_s\tdur_s\ttest_spk\tsame_gender\tgroup\tchannel"

// ReadTrials reads a list of trials, lines of tab-separated fields below a line with
// the columns' names. Condition is noted in each. Errors name the line.
func ReadTrials(r io.Reader, condition string) ([]Trial, error) {
	s := bufio.NewScanner(r)
	var out []Trial
	for n := 1; s.Scan(); n++ {
		if n == 1 {
			if s.Text() != columns {
				return nil, fmt.Errorf("trials: line 1 is not %q", columns)
			}
			continue
		}
		t, err := readTrial(s.Text())
		if err != nil {
			return nil, fmt.Errorf("trials: line %d: %w", n, err)
		}
		t.Condition = condition
		out = append(out, t)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("trials: after %d of them: %w", len(out), err)
	}
	if len(out) == 0 {
		return nil, errors.New("trials: there is none")
	}
	return out, nil
}

func readTrial(line string) (Trial, error) {
	f := strings.Split(line, "\t")
	if want := strings.Count(columns, "\t") + 1; len(f) != want {
		return Trial{}, fmt.Errorf("%d fields, not %d", len(f), want)
	}
	t := Trial{Enrolled: f[1], Enrol: f[2], Test: f[3], Speaker: f[6], Group: f[8], Channel: f[9]}
	for _, c := range []struct {
		name, is, yes, no string
		to                *bool
	}{{"label", f[0], "target", "impostor", &t.Target}, {"same_gender", f[7], "1", "0", &t.SameGender}} {
		if *c.to = c.is == c.yes; !*c.to && c.is != c.no {
			return Trial{}, fmt.Errorf("%s is %q, not %s or %s", c.name, c.is, c.yes, c.no)
		}
	}
	for _, c := range []struct {
		name, is string
		to       *time.Duration
	}{{"start_s", f[4], &t.Start}, {"dur_s", f[5], &t.Net}} {
		v, err := strconv.ParseFloat(c.is, 64)
		if err != nil || !(v >= 0 && v <= time.Hour.Seconds()) {
			return Trial{}, fmt.Errorf("%s is %q, no number of seconds from 0 to an hour", c.name, c.is)
		}
		*c.to = time.Duration(v*1e6+0.5) * time.Microsecond
	}
	switch {
	case t.Net == 0:
		return Trial{}, errors.New("dur_s is 0")
	case t.Enrolled == "" || t.Speaker == "" || t.Channel == "":
		return Trial{}, errors.New("a speaker or the channel has no name")
	case !fs.ValidPath(t.Enrol) || !fs.ValidPath(t.Test) || t.Enrol == "." || t.Test == ".":
		return Trial{}, fmt.Errorf("%q and %q are no paths below the list's folder", t.Enrol, t.Test)
	case t.Target != (t.Enrolled == t.Speaker):
		return Trial{}, fmt.Errorf("a trial of %s against %s is said to be a trial of the %s kind", t.Speaker, t.Enrolled, f[0])
	case t.Group != Adult && t.Group != Child:
		return Trial{}, fmt.Errorf("group is %q, not %s or %s", t.Group, Adult, Child)
	}
	return t, nil
}

// Claims are the calls that the trials' files make: one trial of each pair of an
// enrolment and a test file, in the trials' order, from the file's start. Net is
// the longest of the pair's.
func Claims(trials []Trial) []Trial {
	type pair struct{ enrol, test string }
	at := map[pair]int{}
	var out []Trial
	for i := range trials {
		t := trials[i]
		end := t.Start + t.Net
		t.Start = 0
		k, ok := at[pair{t.Enrol, t.Test}]
		if !ok {
			k = len(out)
			at[pair{t.Enrol, t.Test}] = k
			out = append(out, t)
		}
		out[k].Net = max(out[k].Net, end)
		if !ok {
			out[k].Net = end
		}
	}
	return out
}
