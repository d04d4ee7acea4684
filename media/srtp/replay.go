package srtp

import "github.com/pion/transport/v5/replaydetector"

var _ replaydetector.CheckAccepter = (*window)(nil)

// check is what a window says of a packet before it is known to be authentic.
type check uint8

const (
	fresh check = iota
	// seen: the number is within the window and was accepted before.
	seen
	// stale: the number is behind the window; it may be a replay, or the sign of
	// a rollover counter that is wrong.
	stale
)

// window is one source's memory against replay (RFC 3711, section 3.3.2). It
// leaves what it says in verdict, which the library keeps to itself.
type window struct {
	verdict *check
	begun   bool
	latest  uint64
	// bits has bit i for the latest but i.
	bits [replayWindow / 64]uint64
}

// CheckSeq implements replaydetector.CheckAccepter.
func (w *window) CheckSeq(n uint64) replaydetector.Token {
	*w.verdict = w.check(n)
	if *w.verdict != fresh {
		return replaydetector.Rejected(n)
	}
	return replaydetector.Passed(n)
}

func (w *window) check(n uint64) check {
	switch back := w.latest - n; {
	case !w.begun || n > w.latest:
		return fresh
	case back >= replayWindow:
		return stale
	case w.bits[back/64]&(1<<(back%64)) != 0:
		return seen
	default:
		return fresh
	}
}

// Accept implements replaydetector.CheckAccepter.
func (w *window) Accept(t replaydetector.Token) (latest bool) {
	if !t.Passed() {
		return false
	}
	n := t.Seq()
	if w.begun && n <= w.latest {
		back := w.latest - n
		w.bits[back/64] |= 1 << (back % 64)
		return false
	}
	for ahead := n - w.latest; ; {
		if !w.begun || ahead >= replayWindow {
			clear(w.bits[:])
			break
		}
		step := min(ahead, 63)
		for i := len(w.bits) - 1; i > 0; i-- {
			w.bits[i] = w.bits[i]<<step | w.bits[i-1]>>(64-step)
		}
		w.bits[0] <<= step
		if ahead -= step; ahead == 0 {
			break
		}
	}
	w.bits[0] |= 1
	w.begun, w.latest = true, n
	return true
}

// Check implements replaydetector.ReplayDetector, which CheckAccepter is about
// to replace.
func (w *window) Check(n uint64) (accept func() bool, ok bool) {
	t := w.CheckSeq(n)
	return func() bool { return w.Accept(t) }, t.Passed()
}
