package enrol

import (
	"encoding/json"
	"math"
	"time"

	"sidetone/voiceprint"
)

// average is the quality of speech that was measured in parts: means by net speech of
// those parts where a value could be measured.
type average struct {
	net  time.Duration
	sums [7]float64
	by   [7]float64
}

func values(q *voiceprint.Quality) [7]*float64 {
	return [7]*float64{&q.SNR, &q.Level, &q.Clipped, &q.Edge, &q.Reverberation, &q.Music, &q.Unlike}
}

func (a *average) add(q voiceprint.Quality, net time.Duration) {
	a.net += net
	for i, v := range values(&q) {
		if !math.IsNaN(*v) {
			a.sums[i] += *v * net.Seconds()
			a.by[i] += net.Seconds()
		}
	}
}

func (a *average) quality() voiceprint.Quality {
	q := voiceprint.Quality{Net: a.net}
	for i, v := range values(&q) {
		// Nothing by nothing is NaN: not measured.
		*v = a.sums[i] / a.by[i]
	}
	return q
}

// Quality is a voiceprint.Quality that can be written as JSON: what could not be
// measured is null there.
type Quality voiceprint.Quality

type qualityJSON struct {
	Net    time.Duration `json:"net"`
	Values [7]*float64   `json:"values"`
}

// MarshalJSON writes the net speech in nanoseconds and the other values in the order
// of their fields.
func (q Quality) MarshalJSON() ([]byte, error) {
	v := voiceprint.Quality(q)
	out := qualityJSON{Net: v.Net}
	for i, x := range values(&v) {
		if !math.IsNaN(*x) && !math.IsInf(*x, 0) {
			out.Values[i] = x
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (q *Quality) UnmarshalJSON(b []byte) error {
	var in qualityJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	v := voiceprint.Quality{Net: in.Net}
	for i, x := range values(&v) {
		*x = math.NaN()
		if in.Values[i] != nil {
			*x = *in.Values[i]
		}
	}
	*q = Quality(v)
	return nil
}
