// Package capture reads the UDP datagrams out of a packet capture, in the file
// formats of tcpdump and Wireshark (pcap and pcapng).
package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Datagram is one UDP datagram.
type Datagram struct {
	At       time.Time
	From, To netip.AddrPort
	Payload  []byte
}

// Stats counts what else a capture held.
type Stats struct {
	// Frames are all; Fragments are IP packets that came in pieces, Cut those
	// that the capture did not keep whole.
	Frames, Fragments, Cut int
}

// maxFrame bounds a frame, in bytes; captures cut off at 262,144.
const maxFrame = 262_144

// source is what both file formats' readers do.
type source interface {
	ReadPacketData() (data []byte, ci gopacket.CaptureInfo, err error)
	LinkType() layers.LinkType
}

// Read hands every UDP datagram to each, in the order of the file. The payload
// is valid during the call only. A file that ends in the middle of a frame, as
// one does that is still written, is read up to there.
func Read(r io.Reader, each func(Datagram) error) (Stats, error) {
	var s Stats
	src, err := open(r)
	if err != nil {
		return s, err
	}
	for {
		data, info, err := src.ReadPacketData()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return s, nil
		case err != nil:
			return s, fmt.Errorf("capture: frame %d: %w", s.Frames+1, err)
		}
		s.Frames++
		if len(data) > maxFrame {
			return s, fmt.Errorf("capture: frame %d has %d bytes; that is no capture", s.Frames, len(data))
		}
		if info.CaptureLength < info.Length {
			s.Cut++
		}
		p := gopacket.NewPacket(data, src.LinkType(), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
		from, to, ok := addresses(p, &s)
		udp, is := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || !is {
			continue
		}
		d := Datagram{
			At: info.Timestamp, Payload: udp.Payload,
			From: netip.AddrPortFrom(from, uint16(udp.SrcPort)), To: netip.AddrPortFrom(to, uint16(udp.DstPort)),
		}
		if err := each(d); err != nil {
			return s, err
		}
	}
}

// open tells the file formats apart by their first bytes.
func open(r io.Reader) (source, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("capture: the file is empty or cannot be read: %w", err)
	}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		ng, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: false})
		if err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		return ng, nil
	}
	old, err := pcapgo.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("capture: this is neither pcap nor pcapng: %w", err)
	}
	return old, nil
}

// addresses are those of the packet's IP header; ok is false where there is none
// or the packet is a piece of one.
func addresses(p gopacket.Packet, s *Stats) (from, to netip.Addr, ok bool) {
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		if ip.Flags&layers.IPv4MoreFragments != 0 || ip.FragOffset != 0 {
			s.Fragments++
			return from, to, false
		}
		from, _ = netip.AddrFromSlice(ip.SrcIP.To4())
		to, _ = netip.AddrFromSlice(ip.DstIP.To4())
	case *layers.IPv6:
		if p.Layer(layers.LayerTypeIPv6Fragment) != nil {
			s.Fragments++
			return from, to, false
		}
		from, _ = netip.AddrFromSlice(ip.SrcIP)
		to, _ = netip.AddrFromSlice(ip.DstIP)
	}
	return from, to, from.IsValid() && to.IsValid()
}
