// Package rtpengine has Sipwise's rtpengine copy the audio of a call to us, by
// its NG protocol: `subscribe request` returns an offer with one m-line for each
// source of audio, and `subscribe answer` names our ports.
//
// Whose audio an m-line carries is told by the reply's media-labels, never by
// the order of the lines: it follows rtpengine's hash tables.
//
// The protocol is a cookie, a space and a bencoded dictionary in one datagram;
// the reply repeats the cookie (rtpengine's README, "The ng Control Protocol").
// It was tried with version 10.5. Versions 12.5 to 26.0 with the kernel module
// are reported to serve only the newest of several subscriptions of a call
// (sipwise/rtpengine#2158), so that nobody else should record the same one.
package rtpengine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/codec"
	"sidetone/media/port"
	"sidetone/media/sdp"
	"sidetone/media/srtp"
)

const (
	// DefaultIdle stands for zero in Config.Idle.
	DefaultIdle = 60 * time.Second

	// maxLegs bounds the m-lines that are taken, maxPayloads the codecs of each.
	maxLegs     = 16
	maxPayloads = 8
	// askAfter is how long no packet must have come for rtpengine to be asked
	// whether the call still is, and askEvery the pause between such questions.
	askAfter = 3 * time.Second
	askEvery = 3 * time.Second
	// parting bounds the unsubscribing.
	parting = 2 * time.Second
)

// Config is what a Subscriber works with.
type Config struct {
	Client *Client
	Host   media.Host
	Pool   *port.Pool
	// Addr is the address that is named to rtpengine, where it is another than
	// the ports' own.
	Addr netip.Addr
	// Idle ends a call of which no packet has come on any leg for so long.
	Idle time.Duration
	Log  *slog.Logger
}

// Request names a call of rtpengine's and how its audio is to come.
type Request struct {
	// CallID is rtpengine's name of the call, usually the SIP Call-ID.
	CallID string
	// Call is what the call is to us. Source and External are filled in.
	Call media.Call
	// Tags are the sides whose audio is wanted, by their SIP tags; none means
	// all.
	Tags []string
	// Secure asks for SRTP.
	Secure bool
	// Codec, such as "opus/48000/2", has rtpengine transcode; else audio comes as
	// the sides send it.
	Codec string
}

// Subscriber brings calls from one rtpengine to a host. It is safe for
// concurrent use.
type Subscriber struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	subs   map[*Subscription]struct{}
	wg     sync.WaitGroup // one for each call that is being opened or runs
}

// New checks the configuration.
func New(cfg Config) (*Subscriber, error) {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	switch {
	case cfg.Client == nil || cfg.Host == nil || cfg.Pool == nil || cfg.Log == nil:
		return nil, errors.New("rtpengine: a subscriber needs a client, a host, ports and a logger")
	case cfg.Idle < 0:
		return nil, fmt.Errorf("rtpengine: an idle time of %v must be positive", cfg.Idle)
	}
	return &Subscriber{cfg: cfg, subs: map[*Subscription]struct{}{}}, nil
}

// Subscription is one call. It is safe for concurrent use.
type Subscription struct {
	s     *Subscriber
	q     Request
	toTag string
	sink  media.CallSink
	ports []*port.Port
	ask   chan media.End // holds the first end that was asked for
	done  chan struct{}
}

// Subscribe asks for a call's audio and opens the call at the host. An error
// wraps ErrUnknownCall, ErrNoReply, an *Error, port.ErrNoPort, or the host's.
func (s *Subscriber) Subscribe(ctx context.Context, q Request) (*Subscription, error) {
	if q.CallID == "" || q.Call.ID == "" {
		return nil, fmt.Errorf("rtpengine: call-id %q, call %q: both are needed", q.CallID, q.Call.ID)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fmt.Errorf("rtpengine: %w", ErrClosed)
	}
	s.wg.Add(1)
	s.mu.Unlock()
	sub, err := s.open(ctx, q)
	if err != nil {
		s.wg.Done()
		return nil, fmt.Errorf("call %q: %w", q.Call.ID, err)
	}
	s.mu.Lock()
	s.subs[sub] = struct{}{}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		// Close came in between and did not see this call.
		sub.request(media.End{State: media.Aborted, Reason: ErrClosed.Error(), At: time.Now()})
	}
	go func() {
		defer s.wg.Done()
		sub.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, sub)
	}()
	return sub, nil
}

