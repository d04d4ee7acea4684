package clock_test

import (
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/clock"
)

// server answers one request as a time server whose clock is ahead, with the
// leap indicator and the stratum.
func server(t *testing.T, ahead time.Duration, leap, stratum byte) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		n, from, err := conn.ReadFrom(b)
		if err != nil || n < 48 {
			return
		}
		// RFC 5905, 7.3: LI VN Mode, stratum, poll, precision, root delay and
		// dispersion, reference ID, four timestamps.
		reply := make([]byte, 48)
		reply[0], reply[1], reply[3] = leap<<6|4<<3|4, stratum, 0xec
		copy(reply[12:], "TEST")
		stamp := func(at int) {
			now := time.Now().Add(ahead)
			binary.BigEndian.PutUint32(reply[at:], uint32(now.Unix()+2208988800))
			binary.BigEndian.PutUint32(reply[at+4:], uint32(float64(now.Nanosecond())/1e9*(1<<32)))
		}
		stamp(16)
		copy(reply[24:32], b[40:48])
		stamp(32)
		stamp(40)
		_, _ = conn.WriteTo(reply, from)
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr().String()
}

func TestOffsetOfAServer(t *testing.T) {
	r, err := clock.Ask(t.Context(), server(t, 5*time.Second, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if off := r.Offset - 5*time.Second; off.Abs() > r.RoundTrip+time.Millisecond || r.Stratum != 1 || r.Leap {
		t.Errorf("%+v", r)
	}
	if r, err = clock.Ask(t.Context(), server(t, 0, 1, 2)); err != nil || !r.Leap || r.Stratum != 2 {
		t.Errorf("a leap second: %+v, %v", r, err)
	}
	// It says itself that it does not know the time.
	if r, err = clock.Ask(t.Context(), server(t, 0, 3, 16)); err == nil {
		t.Errorf("an unsynchronised server counts: %+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if r, err = clock.Ask(ctx, silent.LocalAddr().String()); err == nil {
		t.Errorf("a server that says nothing: %+v", r)
	}
	<-ctx.Done()
	if _, err = clock.Ask(ctx, "127.0.0.1"); err == nil {
		t.Error("asked though the time was over")
	}
}
