package app

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/voiceprint"
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
	failovers     *prometheus.CounterVec
	voices        *prometheus.CounterVec
	voiceTook     prometheus.Histogram
	agentVoices   *prometheus.CounterVec
	voiceLearnt   *prometheus.CounterVec
	voiceSigns    *prometheus.CounterVec
	voiceHits     prometheus.Counter
	// How legs fared, one observation for each that is over.
	legLoss, legConcealed, legJitter, legLevel, legSkew, legClipped prometheus.Histogram
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
		refused:       counter("calls_refused_total", "Calls refused, by who brought them and by cause.", "source", "cause"),
		voices:        counter("voice_decisions_total", "Decisions on whose voice a leg carries, by outcome.", "outcome"),
		agentVoices:   counter("voice_agent_decisions_total", "Decisions on whose voice an agent's leg carries, by outcome.", "outcome"),
		voiceLearnt:   counter("voice_learnt_total", "Calls of named customers, by what passive enrolment or adaptation made of them.", "verdict"),
		voiceTook:     histogram("voice_decision_seconds", "From the first speech to a match or a mismatch."),
		voiceSigns:    counter("voice_spoof_signs_total", "Signs that a caller's voice is played or made, each once a leg.", "sign"),
		voiceHits:     prometheus.NewCounter(prometheus.CounterOpts{Name: "sidetone_voice_watch_hits_total", Help: "Legs on which a voice of the watch list seemed to be heard."}),
		guidanceError: prometheus.NewCounter(prometheus.CounterOpts{Name: "sidetone_guidance_errors_total", Help: "Errors of guidance, such as a missing element."}),
		failovers:     counter("asr_failovers_total", "Changes of a leg's engine: to the fallback and back to the primary.", "to"),
	}
	of := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sidetone_leg_" + name, Help: help, Buckets: buckets})
	}
	m.legLoss = of("loss_ratio", "Packets lost of a leg, as a share.", 0.001, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5)
	m.legConcealed = of("concealed_ratio", "Frames of a leg that were made up, as a share.", 0.001, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5)
	m.legJitter = of("jitter_seconds", "Interarrival jitter of a leg at its end.", 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
	m.legLevel = of("speech_level_dbfs", "Level of a leg's speech.", -60, -50, -45, -40, -35, -30, -25, -20, -15, -10, 0)
	m.legSkew = of("clock_skew_ppm", "How much faster a sender's clock runs, where it is known.", -1000, -200, -100, -50, -20, 0, 20, 50, 100, 200, 1000)
	m.legClipped = of("clipped_ratio", "Samples of a leg that were cut off at full scale, as a share.", 0.0001, 0.001, 0.005, 0.01, 0.05, 0.1)
	m.registry.MustRegister(m.legLoss, m.legConcealed, m.legJitter, m.legLevel, m.legSkew, m.legClipped)
	m.registry.MustRegister(m.agentVoices, m.voiceLearnt, m.voices, m.voiceTook, m.voiceSigns, m.voiceHits)
	m.registry.MustRegister(m.running, m.calls, m.packets, m.frames, m.hypotheses, m.finalLag, m.wordLag,
		m.cards, m.cardActions, m.cardLatency, m.refused, m.guidanceError, m.failovers,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// voiceDecided counts a decision on a voice, be it the agent's own.
func (m *metrics) voiceDecided(a *voices.Answer, own bool) {
	outcome := a.Decision.Outcome
	if own {
		m.agentVoices.WithLabelValues(outcome.String()).Inc()
		return
	}
	m.voices.WithLabelValues(outcome.String()).Inc()
	if outcome != voiceprint.Inconclusive {
		m.voiceTook.Observe(a.Took.Seconds())
	}
}

// gauge adds a figure that is read when it is asked for.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sidetone_" + name, Help: help}, read))
}

// build exports what runs, as labels of a 1.
func (m *metrics) build(a about) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sidetone_build_info", Help: "1, with what runs as labels.",
		ConstLabels: prometheus.Labels{"version": a.Version, "go": a.Go, "commit": a.Commit},
	}, func() float64 { return 1 }))
}

