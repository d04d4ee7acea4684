// Package srtp opens SRTP and SRTCP packets whose keys were agreed on in a
// session description (RFC 4568), and seals the RTCP that goes back.
//
// Each direction has the keys of its sender: what comes is opened with those of
// the other side's crypto line, whichever of both made the offer.
//
// A recorder often joins late: the other side's rollover counter, which counts
// the wraps of the 16-bit sequence number and is part of every packet's
// authentication, is not in the packet and may be past zero. Open tries one
// after the other. It also accepts the previous keys for a while after they
// were replaced, and, in best-effort mode, plain packets until the first that
// is authentic.
package srtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/replaydetector"
)

const (
	// oldKeyTime is for how long the previous keys are accepted after a change:
	// packets on their way were sealed before it.
	oldKeyTime = 200 * time.Millisecond
	// maxRollover is the highest rollover counter that is tried: at 50 packets a
	// second, that of a stream which has run for a day.
	maxRollover = 66
	// searches bounds how often per second all counters are tried.
	searches = 20
	// maxSources bounds the synchronisation sources that are remembered.
	maxSources = 64
	// replayWindow is at least RFC 3711's 64 (section 3.3.2), and more than what
	// rtpflow takes for late.
	replayWindow = 128

	headerLen = 12
	rtcpLen   = 8
)

// Errors of Open that callers tell apart.
var (
	// ErrForged: the packet is not authentic under any of the keys.
	ErrForged = errors.New("the packet is not authentic")
	// ErrReplayed: an authentic packet of this number has been here.
	ErrReplayed = errors.New("the packet is a duplicate")
)

// Config describes a session.
type Config struct {
	// Remote is the other side's crypto line, which opens what comes.
	Remote Crypto
	// Local is ours, which seals what is sent; its zero value seals nothing.
	Local Crypto
	// BestEffort accepts plain packets until the first authentic one: what
	// RTP/AVP with a=crypto means to the devices that offer it.
	BestEffort bool
}

// Session is the state of one stream. It is safe for concurrent use.
type Session struct {
	mu         sync.Mutex
	bestEffort bool
	authentic  bool // a packet has been
	now, old   *keys
	oldUntil   time.Time
	local      *srtp.Context
	header     rtp.Header

	searched int       // searches since
	since    time.Time // the beginning of this second
}

// keys is what opens packets of one crypto line.
type keys struct {
	line Crypto
	ctx  *srtp.Context
	// probe is where counters are tried, since trying leaves traces.
	probe  *srtp.Context
	probes int
	// sources are those that have been authentic; bit 32 tells RTCP's from
	// RTP's. made is the window that was made last, verdict what a window said
	// last.
	sources map[uint64]*window
	made    *window
	verdict check
}

// New checks the configuration.
func New(cfg Config) (*Session, error) {
	k, err := newKeys(cfg.Remote)
	if err != nil {
		return nil, err
	}
	s := &Session{bestEffort: cfg.BestEffort, now: k}
	if s.local, err = sealer(cfg.Local); err != nil {
		return nil, err
	}
	return s, nil
}

func sealer(c Crypto) (*srtp.Context, error) {
	if c.Suite == 0 {
		return nil, nil
	}
	return newContext(c)
}

func newKeys(c Crypto) (*keys, error) {
	k := &keys{line: c, sources: map[uint64]*window{}}
	return k, k.reset()
}

// reset forgets all sources.
func (k *keys) reset() error {
	detector := func() replaydetector.ReplayDetector {
		k.made = &window{verdict: &k.verdict}
		return k.made
	}
	ctx, err := newContext(k.line, srtp.SRTPReplayDetectorFactory(detector), srtp.SRTCPReplayDetectorFactory(detector))
	if err == nil {
		k.ctx = ctx
		clear(k.sources)
	}
	return err
}

