// Package doctor looks at the datagrams that arrive from a PBX or an SBC and says
// in words what they are and what is wrong with them.
//
// It opens nothing and reads no clock: what it is told may come from sockets or
// from a capture.
package doctor

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

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
	// maxFormats and maxSteps bound what is remembered of announcements, and of
	// each stream's steps and sizes.
	maxFormats = 10_000
	maxSteps   = 200
	// maxStep is the longest step of a timestamp that is taken for one packet's:
	// 120 ms at 48 kHz.
	maxStep = 5760 + 1
	// maxText bounds what is quoted of a message, in bytes.
	maxText = 300
	// maxSamples is what the largest datagram can decode to: two for each byte.
	maxSamples = 2 << 16
)

// Watch gathers what arrives. It is for one goroutine.
type Watch struct {
	streams map[key]*Stream
	// formats are the payload formats that SIP messages announced, by the port
	// that they were announced for and the payload type.
	formats map[announced]codec.Format
	// given are those that the user says; they hold against everybody else's.
	given    map[uint8]codec.Format
	samples  []int16
	signals  []Signal
	kinds    map[string]int
	total    int
	overflow int
}

const (
	stun = "STUN (ICE connectivity checks)"
	// stunCookie is RFC 8489's, dtlsVersion the first byte of the version of
	// DTLS 1.0 to 1.3.
	stunCookie  = 0x2112a442
	dtlsVersion = 254
)

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
	return &Watch{
		streams: map[key]*Stream{}, formats: map[announced]codec.Format{}, given: map[uint8]codec.Format{},
		kinds: map[string]int{}, samples: make([]int16, maxSamples),
	}
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
	// ticks of the sender's clock went by in the time elapsed.
	ticks   uint64
	elapsed time.Duration
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
	case len(bytes.Trim(b, "\r\n\x00")) == 0:
		w.kinds["keep-alives"]++
	case len(b) >= 20 && b[0] <= 3 && binary.BigEndian.Uint32(b[4:]) == stunCookie:
		w.kinds[stun]++
	case len(b) >= 13 && b[0] >= 20 && b[0] <= 63 && b[1] == dtlsVersion:
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
		// Until a payload can be decoded only its sequence numbers count.
		flow, err := rtpflow.New(rtpflow.Config{Clock: 8000, Rate: 8000})
		if err != nil {
			w.overflow++
			return
		}
		s = &Stream{
			flow: flow,
			From: from, To: to, SSRC: p.SSRC, First: at, watch: w,
			types: map[uint8]int{}, sizes: map[int]int{}, steps: map[uint32]int{},
		}
		w.streams[k] = s
	}
	s.take(p, at)
}

func (s *Stream) take(p *rtp.Packet, at time.Time) {
	if s.Packets > 0 && p.SequenceNumber == s.seq+1 && s.types[p.PayloadType] > 0 {
		step := p.Timestamp - s.stamp
		count(s.steps, step)
		if apart := at.Sub(s.Last); step < maxStep && apart > 0 {
			s.ticks += uint64(step)
			s.elapsed += apart
		}
	}
	s.seq, s.stamp = p.SequenceNumber, p.Timestamp
	s.Packets++
	s.Last = at
	s.types[p.PayloadType]++
	count(s.sizes, len(p.Payload))

	f, known := s.watch.format(s.To.Port(), p.PayloadType)
	if !known || f.Kind() != codec.Audio {
		s.flow.Skip(p.SequenceNumber)
		return
	}
	if s.dec == nil || s.decType != p.PayloadType {
		d, err := codec.New(f)
		if err != nil {
			s.failed++
			return
		}
		s.dec, s.decType = d, p.PayloadType
		s.flow.Retime(f.Clock, d.Rate(), 0)
	}
	n := s.dec.Samples(p.Payload)
	s.flow.Media(rtpflow.Packet{Seq: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker, Samples: n, At: at})
	x := s.watch.samples
	n, err := s.dec.Decode(x, p.Payload)
	if err != nil || n == 0 {
		s.failed++
		return
	}
	s.meter.Add(x[:n])
	if strings.EqualFold(f.Encoding, "L16") {
		s.order(x[:n])
	}
}