// counter adds a figure that only grows and is read when it is asked for.
func (m *metrics) counter(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "sidetone_" + name, Help: help}, read))
}

// watchWhisper exports what the engine whisper counts itself, and its load.
func (m *metrics) watchWhisper(r *recogniser) {
	s := r.local.Stats()
	count := func(n *atomic.Int64) func() float64 { return func() float64 { return float64(n.Load()) } }
	for _, g := range []struct {
		name, help string
		read       func() float64
	}{
		{"asr_decodes_queued", "Decodes that wait.", count(&s.Queued)},
		{"asr_decodes_running", "Decodes being worked on.", count(&s.Running)},
		{"asr_busy_seconds", "Time spent decoding.", func() float64 { return time.Duration(s.Busy.Load()).Seconds() }},
		{"asr_partials", "Partials decoded.", count(&s.Partials)},
		{"asr_finals", "Finals decoded.", count(&s.Finals)},
		{"asr_finals_foreseen", "Finals decoded at the pause that turned out to be the end of speech.", count(&s.Foreseen)},
		{"asr_second_decodes", "Decodes by the second model of what the first left in doubt.", count(&s.Seconds)},
		{"asr_second_failures", "Decodes by the second model that failed, so that the first one's counted.", count(&s.SecondFailures)},
		{"asr_stale_partials", "Partials dropped because a newer decode replaced them.", count(&s.StalePartials)},
		{"asr_guard_retries", "Decodes repeated with the full context after a guard refused.", count(&s.Retries)},
		{"asr_withdrawn", "Utterances left without words by the guards.", count(&s.Withdrawn)},
		{"asr_lost", "Finals given up because their leg was minutes behind.", count(&s.Lost)},
		{"asr_streams_refused", "Legs refused because the engine was overloaded.", count(&s.RefusedStreams)},
		{"asr_load_busy", "Share of the workers' time spent decoding, last ten seconds.", func() float64 { return r.load().Busy }},
		{"asr_partial_wait_seconds", "From asking for a partial to having it, mean of the last ten seconds.", func() float64 { return r.load().PartialWait.Seconds() }},
		{"asr_final_wait_seconds", "From an end of speech to its final, longest of the last ten seconds.", func() float64 { return r.load().FinalWait.Seconds() }},
		{"asr_overloaded", "1 while new calls are refused because of the waits.", func() float64 {
			if r.load().Overloaded {
				return 1
			}
			return 0
		}},
	} {
		m.gauge(g.name, g.help, g.read)
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// leg adds the statistics of a leg that is over.
func (m *metrics) leg(s media.LegStats, dropped uint64) {
	for what, n := range map[string]uint64{
		"received": s.Received, "lost": s.Lost, "late": s.Late, "duplicate": s.Duplicate, "reordered": s.Reordered,
		"invalid": s.Invalid, "foreign": s.Foreign, "forged": s.Forged, "rtcp": s.RTCP,
	} {
		m.packets.WithLabelValues(what).Add(float64(n))
	}
	q := s.Quality
	if all := s.Received + s.Lost; all > 0 {
		m.legLoss.Observe(float64(s.Lost) / float64(all))
		m.legJitter.Observe(seconds(s.Jitter))
	}
	if q.Frames > 0 {
		m.legConcealed.Observe(float64(s.ConcealedFrames) / float64(q.Frames))
		m.legClipped.Observe(float64(q.Clipped) / float64(q.Frames*pcm.FrameSamples))
	}
	if q.SpeechFrames > 0 {
		m.legLevel.Observe(q.Level)
	}
	if q.SkewKnown {
		m.legSkew.Observe(q.Skew)
	}
	m.frames.WithLabelValues("concealed").Add(float64(s.ConcealedFrames))
	m.frames.WithLabelValues("inserted").Add(float64(s.InsertedFrames))
	m.frames.WithLabelValues("dropped").Add(float64(dropped))
}

func seconds(d time.Duration) float64 { return max(0, d.Seconds()) }
