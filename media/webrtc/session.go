package webrtc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/webrtc/v4"

	"sidetone/media"
	"sidetone/media/bridge"
	"sidetone/media/webrtc/red"
	"sidetone/media/webrtc/whip"
)

const (
	// tick is how often a leg looks at the time.
	tick = 20 * time.Millisecond
	// mtu bounds a packet; a longer one is cut, and refused.
	mtu = 1600
	// maxTracks bounds the sources that one session may send from at once or
	// one after the other.
	maxTracks = 8
)

// request is what a client asked for.
type request struct {
	call  media.Call
	leg   media.Leg
	facts map[string]string
}

// session is one connection. Its goroutine is run.
type session struct {
	id     string
	server *Server
	asked  request
	offer  *whip.Offer
	pc     *pion.PeerConnection
	sink   media.LegSink
	call   *call // nil where another source has opened the call

	// patching is held while a PATCH is carried out; it guards what follows.
	patching   sync.Mutex
	etag       string
	candidates int

	state atomic.Uint32 // a pion.PeerConnectionState
	begun time.Time
	ask   chan media.End // holds the first end that was asked for
	done  chan struct{}

	// mu guards the media path.
	mu      sync.Mutex
	leg     *bridge.Leg
	plain   *red.Unwrapper // nil without redundancy
	arrival time.Time
	tracks  int
	closing bool
	readers sync.WaitGroup
}

// newSession makes the peer connection and the answer.
func (s *Server) newSession(ctx context.Context, o *whip.Offer, r request) (*session, string, error) {
	ses := &session{
		id: rand.Text(), server: s, asked: r, offer: o, etag: newETag(), candidates: o.Candidates(),
		begun: time.Now(), ask: make(chan media.End, 1), done: make(chan struct{}),
	}
	var err error
	if ses.pc, err = s.net.peer(o); err != nil {
		return nil, "", err
	}
	ses.pc.OnTrack(func(t *pion.TrackRemote, _ *pion.RTPReceiver) { ses.read(t) })
	ses.pc.OnConnectionStateChange(ses.changed)
	answer, err := ses.negotiate(ctx, o.Reduced())
	if err == nil {
		answer, err = o.Answer(answer)
	}
	if err != nil {
		return nil, "", errors.Join(err, ses.pc.GracefulClose())
	}
	return ses, answer, nil
}

