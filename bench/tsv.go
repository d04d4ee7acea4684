package bench

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// columns is the first line of a file of utterances.
const columns = "engine\tset\tcondition\tclip\tseconds\tcpu\tref\thyp\tlags"

// WriteUtterances writes utterances as lines of tab-separated fields, so that
// other recognisers' scripts can read and write them.
func WriteUtterances(w io.Writer, us []Utterance) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, columns)
	field := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, u := range us {
		lags := make([]string, 0, len(u.Lags))
		for _, l := range u.Lags {
			lags = append(lags, strconv.FormatFloat(l, 'f', 3, 64))
		}
		fmt.Fprintf(b, "%s\t%s\t%s\t%s\t%.3f\t%.6f\t%s\t%s\t%s\n",
			field.Replace(u.Engine), field.Replace(u.Set), field.Replace(u.Condition), field.Replace(u.Clip),
			u.Seconds, u.CPU, field.Replace(u.Ref), field.Replace(u.Hyp), strings.Join(lags, " "))
	}
	return b.Flush()
}

// ReadUtterances reads what WriteUtterances wrote. The last column may be
// missing. Errors name the line.
func ReadUtterances(r io.Reader) ([]Utterance, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	var us []Utterance
	for n := 1; s.Scan(); n++ {
		if n == 1 {
			if s.Text() != columns && s.Text() != strings.TrimSuffix(columns, "\tlags") {
				return nil, fmt.Errorf("utterances: line 1 is not %q", columns)
			}
			continue
		}
		u, err := readUtterance(s.Text())
		if err != nil {
			return nil, fmt.Errorf("utterances: line %d: %w", n, err)
		}
		us = append(us, u)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("utterances: %w", err)
	}
	return us, nil
}

func readUtterance(line string) (Utterance, error) {
	f := strings.Split(line, "\t")
	if len(f) != 8 && len(f) != 9 {
		return Utterance{}, fmt.Errorf("%d fields, not 8 or 9", len(f))
	}
	u := Utterance{Engine: f[0], Set: f[1], Condition: f[2], Clip: f[3], Ref: f[6], Hyp: f[7]}
	var err error
	if u.Seconds, err = strconv.ParseFloat(f[4], 64); err != nil {
		return Utterance{}, fmt.Errorf("seconds: %w", err)
	}
	if u.CPU, err = strconv.ParseFloat(f[5], 64); err != nil {
		return Utterance{}, fmt.Errorf("cpu: %w", err)
	}
	if len(f) == 9 {
		for _, s := range strings.Fields(f[8]) {
			l, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return Utterance{}, fmt.Errorf("lags: %w", err)
			}
			u.Lags = append(u.Lags, l)
		}
	}
	return u, nil
}
