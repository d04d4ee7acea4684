package doctor

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sidetone/media/codec"
)

// Finding is one thing that is wrong, and what helps.
type Finding struct{ What, Advice string }

// Findings says what is wrong with a stream. now is when watching ended.
func (s *Stream) Findings(now time.Time) (out []Finding) {
	add := func(advice, format string, args ...any) {
		out = append(out, Finding{fmt.Sprintf(format, args...), advice})
	}
	ptime, q := s.packetTime(), s.Quality()
	switch {
	case !s.Known && s.guess(ptime) != "":
		add(fmt.Sprintf("Look again with --codec %d=%[2]s. If that is it, open the leg at the server with \"codec\":\"%[2]s\" and \"payload_type\":%[1]d.", s.PayloadType, s.guess(ptime)),
			"Nobody said what payload type %d is; %d bytes every %s would fit %s.", s.PayloadType, s.size(), ms(ptime), s.guess(ptime))
	case !s.Known:
		add(fmt.Sprintf("Look up the codec in the SDP of the call (a=rtpmap:%[1]d), and give it as --codec %[1]d=NAME/CLOCK.", s.PayloadType),
			"Nobody said what payload type %d is.", s.PayloadType)
	case !codec.Decodable(s.Format):
		add("Have the PBX or SBC send PCMU, PCMA, G722 or opus on this fork; most can transcode.",
			"Sidetone cannot decode %s.", codec.Name(s.Format))
	case s.encrypted(q.Level, ptime):
		add("Let the SBC fork plain RTP, or give Sidetone the keys: SIPREC's SDP carries them in a=crypto (SDES).",
			"This is likely SRTP: %d bytes a packet where %s has %d, and what decodes is noise.", s.size(), s.Format.Encoding, s.plainSize(ptime))
	case s.swapped[1] > 0 && s.swapped[0] > 5*s.swapped[1]:
		add("Have the sender write L16 in network byte order, as RFC 3551 wants it.", "The two bytes of each sample are swapped.")
	case s.failed > s.Packets/10:
		add("Compare the codec that the sender uses with the one that was announced.", "%d of %d packets cannot be decoded as %s.", s.failed, s.Packets, codec.Name(s.Format))
	case s.dec != nil && q.SpeechFrames == 0:
		add("Check which leg and direction the PBX forks, and that nobody is muted or on hold there.",
			"Only silence arrives.")
	case s.dec != nil && q.Level < -45:
		add(fmt.Sprintf("Raise the gain of this leg on the PBX by about %.0f dB; recognition wants speech at about -25 dBFS. If nobody spoke, look again while somebody does.", -25-q.Level),
			"Speech is very quiet: %.0f dBFS.", q.Level)
	case q.Clipped > uint64(s.Packets)/2:
		add("Lower the gain of this leg on the PBX, or that of the trunk before it, by 6 dB or more.", "%d samples are cut off at full scale: the audio is distorted.", q.Clipped)
	}
	out = append(out, s.network(ptime)...)
	if quiet := now.Sub(s.Last); quiet > time.Second {
		add("Is the call over or on hold? With silence suppression a sender may pause as well.", "The last packet came %v ago.", quiet.Round(100*time.Millisecond))
	}
	return out
}

// network says what is wrong with how packets come.
func (s *Stream) network(ptime time.Duration) (out []Finding) {
	add := func(advice, format string, args ...any) {
		out = append(out, Finding{fmt.Sprintf(format, args...), advice})
	}
	f := s.Flow()
	if lost := share(f.Lost, f.Received+f.Lost); lost >= 1 {
		add("Look for a congested link, a wrong duplex setting or a firewall that limits rates; from 3 % on, words get lost.", "%.1f %% of the packets are lost.", lost)
	}
	if f.Jitter > 50*time.Millisecond {
		add("Give RTP priority (DSCP EF) on the way, and look at the load of the machine that forks.", "Packets come unevenly: jitter %s.", ms(f.Jitter))
	}
	if f.Reordered > 0 && share(f.Reordered, f.Received) >= 1 {
		add("Look for load balancing over several paths.", "%.1f %% of the packets come out of order.", share(f.Reordered, f.Received))
	}
	if f.Duplicate > f.Received/20 {
		add("Is the mirror port or the fork set up twice?", "%d packets came twice.", f.Duplicate)
	}
	if f.Jumps > 2 || f.Restarts > 2 {
		add("A sender does so at transfers and announcements, and words may be torn there. If there were none, look for two senders behind one SSRC.", "Timestamps jumped %d times, sequence numbers started anew %d times.", f.Jumps, f.Restarts)
	}
	if ptime > 0 && s.duration() > 2*time.Second {
		want := float64(time.Second) / float64(ptime)
		got := float64(f.Received-1) / s.duration().Seconds()
		if got > 1.1*want {
			add("Do two senders share this SSRC, or does the sender run too fast?", "%.0f packets a second arrive where %.0f are audio in real time.", got, want)
		}
	}
	return out
}

func share(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return 100 * float64(part) / float64(all)
}

// plainSize is the payload of G.711 and its like without encryption.
func (s *Stream) plainSize(ptime time.Duration) int {
	return int(ptime * 8000 / time.Second)
}

// encrypted tells SRTP by its tag behind a payload of known length, and by noise
// in the place of speech.
func (s *Stream) encrypted(level float64, ptime time.Duration) bool {
	switch strings.ToUpper(s.Format.Encoding) {
	case "PCMU", "PCMA", "G722":
	default:
		return false
	}
	tag := s.size() - s.plainSize(ptime)
	return ptime > 0 && (tag == 10 || tag == 4 || tag == 16) && level > -20
}

