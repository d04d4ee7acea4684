package backend

import (
	"errors"
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/mat"

	"sidetone/voiceprint"
)

// reference is the net speech at which a Calibration's Cosine and Constant alone
// make the evidence, in seconds.
const reference = 10

// Calibration makes evidence of a cosine s and net speech of d seconds:
//
//	LLR = Constant + Cosine·s + CosineNet·s·ln(d/10) + Net·ln(d/10), in nats.
type Calibration struct {
	Constant, Cosine, CosineNet, Net float64
	// Shortest and Longest are the net speech that it was fitted on. More than
	// Longest counts as Longest; the evidence of less than Shortest fades to none
	// in proportion.
	Shortest, Longest time.Duration
	// Targets and Impostors are how many comparisons it was fitted on, Speakers of
	// how many people.
	Targets, Impostors, Speakers int
}

// LLR is the evidence of one comparison.
func (c *Calibration) LLR(cosine float64, net time.Duration) float64 {
	d, fade := min(net, c.Longest), 1.0
	if d < c.Shortest {
		d, fade = c.Shortest, seconds(max(net, 0))/seconds(c.Shortest)
	}
	l := math.Log(seconds(d) / reference)
	return fade * (c.Constant + c.Cosine*cosine + c.CosineNet*cosine*l + c.Net*l)
}

func (c *Calibration) validate() error {
	if c.Shortest <= 0 || c.Longest < c.Shortest {
		return fmt.Errorf("backend: a calibration for speech of %v to %v", c.Shortest, c.Longest)
	}
	for _, x := range []float64{c.Constant, c.Cosine, c.CosineNet, c.Net} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("backend: a calibration with the coefficient %v", x)
		}
	}
	for _, d := range []time.Duration{c.Shortest, c.Longest} {
		if c.LLR(1, d) <= c.LLR(0, d) {
			return fmt.Errorf("backend: a calibration by which more likeness is less evidence at %v of speech", d)
		}
	}
	return nil
}

// Scorer weighs embeddings of one space by parameters.
type Scorer struct {
	info        voiceprint.Info
	calibration Calibration
	operating   Operating
}

var _ voiceprint.Scorer = (*Scorer)(nil)

// Info names the space and the version of the calibration.
func (s *Scorer) Info() voiceprint.Info { return s.info }

// LLR is the evidence of test, made of net of speech, against the templates of one
// person. Several templates are compared as one, their mean made a unit vector: the
// mean forgets what is peculiar to each line, and unlike the best of several it does
// not give impostors more chances the more templates there are.
func (s *Scorer) LLR(enrolled []voiceprint.Embedding, test voiceprint.Embedding, net time.Duration) (float64, error) {
	if len(enrolled) == 0 || net <= 0 {
		return 0, fmt.Errorf("backend: %d templates compared with %v of speech", len(enrolled), net)
	}
	dim := s.info.Model.Dim
	if len(test) != dim {
		return 0, fmt.Errorf("backend: an embedding of %d dimensions, %s has %d: %w", len(test), s.info.Model.ID, dim, voiceprint.ErrModel)
	}
	for i, e := range enrolled {
		if len(e) != dim {
			return 0, fmt.Errorf("backend: template %d has %d dimensions, %s has %d: %w", i, len(e), s.info.Model.ID, dim, voiceprint.ErrModel)
		}
	}
	c, ok := together(enrolled, test)
	if !ok {
		return 0, errors.New("backend: vectors without a direction")
	}
	return s.calibration.LLR(c, net), nil
}

// together is the cosine of test and the mean of the templates.
func together(enrolled []voiceprint.Embedding, test voiceprint.Embedding) (cosine float64, ok bool) {
	var dot, norm float64
	for i, t := range test {
		var sum float64
		for _, e := range enrolled {
			sum += float64(e[i])
		}
		dot += sum * float64(t)
		norm += sum * sum
	}
	cosine = dot / math.Sqrt(norm)
	return cosine, norm > 0 && !math.IsNaN(cosine) && !math.IsInf(cosine, 0)
}

// Threshold is the least LLR that accepts at most the given share of impostors in a
// whole sequential decision. Its error is a *FARError.
func (s *Scorer) Threshold(far float64) (voiceprint.Operating, error) {
	return s.operating.Threshold(far)
}

