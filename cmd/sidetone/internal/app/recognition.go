package app

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"sidetone/asr"
	"sidetone/asr/failover"
	"sidetone/asr/remote/openai"
	"sidetone/asr/remote/vosk"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/models"
)

const (
	// maxKey bounds a key file, in bytes.
	maxKey = 4096
	// A server that fails is tried again for soon where a fallback waits to go on,
	// and for long where there is none.
	soon = 2 * time.Second
	long = 10 * time.Minute
)

// loaded is what whisper.Engine tells of itself.
type loaded interface {
	Load() whisper.Load
	Stats() *whisper.Stats
}

// recogniser is the engine that all calls share, with what the API tells of it.
type recogniser struct {
	asr.Engine
	c config.Recognition
	// local is the engine whisper, first or fallback; nil where it is not used.
	local loaded
	// languages are those that local knows.
	languages []string
	// pair is the engine with its fallback; nil where there is none.
	pair *failover.Engine
	// partialsLate and finalsLate remember that the waits were too long.
	partialsLate, finalsLate latch
}

// newRecogniser makes the configured engines; Close frees them.
func newRecogniser(c config.Recognition, store *models.Store, m *metrics, log *slog.Logger) (*recogniser, error) {
	r := &recogniser{c: c}
	var err error
	if r.Engine, err = r.build(c.Engine, store, log); err != nil {
		return nil, err
	}
	if c.Fallback != "" {
		err = r.fallBack(store, m, log)
	}
	if err == nil {
		err = r.checkLanguage(c.Language)
		if err != nil {
			err = fmt.Errorf("recognition.language: %w", err)
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	args := []any{"engine", c.Engine, "language", c.Language}
	if c.Fallback != "" {
		args = append(args, "fallback", c.Fallback)
	}
	if r.local != nil {
		args = append(args, "model", c.Model, "compute", c.Compute, "workers", c.Workers)
	}
	log.Info("recognition is ready", args...)
	return r, nil
}

// fallBack joins the engine with its fallback.
func (r *recogniser) fallBack(store *models.Store, m *metrics, log *slog.Logger) error {
	second, err := r.build(r.c.Fallback, store, log)
	if err != nil {
		return fmt.Errorf("recognition.fallback: %w", err)
	}
	fc := failover.Config{Switched: func(s asr.StreamConfig, err error) {
		l := log.With("call", s.Call, "leg", s.Leg)
		if err != nil {
			m.failovers.WithLabelValues("fallback").Inc()
			l.Warn("recognition fails; the fallback goes on", "engine", r.c.Engine, "fallback", r.c.Fallback, "error", err)
			return
		}
		m.failovers.WithLabelValues("primary").Inc()
		l.Info("recognition is back from the fallback", "engine", r.c.Engine, "fallback", r.c.Fallback)
	}}
	if r.c.Engine == config.OpenAI && r.c.OpenAI.PartialEvery == 0 {
		fc.Partial = -1
	}
	r.pair, err = failover.New(r.Engine, second, fc)
	if err != nil {
		return errors.Join(err, second.Close())
	}
	r.Engine = r.pair
	return nil
}

func (r *recogniser) build(engine string, store *models.Store, log *slog.Logger) (asr.Engine, error) {
	giveUp := long
	if r.c.Fallback != "" && engine == r.c.Engine {
		giveUp = soon
	}
	switch engine {
	case config.Whisper:
		return r.buildWhisper(store, log)
	case config.Vosk:
		return vosk.New(vosk.Config{URL: r.c.Vosk.URL, GiveUp: giveUp})
	case config.OpenAI:
		key, err := readKey(r.c.OpenAI.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("recognition.openai.key_file: %w", err)
		}
		return openai.New(openai.Config{
			URL: r.c.OpenAI.URL, Model: r.c.OpenAI.Model, Key: key, PartialEvery: r.c.OpenAI.PartialEvery, GiveUp: giveUp,
		})
	}
	return nil, fmt.Errorf("recognition.engine: %q is none", engine)
}

func (r *recogniser) buildWhisper(store *models.Store, log *slog.Logger) (asr.Engine, error) {
	compute, err := model.ParseCompute(r.c.Compute)
	if err != nil {
		return nil, fmt.Errorf("recognition.compute: %w", err)
	}
	if !compute.Fast() {
		log.Warn("this processor lacks the instructions for the compute mode: default would be faster", "compute", r.c.Compute)
	}
	m, err := loadModel(store, r.c.Model, compute)
	if err != nil {
		return nil, err
	}
	r.languages = m.Languages()
	wc := whisper.Config{Workers: r.c.Workers, PartialEvery: r.c.PartialEvery, FinalsAlways: r.c.FinalsAlways, Log: log}
	if f := r.c.FinalsModel; f != "" {
		if wc.Finals, err = loadModel(store, f, compute); err != nil {
			return nil, fmt.Errorf("recognition.finals_model: %w", err)
		}
		known := wc.Finals.Languages()
		r.languages = slices.DeleteFunc(r.languages, func(l string) bool { return !slices.Contains(known, l) })
	}
	// wc has no limits to its waits: new calls are refused by the admission, and
	// the legs of those that run are always taken in.
	e, err := whisper.New(m, wc)
	if err != nil {
		return nil, err
	}
	r.local = e
	return e, nil
}

func loadModel(store *models.Store, name string, compute model.Compute) (*model.Model, error) {
	weights, err := store.FS(name)
	if err != nil {
		return nil, err
	}
	m, err := model.Load(weights, model.LoadOptions{Compute: compute})
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", name, err)
	}
	return m, nil
}

// readKey reads a key from its file. No error holds any of it.
func readKey(file string) (openai.Key, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(b))
	if key == "" || len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s does not hold a key alone: one word of printable ASCII", file)
	}
	return openai.Key(key), nil
}

