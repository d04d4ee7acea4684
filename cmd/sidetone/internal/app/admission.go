package app

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal/stream"
	"sidetone/media"
	"sidetone/media/port"
)

// cause is why a call is refused; it labels the metrics.
type cause string

const (
	causeDrain   cause = "drain"
	causeCalls   cause = "max_calls"
	causePorts   cause = "ports"
	causeLoad    cause = "overload"
	causeJournal cause = "journal"
	causeDisk    cause = "disk"
	// causeRequest and causeServer are not the admission's: the request was wrong,
	// or the server failed.
	causeRequest cause = "request"
	causeServer  cause = "server"
)

const (
	// retryBusy and retryDrain are when a refused caller may come again, in seconds.
	retryBusy, retryDrain = 5, 60
	// opens is how far below its limit a measure must fall, as a share, until the
	// door that it has shut opens: without it the door would flap.
	opens = 0.8
	// freePorts is what a call of two legs needs.
	freePorts = 2
)

// refusal is why no call is taken now.
type refusal struct {
	cause cause
	// text says what is wrong, hint what the caller, or who runs the server, can do.
	text, hint string
	// retry is when to come again, in seconds.
	retry int
}

func (r *refusal) Error() string { return fmt.Sprintf("%v: %s", r.Unwrap(), r.text) }

// Unwrap makes the refusal one of those that sources tell apart.
func (r *refusal) Unwrap() error {
	if r.cause == causeDrain {
		return media.ErrDraining
	}
	return media.ErrBusy
}

// gate is a measure by which new calls are refused. shut says why they are, or
// nothing.
type gate struct {
	cause cause
	hint  string
	shut  func() string
}

// admission decides whether a new call is taken, whatever brings it. A call that
// was taken keeps its place: legs that join it, and forks that come back to it,
// are not asked about.
type admission struct {
	log     *slog.Logger
	refused *prometheus.CounterVec
	metrics *metrics
	// draining and closing say that no more calls are taken: for the time being, or
	// because the server stops.
	draining, closing atomic.Bool

	mu    sync.Mutex
	gates []gate
	// last is the cause for which a call was refused last, so that the log has one
	// line for each change and not for each call.
	last cause
}

func newAdmission(m *metrics, log *slog.Logger) *admission {
	a := &admission{log: log, refused: m.refused, metrics: m}
	m.gauge("draining", "1 while no calls are taken because the server drains.", func() float64 { return one(a.drains()) })
	return a
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// watch adds a gate. What is exported of it says whether it is shut.
func (a *admission) watch(g gate) {
	a.mu.Lock()
	a.gates = append(a.gates, g)
	a.mu.Unlock()
	a.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sidetone_door_shut", Help: "1 while new calls are refused for the cause.", ConstLabels: prometheus.Labels{"cause": string(g.cause)},
	}, func() float64 { return one(g.shut() != "") }))
}

func (a *admission) drains() bool { return a.draining.Load() || a.closing.Load() }

// check says why no call is taken at all now; nil: one may be.
func (a *admission) check() *refusal {
	switch {
	case a.closing.Load():
		return &refusal{causeDrain, "the server is stopping", "use another node", retryDrain}
	case a.draining.Load():
		return &refusal{causeDrain, "the server drains: running calls go on", "use another node, or DELETE /v1/drain to take calls again", retryDrain}
	}
	a.mu.Lock()
	gates := a.gates
	a.mu.Unlock()
	for _, g := range gates {
		if why := g.shut(); why != "" {
			return &refusal{g.cause, why, g.hint, retryBusy}
		}
	}
	return nil
}

// would says why no call beside those that are running would be taken.
func (a *admission) would(running, most int) error {
	if r := a.room(running, most); r != nil {
		return r
	}
	return nil
}

func (a *admission) room(running, most int) *refusal {
	if r := a.check(); r != nil || running < most {
		return r
	}
	return &refusal{causeCalls, fmt.Sprintf("%d calls are running, which is the limit (media.max_calls)", running),
		"try again later or at another node, or raise media.max_calls and the port range", retryBusy}
}

