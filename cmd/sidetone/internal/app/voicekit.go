package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"sidetone/asr/vad"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/voiceguard"
	"sidetone/cmd/sidetone/internal/voicelearn"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/audit"
	"sidetone/internal/models"
	"sidetone/internal/pcm"
	"sidetone/internal/records"
	"sidetone/internal/seal"
	"sidetone/internal/store"
	"sidetone/voiceprint"
	"sidetone/voiceprint/backend"
	"sidetone/voiceprint/embed/campplus"
	voicequality "sidetone/voiceprint/quality"
	"sidetone/voiceprint/spoof"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/ledger"
)

// VoiceEngine is what compares voices.
type VoiceEngine struct {
	Embedder voiceprint.Embedder
	Scorer   voiceprint.Scorer
	Params   *backend.Params
	Rules    voicequality.Rules
}

// LoadVoiceEngine loads the model and the parameters: those of the file, or the
// built-in ones if it is empty.
func LoadVoiceEngine(store *models.Store, parameters string) (*VoiceEngine, error) {
	weights, err := store.FS(config.VoiceModel)
	if err != nil {
		return nil, err
	}
	f, err := weights.Open("campplus_cn_en_common.pt")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := campplus.Load(f, campplus.Config{})
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", config.VoiceModel, err)
	}
	e := &VoiceEngine{Rules: voicequality.DefaultRules()}
	if e.Params, err = readVoiceParams(parameters); err != nil {
		return nil, err
	}
	if e.Embedder, err = e.Params.Embedder(raw); err != nil {
		return nil, fmt.Errorf("voice.parameters: %w", err)
	}
	if e.Scorer, err = e.Params.Scorer(); err != nil {
		return nil, fmt.Errorf("voice.parameters: %w", err)
	}
	return e, nil
}

func readVoiceParams(path string) (*backend.Params, error) {
	if path == "" {
		return backend.Default()
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("voice.parameters: %w", err)
	}
	defer f.Close()
	p, err := backend.Read(f)
	if err != nil {
		return nil, fmt.Errorf("voice.parameters: %s: %w", path, err)
	}
	return p, nil
}

// Enroller makes templates.
func (e *VoiceEngine) Enroller(detector *vad.Model) (*voices.Enroller, error) {
	return voices.NewEnroller(voices.EnrollerConfig{
		Embedder: e.Embedder, Scorer: e.Scorer, Detector: detector,
		NewMeter: func() (voices.Meter, error) { return e.meter(e.Rules.Enrolment) },
	})
}

// meter measures by limits.
func (e *VoiceEngine) meter(l voicequality.Limits) (voices.Meter, error) {
	m, err := voicequality.NewMeter()
	if err != nil {
		return nil, err
	}
	v, err := voicequality.NewVoices(voicequality.VoicesConfig{Dim: e.Embedder.Model().Dim})
	if err != nil {
		return nil, err
	}
	return &voiceMeter{heard: m, voices: v, limits: l}, nil
}

// voiceMeter joins what measures audio and what compares its stretches.
type voiceMeter struct {
	heard  *voicequality.Meter
	voices *voicequality.Voices
	limits voicequality.Limits
}

var _ voices.Meter = (*voiceMeter)(nil)

// Add implements voices.Meter.
func (m *voiceMeter) Add(f *pcm.Frame, speech bool) bool { return m.heard.Add(f, speech) }

// Stretch implements voices.Meter.
func (m *voiceMeter) Stretch(e voiceprint.Embedding) error {
	return m.voices.Add(e)
}

// Reset implements voices.Meter.
func (m *voiceMeter) Reset() {
	m.heard.Reset()
	m.voices.Reset()
}

// Measure implements voices.Meter.
func (m *voiceMeter) Measure() (voiceprint.Quality, []voiceprint.Reason) {
	q := m.heard.Quality()
	q.Unlike = m.voices.Unlike()
	// How much speech a decision takes the verifier knows.
	l := m.limits
	l.Net = 0
	return q, l.Reasons(q)
}

