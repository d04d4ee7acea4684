// Package clock asks a time server how far this machine's clock is off.
package clock

import (
	"context"
	"fmt"
	"time"

	"github.com/beevik/ntp"
)

// queryLimit bounds the wait where the context has no deadline.
const queryLimit = 5 * time.Second

// Reading is what a time server (RFC 5905) tells.
type Reading struct {
	// Offset is what must be added to this machine's clock; RoundTrip is how long
	// asking took, half of which the offset may be wrong by.
	Offset, RoundTrip time.Duration
	// Stratum is how many servers away the server's source of time is.
	Stratum int
	// Leap says that the last minute of this day has 61 or 59 seconds.
	Leap bool
}

// Ask asks the server, a host or host:port, once.
func Ask(ctx context.Context, server string) (Reading, error) {
	limit := queryLimit
	if d, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(d))
	}
	if limit <= 0 {
		return Reading{}, fmt.Errorf("clock: %s: %w", server, context.DeadlineExceeded)
	}
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: limit})
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return Reading{}, fmt.Errorf("clock: the time server %s: %w", server, err)
	}
	return Reading{
		Offset: r.ClockOffset, RoundTrip: r.RTT, Stratum: int(r.Stratum),
		Leap: r.Leap == ntp.LeapAddSecond || r.Leap == ntp.LeapDelSecond,
	}, nil
}
