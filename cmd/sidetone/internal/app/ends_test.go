package app

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/media"
)

// Whatever happens to calls and in whatever order, each of them comes to exactly
// one end state, and none runs when the server has stopped.
func TestEveryCallHasOneEnd(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := host(t, func(c *config.Config) {
				c.Media.MaxCalls, c.Media.Reconnect = 6, 30*time.Millisecond
				c.Media.SetupTimeout, c.Media.SilenceTimeout = 150*time.Millisecond, 150*time.Millisecond
			})
			joined := newJoining(r.calls)
			var wg sync.WaitGroup
			begun := make(chan struct{}, 1)
			for who := range uint64(6) {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, who))
					for step := range 12 {
						select {
						case begun <- struct{}{}:
						default:
						}
						id := fmt.Sprintf("c%d", rnd.IntN(8))
						live(t, r, joined, rnd, id)
						if seed%2 == 1 && who == 0 && step == 6 {
							r.drain(step%2 == 0)
						}
					}
				})
			}
			if seed%2 == 0 {
				// The server stops in the middle of it.
				<-begun
				time.Sleep(time.Duration(10+20*seed) * time.Millisecond)
				r.stopCalls(t.Context())
			}
			wg.Wait()
			r.stop()
			checkEnds(t, r)
		})
	}
}

// live is a short life of a call, by one of the ways in which calls come.
func live(t *testing.T, r *running, joined *joining, rnd *rand.Rand, id string) {
	end := func() media.End {
		states := []media.EndState{media.Ended, media.Refused, media.Aborted, media.Lost, media.TimedOut}
		return media.End{State: states[rnd.IntN(len(states))], Reason: "the test", At: time.Now()}
	}
	pause := func() { time.Sleep(time.Duration(rnd.IntN(12)) * time.Millisecond) }
	if rnd.IntN(3) == 0 {
		// By the API, which may be refused as well.
		reply, err := r.calls.open(callRequest{Call: id, Agent: "ann", Legs: []legRequest{{ID: "a", Role: "agent", Codec: "PCMU"}, {ID: "b", Role: "customer", Codec: "PCMU"}}}, "")
		if err != nil {
			return
		}
		pause()
		switch rnd.IntN(4) {
		case 0: // no packet comes: it is to time out
		case 1:
			r.calls.end(t.Context(), reply.Call, end())
		case 2:
			if s, ok := r.calls.fork.Get(id); ok {
				_ = s.RemoveLeg("a", end())
			}
		default:
			if c := r.calls.find(id); c != nil {
				if session, ok := r.calls.fork.Get(id); ok {
					_, _ = r.calls.addLeg(c, session, &legRequest{ID: "c", Role: "unknown", Codec: "PCMU"})
				}
				c.stop(end())
			}
		}
		return
	}
	hosts := []media.Host{r.calls, joined}
	// A source must end its call when it is told to hang up, once or often.
	asked := make(chan media.End, 1)
	sink, err := hosts[rnd.IntN(2)].Open(media.Call{ID: id, Source: "test"}, func(e media.End) {
		select {
		case asked <- e:
		default:
		}
	})
	if err != nil {
		return
	}
	var legs []media.LegSink
	for i := range rnd.IntN(4) {
		l, err := sink.AddLeg(media.Leg{ID: fmt.Sprint(i % 3)})
		if err != nil {
			continue
		}
		legs = append(legs, l)
		l.Mark(media.Mark{Kind: media.MarkStarted, Wall: time.Now()})
		pause()
	}
	if l, err := r.calls.Join(id, media.Leg{ID: "guest"}, func(media.End) {}); err == nil {
		legs = append(legs, l)
	}
	if rnd.IntN(4) == 0 {
		sink.Pause("the test")
	}
	var at sync.WaitGroup
	at.Go(func() {
		select {
		case e := <-asked:
			sink.End(e)
		case <-time.After(time.Duration(rnd.Int64N(10)) * time.Millisecond):
		}
	})
	at.Go(func() {
		if c := r.calls.find(id); c != nil {
			c.stop(media.End{State: media.Ended, Reason: "by hand", At: time.Now()})
		}
	})
	at.Wait()
	for _, l := range legs {
		l.End(end(), media.LegStats{})
	}
	sink.End(end())
	sink.End(end())
	if _, err := sink.AddLeg(media.Leg{ID: "late"}); err == nil && rnd.IntN(2) == 0 {
		// A joined call may go on with its other members.
		sink.End(end())
	}
}

