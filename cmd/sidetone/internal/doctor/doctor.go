// Package doctor looks at the datagrams that arrive from a PBX or an SBC and says
// in words what they are and what is wrong with them.
//
// It opens nothing and reads no clock: what it is told may come from sockets or
// from a capture.
package doctor

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/rtp"

	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/level"
	"sidetone/media/rtpflow"
	"sidetone/media/sdp"
	"sidetone/media/siprec"
)

const (
	// maxStreams bounds the streams that are followed.
	maxStreams = 1000
	// enough is how many packets make a stream worth a word.
	enough = 5
)

// Watch gathers what arrives. It is for one goroutine.
type Watch struct {
	streams map[key]*Stream
	// formats are the payload formats that SIP messages announced, by the port
	// that they were announced for and the payload type.
	formats  map[announced]codec.Format
	signals  []Signal
	kinds    map[string]int
	total    int
	overflow int
}

type key struct {
	from, to netip.AddrPort
	ssrc     uint32
}

type announced struct {
	port uint16
	pt   uint8
}

// New begins to watch.
func New() *Watch {
	return &Watch{streams: map[key]*Stream{}, formats: map[announced]codec.Format{}, kinds: map[string]int{}}
}

// Stream is the packets of one RTP source.
type Stream struct {
	From, To netip.AddrPort
	SSRC     uint32
	// PayloadType is that of most of its audio, Format what it stands for;
	// Known is false where nobody said it.
	PayloadType uint8
	Format      codec.Format
	Known       bool

	Packets     int
	First, Last time.Time

	watch   *Watch
	types   map[uint8]int
	sizes   map[int]int
	steps   map[uint32]int
	seq     uint16
	stamp   uint32
	flow    *rtpflow.Flow
	dec     codec.Codec
	decType uint8
	meter   level.Meter
	samples []int16
	swapped [2]float64 // mean steps of the samples as they are, and with bytes swapped
	failed  int
}

// Signal is what a SIP message says.
type Signal struct {
	From netip.AddrPort
	// Line is the first line of the message, without what might be secret.
	Line string
	// Notes say what Sidetone makes of it.
	Notes []string
}

// Push takes a datagram that came to an address at a time.
func (w *Watch) Push(b []byte, from, to netip.AddrPort, at time.Time) {
	w.total++
	switch {
	case len(b) == 0:
		w.kinds["empty datagrams"]++
	case isSIP(b):
		w.kinds["SIP"]++
		w.sip(b, from)
	case b[0] <= 3:
		w.kinds["STUN (ICE connectivity checks)"]++
	case b[0] >= 20 && b[0] <= 63:
		w.kinds["DTLS"]++
	case len(b) >= 8 && b[0]>>6 == 2 && b[1] >= 192 && b[1] <= 223:
		w.kinds["RTCP"]++
	default:
		var p rtp.Packet
		if len(b) < 12 || b[0]>>6 != 2 || p.Unmarshal(b) != nil {
			w.kinds["no RTP"]++
			return
		}
		w.kinds["RTP"]++
		w.rtp(&p, from, to, at)
	}
}

func (w *Watch) rtp(p *rtp.Packet, from, to netip.AddrPort, at time.Time) {
	k := key{from, to, p.SSRC}
	s := w.streams[k]
	if s == nil {
		if len(w.streams) >= maxStreams {
			w.overflow++
			return
		}
		s = &Stream{
			From: from, To: to, SSRC: p.SSRC, First: at, watch: w,
			types: map[uint8]int{}, sizes: map[int]int{}, steps: map[uint32]int{}, samples: make([]int16, 48_000),
		}
		w.streams[k] = s
	}
	s.take(p, at)
}

