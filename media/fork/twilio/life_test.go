package twilio

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"sidetone/internal/pcm"
	"sidetone/media"
)

// What the first messages may be that are no stream.
func TestNoDialect(t *testing.T) {
	for _, c := range []struct {
		message string
		code    int
		why     string
	}{
		{`hello`, 1007, "no JSON object"},
		{``, 1007, "no JSON object"},
		{`[1,2]`, 1007, "no JSON object"},
		{`null`, 1007, "null"},
		{`{"event":"start","x":[` + strings.Repeat("0,", maxParsed/2) + `0]}`, 1007, "may have 65536"},
		{`{"event":"start"} x`, 1007, "goes on behind"},
		{`{"event":"start"}`, 1003, "streamSid and callSid"},
		{`{"event":"start","start":{"streamSid":"MZ1"}}`, 1003, "streamSid and callSid"},
		{`{"event":"start","start":"no object"}`, 1003, "streamSid and callSid"},
		{`{"foo":1}`, 1003, "no stream of a known platform"},
		{`{"command":"connect"}`, 1003, "Sinch"},
		{strings.Replace(startOne, `"channels":1`, `"channels":2`, 1), 1003, "channels"},
		{strings.Replace(startOne, `["inbound"]`, `["a","b","c","d","e"]`, 1), 1008, "5 tracks"},
		{strings.Replace(startOne, `["inbound"]`, `["a\nb"]`, 1), 1008, "not printable"},
		{strings.ReplaceAll(startOne, `CA1`, strings.Repeat("C", 300)), 1008, "300 bytes"},
		{`{"event":"websocket:connected","content-type":"audio/speex"}`, 1003, "speex"},
	} {
		r := newRig(t, nil)
		wantClose(t, r.text("%s", c.message), c.code, c.why)
		if len(r.host.calls) != 0 {
			t.Errorf("%s: a call was opened", c.message)
		}
	}
}

// A running call survives messages that cannot be read, as long as there are
// others between them.
func TestFaults(t *testing.T) {
	r := newRig(t, nil)
	r.must(startOne)
	bad := []string{`{`, `{"event":"media"}`, `{"event":"media","media":{"payload":"A B C"}}`, `{"event":"media","media":{"payload":7}}`,
		`{"event":"media","media":{"track":"a\tb","payload":"AAAA"}}`}
	for i := range 100 {
		r.must(bad[i%len(bad)])
		if i%40 == 0 {
			r.must(chunkOf("inbound", i+1, 20*i, ulawLoud))
		}
	}
	if err := r.s.Binary(make([]byte, 10), r.now); err != nil {
		t.Errorf("a binary message among texts: %v", err)
	}
	if n := strings.Count(r.log.String(), "cannot be read"); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
	var err error
	for i := 0; i < maxFaults && err == nil; i++ {
		err = r.text("nonsense")
	}
	wantClose(t, err, 1007, "in a row")
}

func TestHost(t *testing.T) {
	for err, code := range map[error]int{
		media.ErrDuplicate: 1008, media.ErrBusy: 1013, media.ErrDraining: 1013, errors.New("disk full"): 1011,
	} {
		r := newRig(t, nil)
		r.host.refuse = err
		wantClose(t, r.text("%s", startOne), code, err.Error())
		r.s.Closed(err, r.now)
		if len(r.host.ended) != 0 {
			t.Errorf("%v: a call that never began ends", err)
		}
	}
	t.Run("leg", func(t *testing.T) {
		r := newRig(t, nil)
		r.host.legs = map[string]*legSink{"outbound": {host: r.host}}
		wantClose(t, r.text("%s", startBoth), 1008, "running already")
		if len(r.host.ended) != 1 || r.host.ended[0].State != media.Refused || r.host.legs["inbound"].ends != 1 {
			t.Errorf("ends %v", r.host.ended)
		}
	})
}

// The same stream comes again on another connection, after the first was lost:
// it is another call of that name.
func TestReconnect(t *testing.T) {
	r := newRig(t, nil)
	r.must(startOne, chunkOf("inbound", 1, 0, ulawLoud))
	r.s.Closed(errors.New("reset by peer"), r.now)
	again := newRig(t, nil)
	again.must(startOne, chunkOf("inbound", 500, 10000, ulawLoud))
	if c := again.host.calls; len(c) != 1 || c[0].ID != r.host.calls[0].ID {
		t.Errorf("calls %v", c)
	}
	// Audio stands where the stream's clock says.
	if got := again.host.legs["inbound"].end(); got != 10*pcm.Rate+pcm.FrameSamples {
		t.Errorf("the leg's clock is at %d", got)
	}
}

