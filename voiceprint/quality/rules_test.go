package quality

import (
	"math"
	"slices"
	"testing"
	"time"

	"sidetone/voiceprint"
)

func TestReasons(t *testing.T) {
	good := voiceprint.Quality{Net: 30 * time.Second, SNR: 25, Level: -25, Edge: 3500, Reverberation: 0.2, Music: 0.01, Unlike: 0.001}
	nan := math.NaN()
	for name, c := range map[string]struct {
		change            func(*voiceprint.Quality)
		verify, enrolment []voiceprint.Reason
	}{
		"in order":     {func(*voiceprint.Quality) {}, nil, nil},
		"short":        {func(q *voiceprint.Quality) { q.Net = 5 * time.Second }, nil, []voiceprint.Reason{voiceprint.TooLittle}},
		"a word":       {func(q *voiceprint.Quality) { q.Net = time.Second }, []voiceprint.Reason{voiceprint.TooLittle}, []voiceprint.Reason{voiceprint.TooLittle}},
		"some noise":   {func(q *voiceprint.Quality) { q.SNR = 8 }, nil, []voiceprint.Reason{voiceprint.Noise}},
		"noise":        {func(q *voiceprint.Quality) { q.SNR = 3 }, []voiceprint.Reason{voiceprint.Noise}, []voiceprint.Reason{voiceprint.Noise}},
		"at the limit": {func(q *voiceprint.Quality) { q.SNR, q.Clipped = 12, 0.01 }, nil, nil},
		"clipped":      {func(q *voiceprint.Quality) { q.Clipped = 0.02 }, []voiceprint.Reason{voiceprint.Clipping}, []voiceprint.Reason{voiceprint.Clipping}},
		"low":          {func(q *voiceprint.Quality) { q.Level = -45 }, nil, []voiceprint.Reason{voiceprint.Quiet}},
		"dull":         {func(q *voiceprint.Quality) { q.Edge = 1750 }, []voiceprint.Reason{voiceprint.Narrow}, []voiceprint.Reason{voiceprint.Narrow}},
		"a hall":       {func(q *voiceprint.Quality) { q.Reverberation = 1.4 }, []voiceprint.Reason{voiceprint.Reverberant}, []voiceprint.Reason{voiceprint.Reverberant}},
		"music":        {func(q *voiceprint.Quality) { q.Music = 0.8 }, []voiceprint.Reason{voiceprint.Music}, []voiceprint.Reason{voiceprint.Music}},
		"two voices":   {func(q *voiceprint.Quality) { q.Unlike = 0.95 }, []voiceprint.Reason{voiceprint.SeveralVoices}, []voiceprint.Reason{voiceprint.SeveralVoices}},
		"perhaps two":  {func(q *voiceprint.Quality) { q.Unlike = 0.7 }, nil, []voiceprint.Reason{voiceprint.SeveralVoices}},
		"unmeasured": {func(q *voiceprint.Quality) {
			*q = voiceprint.Quality{Net: q.Net, SNR: nan, Level: nan, Clipped: nan, Edge: nan, Reverberation: nan, Music: nan, Unlike: nan}
		}, nil, nil},
		"all": {func(q *voiceprint.Quality) {
			*q = voiceprint.Quality{SNR: -1, Level: -60, Clipped: 0.5, Edge: 1000, Reverberation: 1.5, Music: 1, Unlike: 1}
		}, []voiceprint.Reason{
			voiceprint.TooLittle, voiceprint.Noise, voiceprint.Clipping, voiceprint.Quiet, voiceprint.Narrow,
			voiceprint.Reverberant, voiceprint.Music, voiceprint.SeveralVoices,
		}, []voiceprint.Reason{
			voiceprint.TooLittle, voiceprint.Noise, voiceprint.Clipping, voiceprint.Quiet, voiceprint.Narrow,
			voiceprint.Reverberant, voiceprint.Music, voiceprint.SeveralVoices,
		}},
	} {
		q := good
		c.change(&q)
		if got := DefaultRules().Verification.Reasons(q); !slices.Equal(got, c.verify) {
			t.Errorf("%s: %v at verification, want %v", name, got, c.verify)
		}
		if got := DefaultRules().Enrolment.Reasons(q); !slices.Equal(got, c.enrolment) {
			t.Errorf("%s: %v at enrolment, want %v", name, got, c.enrolment)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultRules().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Rules){
		"not a number":  func(r *Rules) { r.Enrolment.SNR = math.NaN() },
		"net":           func(r *Rules) { r.Verification.Net = -1 },
		"level":         func(r *Rules) { r.Enrolment.Level = 3 },
		"edge":          func(r *Rules) { r.Verification.Edge = 9000 },
		"clipped":       func(r *Rules) { r.Verification.Clipped = 1.5 },
		"music":         func(r *Rules) { r.Enrolment.Music = -0.1 },
		"unlike":        func(r *Rules) { r.Enrolment.Unlike = 2 },
		"reverberation": func(r *Rules) { r.Verification.Reverberation = 0 },
	} {
		r := DefaultRules()
		change(&r)
		if err := r.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
