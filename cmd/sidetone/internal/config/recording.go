package config

// Recording is whether and how the audio of calls is kept.
type Recording struct {
	Calls  string `yaml:"calls"`
	Format string `yaml:"format"`
	Rate   int    `yaml:"rate"`
	Dir    string `yaml:"dir"`
	Note   string `yaml:"note"`
}

// Which calls are recorded.
const (
	RecordNone   = "none"
	RecordAll    = "all"
	RecordByCall = "by_call"
)

// maxNote bounds the note on recording, in bytes.
const maxNote = 1000

func (r *Recording) validate(bad func(key, format string, args ...any)) {
	if r.Calls != RecordNone && r.Calls != RecordAll && r.Calls != RecordByCall {
		bad("recording.calls", "%q; none, all or by_call is needed", r.Calls)
	}
	if r.Format != "flac" && r.Format != "wav" {
		bad("recording.format", "%q; flac or wav is needed", r.Format)
	}
	if r.Rate != 16000 && r.Rate != 8000 {
		bad("recording.rate", "%d; 16000 or 8000 is needed", r.Rate)
	}
	if len(r.Note) > maxNote {
		bad("recording.note", "%d bytes; at most %d are shown", len(r.Note), maxNote)
	}
}
