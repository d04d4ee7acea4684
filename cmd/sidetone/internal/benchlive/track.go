package benchlive

import (
	"math/rand/v2"

	"sidetone/internal/pcm"
)

// Said is something said, and where, in samples.
type Said struct {
	Start, End int64
	Text       string
}

// Sound is a stretch of audio with what is said in it.
type Sound struct {
	Samples []int16
	Said    []Said
}

// Track is a leg's audio: each call returns what comes next, without end.
type Track func() Sound

// line is the noise of a telephone line, about 60 dB below full scale.
func line(r *rand.Rand, n int) []int16 {
	x := make([]int16, n)
	for i := range x {
		x[i] = int16(r.NormFloat64() * 32)
	}
	return x
}

const (
	// Talkers pause for half a second to 0.8 s.
	shortPause = pcm.Rate / 2
	morePause  = pcm.Rate * 3 / 10
	// Legs begin within this time.
	spread = 2 * pcm.Rate
)

// Talkers returns the tracks of n legs that talk all the time: clip after clip
// with pauses of line noise between them, each leg in an order of its own.
// The same n brings the same audio.
func Talkers(clips []Sound, n int) []Track {
	noise := line(rand.New(rand.NewPCG(1, 0)), spread+pcm.Rate)
	var out []Track
	for leg := range n {
		r := rand.New(rand.NewPCG(2, uint64(leg)))
		var order []int
		pause, first := true, true
		out = append(out, func() Sound {
			if pause {
				pause = false
				k := shortPause + r.IntN(morePause)
				if first {
					first, k = false, r.IntN(spread)
				}
				at := r.IntN(len(noise) - k)
				return Sound{Samples: noise[at : at+k]}
			}
			pause = true
			if len(order) == 0 {
				order = r.Perm(len(clips))
			}
			c := clips[order[0]]
			order = order[1:]
			return c
		})
	}
	return out
}

// Call is the two legs of a call.
type Call [2]Sound

// callStep is how far into its recording each call begins after the one before.
const callStep = 37 * pcm.Rate

// Calls returns the tracks of n calls, both legs of one next to each other. Each
// begins at another place of a recording and goes on with the next.
func Calls(calls []Call, n int) []Track {
	var out []Track
	for k := range n {
		for side := range 2 {
			next, from := k%len(calls), int64(k)*callStep
			first := true
			out = append(out, func() Sound {
				c := calls[next]
				next = (next + 1) % len(calls)
				if !first {
					return c[side]
				}
				first = false
				// Both sides are as long as each other, and begin together.
				return c[side].from(from % int64(max(min(len(c[0].Samples), len(c[1].Samples)), 1)))
			})
		}
	}
	return out
}

// from leaves out the first samples, and with them what was begun to be said
// before.
func (s Sound) from(at int64) Sound {
	out := Sound{Samples: s.Samples[at:]}
	for _, x := range s.Said {
		if x.Start >= at {
			x.Start, x.End = x.Start-at, x.End-at
			out.Said = append(out.Said, x)
		}
	}
	return out
}

// player cuts a track into frames.
type player struct {
	track Track
	rest  []int16
	frame pcm.Frame
	// next is the position of the next frame, ahead that of the next sound.
	next, ahead int64
	said        []Said
}

// play returns the next frame; it is valid until the next call.
func (p *player) play() *pcm.Frame {
	for n := 0; n < len(p.frame.Samples); {
		if len(p.rest) == 0 {
			s := p.track()
			for _, x := range s.Said {
				x.Start, x.End = x.Start+p.ahead, x.End+p.ahead
				p.said = append(p.said, x)
			}
			p.rest = s.Samples
			p.ahead += int64(len(s.Samples))
		}
		k := copy(p.frame.Samples[n:], p.rest)
		p.rest, n = p.rest[k:], n+k
	}
	p.frame.Start = p.next
	p.next = p.frame.End()
	return &p.frame
}