// count adds one to a number's count, unless there are too many numbers.
func count[K comparable](m map[K]int, k K) {
	if _, ok := m[k]; ok || len(m) < maxSteps {
		m[k]++
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
	if f, ok := w.given[pt]; ok {
		return f, true
	}
	if f, ok := w.formats[announced{port, pt}]; ok {
		return f, true
	}
	if f, ok := w.formats[announced{0, pt}]; ok {
		return f, true
	}
	if f, ok := codec.Static(pt); ok {
		return f, true
	}
	f := codec.Format{Clock: 8000}
	switch pt { // RFC 3551, table 4
	case 3:
		f.Encoding = "GSM"
	case 4:
		f.Encoding = "G723"
	case 15:
		f.Encoding = "G728"
	case 18:
		f.Encoding = "G729"
	case 13, 19:
		f.Encoding = "CN"
	case 101:
		f.Encoding = "telephone-event"
	default:
		return f, false
	}
	return f, true
}

// Announce says what a payload type stands for, whatever SIP messages say.
func (w *Watch) Announce(pt uint8, f codec.Format) { w.given[pt] = f }

// learn remembers an announcement.
func (w *Watch) learn(a announced, f codec.Format) {
	if _, known := w.formats[a]; known || len(w.formats) < maxFormats {
		w.formats[a] = f
	}
}

// Events is the payload type of telephone events at a port; ok is false where
// nobody said it.
func (w *Watch) Events(port uint16) (pt uint8, ok bool) {
	for pt := range uint8(128) {
		if f, known := w.format(port, pt); known && pt != 101 && f.Kind() == codec.Events {
			return pt, true
		}
	}
	return 0, false
}

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

// Flow is how its packets came. Jitter is known only where they can be decoded.
func (s *Stream) Flow() rtpflow.Stats { return s.flow.Stats() }

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
	s := Signal{From: from, Line: plain(first)}
	if len(body) > 0 {
		s.Notes = w.body(field("Content-Type", "c"), body)
	}
	if strings.HasPrefix(first, "INVITE ") && !strings.Contains(strings.ToLower(field("Require")), "siprec") && !bytes.Contains(body, []byte("recording")) {
		s.Notes = append(s.Notes, "This INVITE does not ask for a recording (no Require: siprec, no metadata): it is an ordinary call. Point the SBC's session recording here, not its routing.")
	}
	if strings.HasPrefix(first, "INVITE ") && strings.Contains(strings.ToLower(field("Require")), "siprec") && !bytes.Contains(body, []byte("recording")) {
		s.Notes = append(s.Notes, "It asks for a recording (Require: siprec) and has no recording metadata: the roles have to be guessed. Turn on the SBC's metadata (application/rs-metadata+xml, RFC 7865).")
	}
	for i, n := range s.Notes {
		s.Notes[i] = plain(n)
	}
	if len(w.signals) < maxStreams {
		w.signals = append(w.signals, s)
	}
}

// plain makes a text of a stranger's harmless on a terminal, and short.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "..."
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
			notes = append(notes, w.line(i, &d.Media[i])...)
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

// line says what an m-line offers, and remembers its payload types.
func (w *Watch) line(i int, m *sdp.Media) []string {
	var names []string
	usable := false
	for _, c := range m.Codecs {
		if c.Name == "" {
			names = append(names, fmt.Sprintf("payload type %d without a=rtpmap", c.PayloadType))
			continue
		}
		// A copy, so that it does not keep the message.
		f := codec.Format{Encoding: strings.Clone(c.Name), Clock: c.Clock, Channels: c.Channels}
		w.learn(announced{uint16(m.Port), c.PayloadType}, f)
		if _, static := codec.Static(c.PayloadType); !static {
			w.learn(announced{0, c.PayloadType}, f)
		}
		names = append(names, codec.Name(f))
		usable = usable || codec.Decodable(f)
	}
	text := fmt.Sprintf("Line %d: %s %s port %d, %v", i+1, m.Kind, m.Proto, m.Port, m.Direction)
	if m.Label != "" {
		text += fmt.Sprintf(", label %q", m.Label)
	}
	text = plain(text + ": " + cmp.Or(strings.Join(names, ", "), "no codec") + ".")
	switch {
	case m.Kind != "audio" || m.Port == 0:
	case !usable:
		return []string{text, "None of these codecs can be decoded: allow PCMU, PCMA, G722 or opus on the recording side."}
	case strings.Contains(m.Proto, "SAVP") && len(m.Crypto) == 0 && m.Fingerprint == "":
		return []string{text, "This is SRTP without a key (no a=crypto): its audio cannot be decrypted. Have the SBC send a=crypto lines (SDES), or plain RTP (RTP/AVP)."}
	}
	return []string{text}
}

// duration of a stream.
func (s *Stream) duration() time.Duration { return s.Last.Sub(s.First) }

// clock is the rate of the timestamps in Hz: the format's, or for an unknown one
// that which the arrivals come closest to.
func (s *Stream) clock() int {
	if s.Known && s.Format.Clock > 0 {
		return s.Format.Clock
	}
	if s.elapsed <= 0 {
		return 8000
	}
	measured := float64(s.ticks) / s.elapsed.Seconds()
	return slices.MinFunc([]int{8000, 16000, 24000, 32000, 44100, 48000}, func(a, b int) int {
		return cmp.Compare(math.Abs(math.Log(measured/float64(a))), math.Abs(math.Log(measured/float64(b))))
	})
}

// packetTime is the audio in one packet, by the step of the timestamps that most
// packets have.
func (s *Stream) packetTime() time.Duration {
	step := common(s.steps)
	if step >= maxStep {
		return 0
	}
	return time.Duration(step) * time.Second / time.Duration(s.clock())
}

// size is the payload that most packets have.
func (s *Stream) size() int { return common(s.sizes) }

// common is what was counted most often, the smaller of two.
func common[K cmp.Ordered](m map[K]int) (most K) {
	best := 0
	for _, v := range slices.Sorted(maps.Keys(m)) {
		if m[v] > best {
			best, most = m[v], v
		}
	}
	return most
}

// ms writes a time in milliseconds.
func ms(d time.Duration) string {
	return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
}
