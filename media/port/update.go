package port

import (
	"fmt"
	"net/netip"
	"time"

	"sidetone/media/bridge"
)

// Update is what a change of the session description, such as a re-INVITE,
// changes of a running port. Zero fields leave things as they are.
type Update struct {
	// Payloads and EventTypes replace those of bridge.Config; payloads that stay
	// what they were go on undisturbed.
	Payloads   []bridge.Payload
	EventTypes []uint8
	// Guard replaces Config.Guard; Plain takes it off. Keys of a guard that
	// stays are changed at the guard itself (srtp.Session.Rekey).
	Guard Guard
	Plain bool
	// Sources replaces bridge.Config.Sources; an empty slice that is not nil
	// accepts all.
	Sources []netip.Addr
	// Peer replaces RTCP.Peer.
	Peer netip.AddrPort
	// Relatch lets another source take over though the present one may still
	// send; From is the one that was announced, port zero any port of it, its
	// zero value any source.
	Relatch bool
	From    netip.AddrPort
}

// request is an update on its way to the goroutine that owns the leg.
type request struct {
	update Update
	done   chan error
}

// Update changes the running port, and returns when the change is in force,
// within 20 ms or so.
func (t *Port) Update(u Update) error {
	r := request{u, make(chan error, 1)}
	select {
	case t.requests <- r:
		return <-r.done
	case <-t.done:
		return ErrEnded
	}
}

// Relatch is Update with Relatch and From alone.
func (t *Port) Relatch(from netip.AddrPort) error {
	return t.Update(Update{Relatch: true, From: from})
}

// change carries an update out, or none of it.
func (t *Port) change(u Update, now time.Time) error {
	if u.Payloads != nil {
		if err := t.leg.SetPayloads(u.Payloads, u.EventTypes); err != nil {
			return fmt.Errorf("port: %w", err)
		}
		t.mu.Lock()
		t.path = t.leg.String()
		t.mu.Unlock()
	}
	if u.Guard != nil || u.Plain {
		t.guard = u.Guard
		t.ctl.setGuard(u.Guard)
	}
	if u.Sources != nil {
		t.leg.SetSources(u.Sources)
	}
	if u.Peer.IsValid() {
		t.ctl.setPeer(u.Peer)
	}
	if u.Relatch {
		t.leg.Relatch(unmap(u.From), now)
	}
	return nil
}
