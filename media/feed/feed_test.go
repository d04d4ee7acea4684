package feed

import (
	"testing"
	"time"

	"sidetone/internal/pcm"
	"sidetone/media"
)

// sink keeps where frames start and which were inserted.
type sink struct {
	starts   []int64
	inserted int
}

func (s *sink) Frame(f *pcm.Frame) {
	s.starts = append(s.starts, f.Start)
	if f.Flags == pcm.Inserted {
		s.inserted++
	}
}
func (s *sink) Mark(media.Mark)               {}
func (s *sink) End(media.End, media.LegStats) {}

// After a pause, however often, audio stands where the clock that counts says:
// the source's own for Write, the wall's for Append. That chunks come when they
// are over, and up to 60 ms late, moves nothing.
func TestPauses(t *testing.T) {
	for _, c := range []struct {
		name  string
		write bool
		late  time.Duration
	}{{"Write", true, 0}, {"Write, late", true, 60 * time.Millisecond}, {"Append", false, 0}} {
		t.Run(c.name, func(t *testing.T) {
			s := &sink{}
			l, err := New(Config{Sink: s, Rate: 8000})
			if err != nil {
				t.Fatal(err)
			}
			chunk := make([]int16, 160)
			begin := time.Unix(1000, 0)
			for ms := 20; ms <= 20000; ms += 20 {
				now := begin.Add(time.Duration(ms) * time.Millisecond)
				l.Tick(now)
				// A second of audio, a second of nothing.
				if (ms-20)/1000%2 == 1 {
					continue
				}
				late := c.late
				if (ms-20)%1000 > 100 {
					late = 0
				}
				if c.write {
					l.Write(int64(ms-20)*8, chunk, now.Add(late))
				} else {
					l.Append(chunk, now.Add(late))
				}
			}
			if last := s.starts[len(s.starts)-1]; last > 20000*16-pcm.FrameSamples || last < 19800*16 {
				t.Errorf("the last frame starts at %d", last)
			}
			for i := range s.starts {
				if s.starts[i] != int64(i*pcm.FrameSamples) {
					t.Fatalf("frame %d starts at %d", i, s.starts[i])
				}
			}
			// Ten pauses, of which the last is not over.
			if s.inserted < 9*50+40 || s.inserted > 9*50+46 {
				t.Errorf("%d frames are silence, want 9 x 50 and most of 50", s.inserted)
			}
		})
	}
}
