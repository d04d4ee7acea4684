package recording

import (
	"slices"

	"sidetone/internal/pcm"
	"sidetone/media/resample"
)

// lower brings both sides to a lower rate, with the filter's delay taken out.
type lower struct {
	filter [2]*resample.Resampler
	have   [2][]int16
	// skip is how much of the output stands before the beginning.
	skip [2]int
	// block is the length of a block, step how many samples of the call's rate one
	// sample stands for, done how many have been taken, in how many have come.
	block, step int
	done, in    int64
	made        int64
}

func newLower(rate int) (*lower, error) {
	l := &lower{block: block * rate / pcm.Rate, step: pcm.Rate / rate}
	for side := range l.filter {
		f, err := resample.New(pcm.Rate, rate)
		if err != nil {
			return nil, err
		}
		l.filter[side], l.skip[side] = f, (f.Delay()+l.step-1)/l.step
	}
	return l, nil
}

// push filters a block.
func (l *lower) push(pcm *[2][]int16) {
	l.in += int64(len(pcm[left]))
	for side, f := range l.filter {
		l.filterInto(side, f, pcm[side])
	}
}

func (l *lower) filterInto(side int, f *resample.Resampler, src []int16) {
	out := slices.Grow(l.have[side], f.MaxOut(len(src)))
	n := f.Process(out[len(out):cap(out)], src)
	l.have[side] = out[:len(out)+n]
	if cut := min(l.skip[side], len(l.have[side])); cut > 0 {
		l.have[side] = append(l.have[side][:0], l.have[side][cut:]...)
		l.skip[side] -= cut
	}
}

func (l *lower) full() bool { return len(l.have[left]) >= l.block }

// take is the next n samples of both sides, valid until the next push.
func (l *lower) take(n int, paused []span) *[2][]int16 {
	var out [2][]int16
	for side, have := range l.have {
		out[side] = have[:n:n]
		l.have[side] = have[n:]
	}
	mute(&out, l.done*int64(l.step), int64(l.step), paused)
	l.done, l.made = l.done+int64(n), l.made+int64(n)
	return &out
}

// flush brings out what is in the filters, and returns how much is left to take.
func (l *lower) flush() int {
	zeroes := make([]int16, (l.skip[left]+l.filter[left].Delay())*2+l.step)
	for side, f := range l.filter {
		l.filterInto(side, f, zeroes)
	}
	return int(min(int64(len(l.have[left])), (l.in+int64(l.step)-1)/int64(l.step)-l.made))
}