func (s *Stream) take(p *rtp.Packet, at time.Time) {
	if s.Packets > 0 && p.SequenceNumber == s.seq+1 && s.types[p.PayloadType] > 0 {
		s.steps[p.Timestamp-s.stamp]++
	}
	s.seq, s.stamp = p.SequenceNumber, p.Timestamp
	s.Packets++
	s.Last = at
	s.types[p.PayloadType]++
	s.sizes[len(p.Payload)]++

	f, known := s.watch.format(s.To.Port(), p.PayloadType)
	if !known || f.Kind() != codec.Audio {
		if s.flow != nil {
			s.flow.Skip(p.SequenceNumber)
		}
		return
	}
	if s.dec == nil || s.decType != p.PayloadType {
		d, err := codec.New(f)
		if err != nil {
			s.failed++
			return
		}
		s.dec, s.decType = d, p.PayloadType
		if s.flow == nil {
			if s.flow, err = rtpflow.New(rtpflow.Config{Clock: f.Clock, Rate: d.Rate()}); err != nil {
				s.failed++
				return
			}
		}
	}
	n := s.dec.Samples(p.Payload)
	s.flow.Media(rtpflow.Packet{Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Samples: n, At: at})
	n, err := s.dec.Decode(s.samples, p.Payload)
	if err != nil || n == 0 {
		s.failed++
		return
	}
	s.meter.Add(s.samples[:n])
	if strings.EqualFold(f.Encoding, "L16") {
		s.order(s.samples[:n])
	}
}

// order compares how far samples lie from each other as they are and with their
// bytes swapped: in speech the wrong order is ten times as rough.
func (s *Stream) order(x []int16) {
	swap := func(v int16) int16 { return int16(uint16(v)<<8 | uint16(v)>>8) }
	for i := 1; i < len(x); i++ {
		s.swapped[0] += math.Abs(float64(x[i]) - float64(x[i-1]))
		s.swapped[1] += math.Abs(float64(swap(x[i])) - float64(swap(x[i-1])))
	}
}

// format is what a payload type stands for at a port.
func (w *Watch) format(port uint16, pt uint8) (codec.Format, bool) {
	if f, ok := w.formats[announced{port, pt}]; ok {
		return f, true
	}
	if f, ok := w.formats[announced{0, pt}]; ok {
		return f, true
	}
	switch f, ok := codec.Static(pt); {
	case ok:
		return f, true
	case pt == 13 || pt == 19:
		return codec.Format{Encoding: "CN", Clock: 8000}, true
	case pt == 101:
		return codec.Format{Encoding: "telephone-event", Clock: 8000}, true
	}
	return codec.Format{}, false
}

// Announce says what a payload type stands for wherever nothing else was said.
func (w *Watch) Announce(pt uint8, f codec.Format) { w.formats[announced{0, pt}] = f }

// Streams are those that are worth a word, in the order in which they began.
func (w *Watch) Streams() []*Stream {
	var out []*Stream
	for _, s := range w.streams {
		if s.Packets < enough {
			continue
		}
		s.settle()
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *Stream) int {
		return cmp.Or(a.First.Compare(b.First), a.To.Compare(b.To), a.From.Compare(b.From))
	})
	return out
}

// settle finds the payload type of the stream's audio.
func (s *Stream) settle() {
	most := 0
	for _, pt := range slices.Sorted(maps.Keys(s.types)) {
		f, known := s.watch.format(s.To.Port(), pt)
		if known && f.Kind() != codec.Audio && f.Kind() != codec.Unknown {
			continue
		}
		if n := s.types[pt]; n > most {
			most, s.PayloadType, s.Format, s.Known = n, pt, f, known
		}
	}
}

// Quality is how the stream's audio sounds.
func (s *Stream) Quality() media.Quality {
	var q media.Quality
	s.meter.Fill(&q)
	return q
}

// Flow is how its packets came; ok is false where they could not be read.
func (s *Stream) Flow() (f rtpflow.Stats, ok bool) {
	if s.flow == nil {
		return f, false
	}
	return s.flow.Stats(), true
}

// isSIP tells a SIP message by its first line.
func isSIP(b []byte) bool {
	line, _, _ := bytes.Cut(b[:min(len(b), 1024)], []byte("\r\n"))
	return bytes.HasPrefix(line, []byte("SIP/2.0 ")) || bytes.HasSuffix(line, []byte(" SIP/2.0"))
}