// guess names a codec that fits a payload's size and length, or nothing.
func (s *Stream) guess(ptime time.Duration) string {
	if ptime == 0 {
		return ""
	}
	clock := s.clock()
	rate := float64(s.size()) / ptime.Seconds()
	switch {
	case clock == 8000 && rate == 8000:
		return "PCMU"
	case rate == 2*float64(clock):
		return fmt.Sprintf("L16/%d", clock)
	case rate == 4*float64(clock):
		return fmt.Sprintf("L16/%d/2", clock)
	case clock == 48000 && rate < 16000:
		return "opus"
	}
	return ""
}

// Write prints all that was seen. until is when watching ended, where what was
// watched, in words.
func (w *Watch) Write(out io.Writer, where string, until time.Time) error {
	var b strings.Builder
	streams := w.Streams()
	if w.total == 0 {
		fmt.Fprintf(&b, "Nothing arrived at %s.\n", where)
		for _, a := range []string{
			"Is the PBX told to send to this address? From another machine 127.0.0.1 cannot be reached: set media.host to 0.0.0.0, and media.public to the address that the PBX can reach.",
			"Does a firewall let UDP through, both on this machine and on the way? `tcpdump -n udp port PORT` on this machine shows what gets here.",
			"Is there a call right now, and is its fork started? Many PBXs fork only after the call has been answered.",
		} {
			fmt.Fprintf(&b, "  -> %s\n", a)
		}
	} else {
		fmt.Fprintf(&b, "What arrived at %s:", where)
		names := make([]string, 0, len(w.kinds))
		for k := range w.kinds {
			names = append(names, k)
		}
		slices.Sort(names)
		for i, k := range names {
			sep := ","
			if i == 0 {
				sep = ""
			}
			fmt.Fprintf(&b, "%s %d %s", sep, w.kinds[k], k)
		}
		b.WriteString(".\n")
	}
	for _, s := range w.signals {
		fmt.Fprintf(&b, "\nSIP from %v: %s\n", s.From, s.Line)
		for _, n := range s.Notes {
			fmt.Fprintf(&b, "  %s\n", n)
		}
	}
	for _, s := range streams {
		b.WriteString("\n")
		s.write(&b, until)
	}
	w.writeRest(&b, streams)
	_, err := io.WriteString(out, b.String())
	return err
}

func (s *Stream) write(b *strings.Builder, until time.Time) {
	name := "an unknown codec"
	if s.Known {
		name = codec.Name(s.Format)
	}
	fmt.Fprintf(b, "RTP from %v to %v: %s (payload type %d), SSRC %08x\n", s.From, s.To, name, s.PayloadType, s.SSRC)
	fmt.Fprintf(b, "  %d packets in %v", s.Packets, s.duration().Round(10*time.Millisecond))
	if p := s.packetTime(); p > 0 {
		fmt.Fprintf(b, ", %s each, %d bytes", ms(p), s.size())
	}
	f := s.Flow()
	fmt.Fprintf(b, "; %d lost, %d out of order", f.Lost, f.Reordered)
	if s.dec != nil {
		fmt.Fprintf(b, ", jitter %s", ms(f.Jitter))
	}
	if q := s.Quality(); q.SpeechFrames > 0 {
		fmt.Fprintf(b, "; speech at %.0f dBFS", q.Level)
	}
	b.WriteString("\n")
	findings := s.Findings(until)
	if len(findings) == 0 {
		b.WriteString("  Nothing is wrong with it.\n")
	}
	for _, f := range findings {
		fmt.Fprintf(b, "  ! %s\n    -> %s\n", f.What, f.Advice)
	}
}

// writeRest says what is wrong with all streams together.
func (w *Watch) writeRest(b *strings.Builder, streams []*Stream) {
	if w.overflow > 0 {
		fmt.Fprintf(b, "\n! %d packets belonged to more streams than are followed.\n", w.overflow)
	}
	switch {
	case len(streams) > 0:
	case w.kinds["DTLS"] > 0 || w.kinds[stun] > 0:
		b.WriteString("\n! Somebody tries WebRTC here.\n  -> It has to begin with an offer to POST /v1/whip, whose answer names the port to use.\n")
	case w.kinds["RTP"] > 0:
		fmt.Fprintf(b, "\n! There is RTP, but no source sent as many as %d packets.\n  -> Look for longer (--for 1m), during a call.\n", enough)
	case w.kinds["RTCP"] > 0:
		b.WriteString("\n! Only RTCP arrives.\n  -> Is this the port after the one for RTP? Look at the even port before it. If it is the right one, the sender holds its audio back: is the call on hold, or its direction recvonly?\n")
	case w.kinds["SIP"] > 0:
		b.WriteString("\n! There is SIP, but no audio.\n  -> The doctor answers nothing, so no audio can follow its own look at a SIP port: run the server with sources.siprec set, capture its ports with tcpdump, and give the file.\n")
	case w.kinds["keep-alives"] > 0:
		b.WriteString("\n! Only keep-alives arrive: the address is right, and nothing is sent to it.\n  -> Make a call, and see that its fork or recording starts.\n")
	case w.kinds["no RTP"] > 0:
		b.WriteString("\n! What arrives is no RTP.\n  -> Does another service use this port? Audio without RTP headers, as AudioSocket has it, comes by TCP to its own port.\n")
	}
	told := map[netip.AddrPort]bool{}
	for i, a := range streams {
		for _, c := range streams[:i] {
			if !told[a.To] && a.To == c.To && a.SSRC != c.SSRC && a.First.Before(c.Last) && c.First.Before(a.Last) {
				told[a.To] = true
				fmt.Fprintf(b, "\n! Two sources send to %v at the same time; Sidetone hears the first only.\n  -> Give each leg a port of its own: one for the agent, one for the customer.\n", a.To)
			}
		}
	}
}
