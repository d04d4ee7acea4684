package config

import "time"

// VoiceModel is the model that voices are compared by, as models.Store names it.
const VoiceModel = "campplus-speaker"

// Voice is how callers' voices are compared with enrolled ones.
type Voice struct {
	On         bool          `yaml:"on"`
	ByNumber   bool          `yaml:"by_number"`
	FAR        float64       `yaml:"false_accepts"`
	Miss       float64       `yaml:"false_rejects"`
	Limit      time.Duration `yaml:"limit"`
	Parameters string        `yaml:"parameters"`
	Looks      int           `yaml:"looks"`
	KeepAudio  bool          `yaml:"keep_audio"`
	Keep       VoiceKeep     `yaml:"keep"`
}

// VoiceKeep is for how long what is known of voices is kept; 0 is for ever.
type VoiceKeep struct {
	Unused      time.Duration `yaml:"unused"`
	Audio       time.Duration `yaml:"audio"`
	Comparisons time.Duration `yaml:"comparisons"`
	Hits        time.Duration `yaml:"hits"`
}

func (v *Voice) validate(bad func(key, format string, args ...any)) {
	for key, rate := range map[string]float64{"voice.false_accepts": v.FAR, "voice.false_rejects": v.Miss} {
		if !(rate > 0 && rate < 0.5) {
			bad(key, "%v; a share above 0 and below 0.5 is needed, such as 0.001", rate)
		}
	}
	if v.Limit < 5*time.Second || v.Limit > time.Minute {
		bad("voice.limit", "%v; 5s to 1m of speech are possible", v.Limit)
	}
	for key, d := range map[string]time.Duration{
		"unused": v.Keep.Unused, "audio": v.Keep.Audio, "comparisons": v.Keep.Comparisons, "hits": v.Keep.Hits,
	} {
		if d < 0 {
			bad("voice.keep."+key, "%v; it cannot be negative", d)
		}
	}
	if v.Looks < 1 || v.Looks > 64 {
		bad("voice.looks", "%d; 1 to 64 are possible", v.Looks)
	}
}