func newContext(c Crypto, options ...srtp.ContextOption) (*srtp.Context, error) {
	if err := c.usable(); err != nil {
		return nil, fmt.Errorf("srtp: crypto tag %d: %w", c.Tag, err)
	}
	if err := c.checkKeys(); err != nil {
		return nil, err
	}
	n := c.Suite.KeyLen()
	for _, k := range c.Keys {
		if len(k.Material) != n+c.Suite.SaltLen() {
			return nil, fmt.Errorf("srtp: crypto tag %d: key and salt are %d bytes, %v needs %d", c.Tag, len(k.Material), c.Suite, n+c.Suite.SaltLen())
		}
	}
	first := c.Keys[0]
	ctx, err := srtp.CreateContext(first.Material[:n], first.Material[n:], profile(c.Suite),
		append(options, srtp.MasterKeyIndicator(first.MKI))...)
	if err != nil {
		return nil, fmt.Errorf("srtp: crypto tag %d: %w", c.Tag, err)
	}
	for _, k := range c.Keys[1:] {
		if err := ctx.AddCipherForMKI(k.MKI, k.Material[:n], k.Material[n:]); err != nil {
			return nil, fmt.Errorf("srtp: crypto tag %d: %w", c.Tag, err)
		}
	}
	return ctx, nil
}

func profile(s Suite) srtp.ProtectionProfile {
	switch s {
	case AESCM128SHA80:
		return srtp.ProtectionProfileAes128CmHmacSha1_80
	case AESCM128SHA32:
		return srtp.ProtectionProfileAes128CmHmacSha1_32
	case AESCM256SHA80:
		return srtp.ProtectionProfileAes256CmHmacSha1_80
	case AESCM256SHA32:
		return srtp.ProtectionProfileAes256CmHmacSha1_32
	case AES128GCM:
		return srtp.ProtectionProfileAeadAes128Gcm
	default:
		return srtp.ProtectionProfileAeadAes256Gcm
	}
}

// Rekey replaces the other side's line, and ours unless local is the zero value,
// after a change of the session description at now. The keys before stay valid
// for 200 ms. A line that is the same changes nothing, counters included.
func (s *Session) Rekey(remote, local Crypto, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if remote.Value() != s.now.line.Value() {
		k, err := newKeys(remote)
		if err != nil {
			return err
		}
		s.old, s.oldUntil, s.now = s.now, now.Add(oldKeyTime), k
	}
	if local.Suite == 0 {
		return nil
	}
	ctx, err := sealer(local)
	if err == nil {
		s.local = ctx
	}
	return err
}

// Open checks and decrypts an RTP or RTCP packet that arrived at now. The plain
// packet is written to dst, which must not overlap the datagram and needs room
// for it, or is the datagram itself if it was sent plain and that is accepted.
// authentic says that it was sealed by who has the keys. On an error nothing of
// the packet may be used.
func (s *Session) Open(dst, datagram []byte, now time.Time) (plain []byte, authentic bool, err error) {
	if len(datagram) < rtcpLen || datagram[0]>>6 != 2 {
		return nil, false, fmt.Errorf("%w: neither RTP nor RTCP", ErrForged)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old != nil && !now.Before(s.oldUntil) {
		s.old = nil
	}
	rtcp := datagram[1] >= 192 && datagram[1] <= 223
	if rtcp {
		plain, err = s.openRTCP(dst, datagram)
	} else {
		plain, err = s.openRTP(dst, datagram, now)
	}
	switch {
	case err == nil:
		s.authentic = true
		return plain, true, nil
	case errors.Is(err, ErrForged) && s.bestEffort && !s.authentic:
		return datagram, false, nil
	default:
		return nil, false, err
	}
}

func (s *Session) openRTP(dst, datagram []byte, now time.Time) ([]byte, error) {
	if len(datagram) < headerLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrForged, len(datagram))
	}
	ssrc := binary.BigEndian.Uint32(datagram[8:])
	plain, err := s.now.open(dst, datagram, &s.header, ssrc)
	if errors.Is(err, ErrForged) && s.old != nil {
		if p, e := s.old.open(dst, datagram, &s.header, ssrc); !errors.Is(e, ErrForged) {
			return p, e
		}
	}
	if !errors.Is(err, ErrForged) {
		return plain, err
	}
	if now.Sub(s.since) >= time.Second {
		s.since, s.searched = now, 0
	}
	if s.searched >= searches {
		return nil, err
	}
	s.searched++
	if !s.now.search(dst, datagram, &s.header, ssrc) {
		return nil, err
	}
	return s.now.open(dst, datagram, &s.header, ssrc)
}

