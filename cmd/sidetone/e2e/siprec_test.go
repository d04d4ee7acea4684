//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/needs"
	"sidetone/media"
	"sidetone/media/codec"
	"sidetone/media/rtpsend"
)

const (
	// The customer's line is on hold from about heldFrom to heldTo, in which all
	// that the customer says is murmured; on hold it sends no packets, from a
	// little before to a little after.
	heldFrom, heldTo = 27 * time.Second, 32 * time.Second
	sentTo, sentFrom = 26500 * time.Millisecond, 33500 * time.Millisecond
	// The call is paused from about pausedFrom to pausedTo: the customer tells
	// name and postcode, and the agent is cut short on both sides.
	pausedFrom, pausedTo = 19500 * time.Millisecond, 26500 * time.Millisecond
	// secret is said in the pause, and never else.
	secret = "ellis"
)

// siprecCall is a recording session that SIPp starts and to which the test sends
// audio, from the ports that SIPp offers.
type siprecCall struct {
	// extension is the agent's.
	extension string
	// lines say whose line stands where in the offer.
	lines []media.Role
	// pause has the API pause the call for some time.
	pause bool
}

// sipLine is a line of the offer.
type sipLine struct {
	Label, Held string
	Port        int
	role        media.Role
	from        *net.UDPConn
}

// peer takes packets to a port.
type peer struct {
	from *net.UDPConn
	to   *net.UDPAddr
}

func (p peer) Write(b []byte) (int, error) { return p.from.WriteToUDP(b, p.to) }

