package bench

import "testing"

// TestShape checks Whisper tiny.en by hand: width 384, four layers a side.
func TestShape(t *testing.T) {
	s := Shape{Bands: 80, Width: 384, EncoderHidden: 1536, DecoderHidden: 1536, EncoderLayers: 4, DecoderLayers: 4, Vocabulary: 51864}
	// Two convolutions, then in each layer four square matrices, the attention's
	// two products and the two matrices of the feed-forward network; then keys
	// and values for four decoder layers.
	const frames, d = 1500, 384
	want := 2.0 * (2*frames*240*d + frames*3*d*d +
		4*(frames*4*d*d+2*frames*frames*d+frames*2*d*4*d) +
		4*frames*2*d*d)
	if got := s.EncoderFLOP(frames); got != want {
		t.Errorf("%v operations, want %v", got, want)
	}
	// 28,180,992 weights in the decoder, without those of the audio's keys.
	if got := s.TokenBytes(0, 2); got != 2*(4*14*d*d+51864*d) {
		t.Errorf("%v bytes", got)
	}
	for weight, want := range map[float64]float64{1: 2, 2: 2, 4: 4} {
		if got := s.TokenBytes(frames, weight) - s.TokenBytes(0, weight); got != 4*1500*768*want {
			t.Errorf("%v bytes of keys and values beside weights of %v", got, weight)
		}
	}
}
