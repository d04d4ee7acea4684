package voiceprint

import "time"

// Template is a voice as it was enrolled. One person may have several: one for each
// sort of line.
type Template struct {
	// ID is random and tells nothing.
	ID string
	// Line is what the voice was heard over, in a word of the operator's, such as
	// "phone" or "headset".
	Line string
	// Model is the ID of the model that made it.
	Model     string
	Embedding Embedding
	// Made is when; Source what of, such as "file" or "call 5f2c…".
	Made   time.Time
	Source string
	// Quality is that of all the speech it was made of.
	Quality Quality
}
