package app

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sidetone/media"
)

// lagBuckets are bounds in seconds for lags that a person feels.
var lagBuckets = []float64{0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10} //nolint:gochecknoglobals // a constant that Go cannot spell

// metrics are the server's figures, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry

	running       prometheus.Gauge
	calls         *prometheus.CounterVec
	packets       *prometheus.CounterVec
	frames        *prometheus.CounterVec
	hypotheses    *prometheus.CounterVec
	finalLag      prometheus.Histogram
	wordLag       prometheus.Histogram
	cards         *prometheus.CounterVec
	cardActions   *prometheus.CounterVec
	cardLatency   prometheus.Histogram
	refused       *prometheus.CounterVec
	guidanceError prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sidetone_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sidetone_" + name, Help: help, Buckets: lagBuckets})
	}
	m := &metrics{
		registry:      prometheus.NewRegistry(),
		running:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "sidetone_calls_running", Help: "Calls that are running."}),
		calls:         counter("calls_total", "Calls that are over, by end state.", "state"),
		packets:       counter("rtp_packets_total", "Datagrams of legs that are over, by what became of them.", "what"),
		frames:        counter("frames_total", "20 ms frames that were not decoded speech, or were dropped.", "what"),
		hypotheses:    counter("hypotheses_total", "Hypotheses delivered, by kind and role.", "kind", "role"),
		finalLag:      histogram("final_lag_seconds", "From the end of an utterance's speech to its final transcript."),
		wordLag:       histogram("stable_word_lag_seconds", "From the end of a word to the hypothesis that made it stable."),
		cards:         counter("cards_total", "Cards shown, by kind.", "kind"),
		cardActions:   counter("card_actions_total", "What agents did with cards.", "action"),
		cardLatency:   histogram("card_latency_seconds", "From the end of the triggering word to the painted card."),
		refused:       counter("calls_refused_total", "Calls refused, by HTTP status.", "status"),
		guidanceError: prometheus.NewCounter(prometheus.CounterOpts{Name: "sidetone_guidance_errors_total", Help: "Errors of guidance, such as a missing element."}),
	}
	m.registry.MustRegister(m.running, m.calls, m.packets, m.frames, m.hypotheses, m.finalLag, m.wordLag,
		m.cards, m.cardActions, m.cardLatency, m.refused, m.guidanceError,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// gauge adds a figure that is read when it is asked for.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidetone_" + name, Help: help}, read))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// leg adds the statistics of a leg that is over.
func (m *metrics) leg(s media.LegStats, dropped uint64) {
	for what, n := range map[string]uint64{
		"received": s.Received, "lost": s.Lost, "late": s.Late, "duplicate": s.Duplicate, "reordered": s.Reordered,
		"invalid": s.Invalid, "foreign": s.Foreign, "rtcp": s.RTCP,
	} {
		m.packets.WithLabelValues(what).Add(float64(n))
	}
	m.frames.WithLabelValues("concealed").Add(float64(s.ConcealedFrames))
	m.frames.WithLabelValues("inserted").Add(float64(s.InsertedFrames))
	m.frames.WithLabelValues("dropped").Add(float64(dropped))
}

func seconds(d time.Duration) float64 { return max(0, d.Seconds()) }
