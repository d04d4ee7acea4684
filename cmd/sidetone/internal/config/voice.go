package config

import (
	"time"

	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/spoof"
)

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
	Prints     bool          `yaml:"prints"`
	Veto       []string      `yaml:"veto"`
	Links      bool          `yaml:"links"`
	Keep       VoiceKeep     `yaml:"keep"`
	Passive    VoicePassive  `yaml:"passive"`
	Adapt      VoiceAdapt    `yaml:"adapt"`
}

// VoicePassive is how customers are enrolled by what they say on calls.
type VoicePassive struct {
	On         bool          `yaml:"on"`
	Calls      int           `yaml:"calls"`
	Speech     time.Duration `yaml:"speech"`
	CallSpeech time.Duration `yaml:"call_speech"`
	CoolingOff time.Duration `yaml:"cooling_off"`
	Keep       time.Duration `yaml:"keep"`
	Conflicts  int           `yaml:"conflicts"`
}

// VoiceAdapt is how templates follow voices that change slowly.
type VoiceAdapt struct {
	On       bool          `yaml:"on"`
	Evidence float64       `yaml:"evidence"`
	Speech   time.Duration `yaml:"speech"`
	Weight   float64       `yaml:"weight"`
	Every    time.Duration `yaml:"every"`
	Floor    float64       `yaml:"floor"`
}

// Learning is by which rules it is learnt from calls.
func (v *Voice) Learning() enrol.Policy {
	p := enrol.DefaultPolicy()
	p.Passive.Calls, p.Passive.Net, p.Passive.CallNet = v.Passive.Calls, v.Passive.Speech, v.Passive.CallSpeech
	p.Passive.CoolingOff, p.Passive.Keep, p.Passive.Conflicts = v.Passive.CoolingOff, v.Passive.Keep, v.Passive.Conflicts
	p.Adaptation.LLR, p.Adaptation.Net, p.Adaptation.Weight = v.Adapt.Evidence, v.Adapt.Speech, v.Adapt.Weight
	p.Adaptation.Every, p.Adaptation.Floor = v.Adapt.Every, v.Adapt.Floor
	return p
}

// Spoof says which signs of spoofing may veto.
func (v *Voice) Spoof() spoof.Policy {
	// An empty list is none, which nil is not.
	p := spoof.Policy{Veto: []spoof.Name{}}
	for _, name := range v.Veto {
		p.Veto = append(p.Veto, spoof.Name(name))
	}
	return p
}

// VoiceKeep is for how long what is known of voices is kept; 0 is for ever.
type VoiceKeep struct {
	Unused      time.Duration `yaml:"unused"`
	Audio       time.Duration `yaml:"audio"`
	Comparisons time.Duration `yaml:"comparisons"`
	Hits        time.Duration `yaml:"hits"`
	Prints      time.Duration `yaml:"prints"`
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
		"unused": v.Keep.Unused, "audio": v.Keep.Audio, "comparisons": v.Keep.Comparisons, "hits": v.Keep.Hits, "prints": v.Keep.Prints,
	} {
		if d < 0 {
			bad("voice.keep."+key, "%v; it cannot be negative", d)
		}
	}
	if _, err := v.Learning().WithDefaults(); err != nil {
		bad("voice.passive, voice.adapt", "%v", err)
	}
	if v.Passive.On && v.Passive.CallSpeech > v.Limit || v.Adapt.On && v.Adapt.Speech > v.Limit {
		bad("voice.limit", "%v; a call tells of no more speech, and voice.passive.call_speech or voice.adapt.speech asks for more", v.Limit)
	}
	if _, err := v.Spoof().Judge(spoof.Signals{}); err != nil {
		bad("voice.veto", "%v", err)
	}
	if v.Looks < 1 || v.Looks > 64 {
		bad("voice.looks", "%d; 1 to 64 are possible", v.Looks)
	}
}
