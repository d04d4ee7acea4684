package backend

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"sidetone/voiceprint"
)

const (
	// formatVersion is of the file: a reader of one refuses another.
	formatVersion = 1
	// maxFile bounds what Read takes; maxDim the dimensions of a space.
	maxFile = 16 << 20
	maxDim  = 1024
	// maxPoints and maxText bound the rest.
	maxPoints  = 1000
	maxSeconds = 3600
	maxText    = 4096
)

// FileError says where a file of parameters is unusable.
type FileError struct {
	// Field is the part that is wrong, such as "space.mean"; empty for the whole.
	Field string
	Err   error
}

func (e *FileError) Error() string {
	if e.Field == "" {
		return "backend: unusable parameters: " + e.Err.Error()
	}
	return fmt.Sprintf("backend: unusable parameters: %s: %v", e.Field, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// ErrFormat is in the chain of errors about files of another version of the format.
var ErrFormat = errors.New("another version of the format")

// The document. Vectors are base64 of little-endian float32.
type (
	document struct {
		Format      int            `json:"format"`
		Trained     trainedDoc     `json:"trained"`
		Space       spaceDoc       `json:"space"`
		Calibration calibrationDoc `json:"calibration"`
		Operating   operatingDoc   `json:"operating"`
	}
	trainedDoc struct {
		Space       string `json:"space"`
		Calibration string `json:"calibration"`
		Date        string `json:"date"`
	}
	spaceDoc struct {
		Model   string `json:"model"`
		Dim     int    `json:"dim"`
		Version string `json:"version"`
		Mean    string `json:"mean"`
		// Lower is the rows of the lower triangle.
		Lower string `json:"lower"`
	}
	calibrationDoc struct {
		Version   string  `json:"version"`
		Constant  float64 `json:"constant"`
		Cosine    float64 `json:"cosine"`
		CosineNet float64 `json:"cosine_net"`
		Net       float64 `json:"net"`
		Shortest  float64 `json:"shortest_s"`
		Longest   float64 `json:"longest_s"`
		Targets   int     `json:"targets"`
		Impostors int     `json:"impostors"`
		Speakers  int     `json:"speakers"`
	}
	operatingDoc struct {
		FAR           float64    `json:"far"`
		Miss          float64    `json:"miss"`
		Least         float64    `json:"least_s"`
		MismatchAfter float64    `json:"mismatch_after_s"`
		Limit         float64    `json:"limit_s"`
		Looks         []float64  `json:"looks_s"`
		Fall          float64    `json:"fall"`
		Targets       int        `json:"targets"`
		Impostors     int        `json:"impostors"`
		Speakers      int        `json:"speakers"`
		Points        []pointDoc `json:"points"`
	}
	pointDoc struct {
		FAR float64 `json:"far"`
		FRR float64 `json:"frr"`
		LLR float64 `json:"llr"`
	}
)

// Write writes the parameters as one JSON document, the same each time.
func (p *Params) Write(w io.Writer) error {
	if err := p.validate(); err != nil {
		return err
	}
	c, o, s := p.Calibration, p.Operating, p.Space
	d := document{
		Format:  formatVersion,
		Trained: trainedDoc(p.Trained),
		Space:   spaceDoc{Model: s.of.ID, Dim: s.of.Dim, Version: s.version, Mean: encode(s.mean), Lower: encode(s.lower)},
		Calibration: calibrationDoc{
			p.Version(), c.Constant, c.Cosine, c.CosineNet, c.Net, seconds(c.Shortest), seconds(c.Longest), c.Targets, c.Impostors, c.Speakers,
		},
		Operating: operatingDoc{
			FAR: o.Policy.FAR, Miss: o.Policy.Miss, Least: seconds(o.Policy.Least), MismatchAfter: seconds(o.Policy.MismatchAfter),
			Limit: seconds(o.Policy.Limit), Targets: o.Targets, Impostors: o.Impostors, Speakers: o.Speakers, Fall: o.Fall, Points: []pointDoc{}, Looks: []float64{},
		},
	}
	for _, l := range o.Looks {
		d.Operating.Looks = append(d.Operating.Looks, seconds(l))
	}
	for _, pt := range o.Points {
		d.Operating.Points = append(d.Operating.Points, pointDoc{FAR: pt.FAR, FRR: pt.FRR, LLR: pt.LLR})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// Read reads what Write has written. What is wrong with a file is a *FileError, and
// ErrFormat for another version.
func Read(r io.Reader) (*Params, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("backend: reading parameters: %w", err)
	}
	if len(b) > maxFile {
		return nil, &FileError{"", fmt.Errorf("more than %d bytes", maxFile)}
	}
	// Another version need not have the same fields.
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, &FileError{"", err}
	}
	if head.Format != formatVersion {
		return nil, &FileError{"format", fmt.Errorf("%w: %d, this program reads %d", ErrFormat, head.Format, formatVersion)}
	}
	var d document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return nil, &FileError{"", err}
	}
	return d.params()
}

func (d *document) params() (*Params, error) {
	for _, t := range []struct{ name, text string }{
		{"trained.space", d.Trained.Space}, {"trained.calibration", d.Trained.Calibration}, {"trained.date", d.Trained.Date}, {"space.model", d.Space.Model},
	} {
		if len(t.text) > maxText {
			return nil, &FileError{t.name, fmt.Errorf("%d bytes, at most %d", len(t.text), maxText)}
		}
	}
	space, err := d.Space.space()
	if err != nil {
		return nil, err
	}
	c, o := d.Calibration, d.Operating
	for _, s := range []struct {
		name string
		s    float64
	}{
		{"calibration.shortest_s", c.Shortest}, {"calibration.longest_s", c.Longest},
		{"operating.least_s", o.Least}, {"operating.mismatch_after_s", o.MismatchAfter}, {"operating.limit_s", o.Limit},
	} {
		if !(s.s > 0 && s.s <= maxSeconds) {
			return nil, &FileError{s.name, fmt.Errorf("%v; lengths of speech lie between 0 and %v s", s.s, float64(maxSeconds))}
		}
	}
	p := &Params{
		Trained: Trained(d.Trained),
		Space:   space,
		Calibration: Calibration{
			Constant: c.Constant, Cosine: c.Cosine, CosineNet: c.CosineNet, Net: c.Net,
			Shortest: duration(c.Shortest), Longest: duration(c.Longest), Targets: c.Targets, Impostors: c.Impostors, Speakers: c.Speakers,
		},
		Operating: Operating{
			Policy: voiceprint.Policy{
				FAR: o.FAR, Miss: o.Miss, Least: duration(o.Least), MismatchAfter: duration(o.MismatchAfter), Limit: duration(o.Limit),
			},
			Targets: o.Targets, Impostors: o.Impostors, Speakers: o.Speakers, Fall: o.Fall,
		},
	}
	if !(o.FAR > 0 && o.FAR < 1 && o.Miss > 0 && o.Miss < 1) {
		return nil, &FileError{"operating", fmt.Errorf("measured for error rates of %v and %v; they lie between 0 and 1", o.FAR, o.Miss)}
	}
	if n := max(len(o.Points), len(o.Looks)); n > maxPoints {
		return nil, &FileError{"operating", fmt.Errorf("%d points or looks, at most %d", n, maxPoints)}
	}
	for i, l := range o.Looks {
		if !(l > 0 && l <= maxSeconds) || i > 0 && l <= o.Looks[i-1] {
			return nil, &FileError{"operating.looks_s", fmt.Errorf("%v at place %d; lengths of speech grow, from 0 to %v s", l, i, float64(maxSeconds))}
		}
		p.Operating.Looks = append(p.Operating.Looks, duration(l))
	}
	for _, pt := range o.Points {
		p.Operating.Points = append(p.Operating.Points, voiceprint.Operating{FAR: pt.FAR, FRR: pt.FRR, LLR: pt.LLR})
	}
	if err := p.Calibration.validate(); err != nil {
		return nil, &FileError{"calibration", err}
	}
	if err := p.Operating.validate(); err != nil {
		return nil, &FileError{"operating", err}
	}
	if v := p.Version(); v != c.Version {
		return nil, &FileError{"calibration.version", fmt.Errorf("%q, the content is that of %s: the file was changed by hand or damaged", c.Version, v)}
	}
	return p, nil
}

func (s *spaceDoc) space() (*Space, error) {
	if s.Dim < 1 || s.Dim > maxDim {
		return nil, &FileError{"space.dim", fmt.Errorf("%d, want 1 to %d", s.Dim, maxDim)}
	}
	if s.Model == "" {
		return nil, &FileError{"space.model", errors.New("none")}
	}
	mean, err := decode(s.Mean, s.Dim)
	if err != nil {
		return nil, &FileError{"space.mean", err}
	}
	lower, err := decode(s.Lower, s.Dim*(s.Dim+1)/2)
	if err != nil {
		return nil, &FileError{"space.lower", err}
	}
	space := newSpace(voiceprint.Model{ID: s.Model, Dim: s.Dim}, mean, lower)
	if space.version != s.Version {
		return nil, &FileError{"space.version", fmt.Errorf("%q, the content is that of %s: the file was changed by hand or damaged", s.Version, space.version)}
	}
	return space, nil
}

func encode(xs []float32) string {
	b := make([]byte, 0, 4*len(xs))
	for _, x := range xs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func decode(s string, n int) ([]float32, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if len(b) != 4*n {
		return nil, fmt.Errorf("%d bytes, want %d: %d numbers of 4", len(b), 4*n, n)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if x := float64(out[i]); math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("number %d is %v", i, x)
		}
	}
	return out, nil
}
