package bench

// Shape is the size of a Whisper network, from which follows what a decode has
// to calculate and to read.
type Shape struct {
	// Bands is the features of a frame, Width the length of a state.
	Bands, Width int
	// EncoderHidden and DecoderHidden are the widths between the two matrices of
	// the feed-forward networks.
	EncoderHidden, DecoderHidden int
	EncoderLayers, DecoderLayers int
	Vocabulary                   int
}

// EncoderFLOP is the floating-point operations that encode frames and make the
// cross attention's keys and values of them; a multiplication with its
// addition counts as two. What does not grow with the matrices is left out.
func (s Shape) EncoderFLOP(frames float64) float64 {
	d := float64(s.Width)
	conv := 2*frames*3*float64(s.Bands)*d + frames*3*d*d
	layer := frames*4*d*d + 2*frames*frames*d + frames*2*d*float64(s.EncoderHidden)
	cross := float64(s.DecoderLayers) * frames * 2 * d * d
	return 2 * (conv + float64(s.EncoderLayers)*layer + cross)
}

// TokenBytes is what the decoder has to read for one token: each of its weights
// once, of so many bytes each, and the cross attention's keys and values of all
// frames, of as many bytes, but of 16 bits where the weights have eight.
func (s Shape) TokenBytes(frames, bytesPerWeight float64) float64 {
	d, layers := float64(s.Width), float64(s.DecoderLayers)
	weights := layers*(6*d*d+2*d*float64(s.DecoderHidden)) + float64(s.Vocabulary)*d
	return bytesPerWeight*weights + layers*frames*2*d*max(2, bytesPerWeight)
}