// admit decides on one more call beside those that are running.
func (a *admission) admit(running, most int) error {
	r := a.room(running, most)
	a.mu.Lock()
	defer a.mu.Unlock()
	if r == nil {
		if a.last != "" {
			a.log.Info("calls are taken again", "cause", a.last)
		}
		a.last = ""
		return nil
	}
	if r.cause != a.last {
		a.log.Warn("calls are refused", "cause", r.cause, "because", r.text, "hint", r.hint)
	}
	a.last = r.cause
	return r
}

// count counts a call that does not come to be, by who brought it.
func (a *admission) count(source string, err error) {
	a.refused.WithLabelValues(source, string(causeOf(err))).Inc()
}

// causeOf finds the cause in an error of opening a call.
func causeOf(err error) cause {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.cause
	case errors.Is(err, port.ErrNoPort):
		return causePorts
	case errors.Is(err, media.ErrBusy):
		return causeLoad
	case errors.Is(err, media.ErrDraining):
		return causeDrain
	case classify(err).Status < 500:
		return causeRequest
	default:
		return causeServer
	}
}

// watchLoad refuses calls while recognition is overloaded.
func (a *admission) watchLoad(r *recogniser) {
	if r.local == nil {
		return
	}
	a.watch(gate{
		causeLoad, "try again in some seconds or at another node; see recognition.max_partial_wait, max_final_wait, workers and compute",
		func() string {
			l := r.load()
			if !l.Overloaded {
				return ""
			}
			return fmt.Sprintf("recognition is overloaded: partials wait %v, a final waited %v",
				l.PartialWait.Round(time.Millisecond), l.FinalWait.Round(time.Millisecond))
		},
	})
}

// watchPorts refuses calls while the range has no ports for one.
func (a *admission) watchPorts(pool *port.Pool) {
	a.watch(gate{
		causePorts, "try again in some seconds; a wider range (media.first_port, last_port) has room for more legs",
		func() string {
			if n, bounded := pool.Free(time.Now()); bounded && n < freePorts {
				return fmt.Sprintf("%d RTP ports are free, a call needs %d", n, freePorts)
			}
			return ""
		},
	})
}

// watchJournal refuses calls while the journal cannot write down what happens to
// them as it comes.
func (a *admission) watchJournal(health func() stream.Health) {
	var full latch
	a.watch(gate{
		causeJournal, "see whether NATS answers and its disk has room (sidetone doctor); running calls go on, what they say waits in memory",
		func() string {
			h := health()
			over := full.set(float64(h.Bytes)+1, float64(h.Limit))
			switch why := h.Err(); {
			case why != "":
				return "the journal is behind: " + why
			case over:
				return fmt.Sprintf("the journal is behind: %d events wait (%d of %d MiB)", h.Waiting, h.Bytes>>20, h.Limit>>20)
			default:
				return ""
			}
		},
	})
}

// watchStorage refuses calls while there is hardly room to keep them.
func (a *admission) watchStorage(c *config.Config) error {
	dir, err := c.Storage.Path()
	if err != nil {
		return err
	}
	a.watchDisk(dir, uint64(c.Storage.MinFreeMB)<<20, freeBytes)
	return nil
}

// watchDisk refuses calls while a disk has less than so many bytes free. What
// free cannot tell shuts nothing.
func (a *admission) watchDisk(dir string, least uint64, free func(dir string) (uint64, error)) {
	if least == 0 {
		return
	}
	var low latch
	a.watch(gate{
		causeDisk, "make room on the disk of storage.dir; see storage.min_free_mb",
		func() string {
			n, err := free(dir)
			if err != nil || !low.set(float64(least), float64(n)) {
				return ""
			}
			return fmt.Sprintf("%d MiB are free on the disk of %s", n>>20, dir)
		},
	})
}

// latch is a limit with hysteresis. Its methods may be called concurrently.
type latch struct{ on atomic.Bool }

// set says whether value is above the limit or, after it was, above four fifths
// of it.
func (l *latch) set(value, limit float64) bool {
	if l.on.Load() {
		limit *= opens
	}
	over := value > limit
	l.on.Store(over)
	return over
}
