package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "sidetone.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultsAreValid(t *testing.T) {
	c, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// The file is the documentation: a key that it lacks, or has without a
// comment, is a key that nobody finds.
func TestEveryKeyHasADefaultAndAComment(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal(YAML(), &tree); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(YAML()), "\n")
	var check func(typ reflect.Type, tree map[string]any, path, indent string)
	check = func(typ reflect.Type, tree map[string]any, path, indent string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := f.Tag.Get("yaml")
			if _, ok := tree[key]; !ok {
				t.Errorf("config.yaml lacks %s%s", path, key)
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				inner, _ := tree[key].(map[string]any)
				check(f.Type, inner, path+key+".", indent+"  ")
				continue
			}
			// The two ends of the port range share one comment.
			commented := key == "last_port"
			for n, line := range lines {
				if strings.HasPrefix(line, indent+key+":") && strings.HasPrefix(lines[n-1], indent+"# ") {
					commented = true
				}
			}
			if !commented {
				t.Errorf("config.yaml has no comment for %s%s", path, key)
			}
		}
	}
	check(reflect.TypeFor[Config](), tree, "", "")
}

func TestLoad(t *testing.T) {
	c, err := Load(write(t, "media:\n  silence_timeout: 5s\nlog:\n  format: json\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Media.SilenceTimeout != 5*time.Second || c.Log.Format != "json" || c.Media.FirstPort != 20000 {
		t.Errorf("got %+v", c)
	}
	for _, text := range []string{"", "# nothing yet\n"} {
		if _, err := Load(write(t, text)); err != nil {
			t.Errorf("a file with nothing but %q: %v", text, err)
		}
	}
}

func TestRecognition(t *testing.T) {
	cases := []struct {
		name, text string
		want       func(*Recognition) bool
	}{
		{"defaults", "", func(r *Recognition) bool {
			return r.Engine == Whisper && r.PartialEvery == 500*time.Millisecond && r.MaxPartialWait == 1500*time.Millisecond &&
				r.MaxFinalWait == 2*time.Second && r.PhraseWeight == 2 && len(r.Phrases) == 0
		}},
		{"no admission control", "  max_partial_wait: 0\n  max_final_wait: 0s\n", func(r *Recognition) bool { return r.MaxPartialWait == 0 && r.MaxFinalWait == 0 }},
		{"second pass", "  finals_model: whisper-base\n  finals_always: true\n  compute: int8\n", func(r *Recognition) bool {
			return r.FinalsModel == "whisper-base" && r.FinalsAlways && r.Compute == "int8"
		}},
		{"found out", "  model: whisper-base\n  language: auto\n", func(r *Recognition) bool { return r.Language == AutoLanguage }},
		{"found out by a server", "  engine: openai\n  language: auto\n  openai: {url: \"http://there/v1\", model: m}\n", func(r *Recognition) bool { return !r.Uses(Whisper) }},
		{"phrases", "  phrases: [Sidetone, Łukasz, 张伟, \"Mr. O'Neil\"]\n  phrase_weight: 1.5\n", func(r *Recognition) bool { return len(r.Phrases) == 4 && r.PhraseWeight == 1.5 }},
		{"server and fallback", "  engine: vosk\n  fallback: whisper\n  vosk: {url: \"ws://there:2700\"}\n", func(r *Recognition) bool {
			return r.Uses(Vosk) && r.Uses(Whisper) && !r.Uses(OpenAI) && r.Vosk.URL == "ws://there:2700"
		}},
		{"part of a server", "  openai: {url: \"http://there/v1\"}\n", func(r *Recognition) bool { return r.OpenAI.URL != "" && r.Vosk.URL == "" }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Load(write(t, "recognition:\n  workers: 3\n"+c.text))
			if err != nil || got.Recognition.Workers != 3 || !c.want(&got.Recognition) {
				t.Errorf("got %+v, %v", got.Recognition, err)
			}
		})
	}
}

func TestBadConfigIsRefused(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "media:\n  hots: 127.0.0.1\n", "hots"},
		{"unknown section", "medias: {}\n", "medias"},
		{"wrong type", "recognition:\n  workers: many\n", "2:12"},
		{"no address", "media:\n  host: pbx\n", "media.host"},
		{"port range", "media:\n  first_port: 30000\n", "media.first_port"},
		{"listen", "server:\n  listen: here\n", "server.listen"},
		{"time", "media:\n  setup_timeout: 0s\n", "media.setup_timeout"},
		{"level", "log:\n  level: loud\n", "log.level"},
		{"format", "log:\n  format: xml\n", "log.format"},
		{"workers", "recognition:\n  workers: 0\n", "recognition.workers"},
		{"engine", "recognition:\n  engine: kaldi\n", `recognition.engine: "kaldi"; whisper, vosk or openai`},
		{"fallback", "recognition:\n  fallback: kaldi\n", `recognition.fallback: "kaldi"`},
		{"fallback to itself", "recognition:\n  fallback: whisper\n", "is the engine itself"},
		{"no model", "recognition:\n  model: \"\"\n", "recognition.model"},
		{"finals by the same model", "recognition:\n  finals_model: whisper-tiny.en\n", "recognition.finals_model"},
		{"finals by no model", "recognition:\n  finals_always: true\n", "recognition.finals_always"},
		{"compute", "recognition:\n  compute: int4\n", `recognition.compute: "int4"; default, float32 or int8`},
		{"language", "recognition:\n  language: English\n", `recognition.language: "English" is no language`},
		{"no language", "recognition:\n  language: \"\"\n", "recognition.language"},
		{"auto, English only", "recognition:\n  language: auto\n", "the model whisper-tiny.en knows only English"},
		{"auto, English finals", "recognition:\n  language: auto\n  model: whisper-base\n  finals_model: whisper-small.en\n", "the model whisper-small.en knows only"},
		{"partials", "recognition:\n  partial_every: 50ms\n", "recognition.partial_every: 50ms; at least 100ms"},
		{"partial wait", "recognition:\n  max_partial_wait: -1s\n", "recognition.max_partial_wait"},
		{"final wait", "recognition:\n  max_final_wait: -1s\n", "recognition.max_final_wait"},
		{"wait without unit", "recognition:\n  max_final_wait: two\n", `"two" is no time`},
		{"weight", "recognition:\n  phrase_weight: 0\n", "recognition.phrase_weight"},
		{"weight is no number", "recognition:\n  phrase_weight: .nan\n", "recognition.phrase_weight"},
		{"long phrase", "recognition:\n  phrases: [Sidetone, " + strings.Repeat("x", 101) + "]\n", "recognition.phrases[1]: 101 bytes"},
		{"phrase of lines", "recognition:\n  phrases: [\"one\\ntwo\"]\n", "recognition.phrases[0]"},
		{"empty phrase", "recognition:\n  phrases: [\"  \"]\n", "recognition.phrases[0]"},
		{"too many phrases", "recognition:\n  phrases: [" + strings.Repeat("a,", 501) + "]\n", "501 phrases"},
		{"vosk without server", "recognition:\n  engine: vosk\n", "recognition.vosk.url"},
		{"fallback without server", "recognition:\n  fallback: openai\n  openai: {model: whisper-1}\n", "recognition.openai.url"},
		{"openai without model", "recognition:\n  engine: openai\n  openai: {url: \"http://there/v1\"}\n", "recognition.openai.model"},
		{"openai's partials", "recognition:\n  openai: {partial_every: 50ms}\n", "recognition.openai.partial_every"},
		{"unknown key of a server", "recognition:\n  openai: {key: x}\n", "key"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(write(t, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a missing file is accepted")
	}
}
