package spoof

// What TestSpoofTable has learnt from 355 recordings of people (voice/wav and asr of
// the evaluation data) and 224 of five synthesisers, or 225 through loudspeakers. Both
// sides were taken to be as likely.

// loudspeaker weighs measures.room: loudspeakers in rooms are simulated.
func loudspeaker() weights {
	return weights{by: []float64{-10.672, -16.57, -7.3571, 19.992}, bias: -5.8372}
}

// synthetic weighs measures.change: Kokoro, Piper, festival, flite and espeak-ng.
func synthetic() weights {
	return weights{
		by:   []float64{-2.4363, -0.50582, 5.3724, 5.571, -0.13275, 9.1823, 5.7122, -0.48542, -0.99071, -1.2319, 2.7464, -23.355},
		bias: -6.2659,
	}
}
