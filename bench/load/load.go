// Package load judges calls under load: whether each call was heard and guided
// as it should have been, how late words, finals and cards came, whether memory
// and latencies stay where they are, and whether a service level is kept. It
// draws the report.
//
// It is arithmetic only. What brings the calls into a server and samples the
// server is the program's.
//
// Everything in it is bounded: latencies are kept in sketches of a fixed size,
// series in a fixed number of points, so that a run may last for days.
//
// It is somewhat larger than other packages because figures, verdicts and their
// pictures are read together.
package load

// Quality of a sketch and length of a series.
const (
	// SketchError is by how much a quantile of a Sketch may be wrong, relatively.
	SketchError = 0.02
	// MaxPoints bounds the points of a Series.
	MaxPoints = 720
)