// voiceKit is all that a server needs to compare voices.
type voiceKit struct {
	engine   *VoiceEngine
	ear      *voices.Ear
	enroller *voices.Enroller
	learner  *voicelearn.Learner
	store    *voicestore.Store
	lookout  *voiceguard.Lookout
	prints   *voiceguard.Prints
	links    *voiceLinks
	spoof    spoof.Policy
	node     string
	// keys is the folder of the keys.
	keys string
	log  *slog.Logger
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// openVoiceStore opens what is kept of voices.
func openVoiceStore(ctx context.Context, cfg *config.Config, db *store.DB, trail *audit.Log, keys string, log *slog.Logger) (*voicestore.Store, error) {
	ring, err := seal.Open(seal.Config{Dir: keys})
	if err != nil {
		return nil, fmt.Errorf("storage.keys: %w", err)
	}
	s, err := voicestore.Open(ctx, voicestore.Config{
		DB: db, Keys: ring, KeyDir: keys, Audit: trail, Canonical: canonical, KeepAudio: cfg.Voice.KeepAudio, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("voice: %w", err)
	}
	return s, nil
}

// canonical writes a customer in one way: telephone numbers as the records do.
func canonical(subject string) string {
	if isAgent(subject) {
		return subject
	}
	return records.Address(subject)
}

// openVoices loads what compares voices; nil where none is compared.
func openVoices(ctx context.Context, cfg *config.Config, s *storage, models *models.Store, detector *vad.Model, log *slog.Logger) (*voiceKit, error) {
	if !cfg.Voice.On {
		return nil, nil //nolint:nilnil // off is no error
	}
	k := &voiceKit{node: s.node, keys: s.keys, log: log}
	var err error
	if k.engine, err = LoadVoiceEngine(models, cfg.Voice.Parameters); err != nil {
		return nil, err
	}
	if k.store, err = openVoiceStore(ctx, cfg, s.store, s.audit, s.keys, log); err != nil {
		return nil, err
	}
	if k.enroller, err = k.engine.Enroller(detector); err != nil {
		return nil, err
	}
	if err = k.openGuard(&cfg.Voice); err != nil {
		return nil, err
	}
	if k.learner, err = k.newLearner(&cfg.Voice); err != nil {
		return nil, fmt.Errorf("voice: %w", err)
	}
	policy := voiceprint.DefaultPolicy()
	policy.FAR, policy.Miss, policy.Limit = cfg.Voice.FAR, cfg.Voice.Miss, cfg.Voice.Limit
	k.ear, err = voices.New(voices.Config{
		Embedder: k.engine.Embedder, Scorer: k.engine.Scorer, Policy: policy, People: people{k},
		NewMeter: func() (voices.Meter, error) { return k.engine.meter(k.engine.Rules.Verification) }, Stretch: voicequality.Stretch * time.Second / voiceprint.Rate,
		Looks: cfg.Voice.Looks, Log: log, Stages: searchStages(),
	})
	if err != nil {
		return nil, fmt.Errorf("voice: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.wg.Go(func() {
		k.fillGuard(run)
		k.tidy(run, &cfg.Voice.Keep)
	})
	return k, nil
}

// tidy expires again and again until ctx ends.
func (k *voiceKit) tidy(ctx context.Context, keep *config.VoiceKeep) {
	every := time.NewTicker(expireEvery)
	defer every.Stop()
	for {
		if err := k.expire(ctx, keep, time.Now()); err != nil && ctx.Err() == nil {
			k.log.Error("what was kept of voices long enough cannot be deleted", "error", err)
		}
		if err := k.keepTombstones(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("who has opted out or was erased cannot be written down beside the keys: a backup that is restored may bring them back", "error", err)
		}
		k.follow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

// close ends what goes on. Idempotent; nil does nothing.
func (k *voiceKit) close() {
	if k == nil {
		return
	}
	k.stop()
	k.wg.Wait()
}

// erase deletes what is known of the voice of a customer, who may be empty, and of
// those in calls.
func (k *voiceKit) erase(ctx context.Context, customer string, keys []string) error {
	if customer != "" {
		if _, err := k.store.Erase(ctx, k.system(), customer, false); err != nil && !errors.Is(err, voicestore.ErrUnknown) {
			return err
		}
		k.forget(customer)
	}
	k.forgetCalls(keys)
	return k.store.EraseCalls(ctx, k.system(), keys...)
}

// expire deletes what has been kept as long as it may be.
func (k *voiceKit) expire(ctx context.Context, keep *config.VoiceKeep, now time.Time) error {
	gone, err := k.store.Expire(ctx, k.system(), now, voicestore.Retention{
		Unused: keep.Unused, Audio: keep.Audio, Prints: keep.Prints, Comparisons: keep.Comparisons, Hits: keep.Hits,
	})
	if err != nil {
		return err
	}
	calls, err := k.store.ExpirePassive(ctx, k.system(), now.Add(-k.learner.Keep()), k.learner.Expire(now))
	if err != nil || calls == 0 && gone == (voicestore.Lapsed{}) {
		return err
	}
	k.log.Info("deleted what was kept of voices long enough", "templates", gone.Templates, "audio", gone.Audio,
		"prints", gone.Prints, "comparisons", gone.Comparisons, "watch", gone.Watch, "hits", gone.Hits, "learnt", gone.Learnt, "passive", calls)
	return nil
}

// system is this server, where it acts by itself.
func (k *voiceKit) system() voicestore.Actor { return voicestore.Actor{Name: "system:" + k.node} }

// Enrolling makes templates of this server's model in somebody's name; nil where no
// voices are compared.
func (a *App) Enrolling(actor string) *Enrolling {
	if a.voices == nil {
		return nil
	}
	return &Enrolling{Enroller: a.voices.enroller, Store: a.voices.store, By: voicestore.Actor{Name: actor}}
}

// people finds whom voices are compared with.
type people struct{ kit *voiceKit }

var _ voices.People = people{}

// Templates implements voices.People.
func (p people) Templates(ctx context.Context, subject, model string) ([]voiceprint.Template, []voiceprint.Reason, error) {
	t, err := p.kit.store.Templates(ctx, p.kit.system(), subject, model)
	if reason, ok := voicestore.ReasonOf(err); ok {
		return nil, []voiceprint.Reason{reason}, nil
	}
	return t, nil, err
}

var _ comparisons = (*voiceKit)(nil)

// Compared implements comparisons.
func (k *voiceKit) Compared(ctx context.Context, c comparison) (string, error) {
	kept := voicestore.Comparison{
		Call: c.call, Leg: c.leg, At: c.at, Took: c.answer.Took, Decision: c.answer.Decision, Templates: c.answer.Templates, Signs: keptSigns(c.signs),
	}
	for _, l := range c.looks {
		kept.Looks = append(kept.Looks, ledger.Look{Net: l.net(), LLR: l.LLR, Accept: l.Accept})
	}
	id, err := k.store.Record(ctx, k.system(), c.answer.Subject, kept)
	if _, gone := voicestore.ReasonOf(err); gone {
		// They have opted out or were erased meanwhile: nothing of them is kept.
		return "", nil
	}
	return id, err
}
