// Package pcm holds the one form in which audio travels inside Sidetone:
// mono, 16 kHz, 20 ms, with its place on the clock of its leg.
//
// A Frame is a value without pointers, so keeping one means copying it and no
// buffer ever has two owners.
package pcm

import "time"

const (
	// Rate is the sample rate of every Frame, in Hz.
	Rate = 16000
	// FrameSamples is the number of samples in a Frame.
	FrameSamples = 320
	// FrameDuration is the length of a Frame.
	FrameDuration = 20 * time.Millisecond
)

// Flags say what a Frame's samples are when they are not decoded speech.
type Flags uint8

const (
	// Lost marks samples that were concealed: the network lost the packet.
	Lost Flags = 1 << iota
	// Inserted marks silence that the sender chose not to send (DTX, comfort
	// noise) or that stands for a source that has stopped sending.
	Inserted
)

// Frame is 20 ms of one leg.
type Frame struct {
	// Samples are signed 16-bit linear samples at Rate.
	Samples [FrameSamples]int16
	// Start is the position of Samples[0], in samples since the leg began. A
	// consumer that sees it jump has missed frames.
	Start int64
	// Flags tell concealed and inserted audio from decoded audio.
	Flags Flags
}

// End is the position after the last sample.
func (f *Frame) End() int64 { return f.Start + FrameSamples }

// Duration converts a number of samples at Rate into time.
func Duration(samples int64) time.Duration {
	return time.Duration(samples) * time.Second / Rate
}

// Samples converts a time into the number of whole samples at Rate.
func Samples(d time.Duration) int64 {
	return int64(d) * Rate / int64(time.Second)
}