func (c siprecCall) run(t *testing.T, s *server) {
	sipp := needs.Program(t, "sipp")
	server := s.logged(t, `msg="taking SIPREC" transport=TCP address=(\S+)`)
	script, legs := beginning(t)
	openPane(t, s, c.extension)

	var lines []*sipLine
	for _, role := range c.lines {
		from, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		l := &sipLine{Label: role.String() + "-line", Held: "sendonly", Port: from.LocalAddr().(*net.UDPAddr).Port, role: role, from: from}
		if role == media.RoleCustomer {
			l.Held = "inactive"
		}
		lines = append(lines, l)
	}
	dir := t.TempDir()
	answer, external := filepath.Join(dir, "answer"), "call-"+c.extension+"@pbx.example.test"
	tmpl, err := template.ParseFiles(filepath.Join("testdata", "siprec.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var scenario bytes.Buffer
	if err := tmpl.Execute(&scenario, map[string]any{
		"Lines": lines, "External": external, "Extension": c.extension, "Answer": answer, "HoldAt": heldFrom.Milliseconds(),
		"HoldFor": (heldTo - heldFrom).Milliseconds(), "Rest": (part + tail - heldTo).Milliseconds(),
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "siprec.xml")
	if err := os.WriteFile(file, scenario.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sipp, "-sf", file, "-i", "127.0.0.1", "-p", freePort(t), "-t", "t1", "-m", "1", "-s", "recorder",
		"-nostdin", "-timeout", "100s", "-timeout_error", server)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	defer func() {
		cancel()
		if err := <-exited; err != nil {
			t.Errorf("sipp: %v\n%s", err, last(out.String(), 3000))
		}
	}()

	ports := answered(t, answer)
	played := make(chan error, len(lines))
	for i, l := range lines {
		to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ports[i]}
		go func() { played <- l.play(ctx, legs[l.role], to) }()
	}
	begin := time.Now()
	id := s.running(t, c.extension)
	if c.pause {
		for _, do := range []struct {
			what string
			at   time.Duration
		}{{"pause", pausedFrom}, {"resume", pausedTo}} {
			time.Sleep(time.Until(begin.Add(do.at)))
			if st := s.api(t, http.MethodPost, "/v1/calls/"+id+"/"+do.what, `{"reason":"card data"}`, nil); st != http.StatusOK {
				t.Errorf("%s: status %d", do.what, st)
			}
		}
	}
	for range lines {
		if err := <-played; err != nil {
			t.Fatal(err)
		}
	}
	rec, raw := s.over(t, id)
	if rec.State != "ended" || rec.External != external {
		t.Errorf("state %s (%s), %s, want %s", rec.State, rec.Reason, rec.External, external)
	}
	checkRoles(t, rec, map[string]media.Role{
		"sip:+4930111222@carrier.example.test":     media.RoleCustomer,
		"sip:" + c.extension + "@pbx.example.test": media.RoleAgent,
	})
	for _, l := range rec.Legs {
		if l.Label != l.Role+"-line" {
			t.Errorf("leg %s has the label %q and is the %s's", l.ID, l.Label, l.Role)
		}
		if l.Role == media.RoleCustomer.String() {
			for _, what := range []string{"on hold", "no longer on hold"} {
				s.logged(t, fmt.Sprintf(`msg="leg (%s)" call=%s leg=%s`, what, id, l.ID))
			}
		}
	}
	// What was said while nobody listened is not to be heard.
	script.Turns = slices.DeleteFunc(script.Turns, func(turn demo.Turn) bool {
		return turn.Role == media.RoleCustomer && turn.Start > sentTo && turn.End < sentFrom
	})
	checkTimes(t, script, rec)
	checkCards(t, script, rec)
	if c.pause {
		script = checkPause(t, script, &rec, raw)
	}
	checkTranscript(t, script, rec, media.RoleAgent, media.RoleCustomer)
}

// checkPause asserts that nothing of the pause is in the record, and leaves the
// turns, and what was heard of them, that it does not touch.
func checkPause(t *testing.T, script demo.Script, rec *record, raw string) demo.Script {
	t.Helper()
	if len(rec.Pauses) != 1 || rec.Pauses[0].EndMS == nil {
		t.Fatalf("pauses %+v, want one that has ended", rec.Pauses)
	}
	const slack = 700 * time.Millisecond
	from := time.Duration(rec.Pauses[0].StartMS) * time.Millisecond
	to := time.Duration(*rec.Pauses[0].EndMS) * time.Millisecond
	t.Logf("paused from %v to %v", from, to)
	before, after := false, false
	for _, u := range rec.Transcript {
		start, end := u.span()
		t.Logf("%s %v to %v: %s", u.Role, start, end, u.Text)
		if end > from+slack && start < to-slack {
			t.Errorf("%s at %v to %v, in the pause: %q", u.Role, start, end, u.Text)
		}
		before, after = before || end < from+slack, after || start > to-slack
	}
	if !before || !after {
		t.Errorf("heard before the pause: %t, after it: %t", before, after)
	}
	if strings.Contains(strings.ToLower(raw), secret) {
		t.Errorf("%q, which was said in the pause, is in the record: %s", secret, raw)
	}
	touched := func(turn demo.Turn) bool { return turn.End > from-slack && turn.Start < to+slack }
	rec.Transcript = slices.DeleteFunc(rec.Transcript, func(u utterance) bool {
		start, end := u.span()
		return slices.ContainsFunc(script.Turns, func(turn demo.Turn) bool {
			middle := (start + end) / 2
			return touched(turn) && turn.Role.String() == u.Role && middle > turn.Start && middle < turn.End
		})
	})
	script.Turns = slices.DeleteFunc(slices.Clone(script.Turns), touched)
	return script
}

// play sends a line's audio. A held line is silent on the wire, and goes on
// afterwards with the same source, the next number and the time that it is.
func (l *sipLine) play(ctx context.Context, audio []int16, to *net.UDPAddr) error {
	format := codec.Format{Encoding: "PCMA", Clock: 8000, Channels: 1}
	send := func(from, to int, o rtpsend.Origin, w peer) error {
		_, err := rtpsend.Play(ctx, rtpsend.Config{Streams: []rtpsend.Stream{{Out: w, Samples: audio[from:to], Format: format, Origin: &o}}})
		return err
	}
	begin, w := time.Now(), peer{l.from, to}
	o := rtpsend.Origin{SSRC: rand.Uint32(), Seq: uint16(rand.Uint32()), Timestamp: rand.Uint32()}
	if l.Held == "sendonly" {
		return send(0, len(audio), o, w)
	}
	if err := send(0, samples(sentTo), o, w); err != nil {
		return err
	}
	time.Sleep(time.Until(begin.Add(sentFrom)))
	o.Seq += uint16(sentTo / rtpsend.PacketTime)
	o.Timestamp += uint32(samples(sentFrom))
	return send(samples(sentFrom), len(audio), o, w)
}

// answered waits for the ports that the server has answered.
func answered(t *testing.T, file string) []int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var a, b int
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			continue
		}
		if _, err := fmt.Sscan(string(text), &a, &b); err != nil {
			t.Fatalf("the answer's ports are %q", text)
		}
		return []int{a, b}
	}
	t.Fatal("the recording session is not answered")
	return nil
}

// freePort is a TCP port that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }
