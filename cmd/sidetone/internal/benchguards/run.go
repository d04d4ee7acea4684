// Package benchguards counts the words that the recogniser makes of audio in
// which nobody speaks, for `sidetone bench guards`.
//
// A sound takes the way that a call's audio takes: G.711 over RTP, jitter
// buffer and concealment, resampling, voice activity detection, streaming
// recognition with partials.
package benchguards

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/internal/pcm"
	"sidetone/media/g711"
)

// Row is what became of the sounds of a kind.
type Row struct {
	Kind    string  `json:"kind"`
	Foreign bool    `json:"foreign,omitempty"`
	Seconds float64 `json:"seconds"`
	// Speech is the share of the time that the detector takes for speech.
	Speech float64 `json:"speech"`
	// Utterances counts what the detector opened.
	Utterances int `json:"utterances"`
	// Words counts the words of finals, Flashed those that partials showed and
	// their finals withdrew.
	Words   int `json:"words"`
	Flashed int `json:"flashed"`
	// Confidence is the mean over the words of finals; 0 without any.
	Confidence float64 `json:"confidence"`
	// Loops, NoSpeech and Excess count decodes that a guard refused, Withdrawn
	// the finals left without words.
	Loops     int64 `json:"loops"`
	NoSpeech  int64 `json:"no_speech"`
	Excess    int64 `json:"excess"`
	Withdrawn int64 `json:"withdrawn"`
	// UtterancesPerHour and WordsPerHour are per hour of audio.
	UtterancesPerHour float64 `json:"utterances_per_hour"`
	WordsPerHour      float64 `json:"words_per_hour"`
	// Texts are the finals with words, for people to look at.
	Texts []string `json:"texts,omitempty"`

	confidence float64
}

func (r *Row) finish() {
	if hours := r.Seconds / 3600; hours > 0 {
		r.UtterancesPerHour = float64(r.Utterances) / hours
		r.WordsPerHour = float64(r.Words) / hours
		r.Speech /= r.Seconds
	}
	if r.Words > 0 {
		r.Confidence = r.confidence / float64(r.Words)
	}
}

// settler is what the Whisper engine's streams can do beyond asr.Stream.
type settler interface{ Settle(context.Context) error }

// Recogniser is what hears the sounds.
type Recogniser struct {
	Engine *whisper.Engine
	VAD    *vad.Model
	// Forced says that the detector is not asked: 3 s in every 6 are taken for
	// speech, which shows what the guards behind it are worth.
	Forced bool
}

// Run has the recogniser hear every sound and adds up by kind, in the order of
// the kinds' first sounds. It waits for each decode, so what is heard does not
// depend on the machine's speed. done is told after each sound.
func (rec Recogniser) Run(ctx context.Context, sounds []Sound, done func(n int)) ([]Row, error) {
	var rows []Row
	for i := range sounds {
		s := &sounds[i]
		at := slices.IndexFunc(rows, func(r Row) bool { return r.Kind == s.Kind })
		if at < 0 {
			at = len(rows)
			rows = append(rows, Row{Kind: s.Kind, Foreign: s.Foreign})
		}
		// Both laws are in use all over the world.
		if err := rec.hear(ctx, &rows[at], s, g711.Law(i%2)); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", s.Kind, s.Name, err)
		}
		done(i + 1)
	}
	for i := range rows {
		rows[i].finish()
	}
	return rows, nil
}

// hear adds a sound's leg to its kind's row.
func (rec Recogniser) hear(ctx context.Context, r *Row, s *Sound, law g711.Law) error {
	x, err := s.load()
	if err != nil {
		return err
	}
	detector, err := rec.VAD.NewDetector(vad.Config{})
	if err != nil {
		return err
	}
	leg, err := rec.Engine.NewStream(ctx, asr.StreamConfig{Call: "bench", Leg: s.Kind, Language: "en"})
	if err != nil {
		return err
	}
	defer leg.Close()
	st := rec.Engine.Stats()
	loops, noSpeech, excess, withdrawn := st.Loops.Load(), st.NoSpeech.Load(), st.Excess.Load(), st.Withdrawn.Load()
	shown := 0
	take := func(hs []asr.Hypothesis) {
		for j := range hs {
			shown = r.take(&hs[j], shown)
		}
	}
	err = carry(x, law, s.Loss, func(f *pcm.Frame) {
		if err != nil {
			return
		}
		var hs []asr.Hypothesis
		edges := detector.Accept(f)
		if rec.Forced {
			edges = forced(f)
		}
		for _, edge := range edges {
			if edge.Kind == asr.Begin {
				r.Utterances++
			}
		}
		hs, err = leg.Accept(f, edges)
		take(hs)
		r.Seconds += pcm.FrameDuration.Seconds()
		if detector.Speaking() {
			r.Speech += pcm.FrameDuration.Seconds()
		}
		if q, ok := leg.(settler); ok && err == nil {
			err = q.Settle(ctx)
		}
	})
	if err != nil {
		return err
	}
	hs, err := leg.Finish(ctx)
	take(hs)
	r.Loops += st.Loops.Load() - loops
	r.NoSpeech += st.NoSpeech.Load() - noSpeech
	r.Excess += st.Excess.Load() - excess
	r.Withdrawn += st.Withdrawn.Load() - withdrawn
	return err
}

const (
	forcedFrames = 150
	forcedEvery  = 2 * forcedFrames
)

// forced takes the second half of each forcedEvery frames for speech.
func forced(f *pcm.Frame) []asr.Edge {
	switch f.Start / pcm.FrameSamples % forcedEvery {
	case forcedFrames:
		return []asr.Edge{{Kind: asr.Begin, At: f.Start}}
	case 0:
		return []asr.Edge{{Kind: asr.End, At: f.Start}}
	}
	return nil
}

// take counts a hypothesis. shown is the most words that partials of its
// utterance have shown; it returns that of the next hypothesis.
func (r *Row) take(h *asr.Hypothesis, shown int) int {
	if !h.Final {
		return max(shown, len(h.Words))
	}
	r.Words += len(h.Words)
	r.Flashed += max(0, shown-len(h.Words))
	for _, w := range h.Words {
		r.confidence += float64(w.Confidence)
	}
	if len(h.Words) > 0 {
		r.Texts = append(r.Texts, h.Text())
	}
	return 0
}

// Total adds up the rows without foreign speech.
func Total(rows []Row) Row {
	all := Row{Kind: "all"}
	for i := range rows {
		r := &rows[i]
		if r.Foreign {
			continue
		}
		all.Seconds += r.Seconds
		all.Speech += r.Speech * r.Seconds
		all.Utterances += r.Utterances
		all.Words += r.Words
		all.Flashed += r.Flashed
		all.confidence += r.confidence
		all.Loops += r.Loops
		all.NoSpeech += r.NoSpeech
		all.Excess += r.Excess
		all.Withdrawn += r.Withdrawn
	}
	all.finish()
	return all
}

// Table prints rows for people, with the words of at most examples finals of
// each.
func Table(w io.Writer, rows []Row, examples int) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kind\tminutes\tspeech %\tutterances/h\twords/h\tflashed\tconfidence\tno speech\tloops\texcess\twithdrawn\texamples")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.0f\t%.0f\t%d\t%.2f\t%d\t%d\t%d\t%d\t%s\n", r.Kind, r.Seconds/60, 100*r.Speech,
			r.UtterancesPerHour, r.WordsPerHour, r.Flashed, r.Confidence, r.NoSpeech, r.Loops, r.Excess, r.Withdrawn,
			strings.Join(r.Texts[:min(examples, len(r.Texts))], " | "))
	}
	return t.Flush()
}
