package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	voicestore "sidetone/voiceprint/store"
)

const (
	// countEvery is how old the figures of what is kept of voices may be: counting
	// reads whole tables.
	countEvery = time.Minute
	// countLimit bounds how long counting may take.
	countLimit = 10 * time.Second
)

// voiceCounts are the figures of what is kept of voices, counted when they are asked
// for and too old. While counting fails there are none.
type voiceCounts struct {
	// stats counts; nil: no voices are kept here.
	stats func(context.Context) (voicestore.Stats, error)
	now   func() time.Time
	log   *slog.Logger

	people, templates, passive, watch, overdue, hits, stale, unaudited *prometheus.Desc

	mu      sync.Mutex
	counted time.Time
	latest  voicestore.Stats
	err     error
}

var _ prometheus.Collector = (*voiceCounts)(nil)

func newVoiceCounts(stats func(context.Context) (voicestore.Stats, error), log *slog.Logger) *voiceCounts {
	of := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sidetone_voice_"+name, help, labels, nil)
	}
	return &voiceCounts{
		stats: stats, now: time.Now, log: log,
		people:    of("people", "Persons of whom something is kept, by how they stand to the use of their voice; enrolled ones count there, too.", "state"),
		templates: of("templates", "Templates, by the model that made them and whether they are compared with or still provisional.", "model", "use"),
		passive:   of("passive", "Persons who are enrolled by their calls, by how far that has come.", "phase"),
		watch:     of("watch_voices", "Voices that are looked for."),
		overdue:   of("watch_overdue", "Voices that are looked for though the date of their review is over."),
		hits:      of("hits_open", "Hits of the watch list that nobody has judged."),
		stale:     of("rows_stale", "Rows that are not sealed under the newest keys."),
		unaudited: of("unaudited", "Entries about voices that the audit log has not taken yet."),
	}
}

// Describe implements prometheus.Collector.
func (c *voiceCounts) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.people, c.templates, c.passive, c.watch, c.overdue, c.hits, c.stale, c.unaudited} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *voiceCounts) Collect(to chan<- prometheus.Metric) {
	s, ok := c.read()
	if !ok {
		return
	}
	put := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for state, n := range s.Persons {
		put(c.people, n, string(state))
	}
	put(c.people, s.Enrolled, "enrolled")
	for model, n := range s.Templates {
		put(c.templates, n, model, "compared")
	}
	put(c.templates, s.Provisional, "", "provisional")
	for phase, n := range s.Passive {
		put(c.passive, n, string(phase))
	}
	put(c.watch, s.Watch.Voices)
	put(c.overdue, s.Watch.Overdue)
	put(c.hits, s.Watch.Hits)
	put(c.stale, int64(s.Stale))
	put(c.unaudited, int64(s.Unaudited))
}

// read counts anew where that is due.
func (c *voiceCounts) read() (voicestore.Stats, bool) {
	if c.stats == nil {
		return voicestore.Stats{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if !c.counted.IsZero() && now.Sub(c.counted) < countEvery {
		return c.latest, c.err == nil
	}
	c.counted = now
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	was := c.err
	if c.latest, c.err = c.stats(ctx); c.err != nil && was == nil {
		c.log.Warn("what is kept of voices cannot be counted", "error", c.err)
	}
	return c.latest, c.err == nil
}
