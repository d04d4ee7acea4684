package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

var (
	began = time.Date(2026, 3, 2, 9, 30, 0, 123456000, time.UTC)
	mac   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
)

// frame serialises layers.
func frame(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, all...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: kind}
}

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: net.IP{192, 0, 2, 1}, DstIP: net.IP{192, 0, 2, 2}}
}

func ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: next, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")}
}

func udp(from, to int) *layers.UDP {
	return &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
}

const words = "twelve words"

func payload() gopacket.Payload { return gopacket.Payload(words) }

// old writes a pcap file.
func old(t testing.TB, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	if err := w.WriteFileHeader(maxFrame, link); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: began.Add(time.Duration(i) * 20 * time.Millisecond), CaptureLength: len(f), Length: len(f)}
		if err := w.WritePacket(ci, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func read(b []byte) (out []Datagram, s Stats, err error) {
	s, err = Read(bytes.NewReader(b), func(d Datagram) error {
		d.Payload = bytes.Clone(d.Payload)
		out = append(out, d)
		return nil
	})
	return out, s, err
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func cookedFrame(t testing.TB, second bool) []byte {
	t.Helper()
	inner := frame(t, ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	if second { // SLL2: protocol, reserved, interface, ARPHRD, type, address length, address
		return append([]byte{8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0}, inner...)
	}
	return append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0}, inner...)
}

func TestLinks(t *testing.T) {
	four := func(l ...gopacket.SerializableLayer) []byte {
		return frame(t, append(l, ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())...)
	}
	six := func(l ...gopacket.SerializableLayer) []byte {
		return frame(t, append(l, ip6(layers.IPProtocolUDP), udp(4000, 20000), payload())...)
	}
	outer := ip4(layers.IPProtocolUDP)
	outer.SrcIP, outer.DstIP = net.IP{198, 51, 100, 1}, net.IP{198, 51, 100, 2}
	vxlan := frame(t, ethernet(layers.EthernetTypeIPv4), outer, udp(5000, 4789), &layers.VXLAN{ValidIDFlag: true, VNI: 7},
		ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	gre := ip4(layers.IPProtocolGRE)
	gre.SrcIP = net.IP{198, 51, 100, 1}
	for _, c := range []struct {
		name  string
		link  layers.LinkType
		frame []byte
		six   bool
	}{
		{"Ethernet", layers.LinkTypeEthernet, four(ethernet(layers.EthernetTypeIPv4)), false},
		{"Ethernet and IPv6", layers.LinkTypeEthernet, six(ethernet(layers.EthernetTypeIPv6)), true},
		{"VLAN", layers.LinkTypeEthernet, four(ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}), false},
		{"VLAN in VLAN", layers.LinkTypeEthernet, four(ethernet(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeDot1Q}, &layers.Dot1Q{VLANIdentifier: 8, Type: layers.EthernetTypeIPv4}), false},
		{"padded Ethernet", layers.LinkTypeEthernet, append(four(ethernet(layers.EthernetTypeIPv4)), 0, 0, 0, 0, 0, 0), false},
		{"raw IP", layers.LinkTypeRaw, four(), false},
		{"raw IPv6", layers.LinkTypeRaw, six(), true},
		{"loopback of BSD", layers.LinkTypeNull, append([]byte{2, 0, 0, 0}, four()...), false},
		{"Linux cooked", layers.LinkTypeLinuxSLL, cookedFrame(t, false), false},
		{"Linux cooked, version 2", layers.LinkTypeLinuxSLL2, cookedFrame(t, true), false},
		{"VXLAN", layers.LinkTypeEthernet, vxlan, false},
		{"GRE", layers.LinkTypeEthernet, frame(t, ethernet(layers.EthernetTypeIPv4), gre, &layers.GRE{Protocol: layers.EthernetTypeIPv4}, ip4(layers.IPProtocolUDP), udp(4000, 20000), payload()), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, s, err := read(old(t, c.link, c.frame))
			if err != nil || len(got) != 1 || s != (Stats{Frames: 1, Datagrams: 1}) {
				t.Fatalf("%d datagrams, %+v, %v", len(got), s, err)
			}
			from, to := "192.0.2.1:4000", "192.0.2.2:20000"
			if c.six {
				from, to = "[2001:db8::1]:4000", "[2001:db8::2]:20000"
			}
			d := got[0]
			if d.From != netip.MustParseAddrPort(from) || d.To != netip.MustParseAddrPort(to) || string(d.Payload) != words || !d.At.Equal(began) {
				t.Errorf("%v to %v at %v: %q", d.From, d.To, d.At, d.Payload)
			}
		})
	}
}