var begins = regexp.MustCompile(`msg="call (begins|over)" call=(\S+)`)

// checkEnds reads the log: a call of a name begins and is over by turns.
func checkEnds(t *testing.T, r *running) {
	t.Helper()
	balance, n := map[string]int{}, 0
	for _, m := range begins.FindAllStringSubmatch(r.logs.String(), -1) {
		if m[1] == "begins" {
			balance[m[2]]++
			n++
		} else {
			balance[m[2]]--
		}
	}
	for id, left := range balance {
		if left != 0 {
			t.Errorf("call %s: %+d more beginnings than ends", id, left)
		}
	}
	if n == 0 {
		t.Error("no call began")
	}
	for _, c := range r.calls.list() {
		if c.State == "running" || c.Ended == nil || c.State == "unknown" {
			t.Errorf("call %s is %q when the server has stopped", c.Call, c.State)
		}
	}
}

// Where a packet comes from, and what it is, decides whether it is heard: before
// the first good one, and after.
func TestPortsTakeWhatWasAnnounced(t *testing.T) {
	r := host(t, nil)
	var c callReply
	body := `{"call":"one","agent":"ann","legs":[{"role":"agent","from":"127.0.0.3"},{"role":"customer"}]}`
	if st := r.do(t, "POST", "/v1/calls", body, &c); st != http.StatusCreated {
		t.Fatalf("status %d", st)
	}
	// Before anything good has come: another address, and what is no audio.
	send(t, c.Legs[0].Address, "127.0.0.1", 10, func(p *rtp.Packet) {})
	send(t, c.Legs[0].Address, "127.0.0.3", 4, func(p *rtp.Packet) { p.PayloadType = 18 })
	send(t, c.Legs[1].Address, "127.0.0.1", 4, func(p *rtp.Packet) { p.PayloadType = 8 })
	// Then what was announced, with others in between.
	for i := range uint16(5) {
		at := func(p *rtp.Packet) {
			p.SequenceNumber += 4 * i
			p.Timestamp += 4 * 160 * uint32(i)
		}
		send(t, c.Legs[0].Address, "127.0.0.3", 4, at)
		send(t, c.Legs[0].Address, "127.0.0.4", 4, at)
		send(t, c.Legs[0].Address, "127.0.0.3", 2, func(p *rtp.Packet) { at(p); p.SSRC, p.SequenceNumber = 666, p.SequenceNumber+100*(i+1) })
		send(t, c.Legs[1].Address, "127.0.0.1", 4, at)
		send(t, c.Legs[1].Address, "127.0.0.5", 4, func(p *rtp.Packet) { at(p); p.SSRC = 777 })
	}
	var rec journal.Call
	if st := r.do(t, "DELETE", "/v1/calls/one", "", &rec); st != 200 {
		t.Fatalf("status %d", st)
	}
	for i, want := range []journal.LegStats{
		{Received: 20, Foreign: 10 + 20 + 10, Invalid: 4},
		{Received: 20, Foreign: 20, Invalid: 4},
	} {
		got := rec.Legs[i].Stats
		if got == nil || got.Received != want.Received || got.Foreign != want.Foreign || got.Invalid != want.Invalid || got.SSRCChanges != 0 {
			t.Errorf("leg %s: %+v, want %d received, %d foreign, %d invalid and no other source", rec.Legs[i].ID, got, want.Received, want.Foreign, want.Invalid)
		}
	}
	for _, from := range []string{"0.0.0.0", "example.org", "10.1.0.5:4000", "fe80::1%eth0"} {
		status, _, b := r.ask(t, "POST", "/v1/calls", `{"agent":"ann","legs":[{"role":"agent","from":"`+from+`"}]}`)
		if status != 400 || !strings.Contains(string(b), "legs[0].from") {
			t.Errorf("from %q: %d %s", from, status, b)
		}
	}
}

// send sends n packets of a stream from an address of this machine, each after
// the one before has had time to be taken.
func send(t *testing.T, to, from string, n int, edit func(*rtp.Packet)) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from), Port: fixedPort(from)}}
	conn, err := d.Dial("udp", to)
	if err != nil {
		t.Skip("this machine has no address", from, err)
	}
	defer conn.Close()
	for i := range n {
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(160 * i), SSRC: 1},
			Payload: make([]byte, 160),
		}
		edit(p)
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Millisecond)
}

// fixedPort is a source port for each address, so that a stream goes on from the
// same.
func fixedPort(from string) int {
	return 28600 + int(from[len(from)-1]-'0')
}
