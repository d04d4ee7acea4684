package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/capture"
	"sidetone/cmd/sidetone/internal/doctor"
	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
)

// isCapture tells a capture from a recording by the file's first bytes.
func isCapture(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	magic := make([]byte, 4)
	n, err := io.ReadFull(f, magic)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return capture.Detect(magic[:n]), nil
}

// track is the packets of one leg in a capture: all that went from one address
// to another or, where an SSRC was asked for, those of it alone.
type track struct {
	from, to netip.AddrPort
	ssrc     uint32
	one      bool

	format      codec.Format
	payloadType uint8
	role        media.Role
	// events is the payload type of telephone events where it is not the usual
	// one, which the server knows.
	events uint8
}

// has says whether a datagram belongs to the leg.
func (t *track) has(d *capture.Datagram) bool {
	if d.From != t.from || d.To != t.to || !isRTP(d.Payload) {
		return false
	}
	return !t.one || ssrcOf(d.Payload) == t.ssrc
}

// isRTP tells RTP from RTCP (RFC 5761, section 4) and from everything else.
func isRTP(b []byte) bool {
	return len(b) >= 12 && b[0]>>6 == 2 && (b[1] < 192 || b[1] > 223)
}

func ssrcOf(b []byte) uint32 {
	return uint32(b[8])<<24 | uint32(b[9])<<16 | uint32(b[10])<<8 | uint32(b[11])
}

// replay sends a capture to where the placement says.
func replay(ctx context.Context, p placement, name string, out io.Writer) error {
	tracks, err := readTracks(name, p)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if p.server == "" {
		if len(p.to) > len(tracks) {
			return fmt.Errorf("%d addresses for a capture of %d RTP streams", len(p.to), len(tracks))
		}
		return sendCapture(ctx, name, tracks[:len(p.to)], p.to, out)
	}
	api, err := newCallAPI(p.server)
	if err != nil {
		return err
	}
	var legs []callLeg
	for i, t := range tracks {
		id := t.role.String()
		if slices.ContainsFunc(legs, func(l callLeg) bool { return l.ID == id }) {
			id = fmt.Sprintf("%s-%d", id, i+1)
		}
		legs = append(legs, callLeg{ID: id, Role: t.role.String(), Codec: t.format.String(), PayloadType: t.payloadType})
	}
	return api.during(ctx, p, legs, out, func(to []string) error { return sendCapture(ctx, name, tracks, to, out) })
}

// readTracks finds the legs of a capture.
func readTracks(name string, p placement) ([]*track, error) {
	w, err := newWatch(p.payloads)
	if err != nil {
		return nil, err
	}
	err = eachDatagram(name, func(d *capture.Datagram) error {
		w.Push(d.Payload, d.From, d.To, d.At)
		return nil
	})
	if err != nil {
		return nil, err
	}
	chosen, err := choose(w.Streams(), p.ssrcs)
	if err != nil {
		return nil, err
	}
	var tracks []*track
	for _, s := range chosen {
		t := &track{from: s.From, to: s.To, ssrc: s.SSRC, one: len(p.ssrcs) > 0, format: s.Format, payloadType: s.PayloadType}
		if !s.Known || !codec.Decodable(s.Format) {
			f := s.Findings(s.Last)[0]
			return nil, fmt.Errorf("the stream of SSRC %08x: %s Say what it is with --codec %d=NAME/CLOCK, or choose others with --ssrc", s.SSRC, f.What, s.PayloadType)
		}
		if pt, ok := w.Events(s.To.Port()); ok && s.PayloadType != bridge.DefaultEventType {
			t.events = pt
		}
		tracks = append(tracks, t)
	}
	return tracks, assign(tracks, p)
}

