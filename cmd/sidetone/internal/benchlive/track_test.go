package benchlive

import (
	"slices"
	"testing"

	"sidetone/internal/pcm"
)

// sound is n samples of value v, with one thing said in all of it.
func sound(v int16, n int, text string) Sound {
	return Sound{Samples: slices.Repeat([]int16{v}, n), Said: []Said{{0, int64(n), text}}}
}

func TestTalkers(t *testing.T) {
	clips := []Sound{sound(1000, 16000, "a"), sound(2000, 8000, "b"), sound(3000, 4000, "c")}
	order := func(track Track) (out string) {
		for i := range 12 {
			s := track()
			if i%2 == 1 {
				out += s.Said[0].Text
				continue
			}
			n := len(s.Samples)
			if len(s.Said) != 0 || i > 0 && (n < pcm.Rate/2 || n > pcm.Rate*8/10) || n > 2*pcm.Rate {
				t.Errorf("a pause of %d samples", n)
			}
		}
		return out
	}
	legs, again := Talkers(clips, 3), Talkers(clips, 8)
	seen := map[string]bool{}
	for i, l := range legs {
		o := order(l)
		seen[o] = true
		if other := order(again[i]); other != o {
			t.Errorf("leg %d: %s, and again %s", i, o, other)
		}
		for _, half := range []string{o[:3], o[3:]} {
			b := []byte(half)
			slices.Sort(b)
			if string(b) != "abc" {
				t.Errorf("leg %d: %s does not have every clip once", i, half)
			}
		}
	}
	if len(seen) < 2 {
		t.Errorf("all legs say the same: %v", seen)
	}
}

func TestCalls(t *testing.T) {
	long := 40 * pcm.Rate
	both := Sound{Samples: slices.Repeat([]int16{5}, long), Said: []Said{{0, 10, "early"}, {int64(38 * pcm.Rate), int64(39 * pcm.Rate), "late"}}}
	calls := []Call{{both, sound(7, long, "x")}, {sound(8, pcm.Rate, "y"), sound(9, pcm.Rate, "z")}}
	tracks := Calls(calls, 3)
	if len(tracks) != 6 {
		t.Fatalf("%d tracks", len(tracks))
	}
	if s := tracks[0](); len(s.Samples) != long || len(s.Said) != 2 {
		t.Errorf("the first call: %d samples, %v", len(s.Samples), s.Said)
	}
	if s := tracks[0](); s.Said[0].Text != "y" {
		t.Errorf("then %v", s.Said)
	}
	// The third call is the first recording again, 74 s on: 34 s into it.
	a, b := tracks[4](), tracks[5]()
	if len(a.Samples) != 6*pcm.Rate || len(b.Samples) != len(a.Samples) || b.Samples[0] != 7 {
		t.Errorf("the third: %d and %d samples", len(a.Samples), len(b.Samples))
	}
	if len(a.Said) != 1 || a.Said[0].Start != 4*pcm.Rate || len(b.Said) != 0 {
		t.Errorf("the third: %v and %v", a.Said, b.Said)
	}
}

func TestPlayer(t *testing.T) {
	v := int16(0)
	p := player{track: func() Sound {
		v++
		return sound(v, 500, string('a'+rune(v)-1))
	}}
	var all []int16
	for i := range 3 {
		f := p.play()
		if f.Start != int64(i*pcm.FrameSamples) {
			t.Errorf("frame %d at %d", i, f.Start)
		}
		all = append(all, f.Samples[:]...)
	}
	for i, x := range all {
		if x != int16(i/500)+1 {
			t.Fatalf("sample %d is %d", i, x)
		}
	}
	if len(p.said) != 2 || p.said[1] != (Said{500, 1000, "b"}) {
		t.Errorf("said %v", p.said)
	}
}
