package srtp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

func TestSuites(t *testing.T) {
	for _, suite := range usableSuites() {
		t.Run(suite.String(), func(t *testing.T) {
			s := session(t, Config{Remote: line(suite)})
			now := epoch
			// Over a wrap of the sequence number, with two packets swapped.
			order := []int{65532, 65533, 65534, 65536, 65535, 65537, 65538}
			for _, i := range order {
				p := packet(i, 7)
				open(t, s, seal(t, line(suite), p, uint32(i>>16)), p, now, nil)
				now = now.Add(20 * time.Millisecond)
			}
			p := packet(65537, 7)
			open(t, s, seal(t, line(suite), p, 1), nil, now, ErrReplayed)
			sealed := seal(t, line(suite), packet(65539, 7), 1)
			for i := range sealed {
				bad := bytes.Clone(sealed)
				bad[i] ^= 1 << (i % 8)
				if _, _, err := s.Open(make([]byte, 2048), bad, now); err == nil {
					t.Fatalf("a packet whose byte %d is wrong was opened", i)
				}
			}
			open(t, s, sealed, packet(65539, 7), now.Add(time.Second), nil)
		})
	}
}

// TestLate joins streams that have been running for a while.
func TestLate(t *testing.T) {
	for _, suite := range []Suite{AESCM128SHA80, AESCM128SHA32, AES256GCM} {
		for _, roc := range []int{0, 1, 2, 17, maxRollover} {
			s := session(t, Config{Remote: line(suite)})
			for i := range 3 {
				n := roc<<16 | 65534 + i
				p := packet(n, 7)
				open(t, s, seal(t, line(suite), p, uint32(n>>16)), p, epoch, nil)
			}
		}
	}
	c := line(AESCM128SHA80)
	s := session(t, Config{Remote: c})
	open(t, s, seal(t, c, packet(1, 7), maxRollover+1), nil, epoch, ErrForged)
	// Two sources on one port have a counter each.
	for i := range 5 {
		open(t, s, seal(t, c, packet(i, 1), 4), packet(i, 1), epoch, nil)
		open(t, s, seal(t, c, packet(i, 2), 9), packet(i, 2), epoch, nil)
	}
}

// TestPause: while a call is on hold, its sender counts on.
func TestPause(t *testing.T) {
	c := line(AESCM128SHA80)
	for _, ahead := range []int{30000, 33000, 65300, 65700, 100000, 400000} {
		s := session(t, Config{Remote: c})
		n := 70000
		sealedBefore := seal(t, c, packet(n-200, 7), 1)
		open(t, s, seal(t, c, packet(n, 7), 1), packet(n, 7), epoch, nil)
		for i := range 3 {
			m := n + ahead + i
			open(t, s, seal(t, c, packet(m, 7), uint32(m>>16)), packet(m, 7), epoch, nil)
		}
		// An old packet that is sent again does not turn the counter back.
		open(t, s, sealedBefore, nil, epoch, ErrForged)
		m := n + ahead + 3
		open(t, s, seal(t, c, packet(m, 7), uint32(m>>16)), packet(m, 7), epoch, nil)
	}
}

func TestBestEffort(t *testing.T) {
	c := line(AESCM128SHA80)
	s := session(t, Config{Remote: c, BestEffort: true})
	plain := packet(1, 7)
	got, authentic, err := s.Open(make([]byte, 2048), plain, epoch)
	if err != nil || authentic || !bytes.Equal(got, plain) {
		t.Fatalf("a plain packet: authentic %t, %v", authentic, err)
	}
	open(t, s, seal(t, c, packet(2, 7), 0), packet(2, 7), epoch, nil)
	open(t, s, packet(3, 7), nil, epoch, ErrForged)
	strict := session(t, Config{Remote: c})
	open(t, strict, plain, nil, epoch, ErrForged)
}