// scored is a comparison that a calibration is fitted to.
type scored struct {
	cosine float64
	net    float64 // seconds
	weight float64
	target bool
}

const (
	// ridge keeps the coefficients finite where targets and impostors do not
	// overlap; it is far below what data says.
	ridge     = 1e-6
	maxRounds = 100
)

// fit finds the coefficients by logistic regression, targets and impostors weighted
// as if a share of prior were targets: Newton's method, halving steps that overshoot.
func fit(data []scored, prior float64) (Calibration, error) {
	var weights [2]float64
	var c Calibration
	shortest, longest := math.Inf(1), 0.0
	for _, t := range data {
		if t.target {
			weights[1] += t.weight
			c.Targets++
		} else {
			weights[0] += t.weight
			c.Impostors++
		}
		shortest, longest = min(shortest, t.net), max(longest, t.net)
	}
	if c.Targets == 0 || c.Impostors == 0 {
		return c, &TooLittleError{What: "comparisons of one speaker, and of two", Have: min(c.Targets, c.Impostors), Need: 1}
	}
	c.Shortest, c.Longest = duration(shortest), duration(longest)
	f := fitting{data: data, by: [2]float64{(1 - prior) / weights[0], prior / weights[1]}, offset: math.Log(prior / (1 - prior))}
	theta := [4]float64{0, 1, 0, 0}
	loss := f.loss(theta)
	for range maxRounds {
		step, ok := f.step(theta)
		if !ok {
			return c, errors.New("backend: the calibration cannot be fitted: all comparisons are of the same net speech and likeness")
		}
		scale, next, nextLoss := 1.0, theta, loss
		for ; scale > 1e-6; scale /= 2 {
			for i := range theta {
				next[i] = theta[i] - scale*step[i]
			}
			if nextLoss = f.loss(next); nextLoss <= loss {
				break
			}
		}
		better := loss - nextLoss
		if better >= 0 {
			theta, loss = next, nextLoss
		}
		if better < 1e-12 {
			break
		}
	}
	c.Constant, c.Cosine, c.CosineNet, c.Net = theta[0], theta[1], theta[2], theta[3]
	return c, c.validate()
}

type fitting struct {
	data   []scored
	by     [2]float64 // of an impostor, of a target
	offset float64
}

func features(t *scored) [4]float64 {
	l := math.Log(t.net / reference)
	return [4]float64{1, t.cosine, t.cosine * l, l}
}

// loss is the weighted cross-entropy, and the ridge's.
func (f *fitting) loss(theta [4]float64) float64 {
	var sum float64
	for i := range f.data {
		t := &f.data[i]
		z := f.logOdds(features(t), theta)
		if t.target {
			sum += f.by[1] * t.weight * softplus(-z)
		} else {
			sum += f.by[0] * t.weight * softplus(z)
		}
	}
	for _, x := range theta {
		sum += ridge / 2 * x * x
	}
	return sum
}

func (f *fitting) logOdds(x, theta [4]float64) float64 {
	z := f.offset
	for i := range x {
		z += x[i] * theta[i]
	}
	return z
}

func softplus(z float64) float64 { return max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) }

// step is the Newton step at theta.
func (f *fitting) step(theta [4]float64) ([4]float64, bool) {
	var g [4]float64
	var h [16]float64
	for n := range f.data {
		t := &f.data[n]
		x := features(t)
		p := 1 / (1 + math.Exp(-f.logOdds(x, theta)))
		w, e := f.by[0]*t.weight, p
		if t.target {
			w, e = f.by[1]*t.weight, p-1
		}
		v := w * p * (1 - p)
		for i := range x {
			g[i] += w * e * x[i]
			for j := i; j < 4; j++ {
				h[4*i+j] += v * x[i] * x[j]
			}
		}
	}
	for i := range g {
		g[i] += ridge * theta[i]
		h[5*i] += ridge
	}
	var c mat.Cholesky
	var step mat.VecDense
	if !c.Factorize(mat.NewSymDense(4, h[:])) || c.SolveVecTo(&step, mat.NewVecDense(4, g[:])) != nil {
		return g, false
	}
	return [4]float64(step.RawVector().Data), true
}