// choose takes the streams that are legs, in the order of their first packets:
// those asked for or else the first of each pair of addresses, since a sender may
// change its SSRC in the middle of a leg.
func choose(all []*doctor.Stream, ssrcs []string) (chosen []*doctor.Stream, err error) {
	if len(all) == 0 {
		return nil, errors.New("there is no RTP in it; `sidetone doctor` says what there is")
	}
	for _, text := range ssrcs {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(text), "0x"), 16, 32)
		if err != nil {
			return nil, fmt.Errorf("--ssrc %q is no hexadecimal number of 32 bits", text)
		}
		i := slices.IndexFunc(all, func(s *doctor.Stream) bool { return uint64(s.SSRC) == n })
		if i < 0 {
			return nil, fmt.Errorf("--ssrc %s: there is no such stream; there are\n%s", text, names(all))
		}
		chosen = append(chosen, all[i])
	}
	if len(ssrcs) > 0 {
		return chosen, nil
	}
	for _, s := range all {
		if !slices.ContainsFunc(chosen, func(c *doctor.Stream) bool { return c.From == s.From && c.To == s.To }) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// names lists streams for whoever has to choose.
func names(all []*doctor.Stream) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "  %08x from %v to %v, payload type %d, %d packets\n", s.SSRC, s.From, s.To, s.PayloadType, s.Packets)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// assign gives the legs their roles and sees that a call can have them.
func assign(tracks []*track, p placement) error {
	if p.server != "" && len(tracks) > 2 {
		var b strings.Builder
		for _, t := range tracks {
			fmt.Fprintf(&b, "\n  %08x from %v to %v, %v", t.ssrc, t.from, t.to, t.format)
		}
		return fmt.Errorf("there are %d RTP streams, and a call has one or two: choose with --ssrc among%s", len(tracks), b.String())
	}
	roles := []media.Role{media.RoleAgent, media.RoleCustomer}
	for i, t := range tracks {
		switch {
		case i < len(p.roles):
			r, ok := media.ParseRole(p.roles[i])
			if !ok || p.roles[i] == "" {
				return fmt.Errorf("--role %q: want agent, customer or unknown", p.roles[i])
			}
			t.role = r
		case len(p.roles) > 0:
			return fmt.Errorf("--role names %d roles for %d RTP streams", len(p.roles), len(tracks))
		case len(tracks) == 1:
			t.role = media.RoleCustomer
		case i < len(roles):
			t.role = roles[i]
		}
	}
	if len(p.roles) > len(tracks) {
		return fmt.Errorf("--role names %d roles for %d RTP streams", len(p.roles), len(tracks))
	}
	return nil
}

// eachDatagram reads a capture.
func eachDatagram(name string, each func(*capture.Datagram) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = capture.Read(f, func(d capture.Datagram) error { return each(&d) })
	return err
}

// sendCapture sends each leg's packets to its address, as far apart as they were
// captured.
func sendCapture(ctx context.Context, name string, tracks []*track, to []string, out io.Writer) error {
	conns := make([]net.Conn, len(tracks))
	var dial net.Dialer
	for i := range tracks {
		conn, err := dial.DialContext(ctx, "udp", to[i])
		if err != nil {
			return fmt.Errorf("leg %d: %w", i+1, err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	first, total, err := measure(name, tracks)
	if err != nil {
		return err
	}
	bar := newPlayBar(out)
	defer bar.end()
	begin := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	packets := 0
	err = eachDatagram(name, func(d *capture.Datagram) error {
		i := slices.IndexFunc(tracks, func(t *track) bool { return t.has(d) })
		if i < 0 {
			return nil
		}
		due := d.At.Sub(first)
		timer.Reset(due - time.Since(begin))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if t := tracks[i]; t.events != 0 && d.Payload[1]&0x7f == t.events {
			d.Payload[1] = d.Payload[1]&0x80 | bridge.DefaultEventType
		}
		if _, failed := conns[i].Write(d.Payload); failed != nil {
			return unheard(failed, to)
		}
		packets++
		bar.show(due, total)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Played %d packets in %d legs.\n", packets, len(tracks))
	return nil
}

// measure finds when the legs' packets begin, and how long they go on.
func measure(name string, tracks []*track) (first time.Time, total time.Duration, err error) {
	var last time.Time
	err = eachDatagram(name, func(d *capture.Datagram) error {
		if !slices.ContainsFunc(tracks, func(t *track) bool { return t.has(d) }) {
			return nil
		}
		if first.IsZero() || d.At.Before(first) {
			first = d.At
		}
		if d.At.After(last) {
			last = d.At
		}
		return nil
	})
	return first, last.Sub(first), err
}
