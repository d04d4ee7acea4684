// Package report keeps one leg's side of RTCP (RFC 3550, section 6): it reads
// sender reports and goodbyes, and makes the receiver reports that tell the
// sender how its packets arrive.
//
// Some session border controllers take a stream down whose receiver never
// reports; and a sender report says at what wall time a timestamp was sampled,
// which is how two legs of a call are laid side by side.
//
// A Reporter is for one goroutine, or for several that take turns. It reads no
// clock.
package report

import (
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/pion/rtcp"
)

// DefaultInterval stands for zero in Config.Interval: RFC 3550's least.
const DefaultInterval = 5 * time.Second

// Config describes a reporter.
type Config struct {
	// SSRC is our own synchronisation source, CNAME our name (RFC 7022: better
	// a random one).
	SSRC  uint32
	CNAME string
	// Interval is the mean time between two reports; each is half to one and a
	// half of it.
	Interval time.Duration
	// Seed makes that choice.
	Seed uint64
}

// Reception is what a receiver report says of one source.
type Reception struct {
	SSRC uint32
	// Highest is the highest sequence number, extended by its wraps.
	Highest uint32
	// Expected and Lost count packets since the beginning.
	Expected, Lost uint64
	// Jitter is in units of the RTP clock.
	Jitter uint32
}

// Sent is what a sender report says: the wall time of a timestamp.
type Sent struct {
	SSRC  uint32
	Wall  time.Time
	Stamp uint32
}

// Received is what one compound packet said.
type Received struct {
	// Sent is the newest sender report; its Wall is zero if there was none.
	Sent Sent
	// Byes counts sources that said goodbye.
	Byes int
}

// Reporter is the state of one leg.
type Reporter struct {
	cfg Config
	rng *rand.Rand

	due time.Time
	// Of the newest sender report: whose, the middle of its NTP time, and when
	// it came.
	sender uint32
	middle uint32
	at     time.Time
	// Of the last receiver report.
	about                    uint32
	priorExpected, priorLost uint64
}

// New checks the configuration.
func New(cfg Config) (*Reporter, error) {
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	switch {
	case cfg.Interval < 0:
		return nil, fmt.Errorf("report: an interval of %v must be positive", cfg.Interval)
	case cfg.CNAME == "" || len(cfg.CNAME) > 255:
		return nil, fmt.Errorf("report: a CNAME of %d bytes, expected 1 to 255", len(cfg.CNAME))
	}
	return &Reporter{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.SSRC)))}, nil
}

// Receive reads a compound packet that arrived at now.
func (r *Reporter) Receive(packet []byte, now time.Time) (Received, error) {
	var got Received
	all, err := rtcp.Unmarshal(packet)
	if err != nil {
		return got, fmt.Errorf("report: not RTCP: %w", err)
	}
	for _, p := range all {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			// A sender without a clock of its own sends zero.
			if p.NTPTime == 0 {
				continue
			}
			r.sender, r.middle, r.at = p.SSRC, uint32(p.NTPTime>>16), now
			got.Sent = Sent{SSRC: p.SSRC, Wall: wall(p.NTPTime, now), Stamp: p.RTPTime}
		case *rtcp.Goodbye:
			got.Byes += len(p.Sources)
		}
	}
	return got, nil
}

// wall converts NTP's seconds since 1900 and their fraction (RFC 3550, section
// 4). Their era is the one that brings them closest to now; what is compared
// are differences, so a sender whose clock is wrong does no harm.
func wall(ntp uint64, now time.Time) time.Time {
	const unixEpoch = 2208988800 // of 1970, in NTP's seconds
	seconds := uint32(ntp>>32) - uint32(unixEpoch)
	ahead := int32(seconds - uint32(now.Unix()))
	nanos, _ := bits.Mul64(ntp<<32, uint64(time.Second))
	return time.Unix(now.Unix()+int64(ahead), int64(nanos)).UTC()
}

// Due says whether the next receiver report is to be made at now. The first is
// due half an interval after the first call.
func (r *Reporter) Due(now time.Time) bool {
	if r.due.IsZero() {
		r.due = now.Add(r.cfg.Interval / 2)
	}
	return !now.Before(r.due)
}

// Make makes a receiver report at now, and sets when the next is due.
func (r *Reporter) Make(in Reception, now time.Time) ([]byte, error) {
	r.due = now.Add(r.cfg.Interval/2 + time.Duration(r.rng.Int64N(int64(r.cfg.Interval)+1)))
	if in.SSRC != r.about {
		r.about, r.priorExpected, r.priorLost = in.SSRC, 0, 0
	}
	block := rtcp.ReceptionReport{
		SSRC: in.SSRC, LastSequenceNumber: in.Highest, Jitter: in.Jitter,
		TotalLost: uint32(min(in.Lost, 1<<23-1)),
	}
	// RFC 3550, appendix A.3. Packets that came late make the loss of an
	// interval negative, which counts as none.
	if expected := in.Expected - r.priorExpected; in.Expected > r.priorExpected && in.Lost > r.priorLost {
		block.FractionLost = uint8(min(255, (in.Lost-r.priorLost)*256/expected))
	}
	r.priorExpected, r.priorLost = in.Expected, in.Lost
	if !r.at.IsZero() && r.sender == in.SSRC {
		block.LastSenderReport = r.middle
		since := max(0, now.Sub(r.at))
		block.Delay = uint32(min(since/time.Second, 65535)<<16) | uint32((since%time.Second)<<16/time.Second)
	}
	packet := rtcp.CompoundPacket{
		&rtcp.ReceiverReport{SSRC: r.cfg.SSRC, Reports: []rtcp.ReceptionReport{block}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
			Source: r.cfg.SSRC,
			Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: r.cfg.CNAME}},
		}}},
	}
	b, err := packet.Marshal()
	if err != nil {
		return nil, errors.Join(errors.New("report: making a receiver report"), err)
	}
	return b, nil
}