// TestFormats reads the same datagrams from every file format.
func TestFormats(t *testing.T) {
	f := frame(t, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	ng := newFormat(t, f)
	micro := &bytes.Buffer{}
	w := pcapgo.NewWriter(micro)
	if err := errors.Join(w.WriteFileHeader(65536, layers.LinkTypeEthernet),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: began, CaptureLength: len(f), Length: len(f)}, f),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: began.Add(20 * time.Millisecond), CaptureLength: len(f), Length: len(f)}, f)); err != nil {
		t.Fatal(err)
	}
	big := bigEndian(f)
	for name, b := range map[string][]byte{
		"nanoseconds": old(t, layers.LinkTypeEthernet, f, f), "microseconds": micro.Bytes(), "big endian": big,
		"pcapng": ng, "packed pcap": packed(t, micro.Bytes()), "packed pcapng": packed(t, ng),
	} {
		t.Run(name, func(t *testing.T) {
			if !Detect(b[:4]) {
				t.Error("not detected")
			}
			got, s, err := read(b)
			if err != nil || len(got) != 2 || s.Frames != 2 {
				t.Fatalf("%d datagrams, %+v, %v", len(got), s, err)
			}
			if !got[0].At.Equal(began) || got[1].At.Sub(got[0].At) != 20*time.Millisecond {
				t.Errorf("at %v and %v", got[0].At, got[1].At)
			}
			// A file that is still written ends anywhere.
			for n := range len(b) {
				if short, _, err := read(b[:n]); err == nil && len(short) > 2 {
					t.Fatalf("%d datagrams in the first %d bytes", len(short), n)
				}
			}
		})
	}
	if short, _, err := read(ng[:len(ng)-5]); err != nil || len(short) != 1 {
		t.Errorf("a file without its last bytes: %d datagrams, %v", len(short), err)
	}
}

// newFormat writes a pcapng file of two interfaces with different links, a frame
// on each.
func newFormat(t testing.TB, ether []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	any, err := w.AddInterface(pcapgo.NgInterface{Name: "any", LinkType: layers.LinkTypeLinuxSLL})
	if err != nil {
		t.Fatal(err)
	}
	cooked := cookedFrame(t, false)
	if err := errors.Join(
		w.WritePacket(gopacket.CaptureInfo{Timestamp: began, CaptureLength: len(ether), Length: len(ether)}, ether),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: began.Add(20 * time.Millisecond), CaptureLength: len(cooked), Length: len(cooked), InterfaceIndex: any}, cooked),
		w.Flush()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bigEndian writes a pcap file as a big-endian machine does, of two frames.