func (s *Session) openRTCP(dst, datagram []byte) ([]byte, error) {
	plain, err := s.now.openRTCP(dst, datagram)
	if errors.Is(err, ErrForged) && s.old != nil {
		if p, e := s.old.openRTCP(dst, datagram); !errors.Is(e, ErrForged) {
			return p, e
		}
	}
	return plain, err
}

func (k *keys) open(dst, datagram []byte, h *rtp.Header, ssrc uint32) ([]byte, error) {
	k.verdict = fresh
	plain, err := k.ctx.DecryptRTP(dst, datagram, h)
	if err != nil {
		return nil, k.why()
	}
	return plain, k.note(uint64(ssrc))
}

func (k *keys) openRTCP(dst, datagram []byte) ([]byte, error) {
	k.verdict = fresh
	plain, err := k.ctx.DecryptRTCP(dst, datagram, nil)
	if err != nil {
		return nil, k.why()
	}
	return plain, k.note(uint64(binary.BigEndian.Uint32(datagram[4:])) | 1<<32)
}

// why reduces the library's reasons for not opening a packet to two.
func (k *keys) why() error {
	if k.verdict == seen {
		return ErrReplayed
	}
	return ErrForged
}

// note remembers an authentic source. When there are too many, all are
// forgotten; the counters of those that go on are found again.
func (k *keys) note(source uint64) error {
	if _, ok := k.sources[source]; ok {
		return nil
	}
	if len(k.sources) >= maxSources {
		return k.reset()
	}
	k.sources[source] = k.made
	return nil
}

// search looks for the rollover counter under which the packet is authentic,
// and sets it. A source that is known goes only forward: an old packet that is
// sent again must not turn its counter back.
func (k *keys) search(dst, datagram []byte, h *rtp.Header, ssrc uint32) bool {
	if k.probe == nil || k.probes >= maxSources {
		ctx, err := newContext(k.line)
		if err != nil {
			return false
		}
		k.probe, k.probes = ctx, 0
	}
	k.probes++
	var first, least uint64
	if w := k.sources[uint64(ssrc)]; w != nil {
		first, least = w.latest>>16, w.latest+1
	}
	seq := uint64(binary.BigEndian.Uint16(datagram[2:]))
	for roc := first; roc <= first+maxRollover && roc <= math.MaxUint32; roc++ {
		if roc<<16|seq < least {
			continue
		}
		k.probe.SetROC(ssrc, uint32(roc))
		if _, err := k.probe.DecryptRTP(dst, datagram, h); err == nil {
			k.probe = nil
			k.ctx.SetROC(ssrc, uint32(roc))
			return true
		}
	}
	return false
}

// Seal makes an RTCP packet fit for the other side. It is written to dst.
func (s *Session) Seal(dst, packet []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.local == nil {
		return nil, errors.New("srtp: there is no key of our own to seal RTCP with")
	}
	out, err := s.local.EncryptRTCP(dst, packet, nil)
	if err != nil {
		return nil, fmt.Errorf("srtp: sealing RTCP: %w", err)
	}
	return out, nil
}

// Replayed says whether an error of Open is ErrReplayed.
func (s *Session) Replayed(err error) bool { return errors.Is(err, ErrReplayed) }
