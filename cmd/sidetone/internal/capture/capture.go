// Package capture reads the UDP datagrams out of a packet capture, in the file
// formats of tcpdump and Wireshark (pcap and pcapng), plain or packed by gzip.
//
// It opens no file and keeps nothing of a frame. Whatever the file says of
// lengths, a frame costs no more memory than a few megabytes.
package capture

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
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

// Stats counts what a capture held.
type Stats struct {
	// Frames are all, Datagrams those that were handed on. Fragments are IP
	// packets that came in pieces, Cut datagrams that the capture did not keep
	// whole; neither are handed on.
	Frames, Datagrams, Fragments, Cut int
	// Other are frames without UDP: TCP, ARP and whatever cannot be read.
	Other int
}

const (
	// maxFrame bounds a frame, in bytes; tcpdump and Wireshark have the same
	// limit.
	maxFrame = 262_144
	// maxBetween bounds what is read for one frame, in bytes: it and the blocks
	// before it, such as names and interfaces.
	maxBetween = 4 << 20
)

// errTooLong is the error of a frame above maxBetween.
var errTooLong = fmt.Errorf("no frame within %d bytes: the file is damaged", maxBetween)

// source is what both file formats' readers do.
type source interface {
	ReadPacketData() (data []byte, ci gopacket.CaptureInfo, err error)
	LinkType() layers.LinkType
}

// Detect says whether a file that begins with these four bytes is one that Read
// reads.
func Detect(magic []byte) bool {
	return isPacked(magic) || isNew(magic) || isOld(magic)
}

func isPacked(b []byte) bool { return len(b) >= 2 && b[0] == 0x1f && b[1] == 0x8b }

// isNew tells pcapng by its section header block.
func isNew(b []byte) bool { return len(b) >= 4 && binary.BigEndian.Uint32(b) == 0x0a0d0d0a }

// isOld tells pcap, in either byte order, with micro- or nanoseconds.
func isOld(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	for _, m := range []uint32{binary.BigEndian.Uint32(b), binary.LittleEndian.Uint32(b)} {
		if m == 0xa1b2c3d4 || m == 0xa1b23c4d {
			return true
		}
	}
	return false
}

// Read hands every UDP datagram to each, in the order of the file. The payload
// is valid during the call only. A file that ends in the middle of a frame, as
// one does that is still written, is read up to there.
func Read(r io.Reader, each func(Datagram) error) (Stats, error) {
	var s Stats
	plain, err := unpack(r)
	if err != nil {
		return s, err
	}
	bound := &bounded{r: plain, left: maxBetween}
	src, err := open(bound)
	if err != nil {
		return s, err
	}
	for {
		bound.left = maxBetween
		data, info, err := src.ReadPacketData()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return s, nil
		case err != nil:
			return s, fmt.Errorf("capture: frame %d: %w", s.Frames+1, err)
		}
		s.Frames++
		link := src.LinkType()
		if len(info.AncillaryData) == 1 {
			link, _ = info.AncillaryData[0].(layers.LinkType)
		}
		d, ok := s.datagram(data, link, info)
		if !ok {
			continue
		}
		s.Datagrams++
		if err := each(d); err != nil {
			return s, err
		}
	}
}

// bounded reads no more than what is left.
type bounded struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// unpack takes gzip off a file, if it is packed.
func unpack(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	// What is too short to tell is told by open.
	if magic, _ := b.Peek(2); !isPacked(magic) {
		return b, nil
	}
	packed, err := gzip.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("capture: unpacking the file: %w", err)
	}
	return packed, nil
}

// open tells the file formats apart by their first bytes.
func open(r io.Reader) (source, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	switch {
	case err != nil:
		return nil, fmt.Errorf("capture: the file is empty or cannot be read: %w", err)
	case isNew(magic):
		ng, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: true})
		if err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		return ng, nil
	case isOld(magic):
		old, err := pcapgo.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		// Frames above the length that the file declares are common, and those
		// above ours are refused before memory is taken for them.
		old.SetSnaplen(maxFrame)
		return old, nil
	}
	return nil, errors.New("capture: this is neither pcap nor pcapng; capture with tcpdump -w, or save from Wireshark as pcapng")
}

// datagram takes the innermost UDP datagram out of a frame: VXLAN, GRE and IP
// in IP are how clouds and switches mirror traffic.
func (s *Stats) datagram(data []byte, link layers.LinkType, info gopacket.CaptureInfo) (d Datagram, ok bool) {
	p := gopacket.NewPacket(data, link, gopacket.DecodeOptions{NoCopy: true})
	var from, to netip.Addr
	cut := false
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.IPv4:
			if l.Flags&layers.IPv4MoreFragments != 0 || l.FragOffset != 0 {
				s.Fragments++
				return d, false
			}
			from, _ = netip.AddrFromSlice(l.SrcIP)
			to, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.IPv6Fragment:
			s.Fragments++
			return d, false
		case *layers.IPv6:
			from, _ = netip.AddrFromSlice(l.SrcIP)
			to, _ = netip.AddrFromSlice(l.DstIP)
		case *layers.UDP:
			d = Datagram{
				At: info.Timestamp, Payload: l.Payload,
				From: netip.AddrPortFrom(from, uint16(l.SrcPort)), To: netip.AddrPortFrom(to, uint16(l.DstPort)),
			}
			ok = from.IsValid() && to.IsValid()
			cut = len(l.Payload) < int(l.Length)-8
		}
	}
	switch {
	case !ok:
		s.Other++
	case cut || info.CaptureLength < info.Length:
		s.Cut++
		return d, false
	}
	return d, ok
}