func TestRekey(t *testing.T) {
	before, after := line(AESCM128SHA80), line(AES128GCM)
	s := session(t, Config{Remote: before})
	open(t, s, seal(t, before, packet(1, 7), 3), packet(1, 7), epoch, nil)
	if err := s.Rekey(before, Crypto{}, epoch); err != nil {
		t.Fatal(err)
	}
	if s.old != nil {
		t.Error("the same line has changed the keys")
	}
	if err := s.Rekey(after, Crypto{}, epoch); err != nil {
		t.Fatal(err)
	}
	late := epoch.Add(199 * time.Millisecond)
	open(t, s, seal(t, before, packet(2, 7), 3), packet(2, 7), late, nil)
	open(t, s, seal(t, after, packet(3, 7), 0), packet(3, 7), late, nil)
	open(t, s, seal(t, before, packet(4, 7), 3), packet(4, 7), late, nil)
	open(t, s, seal(t, before, packet(4, 7), 3), nil, late, ErrReplayed)
	tooLate := epoch.Add(200 * time.Millisecond)
	open(t, s, seal(t, before, packet(5, 7), 3), nil, tooLate, ErrForged)
	open(t, s, seal(t, after, packet(6, 7), 0), packet(6, 7), tooLate, nil)
	if err := s.Rekey(line(AESCM192SHA80), Crypto{}, epoch); err == nil {
		t.Error("a suite that is not supported was taken")
	}
	open(t, s, seal(t, after, packet(7, 7), 0), packet(7, 7), tooLate, nil)
}

func TestMKI(t *testing.T) {
	two := Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{
		{Material: material(AESCM128SHA80), MKI: []byte{0, 1}},
		{Material: bytes.Repeat([]byte{5}, 30), MKI: []byte{0, 2}},
	}}
	first, second := two, two
	second.Keys = two.Keys[1:]
	s := session(t, Config{Remote: two})
	for i := range 4 {
		c := first
		if i >= 2 {
			c = second
		}
		open(t, s, seal(t, c, packet(i, 7), 0), packet(i, 7), epoch, nil)
	}
	unknown := two
	unknown.Keys = []Key{{Material: material(AESCM128SHA80), MKI: []byte{0, 3}}}
	open(t, s, seal(t, unknown, packet(9, 7), 0), nil, epoch, ErrForged)
}