func bigEndian(f []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 65535)
	b = binary.BigEndian.AppendUint32(b, 1)
	for i := range 2 {
		at := began.Add(time.Duration(i) * 20 * time.Millisecond)
		b = binary.BigEndian.AppendUint32(b, uint32(at.Unix()))
		b = binary.BigEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

// TestLeftOut counts what is not handed on.
func TestLeftOut(t *testing.T) {
	first := ip4(layers.IPProtocolUDP)
	first.Flags = layers.IPv4MoreFragments
	rest := ip4(layers.IPProtocolUDP)
	rest.FragOffset = 185
	tcp := &layers.TCP{SrcPort: 5060, DstPort: 5060}
	piece6 := append(frame(t, ethernet(layers.EthernetTypeIPv6), ip6(layers.IPProtocolIPv6Fragment)), 17, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8)
	binary.BigEndian.PutUint16(piece6[14+4:], 16)
	whole := frame(t, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	b := old(t, layers.LinkTypeEthernet,
		frame(t, ethernet(layers.EthernetTypeIPv4), first, udp(4000, 20000), payload()),
		frame(t, ethernet(layers.EthernetTypeIPv4), rest, payload()),
		piece6,
		frame(t, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolTCP), tcp, payload()),
		whole[:50], // cut by whoever saved it
		[]byte{1, 2, 3},
		whole,
	)
	got, s, err := read(b)
	want := Stats{Frames: 7, Datagrams: 1, Fragments: 3, Cut: 1, Other: 2}
	if err != nil || len(got) != 1 || s != want {
		t.Errorf("%d datagrams, %+v, %v, want %+v", len(got), s, err, want)
	}
	// Cut by the capture's snapshot length.
	var cut bytes.Buffer
	w := pcapgo.NewWriter(&cut)
	if err := errors.Join(w.WriteFileHeader(46, layers.LinkTypeEthernet),
		w.WritePacket(gopacket.CaptureInfo{Timestamp: began, CaptureLength: 46, Length: len(whole)}, whole[:46])); err != nil {
		t.Fatal(err)
	}
	if got, s, err := read(cut.Bytes()); err != nil || len(got) != 0 || s.Cut != 1 {
		t.Errorf("%d datagrams, %+v, %v", len(got), s, err)
	}
	stop := errors.New("enough")
	if s, err := Read(bytes.NewReader(b), func(Datagram) error { return stop }); !errors.Is(err, stop) || s.Datagrams != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

// hostile are files whose lengths are lies.
func hostile(t testing.TB) map[string][]byte {
	t.Helper()
	f := frame(t, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	long := old(t, layers.LinkTypeEthernet, f)
	binary.LittleEndian.PutUint32(long[16:], 0xffffffff)
	binary.LittleEndian.PutUint32(long[24+8:], 0x7fffffff)
	binary.LittleEndian.PutUint32(long[24+12:], 0x7fffffff)
	strange := old(t, layers.LinkTypeEthernet, f)
	binary.LittleEndian.PutUint32(strange[20:], 0x0fffffff)
	bomb := packed(t, append(bytes.Clone(long), make([]byte, 24<<20)...))
	ng := newFormat(t, f)
	block := bytes.Index(ng, []byte{6, 0, 0, 0})
	binary.LittleEndian.PutUint32(ng[block+4:], 0xfffffff0)
	binary.LittleEndian.PutUint32(ng[block+20:], 0x7ffffff0)
	ng = packed(t, append(ng, make([]byte, 24<<20)...))
	return map[string][]byte{"a long frame": long, "an unknown link": strange, "a packed bomb": bomb, "a long block": ng}
}

func TestHostileLengthsCostNothing(t *testing.T) {
	for name, b := range hostile(t) {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, s, err := read(b)
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 12*maxBetween {
				t.Errorf("%d bytes were taken", grown)
			}
			if s.Datagrams != 0 || err == nil && s.Other == 0 {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"nothing":      {"", "empty"},
		"three bytes":  {"abc", "empty or cannot be read"},
		"a wav":        {"RIFF\x24\x00\x00\x00WAVEfmt ", "neither pcap nor pcapng; capture with tcpdump -w"},
		"only magic":   {"\xd4\xc3\xb2\xa1", "EOF"},
		"version 9":    {"\xd4\xc3\xb2\xa1\x09\x00\x04\x00" + strings.Repeat("\x00", 16), "version 9"},
		"packed wav":   {string(packed(t, []byte("RIFF\x24\x00\x00\x00WAVE"))), "neither pcap nor pcapng"},
		"packed twice": {string(packed(t, packed(t, old(t, layers.LinkTypeEthernet)))), "neither pcap nor pcapng"},
		"broken gzip":  {"\x1f\x8b\x07\x00", "unpacking the file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := read([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if Detect(nil) || Detect([]byte("RIFF")) || Detect([]byte{0x1f}) {
		t.Error("what is no capture is detected as one")
	}
}

func FuzzRead(f *testing.F) {
	whole := frame(f, ethernet(layers.EthernetTypeIPv4), ip4(layers.IPProtocolUDP), udp(4000, 20000), payload())
	f.Add(old(f, layers.LinkTypeEthernet, whole))
	f.Add(old(f, layers.LinkTypeLinuxSLL2, cookedFrame(f, true)))
	f.Add(newFormat(f, whole))
	f.Add(bigEndian(whole))
	for _, b := range hostile(f) {
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		s, err := Read(bytes.NewReader(b), func(d Datagram) error {
			n++
			if !d.From.IsValid() || !d.To.IsValid() || len(d.Payload) > len(b) && !isPacked(b) {
				return fmt.Errorf("%+v", d)
			}
			return nil
		})
		if n != s.Datagrams || s.Frames < n+s.Fragments+s.Cut+s.Other {
			t.Errorf("%d datagrams, %+v, %v", n, s, err)
		}
	})
}