// sip learns from a SIP message what payload types stand for, and what Sidetone
// makes of it.
func (w *Watch) sip(b []byte, from netip.AddrPort) {
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	field := func(names ...string) string {
		for _, l := range lines[1:] {
			name, value, ok := strings.Cut(l, ":")
			if ok && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSpace(name), n) }) {
				return strings.TrimSpace(value)
			}
		}
		return ""
	}
	first, _, _ := strings.Cut(lines[0], ";")
	s := Signal{From: from, Line: first}
	if len(body) > 0 {
		s.Notes = w.body(field("Content-Type", "c"), body)
	}
	if strings.HasPrefix(first, "INVITE ") && !strings.Contains(strings.ToLower(field("Require")), "siprec") && !bytes.Contains(body, []byte("recording")) {
		s.Notes = append(s.Notes, "This INVITE does not ask for a recording (no Require: siprec, no metadata): it is an ordinary call. Point the SBC's session recording here, not its routing.")
	}
	if len(w.signals) < maxStreams {
		w.signals = append(w.signals, s)
	}
}

func (w *Watch) body(kind string, body []byte) (notes []string) {
	b, err := siprec.ParseBody(kind, body)
	if err != nil {
		return []string{fmt.Sprintf("Its body cannot be read: %v.", err)}
	}
	if b.SDP != nil {
		d, err := sdp.Parse(b.SDP)
		if err != nil {
			return []string{fmt.Sprintf("Its session description cannot be read: %v.", err)}
		}
		for i := range d.Media {
			notes = append(notes, w.line(i, &d.Media[i]))
		}
	}
	if b.Metadata != nil {
		m, err := siprec.ParseMetadata(b.Metadata)
		if err != nil {
			return append(notes, fmt.Sprintf("Its recording metadata cannot be read: %v.", err))
		}
		notes = append(notes, fmt.Sprintf("Its metadata name %d participants, %d streams and %d associations between them.", len(m.Participants), len(m.Streams), len(m.Associations)))
		if len(m.Streams) > 0 && len(m.Associations) == 0 {
			notes = append(notes, "Nothing says who speaks on which stream: roles have to be guessed. See the SBC's setting for participant-stream associations (RFC 7865).")
		}
	}
	return notes
}

// line says what an m-line offers and remembers its payload types.
func (w *Watch) line(i int, m *sdp.Media) string {
	var names []string
	usable := false
	for _, c := range m.Codecs {
		f := codec.Format{Encoding: c.Name, Clock: c.Clock, Channels: c.Channels}
		w.formats[announced{uint16(m.Port), c.PayloadType}] = f
		if _, static := codec.Static(c.PayloadType); !static {
			w.formats[announced{0, c.PayloadType}] = f
		}
		names = append(names, codec.Name(f))
		usable = usable || codec.Decodable(f)
	}
	text := fmt.Sprintf("Line %d: %s %s port %d, %v, label %q, %s.", i+1, m.Kind, m.Proto, m.Port, m.Direction, m.Label, strings.Join(names, ", "))
	switch {
	case m.Kind != "audio" || m.Port == 0:
	case !usable:
		text += " None of these codecs can be decoded: allow PCMU or PCMA on the recording side."
	case strings.Contains(m.Proto, "SAVP") && len(m.Crypto) == 0 && m.Fingerprint == "":
		text += " SRTP without a key: the line cannot be decrypted."
	}
	return text
}

// duration of a stream.
func (s *Stream) duration() time.Duration { return s.Last.Sub(s.First) }

// packetTime is the audio in one packet, by the step of the timestamps that most
// packets have.
func (s *Stream) packetTime() time.Duration {
	clock := s.Format.Clock
	if clock == 0 {
		clock = 8000
	}
	best, step := 0, uint32(0)
	for _, v := range slices.Sorted(maps.Keys(s.steps)) {
		if s.steps[v] > best {
			best, step = s.steps[v], v
		}
	}
	if step > uint32(clock) {
		return 0
	}
	return time.Duration(step) * time.Second / time.Duration(clock)
}

// size is the payload that most packets have.
func (s *Stream) size() int {
	best, size := 0, 0
	for _, v := range slices.Sorted(maps.Keys(s.sizes)) {
		if s.sizes[v] > best {
			best, size = s.sizes[v], v
		}
	}
	return size
}

// ms writes a time in milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
}