func TestRTCP(t *testing.T) {
	packet, err := (&rtcp.SenderReport{SSRC: 7, NTPTime: 1 << 40, RTPTime: 99}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range usableSuites() {
		n := suite.KeyLen()
		c := line(suite)
		theirs, err := srtp.CreateContext(c.Keys[0].Material[:n], c.Keys[0].Material[n:], profile(suite))
		if err != nil {
			t.Fatal(err)
		}
		s := session(t, Config{Remote: c, Local: c})
		sealed, err := theirs.EncryptRTCP(nil, packet, nil)
		if err != nil {
			t.Fatal(err)
		}
		open(t, s, sealed, packet, epoch, nil)
		open(t, s, sealed, nil, epoch, ErrReplayed)
		sealed[len(sealed)-1] ^= 1
		open(t, s, sealed[:len(sealed)-1], nil, epoch, ErrForged)
		ours, err := s.Seal(make([]byte, 500), packet)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(ours, packet[12:]) {
			t.Error("sealed RTCP is plain")
		}
		if back, err := theirs.DecryptRTCP(nil, ours, nil); err != nil || !bytes.Equal(back, packet) {
			t.Errorf("%v: what was sealed does not open: %v", suite, err)
		}
	}
	if _, err := session(t, Config{Remote: line(AES128GCM)}).Seal(nil, packet); err == nil || !strings.Contains(err.Error(), "no key of our own") {
		t.Errorf("sealed without a key: %v", err)
	}
}

// TestManySources: whoever has the keys may use many sources, not our memory.
func TestManySources(t *testing.T) {
	c := line(AESCM128SHA80)
	s := session(t, Config{Remote: c})
	now := epoch
	for i := range 1000 {
		open(t, s, seal(t, c, packet(i, uint32(i)), 0), packet(i, uint32(i)), now, nil)
		open(t, s, seal(t, c, packet(i, 77777), 2), packet(i, 77777), now, nil)
		now = now.Add(100 * time.Millisecond)
		if len(s.now.sources) > maxSources {
			t.Fatalf("%d sources are remembered", len(s.now.sources))
		}
	}
}

// TestSearchIsBounded: forged packets must not make the search for the rollover
// counter a way to keep us busy.
func TestSearchIsBounded(t *testing.T) {
	s := session(t, Config{Remote: line(AESCM128SHA80)})
	for i := range 1000 {
		open(t, s, packet(i, uint32(i)), nil, epoch, ErrForged)
	}
	if s.searched != searches {
		t.Errorf("%d searches in a second", s.searched)
	}
	if len(s.now.sources) != 0 {
		t.Errorf("%d forged sources are remembered", len(s.now.sources))
	}
	c := line(AESCM128SHA80)
	p := packet(1, 7)
	open(t, s, seal(t, c, p, 5), nil, epoch, ErrForged)
	open(t, s, seal(t, c, p, 5), p, epoch.Add(time.Second), nil)
}

func TestNewRefuses(t *testing.T) {
	short := line(AES128GCM)
	short.Keys = []Key{{Material: []byte{1}}}
	twice := line(AES128GCM)
	twice.Keys = []Key{twice.Keys[0], twice.Keys[0]}
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "no suite is not supported"},
		{Config{Remote: line(AESCM192SHA32)}, "AES_192_CM_HMAC_SHA1_32 is not supported"},
		{Config{Remote: Crypto{Tag: 3, Suite: AES128GCM}}, "tag 3: there is no key"},
		{Config{Remote: short}, "1 bytes"},
		{Config{Remote: twice}, "different MKIs"},
		{Config{Remote: line(AES128GCM), Local: short}, "1 bytes"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.cfg.Remote, err, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var verdict check
	w := &window{verdict: &verdict}
	top := uint64(1000)
	had := map[uint64]bool{top: true}
	w.Accept(w.CheckSeq(top))
	for range 20000 {
		n := top - rng.Uint64N(300)
		switch rng.IntN(50) {
		case 0:
			n = top + rng.Uint64N(400)
		case 1:
			n = top + 1
		}
		want := fresh
		switch {
		case n <= top && top-n >= replayWindow:
			want = stale
		case had[n]:
			want = seen
		}
		token := w.CheckSeq(n)
		if verdict != want || token.Passed() != (want == fresh) {
			t.Fatalf("%d after %d: %d, want %d", n, top, verdict, want)
		}
		if rng.IntN(2) == 0 {
			continue // not authentic
		}
		latest := w.Accept(token)
		if latest != (want == fresh && n > top) {
			t.Fatalf("%d after %d: latest is %t", n, top, latest)
		}
		if want == fresh {
			had[n] = true
			top = max(top, n)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	for _, suite := range usableSuites() {
		c := line(suite)
		s := session(t, Config{Remote: c})
		dst := make([]byte, 2048)
		var sealed [][]byte
		for i := range 1100 {
			sealed = append(sealed, seal(t, c, packet(i, 7), 0))
		}
		i := 0
		if n := testing.AllocsPerRun(1000, func() {
			if _, _, err := s.Open(dst, sealed[i], epoch); err != nil {
				t.Fatal(err)
			}
			i++
		}); n != 0 {
			t.Errorf("%v: %g allocations per packet", suite, n)
		}
	}
}

// FuzzOpen throws anything at a session: only what was sealed may open.
func FuzzOpen(f *testing.F) {
	c := line(AESCM128SHA32)
	f.Add(seal(f, c, packet(1, 7), 0))
	f.Add(packet(1, 7))
	f.Add([]byte{0x80, 200, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xBF}, 100))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, suite := range []Suite{AESCM128SHA32, AES256GCM} {
			s := session(t, Config{Remote: line(suite)})
			dst := make([]byte, 2048)
			_, authentic, err := s.Open(dst, in, epoch)
			if (err == nil) != authentic || err != nil && !errors.Is(err, ErrForged) {
				t.Fatalf("authentic %t, %v", authentic, err)
			}
			p := packet(9, 7)
			open(t, s, seal(t, line(suite), p, 0), p, epoch.Add(time.Second), nil)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for _, suite := range usableSuites() {
		b.Run(suite.String(), func(b *testing.B) {
			c := line(suite)
			dst := make([]byte, 2048)
			var sealed [][]byte
			for i := range 60000 {
				sealed = append(sealed, seal(b, c, packet(i, 7), 0))
			}
			s := session(b, Config{Remote: c})
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%len(sealed) == 0 && i > 0 {
					b.StopTimer()
					s = session(b, Config{Remote: c})
					b.StartTimer()
				}
				if _, _, err := s.Open(dst, sealed[i%len(sealed)], epoch); err != nil {
					b.Fatal(fmt.Errorf("packet %d: %w", i, err))
				}
			}
		})
	}
}
