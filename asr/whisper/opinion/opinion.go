// Package opinion says which decodes deserve a second one, and which of two
// decodes of the same speech to believe.
//
// Whisper that mishears noisy speech mostly knows it: its text is improbable by
// its own account. So a second decode, by a larger model, is asked for only
// where the first is in doubt. Clean speech seldom is, and pays little.
package opinion

import "sidetone/asr/whisper/model"

const (
	// doubt is the mean log probability below which a decode is in doubt. On
	// telephone speech without noise one clip in eight is below it, with babble
	// at 10 dB two in three.
	doubt = -0.4
	// loop is the compression ratio from which a text repeats itself; speech has
	// 1.7 at most. A model is sure of its loops, so their log probability counts
	// for nothing. The reference's 2.4 lets short loops through.
	loop = 2
)

// Doubtful tells whether a decode deserves a second opinion.
func Doubtful(r *model.Result) bool {
	return looping(r) || r.AvgLogProb < doubt
}

// Better tells whether second is to be believed rather than first: both are
// decodes of the same speech, by the same or by different models. One that
// loops is believed only if the other does, too; else the more probable one is.
// With nothing to choose between them it is first.
func Better(first, second *model.Result) bool {
	if a, b := looping(first), looping(second); a != b {
		return a
	}
	return second.AvgLogProb > first.AvgLogProb
}

func looping(r *model.Result) bool { return r.Truncated || r.CompressionRatio > loop }