// checkLanguage says whether the models know a language. What a server knows
// is not known here.
func (r *recogniser) checkLanguage(language string) error {
	switch {
	case r.local == nil:
	case language == config.AutoLanguage && len(r.languages) < 2:
		return fmt.Errorf("auto, but %s knows only English; choose a model of many languages, such as whisper-base", r.modelNames())
	case language != config.AutoLanguage && !slices.Contains(r.languages, language):
		return fmt.Errorf("%q is unknown to %s", language, r.modelNames())
	}
	return nil
}

func (r *recogniser) modelNames() string {
	if r.c.FinalsModel == "" {
		return "the model " + r.c.Model
	}
	return fmt.Sprintf("one of the models %s and %s", r.c.Model, r.c.FinalsModel)
}

// load is local's, with the verdict whether new calls are refused.
func (r *recogniser) load() whisper.Load {
	l := r.local.Load()
	over := func(at *latch, wait, limit time.Duration) bool {
		return at.set(float64(wait), float64(limit)) && limit > 0
	}
	partials := over(&r.partialsLate, l.PartialWait, r.c.MaxPartialWait)
	l.Overloaded = over(&r.finalsLate, l.FinalWait, r.c.MaxFinalWait) || partials
	return l
}

// phrases joins those of the configuration and a call's.
func (r *recogniser) phrases(own []string) []asr.Phrase {
	out := make([]asr.Phrase, 0, len(r.c.Phrases)+len(own))
	for _, list := range [][]string{own, r.c.Phrases} {
		for _, p := range list {
			if p := (asr.Phrase{Text: p, Weight: r.c.PhraseWeight}); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// recognitionReply is the answer to GET /v1/recognition.
type recognitionReply struct {
	Engine   string `json:"engine"`
	Fallback string `json:"fallback,omitempty"`
	Language string `json:"language"`
	// Whisper is there where it is the engine or the fallback.
	Whisper *whisperReply `json:"whisper,omitempty"`
	// Failover is there where there is a fallback.
	Failover *failoverReply `json:"failover,omitempty"`
}

type whisperReply struct {
	Model        string `json:"model"`
	FinalsModel  string `json:"finals_model,omitempty"`
	FinalsAlways bool   `json:"finals_always,omitempty"`
	Compute      string `json:"compute"`
	Workers      int    `json:"workers"`
	// Languages are those that a call may name.
	Languages []string  `json:"languages"`
	Load      loadReply `json:"load"`
}

// loadReply is how busy the engine has been for the last ten seconds.
type loadReply struct {
	Busy          float64 `json:"busy"`
	PartialWaitMS int64   `json:"partial_wait_ms"`
	FinalWaitMS   int64   `json:"final_wait_ms"`
	// Overloaded says that new calls are refused.
	Overloaded bool `json:"overloaded"`
}

// failoverReply counts legs' changes of their engine.
type failoverReply struct {
	Failures int64 `json:"failures"`
	Returns  int64 `json:"returns"`
}

func (r *recogniser) reply() recognitionReply {
	q := recognitionReply{Engine: r.c.Engine, Fallback: r.c.Fallback, Language: r.c.Language}
	if r.local != nil {
		l := r.load()
		q.Whisper = &whisperReply{
			Model: r.c.Model, FinalsModel: r.c.FinalsModel, FinalsAlways: r.c.FinalsAlways, Compute: r.c.Compute, Workers: r.c.Workers, Languages: r.languages,
			Load: loadReply{
				Busy: l.Busy, PartialWaitMS: l.PartialWait.Milliseconds(), FinalWaitMS: l.FinalWait.Milliseconds(), Overloaded: l.Overloaded,
			},
		}
	}
	if r.pair != nil {
		s := r.pair.Stats()
		q.Failover = &failoverReply{Failures: s.Failures.Load(), Returns: s.Returns.Load()}
	}
	return q
}
