package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sidetone/asr/whisper/model"
)

// The engines of recognition.
const (
	Whisper = "whisper"
	Vosk    = "vosk"
	OpenAI  = "openai"
)

// AutoLanguage has the language found out for each leg.
const AutoLanguage = "auto"

const (
	// MaxPhraseBytes bounds a phrase.
	MaxPhraseBytes = 100
	// maxPhrases bounds those of the configuration, which every leg looks for.
	maxPhrases      = 500
	maxPhraseWeight = 20
	leastPartial    = 100 * time.Millisecond
	leastPost       = 200 * time.Millisecond
)

// Recognition chooses and bounds the recogniser.
type Recognition struct {
	Engine         string        `yaml:"engine"`
	Fallback       string        `yaml:"fallback"`
	Model          string        `yaml:"model"`
	FinalsModel    string        `yaml:"finals_model"`
	FinalsAlways   bool          `yaml:"finals_always"`
	Compute        string        `yaml:"compute"`
	Language       string        `yaml:"language"`
	Workers        int           `yaml:"workers"`
	PartialEvery   time.Duration `yaml:"partial_every"`
	MaxPartialWait time.Duration `yaml:"max_partial_wait"`
	MaxFinalWait   time.Duration `yaml:"max_final_wait"`
	Phrases        []string      `yaml:"phrases"`
	PhraseWeight   float32       `yaml:"phrase_weight"`
	Vosk           VoskServer    `yaml:"vosk"`
	OpenAI         OpenAIServer  `yaml:"openai"`
}

// VoskServer is where a vosk-server is.
type VoskServer struct {
	URL string `yaml:"url"`
}

// OpenAIServer is where a server with OpenAI's transcription API is.
type OpenAIServer struct {
	URL          string        `yaml:"url"`
	Model        string        `yaml:"model"`
	KeyFile      string        `yaml:"key_file"`
	PartialEvery time.Duration `yaml:"partial_every"`
}

// Uses says whether an engine is the first or the fallback.
func (r *Recognition) Uses(engine string) bool { return r.Engine == engine || r.Fallback == engine }

func (r *Recognition) validate(bad func(key, format string, args ...any)) {
	engines := []string{Whisper, Vosk, OpenAI}
	if !slices.Contains(engines, r.Engine) {
		bad("recognition.engine", "%q; whisper, vosk or openai is needed", r.Engine)
	}
	switch {
	case r.Fallback != "" && !slices.Contains(engines, r.Fallback):
		bad("recognition.fallback", "%q; whisper, vosk, openai or nothing is needed", r.Fallback)
	case r.Fallback != "" && r.Fallback == r.Engine:
		bad("recognition.fallback", "%q is the engine itself; another is needed", r.Fallback)
	}
	if _, err := model.ParseCompute(r.Compute); err != nil {
		bad("recognition.compute", "%q; default, float32 or int8 is needed", r.Compute)
	}
	if err := CheckLanguage(r.Language); err != nil {
		bad("recognition.language", "%v", err)
	}
	if r.Workers < 1 {
		bad("recognition.workers", "%d; at least 1 is needed", r.Workers)
	}
	if r.PartialEvery < leastPartial {
		bad("recognition.partial_every", "%v; at least %v is needed", r.PartialEvery, leastPartial)
	}
	if r.MaxPartialWait < 0 {
		bad("recognition.max_partial_wait", "%v; 0 (never refuse) or a time above is needed", r.MaxPartialWait)
	}
	if r.MaxFinalWait < 0 {
		bad("recognition.max_final_wait", "%v; 0 (never refuse) or a time above is needed", r.MaxFinalWait)
	}
	if len(r.Phrases) > maxPhrases {
		bad("recognition.phrases", "%d phrases; at most %d are looked for", len(r.Phrases), maxPhrases)
	}
	for i, p := range r.Phrases {
		if err := CheckPhrase(p); err != nil {
			bad(fmt.Sprintf("recognition.phrases[%d]", i), "%v", err)
		}
	}
	if !(r.PhraseWeight > 0 && r.PhraseWeight <= maxPhraseWeight) {
		bad("recognition.phrase_weight", "%v; above 0 and at most %d is needed", r.PhraseWeight, maxPhraseWeight)
	}
	if r.Uses(Whisper) {
		r.validateWhisper(bad)
	}
	if r.Uses(Vosk) && r.Vosk.URL == "" {
		bad("recognition.vosk.url", "empty; the engine vosk needs a server, such as ws://127.0.0.1:2700")
	}
	if r.Uses(OpenAI) && r.OpenAI.URL == "" {
		bad("recognition.openai.url", "empty; the engine openai needs a server, such as https://api.openai.com/v1")
	}
	if r.Uses(OpenAI) && r.OpenAI.Model == "" {
		bad("recognition.openai.model", "empty; the server's documentation names its models")
	}
	if d := r.OpenAI.PartialEvery; d != 0 && d < leastPost {
		bad("recognition.openai.partial_every", "%v; 0 (only finals) or at least %v is needed", d, leastPost)
	}
}

func (r *Recognition) validateWhisper(bad func(key, format string, args ...any)) {
	if r.Model == "" {
		bad("recognition.model", "empty; `sidetone models list` names them")
	}
	switch {
	case r.FinalsModel != "" && r.FinalsModel == r.Model:
		bad("recognition.finals_model", "%s is recognition.model itself; a larger one is needed, or none", r.FinalsModel)
	case r.FinalsModel == "" && r.FinalsAlways:
		bad("recognition.finals_always", "true without recognition.finals_model")
	}
	if r.Language != AutoLanguage {
		return
	}
	for _, m := range []string{r.Model, r.FinalsModel} {
		if strings.HasSuffix(m, ".en") {
			bad("recognition.language", "auto, but the model %s knows only English; choose one of many languages, such as whisper-base", m)
		}
	}
}

var code = regexp.MustCompile(`^[a-z]{2,3}$`)

// CheckLanguage says whether a language has the form of its code, or is
// AutoLanguage.
func CheckLanguage(language string) error {
	if language != AutoLanguage && !code.MatchString(language) {
		return fmt.Errorf("%q is no language; a code of ISO 639-1 such as en, or auto, is needed", language)
	}
	return nil
}

// CheckPhrase says what is wrong with a phrase.
func CheckPhrase(p string) error {
	switch {
	case len(p) > MaxPhraseBytes:
		return fmt.Errorf("%d bytes; at most %d are allowed", len(p), MaxPhraseBytes)
	case !utf8.ValidString(p):
		return fmt.Errorf("%q is no UTF-8", p)
	case strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("%q holds a control character, such as a line's end", p)
	case !strings.ContainsFunc(p, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }):
		return fmt.Errorf("%q has no letter and no digit", p)
	}
	return nil
}