// negotiate has the peer connection answer an offer, and waits for all of our
// candidates.
func (s *session) negotiate(ctx context.Context, offer string) (string, error) {
	if err := s.pc.SetRemoteDescription(pion.SessionDescription{Type: pion.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("%w: %w", whip.ErrUnacceptable, err)
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", whip.ErrUnacceptable, err)
	}
	gathered := pion.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("%w: %w", whip.ErrUnacceptable, err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gathering candidates: %w", context.Cause(ctx))
	}
	return s.pc.LocalDescription().SDP, nil
}

// open builds the media path into the session's sink.
func (s *session) open() error {
	decoder, err := newCodec(s.offer.Audio)
	if err != nil {
		return err
	}
	audio := bridge.Payload{Type: s.offer.Audio.PayloadType, Codec: decoder, Clock: s.offer.Audio.Clock}
	cfg := bridge.Config{Sink: s.sink, Payloads: []bridge.Payload{audio}, EventTypes: []uint8{}}
	if s.offer.Event != nil {
		cfg.EventTypes = []uint8{s.offer.Event.PayloadType}
	}
	leg, err := bridge.New(cfg)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leg = leg
	if s.offer.Redundant != nil {
		s.plain = red.New(s.offer.Redundant.PayloadType, func(b []byte) { s.leg.Push(b, netip.AddrPort{}, s.arrival) })
	}
	return nil
}

// read takes the packets of one source until the connection ends. pion calls it
// in a goroutine of its own.
func (s *session) read(t *pion.TrackRemote) {
	s.mu.Lock()
	if s.closing || s.tracks == maxTracks {
		s.mu.Unlock()
		return
	}
	s.tracks++
	s.readers.Add(1)
	s.mu.Unlock()
	defer s.readers.Done()
	buf := make([]byte, mtu)
	for {
		n, _, err := t.Read(buf)
		if n == 0 && err != nil {
			return
		}
		// With an error, but with bytes, it is a packet of a type that was not
		// agreed on. The leg counts it.
		s.push(buf[:n], time.Now())
	}
}

// push takes a packet. DTLS has proved whose it is, so that one source address
// stands for all: the client's may change with its network.
func (s *session) push(datagram []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leg == nil {
		return
	}
	if s.plain != nil {
		s.arrival = now
		if s.plain.Unwrap(datagram) == nil {
			return
		}
		// What is malformed is the leg's to count.
	}
	s.leg.Push(datagram, netip.AddrPort{}, now)
}

// changed hears how the connection is doing. It must not block.
func (s *session) changed(state pion.PeerConnectionState) {
	s.state.Store(uint32(state))
	switch state {
	case pion.PeerConnectionStateConnected:
		s.log().Info("WebRTC connected", "after", time.Since(s.begun).Round(time.Millisecond))
	case pion.PeerConnectionStateDisconnected:
		s.log().Info("WebRTC connection lost; it is waited for", "at_most", s.server.cfg.Timeout)
	case pion.PeerConnectionStateFailed:
		s.request(media.End{State: media.TimedOut, Reason: fmt.Sprintf("the connection failed: no sign of life for %v, or no keys agreed on", s.server.cfg.Timeout), At: time.Now()})
	case pion.PeerConnectionStateClosed:
		s.request(media.End{State: media.Ended, Reason: "the client closed the connection", At: time.Now()})
	}
}

// lost says that the connection was there and is not any more.
func (s *session) lost() bool {
	switch pion.PeerConnectionState(s.state.Load()) {
	case pion.PeerConnectionStateDisconnected, pion.PeerConnectionStateFailed, pion.PeerConnectionStateClosed:
		return true
	default:
		return false
	}
}

// connected says that the connection has been there.
func (s *session) connected() bool {
	return s.lost() || pion.PeerConnectionState(s.state.Load()) == pion.PeerConnectionStateConnected
}

// request asks for an end, unless one has been asked for before.
func (s *session) request(e media.End) {
	select {
	case s.ask <- e:
	default:
	}
}

// finish asks for an end and waits for it.
func (s *session) finish(e media.End) {
	s.request(e)
	<-s.done
}

func (s *session) log() *slog.Logger {
	return s.server.cfg.Log.With("call", s.asked.call.ID, "leg", s.asked.leg.ID)
}

// run lets time pass on the leg until the session's end, and carries that out.
func (s *session) run() {
	defer close(s.done)
	e := s.wait()
	s.server.remove(s)
	log := s.log()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if err := s.pc.GracefulClose(); err != nil {
		log.Debug("closing the connection", "err", err)
	}
	s.readers.Wait()
	s.mu.Lock()
	s.leg.End(e)
	recovered := uint64(0)
	if s.plain != nil {
		recovered = s.plain.Recovered()
	}
	s.mu.Unlock()
	s.server.leave(s, e)
	log.Info("WebRTC session over", "state", e.State.String(), "reason", e.Reason, "recovered", recovered)
}

func (s *session) wait() media.End {
	t := time.NewTicker(tick)
	defer t.Stop()
	once := false
	for {
		select {
		case e := <-s.ask:
			return e
		case now := <-t.C:
			s.mu.Lock()
			s.leg.Tick(now)
			s.mu.Unlock()
			once = once || s.connected()
			if !once && now.Sub(s.begun) > s.server.cfg.Connect {
				return media.End{State: media.TimedOut, Reason: fmt.Sprintf("no connection within %v", s.server.cfg.Connect), At: now}
			}
		}
	}
}

// errTooMany: the client has named more candidates than are taken.
var errTooMany = errors.New("too many candidates")

// trickle adds candidates of the client.
func (s *session) trickle(f *whip.Fragment) error {
	if s.candidates += f.Count; s.candidates > whip.MaxCandidates {
		return fmt.Errorf("%w: %d, at most %d are taken", errTooMany, s.candidates, whip.MaxCandidates)
	}
	zero := uint16(0)
	for _, c := range f.Candidates {
		if err := s.pc.AddICECandidate(pion.ICECandidateInit{Candidate: "candidate:" + c, SDPMLineIndex: &zero}); err != nil {
			return fmt.Errorf("%w: a=candidate:%s: %w", whip.ErrMalformed, c, err)
		}
	}
	return nil
}

// restart restarts ICE and returns our side of it.
func (s *session) restart(ctx context.Context, f *whip.Fragment) (string, error) {
	if f.Count > whip.MaxCandidates {
		return "", fmt.Errorf("%w: %d, at most %d are taken", errTooMany, f.Count, whip.MaxCandidates)
	}
	answer, err := s.negotiate(ctx, s.offer.Restarted(f))
	if err != nil {
		return "", err
	}
	ours, err := s.offer.Fragment(answer)
	if err != nil {
		return "", err
	}
	s.offer.Ufrag = f.Ufrag
	s.candidates, s.etag = f.Count, newETag()
	return ours.String(), nil
}

// newETag names an ICE session (RFC 9725, section 4.3.1).
func newETag() string { return `"` + rand.Text() + `"` }
