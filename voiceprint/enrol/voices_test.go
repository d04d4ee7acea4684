package enrol

import (
	"math"
	"math/rand/v2"
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

// call is the person on one more line, varied by so much of what is usual.
func (c *crowd) call(person []float64, varied float64) voiceprint.Embedding {
	e := make(voiceprint.Embedding, testModel.Dim)
	for i, x := range person {
		e[4*i] = float32(x + varied*within*c.random.NormFloat64())
	}
	voiceprint.Unit(e)
	return e
}

// scales weigh the cosine to the mean of the templates as a calibration on telephone
// speech does.
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

// ears embed speech whose samples are numbers of people: a mixture of people is
// embedded as their mixture.
type ears struct {
	crowd  *crowd
	people [][]float64
	err    error
}

func newEars(seed uint64) *ears {
	e := &ears{crowd: newCrowd(seed)}
	for range 4 {
		e.people = append(e.people, e.crowd.person())
	}
	return e
}

func (*ears) Model() voiceprint.Model { return testModel }

func (e *ears) Embed(x []float32) (voiceprint.Embedding, error) {
	if e.err != nil {
		return nil, e.err
	}
	shares := make([]float64, len(e.people))
	for _, who := range x {
		shares[int(who)] += 1 / float64(len(x))
	}
	mix := make([]float64, apart)
	for who, share := range shares {
		for i, v := range e.people[who] {
			mix[i] += share * v
		}
	}
	// Chunks of one recording share its line.
	return e.crowd.call(mix, 0.5), nil
}
