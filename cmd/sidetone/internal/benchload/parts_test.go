package benchload

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/media/netsim"
)

// pair is a socket that sends to another.
func pair(t *testing.T) (from, to *net.UDPConn) {
	t.Helper()
	to, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	from, err = net.DialUDP("udp", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close() })
	return from, to
}

// The pacer is stepped by hand: what is due leaves, what is not stays.
func TestPacer(t *testing.T) {
	from, to := pair(t)
	payload := make([]byte, 4*payloadLen)
	for i := range payload {
		payload[i] = byte(i / payloadLen)
	}
	// The second packet is lost, the fourth comes before the third.
	order := []netsim.Arrival{{Packet: 0, At: 0}, {Packet: 3, At: 50 * time.Millisecond}, {Packet: 2, At: 60 * time.Millisecond}}
	for _, c := range []struct {
		name  string
		order []netsim.Arrival
		sent  []int // after so many steps of 20 ms
		first []byte
	}{
		{"in time", nil, []int{1, 2, 3, 4, 4}, []byte{0, 1, 2, 3}},
		{"over a network", order, []int{1, 1, 1, 3, 3}, []byte{0, 3, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pacer{}
			call := p.start([]*stream{newStream(from, payload, c.order)})
			for i, want := range c.sent {
				p.advance(call.begun.Add(time.Duration(i) * packetTime))
				if call.sent != want {
					t.Errorf("after %d packet times %d are sent, want %d", i, call.sent, want)
				}
			}
			select {
			case <-call.done:
			default:
				t.Error("the call's audio does not end")
			}
			if call.err != nil || len(p.plays) != 0 {
				t.Errorf("error %v, %d still play", call.err, len(p.plays))
			}
			b := make([]byte, 1500)
			for _, want := range c.first {
				n, err := to.Read(b)
				if err != nil {
					t.Fatal(err)
				}
				if n != headerLen+payloadLen || b[headerLen] != want || (b[1]&0x80 != 0) != (want == 0) {
					t.Errorf("a packet of %d bytes, % x, with part %d, want %d", n, b[:headerLen], b[headerLen], want)
				}
			}
			if l := p.lateness(); l.Count != len(c.first) || l.Max > 0.015 {
				t.Errorf("lateness %+v", l)
			}
		})
	}
}

func TestPacerStops(t *testing.T) {
	from, _ := pair(t)
	p := &pacer{}
	stopped := p.start([]*stream{newStream(from, make([]byte, 100*payloadLen), nil)})
	broken := p.start([]*stream{newStream(from, make([]byte, 100*payloadLen), nil)})
	p.stop(stopped)
	p.stop(stopped)
	from.Close()
	p.advance(broken.begun)
	<-stopped.done
	<-broken.done
	if broken.err == nil || stopped.err != nil || len(p.plays) != 0 {
		t.Errorf("errors %v and %v, %d still play", broken.err, stopped.err, len(p.plays))
	}
}

// A packet that is sent costs no memory.
func TestPacerAllocates(t *testing.T) {
	from, _ := pair(t)
	p := &pacer{}
	call := p.start([]*stream{newStream(from, make([]byte, 2000*payloadLen), nil)})
	now := call.begun
	p.advance(now)
	if n := testing.AllocsPerRun(1000, func() {
		now = now.Add(packetTime)
		p.advance(now)
	}); n != 0 {
		t.Errorf("%g allocations a packet", n)
	}
	if call.sent < 1000 {
		t.Errorf("%d packets are sent", call.sent)
	}
}

func BenchmarkPacer(b *testing.B) {
	to, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	from, err := net.DialUDP("udp", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	p := &pacer{}
	s := newStream(from, make([]byte, 100*payloadLen), nil)
	now := p.start([]*stream{s}).begun
	for b.Loop() {
		s.next = 0
		p.advance(now)
	}
}

func TestReadTurns(t *testing.T) {
	const head = "channel\trole\tspeech_start\tspeech_end\tref\n"
	turns, err := readTurns(head + "1\tagent\t1.5\t2.25\thello there\r\n2\tcustomer\t3\t4\tgood day\n")
	if err != nil || len(turns) != 2 {
		t.Fatal(turns, err)
	}
	if x := turns[0]; x.Role != "agent" || x.Start != 1500*time.Millisecond || x.End != 2250*time.Millisecond || x.Text != "hello there" {
		t.Errorf("%+v", x)
	}
	for text, want := range map[string]string{
		"role\tref\n": `no column "speech_start"`, head + "1\tagent\n": "line 2 has 2 fields", head + "1\tagent\tx\t2\tref": "line 2",
	} {
		if _, err := readTurns(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestMaterial(t *testing.T) {
	demo, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	cues := 0
	for _, x := range demo.Turns {
		cues += len(x.Intents)
	}
	if demo.Length() < time.Minute || len(demo.Legs[0]) != len(demo.Legs[1]) || !demo.Cards || cues < 5 {
		t.Errorf("%v, legs of %d and %d, %d cues", demo.Length(), len(demo.Legs[0]), len(demo.Legs[1]), cues)
	}
	if short := demo.cut(time.Second); short.Length() != time.Second || demo.Length() < time.Minute {
		t.Errorf("cut to %v, of %v", short.Length(), demo.Length())
	}
	if none, err := Eval(t.TempDir()); err != nil || none != nil {
		t.Errorf("of nothing: %v, %v", none, err)
	}
	root := filepath.Dir(filepath.Dir(needs.Eval(t, "asr", "calls")))
	calls, err := Eval(root)
	if err != nil || len(calls) == 0 {
		t.Fatal(len(calls), err)
	}
	for _, m := range calls {
		last := m.Turns[len(m.Turns)-1]
		if m.Length() < time.Minute || last.End > m.Length() || last.Text == "" || m.Cards {
			t.Errorf("%s: %v, last turn %+v", m.Name, m.Length(), last)
		}
	}
	if d := TypicalLength(append(calls, demo)); d < time.Minute || d > 2*time.Minute {
		t.Errorf("typical length %v", d)
	}
}

func TestProc(t *testing.T) {
	const snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\nUdp: 10 2 3 11 42\nUdpLite: RcvbufErrors\nUdpLite: 9\n"
	for text, want := range map[string]float64{snmp: 42, "": -1, "Udp: InDatagrams\nUdp: 1\n": -1, "Udp: RcvbufErrors\n": -1} {
		if got := udpBufferErrors(text); got != want {
			t.Errorf("%q: %g, want %g", text, got, want)
		}
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this system has no /proc")
	}
	if _, rss, files := process(os.Getpid()); rss < 1e6 || files < 3 || processors() < 1 {
		t.Errorf("%g bytes, %g files, %d processors", rss, files, processors())
	}
	if cpu, rss, files := process(1 << 30); cpu+rss+files != 0 {
		t.Error("a process that is not there uses something")
	}
}

// A server that does not come up is told with what it said.
func TestStartFails(t *testing.T) {
	_, err := Start(t.Context(), Server{Program: needs.Program(t, "false")})
	if err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("error %v", err)
	}
	if _, err = Start(t.Context(), Server{Program: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a program that is not there starts")
	}
	y := (&Server{Calls: 30, Workers: 2, Compute: "int8", Model: "m", SilenceTimeout: 5 * time.Second}).yaml()
	for _, want := range []string{"max_calls: 30", "workers: 2", "compute: int8", "model: m", "silence_timeout: 5s", "required: false", "127.0.0.1:0"} {
		if !strings.Contains(y, want) {
			t.Errorf("no %q in\n%s", want, y)
		}
	}
}
