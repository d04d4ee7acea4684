package watch

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sidetone/voiceprint"
)

var testModel = voiceprint.Model{ID: "crowd", Dim: 192}

// crowd makes voices that lie as those on telephone lines do: 44 dimensions that tell
// people apart, so that strangers' cosines have a deviation of 0.15, and half as much
// again within a person, so that a person's calls have cosines around 0.77.
type crowd struct{ random *rand.Rand }

func newCrowd(seed uint64) *crowd { return &crowd{rand.New(rand.NewPCG(seed, 7))} }

const (
	apart  = 44
	within = 0.547
)

func (c *crowd) person() []float64 {
	p := make([]float64, apart)
	for i := range p {
		p[i] = c.random.NormFloat64()
	}
	return p
}

// call is the person on one more line.
func (c *crowd) call(person []float64) voiceprint.Embedding {
	e := make(voiceprint.Embedding, testModel.Dim)
	for i, x := range person {
		// Spread over the vector: every fourth element.
		e[4*i] = float32(x + within*c.random.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

func (c *crowd) stranger() voiceprint.Embedding { return c.call(c.person()) }

// scales weigh the cosine to the mean of the templates as a calibration on telephone speech does.
type scales struct{}

func (scales) Info() voiceprint.Info { return voiceprint.Info{Model: testModel} }

func (scales) LLR(enrolled []voiceprint.Embedding, test voiceprint.Embedding, net time.Duration) (float64, error) {
	var dot, norm float64
	for i, x := range test {
		var sum float64
		for _, e := range enrolled {
			sum += float64(e[i])
		}
		dot += sum * float64(x)
		norm += sum * sum
	}
	cosine := dot / math.Sqrt(norm)
	d := math.Log(min(max(net.Seconds(), 3), 15) / 10)
	return 47.2*cosine + 15.6*cosine*d - 11*d - 21, nil
}

func (scales) Threshold(far float64) (voiceprint.Operating, error) {
	return voiceprint.Operating{FAR: far, LLR: -math.Log(far)}, nil
}

// The crowd is what its comment says.
func TestCrowd(t *testing.T) {
	c := newCrowd(1)
	var same, other, square float64
	const n = 2000
	for range n {
		p := c.person()
		e := c.call(p)
		same += voiceprint.Cosine(e, c.call(p)) / n
		x := voiceprint.Cosine(e, c.stranger())
		other += x / n
		square += x * x / n
	}
	if math.Abs(same-0.77) > 0.02 || math.Abs(other) > 0.02 || math.Abs(math.Sqrt(square)-0.15) > 0.02 {
		t.Errorf("cosines: a person's %.3f, strangers' %.3f with a deviation of %.3f", same, other, math.Sqrt(square))
	}
}