func TestHangUp(t *testing.T) {
	for state, code := range map[media.EndState]string{media.Ended: "1000 ", media.Aborted: "1001 "} {
		r := newRig(t, nil)
		r.must(startOne)
		r.host.hangUp(media.End{State: state, Reason: "enough"})
		if len(r.wire.hungUp) != 1 {
			t.Fatal("the host's wish does not reach the connection")
		}
		for range 2 {
			if err := r.s.HangUp(r.wire.hungUp[0], r.now); err != nil {
				t.Fatal(err)
			}
		}
		r.s.Closed(nil, r.now)
		if len(r.host.ended) != 1 || r.host.ended[0].State != state || r.host.ended[0].At != r.now || !strings.HasPrefix(r.wire.closes[0], code) {
			t.Errorf("ends %v, closes %q", r.host.ended, r.wire.closes)
		}
	}
	r := newRig(t, nil) // before the start
	if err := r.s.HangUp(media.End{State: media.Aborted, Reason: "shutdown"}, r.now); err != nil || len(r.host.ended) != 0 {
		t.Errorf("err %v, ends %v", err, r.host.ended)
	}
}

func TestDigits(t *testing.T) {
	r := newRig(t, nil)
	r.must(startBoth, chunkOf("outbound", 1, 0, ulawLoud))
	before := r.log.String()
	r.must(`{"event":"dtmf","dtmf":{"track":"outbound_track","digit":"7"}}`, `{"event":"dtmf","dtmf":{"digit":"d"}}`,
		`{"event":"dtmf","dtmf":{"digit":"12"}}`, `{"event":"dtmf"}`, `{"event":"websocket:dtmf","digit":"5"}`, `{"event":"websocket:dtmf","dtmf":"6"}`)
	var in, out string
	for _, m := range r.host.legs["inbound"].marks {
		in += string(m.Digit)
	}
	for _, m := range r.host.legs["outbound"].marks {
		if m.Kind == media.MarkDigit {
			out += string(m.Digit)
		}
	}
	if in != "D56" || out != "7" {
		t.Errorf("inbound %q, outbound %q", in, out)
	}
	if got := r.log.String(); got != before {
		t.Errorf("digits are logged: %s", got)
	}
}

func TestSwappedBytes(t *testing.T) {
	r := newRig(t, nil)
	r.must(telnyxStart("L16", 16000))
	tone := sine(16000, 32000)
	for i := 0; i < len(tone); i += 320 {
		var b []byte
		for _, x := range tone[i : i+320] {
			b = binary.BigEndian.AppendUint16(b, uint16(x))
		}
		r.must(mediaOf("inbound", i/320+1, int64(i/16), b))
	}
	if !strings.Contains(r.host.facts["warning"], "little-endian") {
		t.Errorf("facts %v", r.host.facts)
	}
}

// Two streams of one call, one from each party's leg, are one call with two
// legs where the host joins what has one name. One that brings a leg again is
// closed, and takes nothing from the others.
func TestTwoStreams(t *testing.T) {
	stream := func(sid, leg string) string {
		return strings.NewReplacer("MZ1", sid, `"customParameters":{}`, `"customParameters":{"call":"77","leg":"`+leg+`"}`).Replace(startOne)
	}
	a := newRig(t, nil)
	joined := func(c *Config) { c.Host = a.host }
	b, again := newRig(t, joined), newRig(t, joined)
	a.must(stream("MZ1", "customer"), chunkOf("inbound", 1, 0, ulawLoud))
	b.must(stream("MZ2", "agent"), chunkOf("inbound", 1, 0, ulawZero))
	wantClose(t, again.text("%s", stream("MZ3", "agent")), 1008, "running already")
	for id, loud := range map[string]bool{"customer": true, "agent": false} {
		l := a.host.legs[id]
		if l == nil || l.leg.Label != inbound || l.leg.Role.String() != id || len(l.frames) != 1 || l.frames[0].Samples[200] != 0 != loud || l.ends != 0 {
			t.Errorf("leg %s: %+v", id, l)
		}
	}
}