// Close takes no more calls, ends the running ones with e, and waits for them.
// It may be called more than once. The Client stays open.
func (s *Subscriber) Close(e media.End) {
	s.mu.Lock()
	s.closed = true
	for sub := range s.subs {
		sub.request(e)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Subscriber) open(ctx context.Context, q Request) (*Subscription, error) {
	r, err := s.cfg.Client.subscribe(ctx, q)
	if err != nil {
		return nil, err
	}
	sub := &Subscription{s: s, q: q, toTag: r.toTag, ask: make(chan media.End, 1), done: make(chan struct{})}
	if err := sub.take(ctx, r); err != nil {
		sub.finish(media.End{State: media.Refused, Reason: err.Error(), At: time.Now()})
		return nil, err
	}
	return sub, nil
}

// take opens the call and its ports and answers the offer.
func (b *Subscription) take(ctx context.Context, r reply) error {
	offer, err := sdp.Parse([]byte(r.sdp))
	if err != nil {
		return fmt.Errorf("rtpengine: its offer: %w", err)
	}
	call := b.q.Call
	call.Source, call.External = "rtpengine", b.q.CallID
	if b.sink, err = b.s.cfg.Host.Open(call, b.request); err != nil {
		return err
	}
	facts := map[string]string{"rtpengine.call-id": b.q.CallID, "rtpengine.subscription": b.toTag}
	choices := make([]sdp.Choice, len(offer.Media))
	names := map[string]bool{}
	for i := range offer.Media {
		m := &offer.Media[i]
		if m.Kind != "audio" || m.Port == 0 || len(b.ports) == maxLegs {
			continue
		}
		from := r.medias[m.Label]
		leg := media.Leg{ID: name(m, from, i, names), Label: from.label, Party: party(from.label)}
		if leg.Label == "" {
			leg.Label = m.Label
		}
		if choices[i], err = b.line(leg, m); err != nil {
			return fmt.Errorf("rtpengine: leg %q: %w", leg.ID, err)
		}
		facts["rtpengine."+leg.ID+".tag"] = from.tag
	}
	if len(b.ports) == 0 {
		return errors.New("rtpengine: its offer has no audio: has the call been answered?")
	}
	b.sink.Describe(facts)
	local, err := b.local()
	if err != nil {
		return err
	}
	answer, err := sdp.Answer(offer, local, choices)
	if err != nil {
		return fmt.Errorf("rtpengine: %w", err)
	}
	return b.s.cfg.Client.accept(ctx, b.q.CallID, b.toTag, answer.Append(nil))
}

// party knows the names that rtpengine's documentation gives to the sides.
func party(label string) media.Party {
	switch label {
	case "caller":
		return media.Caller
	case "callee", "called":
		return media.Called
	default:
		return media.PartyUnknown
	}
}

// name is a leg's: what the proxy calls the side, or its tag, or the line's
// number.
func name(m *sdp.Media, from source, i int, taken map[string]bool) string {
	n := from.label
	if n == "" {
		n = from.tag
	}
	if n == "" {
		n = "media-" + strconv.Itoa(i)
	}
	if taken[n] {
		n += "-" + m.Label
	}
	if taken[n] {
		n += "-" + strconv.Itoa(i)
	}
	taken[n] = true
	return n
}

// line opens the leg of one m-line.
func (b *Subscription) line(leg media.Leg, m *sdp.Media) (sdp.Choice, error) {
	selection, ok := sdp.Select(m, func(c sdp.Codec) bool { return codec.Decodable(format(c)) }, maxPayloads)
	if !ok {
		return sdp.Choice{}, fmt.Errorf("none of its codecs %v can be decoded: ask for one, such as PCMA, to have rtpengine transcode", m.Formats)
	}
	var payloads []bridge.Payload
	for _, c := range selection.Audio {
		dec, err := codec.New(format(c))
		if err != nil {
			return sdp.Choice{}, err
		}
		payloads = append(payloads, bridge.Payload{Type: c.PayloadType, Codec: dec, Clock: c.Clock})
	}
	choice := sdp.Choice{Selection: selection}
	guard, crypto, err := b.secure(m)
	if err != nil {
		return choice, err
	}
	if crypto != "" {
		choice.Crypto = []string{crypto}
	}
	sink, err := b.sink.AddLeg(leg)
	if err != nil {
		return choice, err
	}
	cfg := port.Config{
		Leg:   bridge.Config{Sink: sink, Payloads: payloads},
		Guard: guard,
		RTCP:  port.RTCP{Mux: m.RTCPMux},
		Log:   b.s.cfg.Log.With("call", b.q.Call.ID, "leg", leg.ID),
	}
	if selection.Event != nil {
		cfg.Leg.EventTypes = []uint8{selection.Event.PayloadType}
	}
	if a, bad := netip.ParseAddr(m.Addr); bad == nil && m.RTCPPort > 0 && m.RTCPPort <= 65535 {
		cfg.RTCP.Peer = netip.AddrPortFrom(a, uint16(m.RTCPPort))
	}
	p, err := b.s.cfg.Pool.Open(cfg)
	if err != nil {
		sink.End(media.End{State: media.Refused, Reason: err.Error(), At: time.Now()}, media.LegStats{})
		return choice, err
	}
	b.ports = append(b.ports, p)
	choice.Port = int(p.Addr().Port())
	return choice, nil
}

// secure answers the line's keys, if it has any. The guard is nil for plain RTP.
func (b *Subscription) secure(m *sdp.Media) (port.Guard, string, error) {
	if m.Proto != "RTP/SAVP" && m.Proto != "RTP/SAVPF" {
		if b.q.Secure {
			return nil, "", fmt.Errorf("SRTP was asked for and %s is offered", m.Proto)
		}
		return nil, "", nil
	}
	remote, err := srtp.Choose(m.Crypto)
	if err != nil {
		return nil, "", err
	}
	local, err := srtp.Answer(remote, rand.Reader)
	if err != nil {
		return nil, "", err
	}
	guard, err := srtp.New(srtp.Config{Remote: remote, Local: local})
	if err != nil {
		return nil, "", err
	}
	return guard, local.Value(), nil
}

func format(c sdp.Codec) codec.Format {
	return codec.Format{Encoding: c.Name, Clock: c.Clock, Channels: c.Channels, Fmtp: c.Params}
}

// local is our side of the session description.
func (b *Subscription) local() (sdp.Local, error) {
	var id [8]byte
	rand.Read(id[:])
	l := sdp.Local{ID: binary.BigEndian.Uint64(id[:]) >> 2, Version: 1, Addr: b.s.cfg.Addr}
	if !l.Addr.IsValid() {
		l.Addr = b.ports[0].Addr().Addr().Unmap()
	}
	if l.Addr.IsUnspecified() {
		return l, fmt.Errorf("rtpengine: it cannot send to %v: configure the address under which it reaches us", l.Addr)
	}
	return l, nil
}

// End ends the call and waits until its legs and the host have been told and
// rtpengine sends no more, or has not answered. Only the first end counts. It
// must not be called by a sink.
func (b *Subscription) End(e media.End) {
	b.request(e)
	<-b.done
}

// Done is closed when the call has ended.
func (b *Subscription) Done() <-chan struct{} { return b.done }

// Stats are the legs' counters of this moment, in the order of the m-lines.
func (b *Subscription) Stats() []media.LegStats {
	all := make([]media.LegStats, len(b.ports))
	for i, p := range b.ports {
		all[i] = p.Stats()
	}
	return all
}

// request asks for an end, unless one has been asked for before.
func (b *Subscription) request(e media.End) {
	select {
	case b.ask <- e:
	default:
	}
}

// run waits for the end and carries it out.
func (b *Subscription) run() {
	defer close(b.done)
	b.finish(b.wait())
}

func (b *Subscription) wait() media.End {
	idle := b.s.cfg.Idle
	tick := time.NewTicker(max(time.Millisecond, min(250*time.Millisecond, idle/10)))
	defer tick.Stop()
	var asked time.Time
	for {
		select {
		case e := <-b.ask:
			return e
		case now := <-tick.C:
			silent := now.Sub(b.last())
			switch {
			case silent >= idle:
				return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no packet on any leg for %v", idle), At: now}
			case b.failed():
				return media.End{State: media.Aborted, Reason: "all ports have failed", At: now}
			case silent >= askAfter && now.Sub(asked) >= askEvery:
				asked = now
				if b.gone() {
					return media.End{State: media.Ended, Reason: "rtpengine has ended the call", At: now}
				}
			}
		}
	}
}

// last is when a packet last came on any leg.
func (b *Subscription) last() time.Time {
	var last time.Time
	for _, p := range b.ports {
		if t := p.LastPacket(); t.After(last) {
			last = t
		}
	}
	return last
}

func (b *Subscription) failed() bool {
	for _, p := range b.ports {
		select {
		case <-p.Done():
		default:
			return false
		}
	}
	return true
}

// gone asks rtpengine whether the call still is: the protocol has no event for
// its end.
func (b *Subscription) gone() bool {
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	return errors.Is(b.s.cfg.Client.query(ctx, b.q.CallID), ErrUnknownCall)
}

// finish ends the ports, side by side since each takes its time, the call and
// the subscription.
func (b *Subscription) finish(e media.End) {
	ctx, cancel := context.WithTimeout(context.Background(), parting)
	defer cancel()
	if err := b.s.cfg.Client.unsubscribe(ctx, b.q.CallID, b.toTag); err != nil && !errors.Is(err, ErrUnknownCall) {
		b.s.cfg.Log.Warn("rtpengine: unsubscribing", "call", b.q.Call.ID, "error", err)
	}
	var wg sync.WaitGroup
	for _, p := range b.ports {
		wg.Go(func() { p.End(e) })
	}
	wg.Wait()
	if b.sink != nil {
		b.sink.End(e)
	}
}
