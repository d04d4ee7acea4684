package freeswitch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rates are what FreeSWITCH and jambonz send, in Hz.
func rates() []int { return []int{8000, 16000, 24000, 32000, 44100, 48000, 64000} }

func validRate(r int) bool { return slices.Contains(rates(), r) }

// format is how a fork's samples are to be read.
type format struct {
	rate, channels int
	mixed          bool
}

func (f format) String() string {
	switch {
	case f.channels == 2:
		return fmt.Sprintf("stereo at %d Hz", f.rate)
	case f.mixed:
		return fmt.Sprintf("mixed at %d Hz", f.rate)
	default:
		return fmt.Sprintf("mono at %d Hz", f.rate)
	}
}

// formatOf is the format that is named, with def for what is not.
func formatOf(ls layers, def format) (format, error) {
	f := def
	if text := ls.get("rate", "sampleRate", "sample_rate"); text != "" {
		number, thousands := strings.CutSuffix(strings.ToLower(text), "k")
		n, err := strconv.Atoi(number)
		if thousands && n < 1000 {
			n *= 1000
		}
		if err != nil || !validRate(n) {
			return def, fmt.Errorf("sample rate %.20q: it is one of %v Hz", text, rates())
		}
		f.rate = n
	}
	if text := ls.get("channels"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 2 {
			return def, fmt.Errorf("channels %.20q: forks have 1 or 2", text)
		}
		f.channels = n
	}
	if text := ls.get("mix", "mixType", "mix_type"); text != "" {
		switch strings.ToLower(text) {
		case "mono":
			f.channels, f.mixed = 1, false
		case "mixed":
			f.channels, f.mixed = 1, true
		case "stereo":
			f.channels, f.mixed = 2, false
		default:
			return def, fmt.Errorf("mix %.20q: it is mono, mixed or stereo", text)
		}
	}
	return f, nil
}

// splitMost is how many samples of a channel are split off at once.
const splitMost = 1024

// splitter makes samples of bytes. Messages may end anywhere: what is left of a
// sample, or of a pair in stereo, waits for the next message.
type splitter struct {
	left, right [splitMost]int16
	rest        [4]byte
	held        int
}

// next takes what it can of message and returns the samples, which are valid
// until the next call, and what of message remains. right is empty where there
// is one channel.
func (s *splitter) next(message []byte, channels int) (left, right []int16, remains []byte) {
	unit := 2 * channels
	n := 0
	if s.held > 0 {
		took := copy(s.rest[s.held:unit], message)
		s.held += took
		message = message[took:]
		if s.held < unit {
			return nil, nil, nil
		}
		s.held = 0
		s.put(0, s.rest[:unit])
		n = 1
	}
	for ; n < splitMost && len(message) >= unit; n++ {
		s.put(n, message[:unit])
		message = message[unit:]
	}
	if len(message) < unit {
		s.held = copy(s.rest[:], message)
		message = nil
	}
	left = s.left[:n]
	if channels == 2 {
		right = s.right[:n]
	}
	return left, right, message
}

func (s *splitter) put(i int, unit []byte) {
	s.left[i] = int16(binary.LittleEndian.Uint16(unit))
	if len(unit) == 4 {
		s.right[i] = int16(binary.LittleEndian.Uint16(unit[2:]))
	}
}

const (
	// meterSettle is the time in which FreeSWITCH sends what it has kept while it
	// connected; meterSpan is what is measured then, without a pause of meterGap.
	meterSettle = time.Second
	meterSpan   = 3 * time.Second
	meterGap    = 500 * time.Millisecond
	// leastRatio and mostRatio bound what comes over what should come: half and
	// twice as much are mistakes, a little more or less is a burst.
	leastRatio = 0.57
	mostRatio  = 1.75
)

// meter measures how many bytes come in a second.
type meter struct {
	start, last time.Time
	bytes       int
	settled     bool
	done        bool
}

// add counts n bytes; ok is set at the end of a span.
func (m *meter) add(n int, now time.Time) (perSecond float64, ok bool) {
	if m.done {
		return 0, false
	}
	if m.last.IsZero() || now.Sub(m.last) >= meterGap {
		m.start, m.bytes, m.settled, m.last = now, 0, false, now
		return 0, false
	}
	m.last = now
	m.bytes += n
	switch took := now.Sub(m.start); {
	case !m.settled && took >= meterSettle:
		m.start, m.bytes, m.settled = now, 0, true
	case m.settled && took >= meterSpan:
		perSecond, ok = float64(m.bytes)/took.Seconds(), true
		m.start, m.bytes = now, 0
	}
	return perSecond, ok
}
